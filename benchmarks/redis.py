"""Redis on real nodes: what the entry proxy costs, how reads scale, how long a failover takes.

The clients are redis-benchmark and redis-py in pods, so all is measured from where an application
is. Everything shares this machine's cores: with few of them, more replicas can't show more reads.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.figures import Series, ratio, table
from benchmarks.redis_bed import CLIENTS, Bed, nodes_of
from benchmarks.report import Report, say, show
from components.redis import names
from components.redis.topology import Replicated
from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.node import cgroups, cluster

BENCHMARK = "benchmark"
"""The pod with redis-benchmark."""
DOWN_AFTER = (4000, 8000, 16000)
_NODES = 2
_REQUESTS, _CONNECTIONS, _BYTES = 60_000, 20, 256
_NAMESPACE = "redis-benchmark"
_REDIS, _PROXY = _STAGES = ("redis-server", "haproxy")
"""Processes that a request goes through on its way."""


@dataclass(frozen=True)
class Load:
    """What one run of redis-benchmark says; latencies in ms."""

    per_second: float
    median: float
    p99: float


def topology(replicas: int = 2, down_after: int = 5000) -> Replicated:
    """What is measured: one master with replicas, nothing on disk."""
    return Replicated(
        namespace=_NAMESPACE,
        memory=256,
        persistence="none",
        clients=(CLIENTS,),
        replicas=replicas,
        min_replicas_to_write=1,
        max_lag=2,
        down_after=down_after,
    )


@contextmanager
def beds() -> Iterator[Bed]:
    """A bed on a sandbox that is started for it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-redis-") as folder:
        root = Path(folder)
        options = SandboxOptions("benchmark-redis", 1, data_dir=root / "sandbox", real_nodes=_NODES)
        sandbox: RunningSandbox = controlplane.start(options, say)
        try:
            cluster.load_images(nodes_of(sandbox), say)
            yield Bed(sandbox, root / "bed")
        finally:
            sandbox.stop()


def run(rounds: int, report: Report) -> None:
    """Measure all of it, print it and write it down."""
    report.head(
        f"{rounds} rounds; redis-benchmark: {_REQUESTS} requests of {_BYTES} bytes by "
        f"{_CONNECTIONS} connections with TLS."
    )
    with beds() as bed:
        bed.up(topology())
        _proxy(bed, rounds, report)
        _reads(bed, report)
        _failover(bed, report)
    report.write()


def _proxy(bed: Bed, rounds: int, report: Report) -> None:
    """Through the write endpoint against straight to the master, one after the other."""
    start_benchmark(bed)
    bed.wait(bed.settled, "replicas in step")
    [master] = bed.masters()
    straight = f"{master}.{names.service_host(names.NODES, bed.namespace)}"
    through = names.service_host(names.WRITE, bed.namespace)
    loads: dict[tuple[str, str], list[Load]] = {}
    costs: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for number, record in report.each_round(rounds):
        # Each goes first in every other round.
        order = [("straight", straight), ("through", through)]
        for way, host in order if number % 2 == 0 else reversed(order):
            for test in ("SET", "GET"):
                before = processor_seconds(bed)
                load = benchmark(bed, host, (test.lower(),))[test]
                after = processor_seconds(bed)
                cost = {name: (after[name] - before[name]) / _REQUESTS * 1e6 for name in _STAGES}
                loads.setdefault((test, way), []).append(load)
                costs.setdefault((test, way), []).append(cost)
                record[f"{test} {way}"] = {**vars(load), "processor µs a request": cost}
    rows = []
    for test in ("SET", "GET"):
        figures = {}
        for name, of in (("per second", "per_second"), ("p99", "p99")):
            series = {
                way: Series(tuple(getattr(load, of) for load in loads[test, way]))
                for way in ("straight", "through")
            }
            figures[name] = series["through"].over(series["straight"])
            unit = "/s" if of == "per_second" else " ms"
            digits = 0 if of == "per_second" else 2
            rows.append(
                [
                    f"{test}, {name}",
                    f"{series['straight'].median:.{digits}f}{unit}",
                    f"{series['through'].median:.{digits}f}{unit}",
                    ratio(figures[name]),
                ]
            )
        report.results[test] = {name: series.values for name, series in figures.items()}
    show(table(["", "straight to the master", "through the endpoint", "ratio"], rows) + "\n")
    _stages(costs, report)


def _stages(costs: Mapping[tuple[str, str], Sequence[Mapping[str, float]]], report: Report) -> None:
    """Processor time that a request costs in each stage: with a core each, the dearest one bounds.

    The client is left out: the costlier it is, the less a proxy is felt.
    """
    rows = []
    for test in ("SET", "GET"):
        medians = {
            way: {
                name: Series(tuple(cost[name] for cost in costs[test, way])).median
                for name in _STAGES
            }
            for way in ("straight", "through")
        }
        for way, found in medians.items():
            bound = max(medians["straight"].values()) / max(found.values())
            rows.append(
                [f"{test}, {way}", *(f"{found[name]:.0f} µs" for name in _STAGES), f"{bound:.2f}"]
            )
            report.results[f"{test} {way}, processor µs a request"] = found
    heads = ["processor time a request", *_STAGES, "throughput with a core each, at most"]
    show(table(heads, rows) + "\n")


def _reads(bed: Bed, report: Report) -> None:
    """Reads through the read endpoint, with more and more replicas."""
    rows = []
    base = 0.0
    for replicas in (1, 2, 3):
        bed.up(topology(replicas))
        bed.wait(bed.settled, "replicas in step")
        host = names.service_host(names.READ, bed.namespace)
        # One redis-benchmark uses one core at most.
        load = benchmark(bed, host, ("get",), user="reader")["GET"]
        base = base or load.per_second
        rows.append([str(replicas), f"{load.per_second:.0f}/s", f"{load.per_second / base:.2f}"])
        report.results[f"reads with {replicas}"] = vars(load)
    show(table(["replicas", "reads", "against one"], rows) + "\n")


def _failover(bed: Bed, report: Report) -> None:
    """From a cut of the master's network until a write is taken again."""
    rows = []
    for down_after in DOWN_AFTER:
        bed.up(topology(2, down_after))
        bed.wait(bed.settled, "replicas in step")
        seconds = failover(bed)
        limit = down_after / 1000
        rows.append([f"{limit:.0f} s", f"{seconds:.1f} s", f"{seconds - limit:.1f} s"])
        report.results[f"failover after {down_after}"] = seconds
        bed.wait(bed.settled, "the old master follows the new one")
    show(table(["down-after-milliseconds", "no write for", "on top"], rows) + "\n")


def failover(bed: Bed) -> float:
    """Seconds without a write, from a cut of the master's network on."""
    # Tries again at once, so that it sees the first moment; a try takes half a second at most.
    code = (
        "import os, redis, time\n"
        "from redis.retry import Retry\nfrom redis.backoff import NoBackoff\n"
        "client = redis.Redis.from_url(os.environ['REDIS_WRITE_URL'], socket_timeout=0.5,\n"
        "  ssl_ca_certs=os.environ['REDIS_CA'], retry=Retry(NoBackoff(), 0))\n"
        "end, last, worst = time.time() + 120, None, 0\n"
        "while time.time() < end and worst < 1.5:\n"
        "  try:\n    client.set('failover', '1', ex=60)\n"
        "  except (redis.RedisError, OSError):\n    time.sleep(0.02)\n    continue\n"
        "  now = time.time()\n  worst = max(worst, now - (last or now))\n  last = now\n"
        "  time.sleep(0.01)\n"
        "print(worst)\n"
    )
    [master] = bed.masters()
    bed.start_clients(Path(__file__).parent)
    client = bed.begin_in_clients("python3", "-c", code)
    time.sleep(2)
    with bed.cut(master):
        said = client.communicate(timeout=150)[0]
    return float(said.strip().splitlines()[-1])


def processor_seconds(bed: Bed) -> Mapping[str, float]:
    """Processor time that each stage has used so far: the master, and all pods of the proxy."""
    [master] = bed.masters()
    said = bed.redis_cli(master, "INFO", "cpu").splitlines()
    info = dict(line.split(":") for line in said if ":" in line)
    used = {_REDIS: float(info["used_cpu_user"]) + float(info["used_cpu_sys"]), _PROXY: 0.0}
    for node in nodes_of(bed.sandbox):
        for pid in cgroups.processes(node.cgroup):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.name() == _PROXY:
                    times = process.cpu_times()
                    used[_PROXY] += times.user + times.system
    return used


# --- redis-benchmark -----------------------------------------------------------------------------


def start_benchmark(bed: Bed) -> None:
    """Start the pod with redis-benchmark in the clients' namespace."""
    if bed.topology is None:
        raise ValueError("nothing is installed")
    bed.start_clients(Path(__file__).parent)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": BENCHMARK, "namespace": CLIENTS},
        "spec": {
            "nodeSelector": {"ml-platform/node": "real"},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": BENCHMARK,
                    "image": bed.topology.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "volumeMounts": [{"name": "log", "mountPath": "/log"}],
                }
            ],
            "volumes": [{"name": "log", "hostPath": {"path": str(bed.folder)}}],
        },
    }
    bed.kubectl("apply", "-f", "-", text=json.dumps(pod))
    bed.kubectl(
        *("wait", "-n", CLIENTS, "--for=condition=Ready", f"pod/{BENCHMARK}", "--timeout=60s")
    )


def benchmark(bed: Bed, host: str, tests: Sequence[str], user: str = "app") -> Mapping[str, Load]:
    """What redis-benchmark measures against a host."""
    secret = bed.get("secret", "-n", bed.namespace, names.ACCESS)
    command = [
        *("redis-benchmark", "-h", host, "-p", str(names.REDIS_PORT), "--user", user),
        *("-a", "$PASSWORD", "--tls", "--cacert", "/log/ca.crt", "--csv"),
        *("-n", str(_REQUESTS), "-c", str(_CONNECTIONS), "-d", str(_BYTES), "-r", "10000"),
        *("-t", ",".join(tests)),
    ]
    # By standard input: a command line is for everyone to see.
    script = f"read -r PASSWORD; {' '.join(command)}"
    password = base64.b64decode(secret["data"][user]).decode()
    said = bed.kubectl(
        *("exec", "-i", "-n", CLIENTS, BENCHMARK, "--", "sh", "-c", script), text=f"{password}\n"
    )
    return parse(said)


def parse(said: str) -> dict[str, Load]:
    """The CSV of redis-benchmark, by test."""
    start = said.index('"test"')
    return {
        row["test"]: Load(
            float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"])
        )
        for row in csv.DictReader(io.StringIO(said[start:]))
    }
