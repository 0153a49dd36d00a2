"""A backend that tells what it was asked: HTTP/1.1, WebSocket, and gRPC without TLS.

A pod runs this file's text with nothing but Python's standard library. What a request's query asks
for: `status` of the answer, `delay` in seconds before it, `size` of a text of bytes instead of the
report, `abort` to end the connection instead, and any header as `set-NAME`.
"""

import base64
import hashlib
import http.server
import json
import os
import socket
import socketserver
import struct
import threading
import time
import urllib.parse

POD = os.environ.get("HOSTNAME", "none")
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_lock = threading.Lock()
_count = {"requests": 0, "open": 0, "most": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        with _lock:
            _count["open"] += 1
            _count["most"] = max(_count["most"], _count["open"])
        try:
            self._answer()
        finally:
            with _lock:
                _count["open"] -= 1

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_any

    def _answer(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        if url.path.startswith("/oauth2/"):
            self._sign_in(url.path)
            return
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._websocket()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path != "/healthy":
            with _lock:
                _count["requests"] += 1
        time.sleep(float(asked.get("delay", 0)))
        if "abort" in asked:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        report = {
            "pod": POD,
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": len(body),
            "peer": self.client_address[0],
            "count": _count["requests"],
            "most": _count["most"],
        }
        text = json.dumps(report).encode()
        if "size" in asked:
            text = (b"the same words again and again. " * (int(asked["size"]) // 32 + 1))[
                : int(asked["size"])
            ]
        self.send_response(int(asked.get("status", 200)))
        self.send_header("Content-Type", asked.get("type", "application/json"))
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Backend", POD)
        for name, value in asked.items():
            if name.startswith("set-"):
                self.send_header(name.removeprefix("set-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _sign_in(self, path):
        """As oauth2-proxy does: says whether a browser has a session, or sends it to get one."""
        known = "session=good" in self.headers.get("Cookie", "")
        self.send_response((202 if known else 401) if path == "/oauth2/auth" else 302)
        if known:
            self.send_header("X-Auth-Request-Email", "ann@example.com")
        if path != "/oauth2/auth":
            self.send_header("Location", "https://dex.example.com/auth")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + _MAGIC
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 0x0F == 8:
                return
            # Small masked frames only, as the test sends them.
            mask = self.rfile.read(4)
            data = self.rfile.read(head[1] & 0x7F)
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            answer = f"{POD}:".encode() + text
            self.wfile.write(bytes([0x81, len(answer)]) + answer)

    def log_message(self, *_):
        pass


class Grpc(socketserver.StreamRequestHandler):
    """HTTP/2 as far as one unary call needs it (RFC 9113): what comes in goes back."""

    def handle(self):
        if self.rfile.read(len(_PREFACE)) != _PREFACE:
            return
        self._frame(4, 0, 0)
        # Room for all that is sent here, whatever is used of the window.
        self._frame(8, 0, 0, struct.pack(">I", 1 << 20))
        bodies = {}
        while True:
            head = self.rfile.read(9)
            if len(head) < 9:
                return
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big")
            data = self.rfile.read(length)
            if kind == 4 and not flags & 1:
                self._frame(4, 1, 0)
            elif kind == 6 and not flags & 1:
                self._frame(6, 1, 0, data)
            elif kind == 0:
                bodies[stream] = bodies.get(stream, b"") + data
            if kind in (0, 1) and flags & 1:
                self._reply(stream, bodies.pop(stream, b""))

    def _reply(self, stream, body):
        start = b"\x88" + _field("content-type", "application/grpc") + _field("x-backend", POD)
        self._frame(1, 4, stream, start)
        self._frame(0, 0, stream, body)
        self._frame(1, 5, stream, _field("grpc-status", "0"))

    def _frame(self, kind, flags, stream, data=b""):
        head = len(data).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream)
        self.wfile.write(head + data)


def _field(name, value):
    """A header of HPACK (RFC 7541), literal and without an index."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    grpc = Server(("", 9090), Grpc)
    threading.Thread(target=grpc.serve_forever, daemon=True).start()
    http_server = http.server.ThreadingHTTPServer(("", 8080), Handler)
    http_server.daemon_threads = True
    print("serving", flush=True)
    http_server.serve_forever()
