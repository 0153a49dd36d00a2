"""Who uses the time and the memory: processes of a command and of the sandbox, sampled."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sandbox.state import State

_INTERVAL = 0.1

PROGRAM, ENGINE = "Python program", "engine"
KUBERNETES, OWN = "provider kubernetes", "provider mlplatform"
OTHER = "other"
# By what stands in the command line, in this order: a plugin's shell becomes a Python process.
_CLIENTS = (
    ("pulumi-resource-kubernetes", KUBERNETES),
    ("sandbox.provider.plugin", KUBERNETES),
    ("pulumi-resource-mlplatform", OWN),
    ("provider.mlplatform", OWN),
)
_BY_NAME = {"pulumi": ENGINE, "kustomize": "kustomize", "kubectl": "kubectl"}


def classify(command_line: list[str], name: str, *, root: bool) -> str:
    """What a process of the measured command is; `root` is the command itself."""
    text = " ".join(command_line)
    for part, what in _CLIENTS:
        if part in text:
            return what
    if root and name.startswith("python"):
        return PROGRAM
    return _BY_NAME.get(name, OTHER)


@dataclass
class Client:
    """One kind of process of a measured command.

    `cpu` in seconds; `first` and `last` are when one of its kind was seen, in seconds from the
    start; `memory` is its part of the peak.
    """

    cpu: float = 0.0
    first: float = 0.0
    last: float = 0.0
    memory: int = 0


@dataclass
class Usage:
    """What a command used, by kind of process.

    `peak` is the largest sum of the resident memory of all client processes at one moment, in
    bytes; pages that several share count for each, so it is no less than the truth. `servers` has
    CPU seconds.
    """

    clients: dict[str, Client] = field(default_factory=dict)
    servers: dict[str, float] = field(default_factory=dict)
    peak: int = 0

    @property
    def sampled_cpu(self) -> float:
        """CPU seconds of all clients; what a process used after its last sample is missing."""
        return sum(client.cpu for client in self.clients.values())


@contextmanager
def watched(pid: int, data_dir: Path, usage: Usage) -> Iterator[None]:
    """Sample the process `pid` and its descendants while the block runs, into `usage`."""
    before = _servers(data_dir)
    sampler = _Sampler(pid, usage)
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()
        after = _servers(data_dir)
        usage.servers = {name: after[name] - before[name] for name in before}


def _servers(data_dir: Path) -> Mapping[str, float]:
    """CPU seconds of each part of a sandbox since it was started."""
    state = State.load(data_dir)
    if state is None:
        return {}
    return {name: _cpu(psutil.Process(p.pid)) for name, p in state.processes.items()}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class _Sampler(threading.Thread):
    def __init__(self, pid: int, usage: Usage) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._usage = usage
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._kinds: dict[psutil.Process, str] = {}
        self._cpu: dict[psutil.Process, float] = {}

    def run(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._sample()

    def stop(self) -> None:
        self._ended.set()
        self.join()
        # The command itself has ended but is still there to be asked for its last seconds.
        self._sample()
        for process, cpu in self._cpu.items():
            self._usage.clients[self._kinds[process]].cpu += cpu

    def _sample(self) -> None:
        now = time.monotonic() - self._began
        memory: dict[str, int] = defaultdict(int)
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                kind = self._kind(process)
                cpu = _cpu(process)
                size = process.memory_info().rss
            except psutil.Error:
                continue
            self._kinds[process], self._cpu[process] = kind, cpu
            memory[kind] += size
            client = self._usage.clients.setdefault(kind, Client(first=now))
            client.last = now
        if sum(memory.values()) > self._usage.peak:
            self._usage.peak = sum(memory.values())
            for kind, client in self._usage.clients.items():
                client.memory = memory.get(kind, 0)

    def _kind(self, process: psutil.Process) -> str:
        known = self._kinds.get(process)
        if known not in (None, OTHER):
            return known
        try:
            command_line = process.cmdline()
        except psutil.ZombieProcess:
            command_line = []
        return classify(command_line, process.name(), root=process == self._root)
