"""One command as its user waits for it: wall time and CPU time, and an end to it after a limit."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_GRACE = 5.0
_TAIL = 25

Watch = Callable[[int], AbstractContextManager[object]]
"""Opened with the process id when the command has started, closed when it has ended."""


def unwatched(_: int) -> AbstractContextManager[object]:
    """Watches nothing."""
    return nullcontext()


class BenchmarkError(RuntimeError):
    """A measured command failed; the message has the end of its output."""


@dataclass(frozen=True)
class Done:
    """`cpu` seconds include those of all descendants that were waited for."""

    seconds: float
    cpu: float
    finished: bool


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    limit: float,
    watch: Watch = unwatched,
) -> Done:
    """Run a command to its end, or for `limit` seconds; then it is ended with all of its children.

    Raises BenchmarkError when it ends with another code than 0.
    """
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with watch(process.pid):
            finished = _ended(process.pid, limit)
            seconds = time.monotonic() - began
    finally:
        if process.returncode is None and not _ended(process.pid, 0):
            end_tree(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if finished and process.returncode:
        lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
        raise BenchmarkError(
            f"`{' '.join(argv)}` ended with code {process.returncode}:\n  " + "\n  ".join(lines)
        )
    return Done(seconds, usage.ru_utime + usage.ru_stime, finished)


def _ended(pid: int, limit: float) -> bool:
    """Wait for a child's end without asking again and again; it is left to be reaped."""
    handle = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([handle], [], [], limit)
        return bool(ready)
    finally:
        os.close(handle)


def end_tree(pid: int) -> None:
    """End a process and everything that it started: SIGTERM, and SIGKILL after 5 s."""
    try:
        root = psutil.Process(pid)
        processes = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(processes[:-1], timeout=_GRACE)
    for process in [*left, root]:
        _quietly(process.kill)
    psutil.wait_procs(left)


def _quietly(action: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        action()
