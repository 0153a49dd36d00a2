"""A small client of the Kubernetes API for the sandbox's own processes.

The simulators run for as long as the sandbox does and need few verbs; the full client library
would cost each of them a second of start-up and 60 MB.
API: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Object = dict[str, Any]


class ApiError(RuntimeError):
    """An answer of the API server other than 2xx; `code` is its HTTP status."""

    def __init__(self, code: int, method: str, path: str, message: str) -> None:
        super().__init__(f"{method} {path}: {code} {message}")
        self.code = code


class Client:
    """Requests of one user, safe to use from several threads (one connection each)."""

    def __init__(self, kubeconfig: Path, user_agent: str = "ml-platform-sandbox") -> None:
        """Read the server, authority and client certificate of a kubeconfig that the sandbox wrote.

        Raises FileNotFoundError when there is none.
        """
        config = json.loads(kubeconfig.read_bytes())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        url = urllib.parse.urlsplit(cluster["server"])
        self._host, self._port = url.hostname or "127.0.0.1", url.port or 443
        self._user_agent = user_agent
        self._local = threading.local()
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        # The ssl module takes a client key from a file only.
        with tempfile.NamedTemporaryFile(dir=kubeconfig.parent) as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]))
            pem.write(base64.b64decode(user["client-key-data"]))
            pem.flush()
            self._tls.load_cert_chain(pem.name)

    def _connect(self, timeout: float | None) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._tls
        )
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> Object:
        """Send one request and return the decoded answer ({} when it is not a JSON object).

        Raises ApiError on an answer other than 2xx, OSError when the server can't be reached
        within `timeout` seconds.
        """
        payload = None if body is None else orjson.dumps(body)
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if payload is not None:
            headers["Content-Type"] = content_type
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        reused = connection is not None
        if connection is None:
            connection = self._connect(timeout)
        self._local.connection = None
        try:
            try:
                connection.request(method, path, payload, headers)
                response = connection.getresponse()
            except (http.client.HTTPException, OSError):
                connection.close()
                if not reused:
                    raise
                # The server closed an idle connection: once more on a new one.
                connection = self._connect(timeout)
                connection.request(method, path, payload, headers)
                response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            connection.close()
            raise OSError(f"{method} {path}: {error!r}") from error
        except OSError:
            connection.close()
            raise
        self._local.connection = connection
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            answer = content.decode(errors="replace")
        if not 200 <= response.status < 300:
            message = answer.get("message", "") if isinstance(answer, dict) else answer
            raise ApiError(response.status, method, path, message)
        return answer if isinstance(answer, dict) else {}

    @contextlib.contextmanager
    def _stream(self, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
        connection = self._connect(timeout)
        try:
            headers = {"Accept": "application/json", "User-Agent": self._user_agent}
            connection.request("GET", path, None, headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise ApiError(response.status, "GET", path, response.read(2048).decode())
            yield response
        finally:
            connection.close()

    def watch(
        self,
        path: str,
        replace: Callable[[list[Object]], None],
        event: Callable[[str, Object], None],
        relevant: Callable[[bytes], bool] = lambda _: True,
        **selectors: str,
    ) -> None:
        """List a collection, then follow its changes until the connection ends (some minutes).

        `replace` gets the whole list once, `event` each later change (ADDED, MODIFIED, DELETED and
        the object). Lines of the watch for which `relevant` is False are dropped undecoded.
        Raises ApiError and OSError as `request`; returns when a new list is due.
        """
        query = urllib.parse.urlencode(selectors)
        listed = self.request("GET", f"{path}?{query}")
        replace(listed.get("items") or [])
        query = urllib.parse.urlencode(
            {
                **selectors,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": listed["metadata"]["resourceVersion"],
            }
        )
        # The server ends a watch after 30 to 60 minutes; a dead one is noticed an hour later, at
        # the price of nothing: on loopback a peer that dies closes its sockets.
        with self._stream(f"{path}?{query}", timeout=7200) as response:
            while line := response.readline():
                if not relevant(line):
                    continue
                change = orjson.loads(line)
                if change["type"] == "ERROR":
                    return
                if change["type"] != "BOOKMARK":
                    event(change["type"], change["object"])
