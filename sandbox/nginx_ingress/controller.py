"""The program: keeps nginx's configuration as the API server's objects ask for it."""

from __future__ import annotations

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import main_conf, servers, streams
from .api import Api, ApiError, Mirror
from .conf import Lines, Unsupported, say
from .objects import SECRETS, Object, Objects
from .settings import Flags, Settings, flags, settings

_ETC = Path("/etc/nginx")
_NGINX = "/usr/sbin/nginx"
_SETTLE = 0.05
"""Seconds in which more changes are waited for: they come in groups."""
_NEW_WORKERS = 60.0
_CONFLICT = 409


class Controller:
    """One nginx, and what it was last told.

    Args:
        flags: the command line.
        api: the API server.
    """

    def __init__(self, flags: Flags, api: Api) -> None:
        self._flags = flags
        self._api = api
        self._changed = threading.Event()
        self._mirror = Mirror(api, flags.namespaces, self._changed)
        self._nginx: subprocess.Popen[bytes] | None = None
        self._written: dict[str, bytes] = {}
        self._memory: dict[tuple[object, ...], list[str]] = {}
        self.version = 0
        self.failed_reloads = 0
        self.ready = False

    def run(self) -> int:
        """Work until nginx ends, and give its exit code."""
        self._mirror.start()
        while True:
            self._changed.wait(timeout=1.0)
            if self._nginx and self._nginx.poll() is not None:
                return self._nginx.returncode
            if self._changed.is_set():
                time.sleep(_SETTLE)
                self._changed.clear()
                self._carry_out()

    def stop(self) -> None:
        """End nginx once it has answered what it was asked."""
        if self._nginx and self._nginx.poll() is None:
            self._nginx.send_signal(signal.SIGQUIT)

    # --- one turn ---------------------------------------------------------------------------

    def _carry_out(self) -> None:
        objects = Objects(self._mirror.snapshot(), memory=self._memory)
        told: list[tuple[str, Object, str]] = []
        try:
            made = settings(self._flags, self._config_map(objects))
        except Unsupported as error:
            say(str(error))
            if self.ready:
                return
            raise
        files = self._files(objects, made, told)
        if files != {path: text for path, text in self._written.items() if path != _main()}:
            problem = self._load(files, made)
            if problem:
                told = [(resource, one, said or problem) for resource, one, said in told]
        self.ready = self.ready or self.version > 0
        for resource, one, said in told:
            self._tell(resource, one, said)

    def _config_map(self, objects: Objects) -> dict[str, str]:
        namespace, _, name = self._flags.config_map.partition("/")
        found = objects.find("configmaps", namespace, name) if name else None
        return (found or {}).get("data") or {}

    def _files(
        self, objects: Objects, made: Settings, told: list[tuple[str, Object, str]]
    ) -> dict[str, bytes]:
        default = main_conf.default_server(made, objects)
        files = {str(_ETC / "conf.d" / "_default-server.conf"): _text(default)}
        hosts: dict[str, str] = {}
        for one in self._ours(objects, "virtualservers"):
            path = str(_ETC / "conf.d" / servers.file_name(one))
            said = ""
            try:
                host = one["spec"]["host"]
                if host in hosts:
                    raise Unsupported(f"host {host} is taken by another resource")
                files[path] = _text(servers.virtual_server(one, objects, made))
                hosts[host] = one["metadata"]["name"]
            except Unsupported as error:
                said = str(error)
            told.append(("virtualservers", one, said))
        for one in self._ours(objects, "transportservers"):
            path = str(_ETC / "stream-conf.d" / streams.file_name(one))
            said = ""
            try:
                files[path] = _text(streams.transport_server(one, objects, made))
            except Unsupported as error:
                said = str(error)
            told.append(("transportservers", one, said))
        told += [("policies", one, "") for one in self._ours(objects, "policies")]
        routes = self._ours(objects, "virtualserverroutes")
        told += [("virtualserverroutes", one, "") for one in routes]
        return files | objects.files

    def _ours(self, objects: Objects, resource: str) -> list[Object]:
        """Objects of this controller's class; one without a class is everybody's."""
        return [
            one
            for one in objects.all(resource)
            if one["spec"].get("ingressClassName", "") in ("", self._flags.ingress_class)
        ]

    # --- nginx ------------------------------------------------------------------------------

    def _load(self, files: dict[str, bytes], made: Settings) -> str:
        """Give nginx its configuration; what is wrong with it, if it does not take it."""
        before = self._written
        version = self.version + 1
        files = files | {_main(): _text(main_conf.main(made, version))}
        self._write(files)
        test = subprocess.run([_NGINX, "-t", "-e", "stderr"], capture_output=True, check=False)
        if test.returncode:
            self.failed_reloads += 1
            said = test.stderr.decode(errors="replace").strip()
            say(said)
            if before:
                self._write(before)
                return said
            raise Unsupported(said)
        if self._nginx is None:
            self._nginx = subprocess.Popen([_NGINX, "-e", "stderr"])
        else:
            # The master's own process: no second program needs to find it.
            self._nginx.send_signal(signal.SIGHUP)
        self._await(version)
        self.version = version
        return ""

    def _write(self, files: dict[str, bytes]) -> None:
        for path in set(self._written) - set(files):
            Path(path).unlink(missing_ok=True)
        for path, content in files.items():
            if self._written.get(path) == content:
                continue
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}")
            secret = path.startswith(SECRETS)
            part.touch(mode=0o600 if secret else 0o644)
            part.write_bytes(content)
            part.rename(target)
        self._written = dict(files)

    def _await(self, version: int) -> None:
        """Wait until new workers answer."""
        end = time.monotonic() + _NEW_WORKERS
        while time.monotonic() < end:
            if _ask_socket(main_conf.VERSION_SOCKET).endswith(str(version)):
                return
            if self._nginx and self._nginx.poll() is not None:
                return
            time.sleep(0.01)
        say(f"nginx did not come to version {version} in time")

    def _tell(self, resource: str, one: Object, problem: str) -> None:
        """Say in the object's status what became of it."""
        state = {"state": "Invalid", "reason": "Rejected", "message": problem[-1000:]}
        if not problem:
            state = {"state": "Valid", "reason": "AddedOrUpdated", "message": "Configured"}
        now = one.get("status") or {}
        if all(now.get(key) == value for key, value in state.items()):
            return
        meta = one["metadata"]
        group = "/apis/k8s.nginx.org/v1"
        path = f"{group}/namespaces/{meta['namespace']}/{resource}/{meta['name']}/status"
        try:
            self._api.request("PUT", path, {**one, "status": {**now, **state}})
        except ApiError as error:
            # It has changed meanwhile, and its change is on the way here.
            if error.errno != _CONFLICT:
                say(str(error))


def _main() -> str:
    return str(_ETC / "nginx.conf")


def _text(lines: Lines) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _ask_socket(path: str, uri: str = "/") -> str:
    """What a server of nginx's on a socket answers; "" if nobody is there."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(path)
            link.sendall(f"GET {uri} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while part := link.recv(4096):
                answer += part
            return answer.decode()
    except OSError:
        return ""


def metrics(controller: Controller, status: str) -> str:
    """What Prometheus reads, given what nginx's stub_status says."""
    numbers = [int(one) for one in re.findall(r"\d+", status)]
    names = (
        *("connections_active", "connections_accepted", "connections_handled"),
        *("http_requests_total", "connections_reading", "connections_writing"),
        "connections_waiting",
    )
    values = {f"nginx_ingress_nginx_{name}": one for name, one in zip(names, numbers, strict=False)}
    prefix = "nginx_ingress_controller_nginx"
    values[f"{prefix}_reloads_total"] = controller.version
    values[f"{prefix}_reload_errors_total"] = controller.failed_reloads
    return "".join(f'{name}{{class="nginx"}} {value}\n' for name, value in values.items())


def serve(port: int, controller: Controller) -> None:
    """Answer probes and Prometheus on a port, in the background."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/nginx-ready":
                self._answer(200 if controller.ready else 503, "")
            elif self.path == "/metrics":
                answer = _ask_socket(main_conf.STATUS_SOCKET, "/stub_status")
                self._answer(200, metrics(controller, answer.partition("\r\n\r\n")[2]))
            else:
                self._answer(404, "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Probes are no news."""

    server = http.server.ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> int:
    """Run in a pod."""
    try:
        read = flags(sys.argv[1:])
    except Unsupported as error:
        print(error, file=sys.stderr)
        return 1
    controller = Controller(read, Api())
    signal.signal(signal.SIGTERM, lambda *_: controller.stop())
    for name in Path(main_conf.FOLDER).glob("*.sock"):
        name.unlink()
    serve(read.ready_port, controller)
    if read.metrics:
        serve(read.metrics_port, controller)
    say(f"stand-in for NGINX Ingress Controller 5.5.4, process {os.getpid()}")
    try:
        return controller.run()
    except Unsupported as error:
        print(error, file=sys.stderr)
        return 1
