"""A client of a gateway: requests to an address under any host's name, over TLS or without."""

from __future__ import annotations

import collections
import concurrent.futures
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    tls: str = ""

    def header(self, name: str) -> str:
        """A header's value, "" where it is not there."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def report(self) -> dict[str, Any]:
        """What the backend says it was asked."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def pod(self) -> str:
        """Who answered."""
        return self.header("X-Backend")

    def seen(self, name: str) -> str:
        """A header as the backend saw it."""
        return ", ".join(value for key, value in self.report["headers"] if key == name.lower())


@dataclass(frozen=True)
class Client:
    """Whoever asks a gateway.

    Args:
        address: of a pod or Service.
        authority: PEM of who signed the gateway's certificates.
        ports: where it is asked without and with TLS.
    """

    address: str
    authority: str
    ports: tuple[int, int] = (80, 443)
    timeout: float = 20.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def ask(
        self,
        path: str,
        host: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tls: bool = True,
    ) -> Answer:
        """One request, on a connection of its own. Raises OSError without an answer."""
        link = http.client.HTTPConnection(self.address, timeout=self.timeout)
        link.sock = self.connect(host, tls=tls)
        version = link.sock.version() if isinstance(link.sock, ssl.SSLSocket) else ""
        try:
            link.request(method, path, body, {"Host": host, **(headers or {})})
            answer = link.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read(), version or "")
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            link.close()

    def connect(
        self, host: str, *, tls: bool = True, context: ssl.SSLContext | None = None
    ) -> socket.socket:
        """A connection to the gateway, under a host's name."""
        plain = socket.create_connection((self.address, self.ports[tls]), timeout=self.timeout)
        if not tls:
            return plain
        try:
            return (context or self.context()).wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def context(self) -> ssl.SSLContext:
        """Trusts the gateway's authority alone."""
        return ssl.create_default_context(cadata=self.authority)

    def raw(self, host: str, text: bytes, *, tls: bool = True) -> bytes:
        """What comes back, byte for byte, until the gateway closes or falls silent."""
        received = b""
        with self.connect(host, tls=tls) as link:
            link.settimeout(3)
            link.sendall(text)
            try:
                while part := link.recv(65536):
                    received += part
            except TimeoutError:
                pass
        return received

    def websocket(self, path: str, host: str, text: bytes) -> bytes:
        """Shake hands, send a small text, and give what comes back."""
        with self.connect(host) as link:
            head = (
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            link.sendall(head.encode())
            stream = link.makefile("rb")
            status = stream.readline()
            assert b" 101 " in status, status
            while stream.readline().strip():
                pass
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
            link.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
            size = stream.read(2)[1]
            return stream.read(size)


def many(count: int, ask: Callable[[int], Answer], at_once: int = 8) -> list[Answer]:
    """Answers to several requests, in the order in which they were numbered."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, range(count)))


def tally(answers: Iterable[Answer]) -> collections.Counter[str]:
    """How many each pod answered."""
    return collections.Counter(answer.pod for answer in answers)


def statuses(answers: Iterable[Answer]) -> collections.Counter[int]:
    """How many had each status."""
    return collections.Counter(answer.status for answer in answers)
