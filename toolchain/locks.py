"""Locks that a killed engine left in a state folder.

The engine's file back end locks a stack by a file that names the process; after a kill -9 nobody
takes it away, and the next run would ask for `pulumi cancel`.
"""

from __future__ import annotations

import json
import socket
from datetime import datetime
from pathlib import Path

import psutil

_CLOCK_STEP = 60.0


def clear_stale(state: Path) -> list[str]:
    """Remove the locks whose process, on this very host, is gone.

    Args:
        state: the folder of a `file://` back end (the one that holds `.pulumi`).

    Returns:
        A line for each lock that was removed.
    """
    removed: list[str] = []
    for lock in sorted((state / ".pulumi" / "locks").rglob("*.json")):
        try:
            owner = json.loads(lock.read_text())
            pid, host = int(owner["pid"]), owner["hostname"]
            taken = datetime.fromisoformat(owner["timestamp"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if host == socket.gethostname() and not _alive(pid, taken):
            lock.unlink(missing_ok=True)
            removed.append(f"took away the lock of process {pid}, which ended without doing so")
    return removed


def _alive(pid: int, taken: datetime) -> bool:
    try:
        # A process younger than the lock has only inherited the number. A minute's grace: after
        # a step of the clock the times no longer fit, and a live lock must not be taken away.
        return psutil.Process(pid).create_time() <= taken.timestamp() + _CLOCK_STEP
    except psutil.Error:
        return False
