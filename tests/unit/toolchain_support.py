"""A publisher on this machine, and a tiny Go module, for the tests of the toolchain."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from toolchain.pins import GoSource, Release, Tool

VERSION = "1.2.3"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Reply:
    """One answer. `cut`: bytes after which the connection ends, whatever was promised."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True


@dataclass
class Publisher:
    """Serves replies by path: each once, in order, the last for good. Notes what was asked."""

    url: str
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def serve(self, path: str, *replies: Reply) -> str:
        self.replies[path] = list(replies)
        return f"{self.url}{path}"

    def release(self, *replies: Reply, content: bytes, folder: str | None = None) -> Release:
        """A release of `content`, answered by `replies`, with its right checksum."""
        sums = self.serve("/sums", Reply(f"{sha256(content)}  tool\n".encode()))
        return Release(self.serve("/tool", *(replies or [Reply(content)])), sums, folder)

    def ranges(self, path: str) -> list[str | None]:
        return [wanted for asked, wanted in self.asked if asked == path]


@contextmanager
def serving() -> Iterator[Publisher]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.publisher = Publisher(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.publisher
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    publisher: Publisher


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        publisher = self.server.publisher
        wanted = self.headers.get("Range")
        publisher.asked.append((self.path, wanted))
        replies = publisher.replies.get(self.path, [Reply(status=404)])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        body, status = reply.body, reply.status
        if wanted and reply.ranges and status == 200:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
            body = body[start:]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: reply.cut])

    def log_message(self, *_: object) -> None:
        pass


def archive(**files: bytes) -> bytes:
    """A tar.gz of executables; `__` in a name stands for `/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


MAIN = """package main

var version = "unset"

func main() { println(version) }
"""


def write_module(folder: Path, *, go: str = "1.21", main: str = MAIN) -> GoSource:
    """A Go module that needs no other, whose command `hello` prints its version."""
    command = folder / "cmd" / "hello"
    command.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(f"module example.org/hello\n\ngo {go}\n")
    (folder / "go.sum").touch()
    (command / "main.go").write_text(main)
    return GoSource(folder, "example.org/hello/cmd/hello", "main.version")


def hello(
    source: GoSource | None = None, release: Release | None = None, *, without: str = ""
) -> Tool:
    return Tool("hello", VERSION, release, source, without=without)
