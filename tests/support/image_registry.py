"""A registry of images that refuses in every way: run by a test inside a node's network.

It speaks plain HTTP on port 5000 of that network's own loopback, which containerd allows there, and
only the part of the distribution specification that a pull begins with:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md. By the image's name:

    foreign    is for a processor that no node has
    private    asks who is there
    busy       has been asked too often
    any other  is not there
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 5000
_INDEX = "application/vnd.oci.image.index.v1+json"
_FOREIGN = {
    "schemaVersion": 2,
    "mediaType": _INDEX,
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": f"sha256:{0:064}",
            "size": 2,
            "platform": {"os": "linux", "architecture": "s390x"},
        }
    ],
}


class Registry(BaseHTTPRequestHandler):
    """One request."""

    # containerd tries TLS first, and HTTP once it is answered in HTTP.
    default_request_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Tell about a manifest."""
        self.do_GET()

    def do_GET(self) -> None:
        """Give a manifest, or refuse it."""
        name = self.path.removeprefix("/v2/").partition("/")[0]
        if name == "foreign":
            self._answer(200, json.dumps(_FOREIGN).encode(), {"Content-Type": _INDEX})
        elif name == "private":
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="private"'})
        elif name == "busy":
            self._answer(429, b"{}", {})
        else:
            self._answer(404, b"{}", {})

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Registry).serve_forever()
