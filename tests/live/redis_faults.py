"""Faults of a Redis on real nodes, and one trial: clients at work, a fault, and what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.redis_bed import Bed, BedError
from tests.support.redis_evidence import (
    Attempt,
    Evidence,
    as_json,
    judge,
    keys_of,
    read_logs,
    table,
)
from tests.support.redis_load import READ

REPORT = Path(__file__).resolve().parents[2] / "dist" / "redis-faults"
"""Where the report of a run goes."""
SOURCE = Path(__file__).resolve().parents[1] / "support"
_PROGRAM = "/source/redis_load.py"
_WARM_UP = 1.5
_FULL = 4
_CALM = 1.5

# Writes to a Redis from inside its own pod, which no cut of the network keeps away.
_INSIDE = """\
while :; do
  echo "$(date +%s.%N) $(timeout 2 redis-cli --no-auth-warning --user "$REDIS_USER" \
    $REDIS_TLS_ARGS SET \"load:{$0}:inside\" 1 2>&1)"
done
"""


# --- faults --------------------------------------------------------------------------------------


def process_of(bed: Bed, pod: str, program: str = "redis-server") -> int:
    """The process of a pod's program, as this machine numbers it."""
    found = bed.get("pod", "-n", bed.namespace, pod)
    containers = {
        status["containerID"].partition("://")[2] for status in found["status"]["containerStatuses"]
    }
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != program:
            continue
        with contextlib.suppress(OSError):
            groups = Path(f"/proc/{process.pid}/cgroup").read_text()
            if any(container in groups for container in containers):
                return process.pid
    raise BedError(f"{pod} runs no {program}")


def kill(bed: Bed, pod: str) -> None:
    """kill -9 of a Redis; its kubelet starts another in the same pod."""
    before = restarts(bed, pod)
    os.kill(process_of(bed, pod), signal.SIGKILL)
    bed.wait(lambda: restarts(bed, pod) > before, f"{pod} is started again")


def restarts(bed: Bed, pod: str) -> int:
    """How often a pod's Redis was started again."""
    found = bed.get("pod", "-n", bed.namespace, pod)
    return sum(status["restartCount"] for status in found["status"]["containerStatuses"])


def delete(bed: Bed, pod: str) -> None:
    """Delete a pod; its StatefulSet makes it anew."""
    before = bed.get("pod", "-n", bed.namespace, pod)["metadata"]["uid"]
    bed.kubectl("delete", "pod", "-n", bed.namespace, pod, "--wait=false")

    def again() -> bool:
        found = bed.get("pods", "-n", bed.namespace, f"--field-selector=metadata.name={pod}")
        return any(item["metadata"]["uid"] != before for item in found["items"])

    bed.wait(again, f"{pod} is made anew")


@contextlib.contextmanager
def written_inside(bed: Bed, pod: str, tag: str) -> Iterator[list[float]]:
    """When a Redis took writes from inside its own pod: filled in at the end."""
    taken: list[float] = []
    process = subprocess.Popen(
        bed.kubectl_command(
            *("exec", "-n", bed.namespace, pod, "-c", "redis", "--", "sh", "-c", _INSIDE, tag)
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines: list[str] = []
    try:
        yield taken
    finally:
        process.terminate()
        if process.stdout:
            lines = process.stdout.read().splitlines()
        process.wait()
        for line in lines:
            at, _, answer = line.partition(" ")
            if answer == "OK":
                taken.append(float(at))


def fill(bed: Bed, tag: str) -> None:
    """Fill the memory of the master of some keys, keep it full for some seconds, and empty it."""
    cluster = ["--cluster"] if bed.topology and bed.topology.topology == "sharded" else []
    words = ["python3", _PROGRAM, "--log", "/log", "--tag", tag, *cluster]
    bed.in_clients(*words, "--seconds", str(_FULL), "fill")
    bed.in_clients(*words, "empty")


def restart_all(bed: Bed) -> None:
    """Restart every pod in turn, as `kubectl rollout restart` does."""
    workloads = bed.kubectl(
        *("get", "statefulsets,deployments", "-n", bed.namespace, "--output=name")
    ).split()
    for workload in workloads:
        bed.kubectl("rollout", "restart", "-n", bed.namespace, workload)
        bed.kubectl("rollout", "status", "-n", bed.namespace, workload, "--timeout=300s")


def reigns(attempts: list[Attempt], tag: str) -> list[str]:
    """The masters that took writes to the keys with a hash tag, in order."""
    writes = (a for a in attempts if a.reign and a.kind != READ and keys_of(a) == tag)
    return list(dict.fromkeys(a.reign for a in writes))


def first_write(attempts: list[Attempt], tag: str, reign: str) -> float:
    """When a master had taken its first write to those keys."""
    return min(
        a.done for a in attempts if a.reign == reign and keys_of(a) == tag and a.kind != READ
    )


def isolate(bed: Bed, pod: str, tag: str, patience: float) -> list[float]:
    """Cut a master off until another one took over, and some seconds longer.

    Returns when the one that is cut off took writes from inside its own pod.
    """
    with bed.cut(pod), written_inside(bed, pod, tag) as inside:
        bed.wait(
            lambda: bed.master_of(tag, cut_off=pod) not in ("", pod), "another master", patience
        )
        time.sleep(5)
    return inside


# --- trials --------------------------------------------------------------------------------------


@dataclass
class Trials:
    """Trials on one bed, and the report of them."""

    bed: Bed
    name: str
    tags: int
    rate: float
    evidence: list[Evidence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    begun: int = 0

    @property
    def _cluster(self) -> list[str]:
        return (
            ["--cluster"] if self.bed.topology and self.bed.topology.topology == "sharded" else []
        )

    def run(self, fault: str, do: Callable[[], None]) -> tuple[Evidence, list[Attempt]]:
        """Clients at work, the fault, calm again; then every acknowledged write is looked for."""
        bed = self.bed
        bed.wait(bed.settled, "all is well before the fault")
        self.begun += 1
        log = bed.folder / f"{self.name}-{self.begun}"
        words = ["python3", _PROGRAM, "--log", f"/log/{log.name}", "--tags", str(self.tags)]
        words += ["--rate", str(self.rate), *self._cluster]
        clients = bed.begin_in_clients(*words, "run")
        try:
            bed.wait(lambda: len(list(log.glob("*.jsonl"))) == 3 * self.tags, "clients work", 30)
            time.sleep(_WARM_UP)
            since = time.time()
            do()
            bed.wait(bed.settled, f"all is well after: {fault}")
            time.sleep(_CALM)
            until = time.time()
        finally:
            log.mkdir(exist_ok=True)
            (log / "stop").touch()
            said = clients.communicate(timeout=60)[0]
        assert clients.returncode == 0, said[-2000:]
        missing = json.loads(bed.in_clients(*words, "verify"))
        attempts = read_logs(log)
        found = judge(fault, attempts, missing, since, until)
        self.evidence.append(found)
        self.report()
        return found, attempts

    def report(self) -> None:
        """Write the evidence so far as JSON and as Markdown."""
        folder = REPORT
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(as_json(self.evidence))
        notes = "".join(f"\n- {note}" for note in self.notes)
        text = f"## {self.name}\n\n{table(self.evidence)}{notes}\n"
        (folder / f"{self.name}.md").write_text(text)
