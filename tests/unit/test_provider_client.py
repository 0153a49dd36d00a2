"""The client of the API server: what it does when the server is away, busy or never there."""

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from provider import client as module
from provider.client import ApiError, Client, Unreachable
from provider.kubeconfig import Connection


class Server:
    """An HTTP server whose answers a test chooses, and that can go away and come back."""

    def __init__(self):
        self.requests = []
        self.answers = []  # (status, headers) or "lost" for the next requests; then 200
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.connections = []
        self.server = None

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.command, self.path))
                answer = outer.answers.pop(0) if outer.answers else (200, {})
                if answer == "lost":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers = answer
                body = json.dumps({"message": f"status {status}"}).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server():
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cancelled():
    return threading.Event()


@pytest.fixture
def client(server, cancelled):
    connection = Connection(f"http://127.0.0.1:{server.port}", None, "", "", lambda: "")
    return Client(connection, "test", cancelled)


CREATE = ("POST", "/api/v1/namespaces/a/configmaps", {"fieldManager": "x"}, b"{}")
DRY_RUN = (*CREATE[:2], {"dryRun": "All"}, b"{}")
APPLY = ("PATCH", "/api/v1/namespaces/a/configmaps/b", {}, b"{}")


def test_a_server_that_restarts_is_waited_for(server, client):
    client.request("GET", "/version")
    server.stop()
    threading.Timer(0.5, server.start).start()
    assert client.request(*CREATE)
    assert server.requests[-1][0] == "POST"


def test_a_server_that_never_answered_is_an_error_at_once(server, client):
    server.stop()
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1.*connection refused"):
        client.request("GET", "/version")
    assert time.monotonic() - began < 1


def test_patience_ends_for_all_requests_together(server, client, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    client.request("GET", "/version")
    server.stop()
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(Unreachable):
            client.request("GET", "/version")
    assert 0.3 <= time.monotonic() - began < 1.5


def test_a_cancelled_request_looks_no_longer(server, client, cancelled):
    client.request("GET", "/version")
    server.stop()
    threading.Timer(0.2, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        client.request("GET", "/version")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("request_", "content_type", "times"),
    [
        (("GET", "/version"), "", 2),
        (("DELETE", "/api/v1/namespaces/a"), "", 2),
        (DRY_RUN, "application/json", 2),
        (APPLY, module.APPLY, 2),
        # Carried out twice it would be another error: already exists, conflict, no such value.
        (CREATE, "application/json", 1),
        (APPLY, module.JSON_PATCH, 1),
        (("PUT", "/api/v1/namespaces/a"), "application/json", 1),
    ],
)
def test_only_what_may_be_done_twice_is_sent_again_when_its_answer_is_lost(
    server, client, request_, content_type, times
):
    client.request("GET", "/version")
    server.requests.clear()
    server.answers = ["lost"]
    expected = contextlib.nullcontext() if times == 2 else pytest.raises(Unreachable)
    with expected:
        client.request(*request_, content_type=content_type)
    assert len(server.requests) == times


def test_a_busy_server_is_asked_again_when_it_says(server, client):
    server.answers = [(429, {"Retry-After": "0"}), (503, {"Retry-After": "0"})]
    client.request(*CREATE)
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_an_error(server, client):
    server.answers = [(429, {"Retry-After": "0"})] * 20
    with pytest.raises(Unreachable, match="too busy"):
        client.request("GET", "/version")


def test_errors_are_those_of_the_server(server, client):
    server.answers = [(500, {})]
    with pytest.raises(ApiError, match="status 500"):
        client.request("GET", "/version")
    assert len(server.requests) == 1
