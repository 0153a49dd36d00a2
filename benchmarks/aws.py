"""Preview of the AWS stack's program, the whole graph, by node groups and shards of Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import figures
from benchmarks.command import BenchmarkError
from benchmarks.figures import Series
from benchmarks.report import Report, say, show
from sandbox.engine import PROJECT

SHARDS: Final = (3, 30, 300)
"""Shards of ElastiCache; 500 nodes of a cluster are the service's most without a raised quota."""
_LIMIT: Final = 600
_BASE: Final = "no Redis, one node group"
_GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "2 node groups": {"eksGpuTypes": '["g5.xlarge"]'},
    "3 node groups": {"eksGpuTypes": '["g5.xlarge"]', "eksSpotTypes": '["m6i.2xlarge"]'},
}
_HEAD = """\
The program's own time in a preview against mocks: settings, manifests, plan and every registration,
without engine, plugins and AWS. CPU is of all its threads, which a busy machine moves less. A ratio
is of CPU, to the stack without Redis and with one node group."""


def run(source: Path, shards: Sequence[int], rounds: int, report: Report) -> None:
    """Measure every size in each round, in a process of its own.

    Raises:
        BenchmarkError: the program failed; the message is the end of what it printed.
    """
    report.head(_HEAD)
    sizes: dict[str, Mapping[str, str]] = {_BASE: {}, **_GROUPS}
    for count in shards:
        sizes[f"Redis at AWS, {count} shards"] = {
            "redisProvider": "aws",
            "redisTopology": "sharded",
            "redisShards": str(count),
        }
    found: dict[str, list[float]] = {name: [] for name in sizes}
    cpu: dict[str, list[float]] = {name: [] for name in sizes}
    resources: dict[str, int] = {}
    for _, record in report.each_round(rounds):
        for name, settings in sizes.items():
            measured = _once(source, settings)
            record[name] = measured
            found[name].append(measured["seconds"])
            cpu[name].append(measured["cpu"])
            resources[name] = int(measured["resources"])
            say(f"  {name}: {measured['seconds']:.1f} s, {resources[name]} resources")
    base = Series(tuple(cpu[_BASE]))
    rows = []
    for name, times in found.items():
        series, used = Series(tuple(times)), Series(tuple(cpu[name]))
        over = figures.ratio(used.over(base))
        made = str(resources[name])
        rows.append([name, made, figures.seconds(series), figures.seconds(used), over])
        report.results[name] = {
            "resources": resources[name],
            "seconds": series.median,
            "cpu": used.median,
        }
    show(figures.table(["stack", "resources", "time", "CPU", "to the first"], rows))
    report.write()


def _once(source: Path, settings: Mapping[str, str]) -> dict[str, float]:
    values = {
        "cluster": "eks",
        "awsRegion": "eu-central-1",
        "awsPreflight": "false",
        "kubeflowPath": str(source),
        **settings,
    }
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.aws_program", json.dumps(values)],
        check=False,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    lines = answer.stdout.splitlines()
    if answer.returncode or not lines:
        raise BenchmarkError(f"the program failed: {answer.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(lines[-1])
    return measured
