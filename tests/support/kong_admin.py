"""Kong's Admin API without a database, as far as its controller needs it, on loopback.

It takes whatever configuration it is sent, and keeps the last one:
https://developer.konghq.com/api/gateway/admin-oss/. Schemas of plugins are empty, so that what the
controller sends is what it was given, without Kong's defaults.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "3.9.1"
# Of each plugin: those of HTTP are for these protocols.
SCHEMA = {
    "fields": [
        {"protocols": {"type": "set", "default": ["grpc", "grpcs", "http", "https"]}},
        {"config": {"type": "record", "fields": []}},
    ]
}


class Admin:
    """What the controller is told, and what it sent."""

    def __init__(self, http: int, https: int, streams: Sequence[int]) -> None:
        self.root = {
            "version": VERSION,
            "node_id": "00000000-0000-0000-0000-000000000001",
            "configuration": {
                "database": "off",
                "router_flavor": "expressions",
                "proxy_listeners": [_listener(http), _listener(https, ssl=True)],
                "stream_listeners": [_listener(port) for port in streams],
            },
        }
        self.sent: dict[str, Any] = {}
        self.hash = "0" * 32
        self.url = ""

    def take(self, body: bytes) -> None:
        self.sent = json.loads(body)
        self.hash = hashlib.md5(body, usedforsecurity=False).hexdigest()


def _listener(port: int, *, ssl: bool = False) -> dict[str, Any]:
    return {"ip": "0.0.0.0", "port": port, "ssl": ssl, "http2": ssl, "proxy_protocol": False}


class _Handler(BaseHTTPRequestHandler):
    admin: Admin
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path == "":
            self._answer(200, self.admin.root)
        elif path == "/status":
            self._answer(200, {"configuration_hash": self.admin.hash, "server": {}})
        elif path.startswith("/schemas/plugins/"):
            self._answer(200, SCHEMA)
        else:
            # A list of entities: none is known before the first configuration.
            self._answer(200, {"data": [], "next": None})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.partition("?")[0] == "/config":
            self.admin.take(body)
            self._answer(201, {})
        else:
            self._answer(404, {"message": f"{self.path} is not played"})

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        # The controller ends without waiting for answers.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test tells what was sent."""


@contextmanager
def playing(http: int, https: int, streams: Sequence[int]) -> Iterator[Admin]:
    """The Admin API of a proxy that listens at these ports, while it is needed."""
    admin = Admin(http, https, streams)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"admin": admin}))
    admin.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield admin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
