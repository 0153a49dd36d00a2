"""Locks that a killed engine left in a state folder.

The engine's file back end locks a stack by a file that names the process; after a kill -9 nobody
takes it away, and the next run would ask for `pulumi cancel`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

_CLOCK_STEP = 60.0


@dataclass(frozen=True)
class StaleLock:
    """A lock whose process, on this very host, is gone; `stack` is the stack it locked."""

    path: Path
    pid: int
    stack: str


def stale(state: Path, project: str) -> list[StaleLock]:
    """The stale locks of a project.

    Args:
        state: the folder of a `file://` back end (the one that holds `.pulumi`).
        project: name in Pulumi.yaml.
    """
    found: list[StaleLock] = []
    for lock in sorted((state / ".pulumi" / "locks" / "organization" / project).rglob("*.json")):
        try:
            owner = json.loads(lock.read_text())
            pid, host = int(owner["pid"]), owner["hostname"]
            taken = datetime.fromisoformat(owner["timestamp"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if host == socket.gethostname() and not _alive(pid, taken):
            found.append(StaleLock(lock, pid, lock.parent.name))
    return found


@contextmanager
def taken_away(locks: Sequence[StaleLock]) -> Iterator[None]:
    """Without these locks; they come back if the block fails, as what they tell still holds.

    A killed run is known by its lock alone: what it did may not be in the state.
    """
    content = {lock.path: lock.path.read_bytes() for lock in locks}
    for path in content:
        path.unlink()
    try:
        yield
    except BaseException:
        for path, text in content.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        raise


def _alive(pid: int, taken: datetime) -> bool:
    try:
        # A process younger than the lock has only inherited the number. A minute's grace: after
        # a step of the clock the times no longer fit, and a live lock must not be taken away.
        return psutil.Process(pid).create_time() <= taken.timestamp() + _CLOCK_STEP
    except psutil.Error:
        return False
