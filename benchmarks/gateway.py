"""The gateway: what it costs before a backend, and how its time grows with the number of routes.

Load comes from wrk in a pod. It asks the backend itself, the gateway, and an nginx whose
configuration was written by hand for the same; each in turn, in every round. All are on one node
and share this machine's cores.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from pulumi import automation

from benchmarks.figures import Series, exponent, ratio, table
from benchmarks.gateway_bed import NGINX, Admin, BedError, Installed, arguments, install
from benchmarks.redis_bed import nodes_of
from benchmarks.report import Report, say, show
from components.cluster.sandbox import Sandbox, SandboxArgs
from components.gateway import component, images, kong, nginx, tls
from components.gateway.rendering import Target
from components.gateway.routes import Gateway, parse
from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.engine import open_stack
from sandbox.images.recipes import LOAD
from sandbox.node import cluster

SIZES = (10, 100, 300, 1000)
"""Numbers of routes."""
_HOST = "bench.test"
_BACKEND, _HAND, _WRK = "backend", "by-hand", "wrk"
_REAL = {"ml-platform/node": "real"}
_CONNECTIONS, _THREADS, _SECONDS = 32, 1, 4
_ANSWER = "x" * 512
_RATIOS = ("requests", "p99", "CPU")
_STAT = "grep -h '(nginx' /proc/[0-9]*/stat"
_RENDERINGS = 5
Object = dict[str, Any]

_BACKEND_CONF = f"""\
daemon off;
pid /tmp/nginx.pid;
worker_processes 1;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_requests 1000000;
    server {{
        listen 8080 reuseport;
        location / {{ default_type text/plain; return 200 "{_ANSWER}"; }}
    }}
}}
"""
# What somebody writes who wants just this: TLS, one host, one backend, a log of JSON.
_HAND_CONF = """\
daemon off;
pid /tmp/nginx.pid;
worker_processes auto;
error_log stderr notice;
events { worker_connections 1024; }
http {
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr",'
        '"method":"$request_method","host":"$host","path":"$uri","status":"$status",'
        '"bytes":"$body_bytes_sent","seconds":"$request_time","agent":"$http_user_agent",'
        '"backend":"$upstream_addr","backend_seconds":"$upstream_response_time",'
        '"request_id":"$request_id"}';
    access_log /dev/stdout json;
    ssl_protocols TLSv1.2 TLSv1.3;
    upstream backend {
        zone backend 256k;
        server BACKEND:8080 max_fails=3 fail_timeout=10s;
        keepalive 32;
    }
    server {
        listen 80;
        listen 443 ssl;
        http2 on;
        server_name bench.test;
        ssl_certificate /tls/tls.crt;
        ssl_certificate_key /tls/tls.key;
        server_tokens off;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-ID $request_id;
            proxy_pass http://backend;
        }
    }
}
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk says; latencies in ms, `requests` in all."""

    per_second: float
    median: float
    p99: float
    requests: int


def run(rounds: int, sizes: Sequence[int], report: Report) -> None:
    """Measure all of it, print it and write it down."""
    report.head(
        f"{rounds} rounds; wrk: {_CONNECTIONS} connections, {_SECONDS} s each, answers of "
        f"{len(_ANSWER)} bytes."
    )
    _renderings(sizes, report)
    with tempfile.TemporaryDirectory(prefix="benchmark-gateway-") as folder:
        root = Path(folder)
        with _sandbox(root) as sandbox:
            bed = _Bed(sandbox, root)
            _traffic(bed, rounds, report)
            bed.take_down()
            _ups(bed, sizes, report)
    report.write()


# --- traffic -------------------------------------------------------------------------------------


@contextmanager
def _sandbox(root: Path) -> Iterator[RunningSandbox]:
    options = SandboxOptions("benchmark-gateway", 1, data_dir=root / "sandbox", real_nodes=1)
    sandbox = controlplane.start(options, say)
    try:
        cluster.load_images(nodes_of(sandbox), say, [images.NGINX, LOAD])
        yield sandbox
    finally:
        sandbox.stop()


class _Bed:
    """A backend, a gateway, an nginx by hand, and wrk."""

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.kubectl = Admin(sandbox)

    def bring_up(self) -> dict[str, str]:
        """Addresses by what is asked."""
        _namespace(self.kubectl, _BACKEND)
        self._start(_nginx_pod(_BACKEND, _BACKEND, _BACKEND_CONF), _service())
        found: Installed = install(self.kubectl, arguments(_routes(), self.folder))
        backend = self._address(_BACKEND, _BACKEND)
        hand = _nginx_pod(_HAND, NGINX.namespace, _HAND_CONF.replace("BACKEND", backend))
        self._start(hand)
        self._start(_wrk_pod())
        return {
            "backend": f"http://{backend}:8080/",
            "gateway": f"http://{found.pods[0]}/",
            "by hand": f"http://{self._address(_HAND, NGINX.namespace)}/",
        }

    def take_down(self) -> None:
        """The gateway, but for what belongs to no namespace; backends stay, for others to find."""
        self.kubectl.run("delete", "namespace", NGINX.namespace, "--wait=true")

    def wrk(self, url: str) -> Load:
        """What wrk measures."""
        words = ["-t", str(_THREADS), "-c", str(_CONNECTIONS), "-d", f"{_SECONDS}s", "--latency"]
        said = self.kubectl.run(
            *("exec", "-n", _BACKEND, _WRK, "--", "wrk", *words, "-H", f"Host: {_HOST}", url)
        )
        return parsed(said)

    def cpu(self, way: str) -> float:
        """Seconds of processor time that an nginx's processes have used (proc_pid_stat(5))."""
        pod = f"pod/{_HAND}" if way.startswith("by hand") else f"deployment/{NGINX.deployment}"
        namespace = NGINX.namespace
        if way.startswith("backend"):
            pod, namespace = f"pod/{_BACKEND}", _BACKEND
        said = self.kubectl.run("exec", "-n", namespace, pod, "--", "sh", "-c", _STAT)
        ticks = [line.rpartition(")")[2].split()[11:13] for line in said.splitlines()]
        return sum(int(one) for both in ticks for one in both) / os.sysconf("SC_CLK_TCK")

    def _start(self, *objects: Object) -> None:
        self.kubectl.apply(*objects)
        for one in objects:
            if one["kind"] == "Pod":
                meta = one["metadata"]
                ready = ("--for=condition=Ready", "--timeout=60s", f"pod/{meta['name']}")
                self.kubectl.run("wait", "-n", meta["namespace"], *ready)

    def _address(self, name: str, namespace: str) -> str:
        found = self.kubectl.get("pod", name, "-n", namespace)
        return str(found["status"]["podIP"])


def parsed(said: str) -> Load:
    """The report of `wrk --latency`. Raises BedError where requests failed.

    >>> parsed("  50%  1.50ms\\n 99%  900.00us\\n 40 requests in 4.00s\\nRequests/sec:  10.0\\n")
    Load(per_second=10.0, median=1.5, p99=0.9, requests=40)
    """
    if found := re.search(r"Non-2xx.*|Socket errors:.*", said):
        raise BedError(f"wrk: {found[0]}")
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def latency(percent: int) -> float:
        found = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s)$", said, re.MULTILINE)
        if found is None:
            raise BedError(f"wrk says nothing of {percent} %: {said}")
        return float(found[1]) * unit[found[2]]

    rate = re.search(r"^Requests/sec:\s+([\d.]+)", said, re.MULTILINE)
    count = re.search(r"^\s*(\d+) requests in ", said, re.MULTILINE)
    if rate is None or count is None:
        raise BedError(f"wrk says no rate: {said}")
    return Load(float(rate[1]), latency(50), latency(99), int(count[1]))


def _traffic(bed: _Bed, rounds: int, report: Report) -> None:
    """The three one after the other, in another order each round; plain, and with TLS."""
    urls = bed.bring_up()
    ways = {
        **{f"{name}, HTTP": url for name, url in urls.items()},
        **{
            f"{name}, TLS": url.replace("http:", "https:")
            for name, url in urls.items()
            if name != "backend"
        },
    }
    loads: dict[str, list[Load]] = {way: [] for way in ways}
    used: dict[str, list[float]] = {way: [] for way in ways}
    for number, record in report.each_round(rounds):
        order = list(ways.items())
        turn = number % len(order)
        for way, url in order[turn:] + order[:turn]:
            before = bed.cpu(way)
            load = bed.wrk(url)
            used[way].append((bed.cpu(way) - before) / load.requests)
            loads[way].append(load)
            record[way] = {**vars(load), "cpu seconds a request": used[way][-1]}
    rows = []
    for way, measured in loads.items():
        rate, p99 = (_series(measured, of) for of in ("per_second", "p99"))
        cpu = Series(tuple(used[way]))
        row = [way, f"{rate.median:.0f}/s", f"{p99.median:.2f} ms", f"{cpu.median * 1e6:.0f} µs"]
        hand = f"by hand, {way.rpartition(', ')[2]}"
        base = loads[hand]
        ratios = rate.over(_series(base, "per_second"))
        slower = p99.over(_series(base, "p99"))
        dearer = cpu.over(Series(tuple(used[hand])))
        row += [ratio(ratios), ratio(slower), ratio(dearer)]
        rows.append(row)
        report.results[way] = {
            "per second": rate.values,
            "p99": p99.values,
            "rate against by hand": ratios.values,
            "p99 against by hand": slower.values,
            "cpu seconds a request": cpu.values,
            "cpu against by hand": dearer.values,
        }
    heads = ["", "requests", "p99", "its CPU for one", *(f"{of}: to by hand" for of in _RATIOS)]
    show(table(heads, rows) + "\n")


def _series(loads: Sequence[Load], of: str) -> Series:
    return Series(tuple(getattr(load, of) for load in loads))


# --- routes --------------------------------------------------------------------------------------


def many_routes(count: int) -> dict[str, Any]:
    """A file of routes: ten to a host, with a backend and a policy of their own."""
    hosts = range((count + 9) // 10)
    return {
        "hosts": [{"name": f"h{i}.bench.test", "policies": [f"p{i}"]} for i in hosts],
        "backends": [
            {"name": f"b{i}", "service": {"name": "backend", "namespace": _BACKEND, "port": 80}}
            for i in hosts
        ],
        "policies": [{"type": "limits", "name": f"p{i}", "body": "1Mi"} for i in hosts],
        "routes": [
            {
                "name": f"r{i}",
                "hosts": [f"h{i // 10}.bench.test"],
                "path": {"value": f"/r{i % 10}"},
                "backends": [{"name": f"b{i // 10}"}],
            }
            for i in range(count)
        ],
    }


def _renderings(sizes: Sequence[int], report: Report) -> None:
    """From the file's content to objects, by both implementations."""
    renderers: dict[str, Callable[[Gateway, Target], list[Object]]] = {
        "nginx": nginx.render,
        "kong": kong.render,
    }
    measured: dict[str, list[Series]] = {name: [] for name in ("read", *renderers)}
    rows = []
    for size in sizes:
        content = many_routes(size)
        read = _timed(partial(parse, content))
        measured["read"].append(read)
        row = [str(size), _milliseconds(read)]
        model = parse(content)
        counts = []
        for name, render in renderers.items():
            target = Target(namespace="gateway", ingress_class=name)
            series = _timed(partial(render, model, target))
            measured[name].append(series)
            counts.append(str(len(render(model, target))))
            row.append(_milliseconds(series))
        rows.append([*row, " and ".join(counts)])
    heads = ["routes", "read and checked", "rendered, NGINX", "rendered, Kong", "objects"]
    show(table(heads, rows) + "\n")
    for name, each in measured.items():
        report.results[f"rendering: {name}"] = {
            str(size): series.values for size, series in zip(sizes, each, strict=True)
        }
    if len(sizes) > 1:
        growth = {
            name: exponent(sizes, [series.median for series in each])
            for name, each in measured.items()
        }
        report.results["growth of rendering"] = growth
        said = "; ".join(f"{name}: {value:.2f}" for name, value in growth.items())
        show(f"Time grows with the number of routes to the power of: {said}.\n")


def _timed(work: Callable[[], object]) -> Series:
    values = []
    for _ in range(_RENDERINGS):
        began = time.perf_counter()
        work()
        values.append(time.perf_counter() - began)
    return Series(tuple(values))


def _milliseconds(series: Series) -> str:
    return f"{series.median * 1000:.0f} ms"


def _ups(bed: _Bed, sizes: Sequence[int], report: Report) -> None:
    """`up` of the gateway by the engine: of a new one, and again with nothing to change."""
    rows = []
    for size in sizes:
        model = parse(many_routes(size))
        first, again, count = _up(bed, model)
        rows.append([str(size), str(count), f"{first:.1f} s", f"{again:.1f} s"])
        report.results[f"up with {size} routes"] = {
            "first": first,
            "again": again,
            "resources": count,
        }
    show(table(["routes", "resources", "up", "up again"], rows) + "\n")


def _up(bed: _Bed, model: Gateway) -> tuple[float, float, int]:
    """Seconds of the first `up` and of the next one, and how many resources there are."""

    def program() -> None:
        sandbox = Sandbox("sandbox", SandboxArgs(bed.sandbox.name, bed.sandbox.data_dir))
        component.Gateway("gateway", sandbox, arguments(model, bed.folder))

    def timed(stack: automation.Stack) -> tuple[float, int]:
        began = time.monotonic()
        done = stack.up(on_output=lambda _: None)
        changes = done.summary.resource_changes or {}
        return time.monotonic() - began, sum(changes.values())

    said: list[str] = []
    # The engine's PATH is no one else's.
    with mock.patch.dict(os.environ):
        home = bed.sandbox.data_dir / "pulumi-gateway"
        stack = open_stack("gateway", home, {}, said.append, program)
        try:
            first, count = timed(stack)
            again, _ = timed(stack)
        finally:
            stack.destroy(on_output=lambda _: None)
    return first, again, count


# --- pods ----------------------------------------------------------------------------------------


def _routes() -> Gateway:
    return parse(
        {
            "hosts": [{"name": _HOST, "tls": {"type": "ownCa"}, "redirect": False}],
            "backends": [
                {
                    "name": "backend",
                    "service": {"name": "backend", "namespace": _BACKEND, "port": 80},
                }
            ],
            "routes": [{"name": "all", "hosts": [_HOST], "backends": [{"name": "backend"}]}],
        }
    )


def _namespace(kubectl: Admin, name: str) -> None:
    metadata = {"name": name}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    end = time.monotonic() + 30
    while True:
        try:
            kubectl.run("get", "serviceaccount", "default", "-n", name)
        except BedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def _service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _BACKEND, "namespace": _BACKEND},
        "spec": {"selector": {"app": _BACKEND}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def _nginx_pod(name: str, namespace: str, text: str) -> Object:
    """An nginx of the gateway's own image, with a configuration."""
    script = 'printf %s "$CONF" >/tmp/nginx.conf && exec nginx -e stderr -c /tmp/nginx.conf'
    container: Object = {
        "name": "nginx",
        "image": images.NGINX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "env": [{"name": "CONF", "value": text}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
    }
    pod = _pod(name, namespace, container)
    if namespace == NGINX.namespace:
        container["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}]
        pod["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": tls.OWN_SECRET}}]
    return pod


def _wrk_pod() -> Object:
    container = {
        "name": _WRK,
        "image": LOAD,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return _pod(_WRK, _BACKEND, container)


def _pod(name: str, namespace: str, container: Object) -> Object:
    # As the gateway's own: else cgroups would give it more of a busy machine than the others.
    container["resources"] = {"requests": {"cpu": "100m", "memory": "128Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeSelector": _REAL,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": images.NGINX_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
