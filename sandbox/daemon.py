"""Processes that outlive the command which started them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ZOMBIE, _DEAD = "Z", "X"
_STATE, _THREADS, _START_TICKS = 0, 17, 19


@dataclass(frozen=True)
class ProcessId:
    """A process that can't be mistaken for a later one with the same number.

    `started` is the kernel's start time in clock ticks since boot: unlike a wall-clock time it does
    not move when the clock is set. `boot` tells the boots apart.
    """

    pid: int
    started: int
    boot: str


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on (proc(5)), None when there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself hold blanks and parentheses.
    return text.rpartition(")")[2].split()


def spawn(argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> ProcessId:
    """Start `argv` in a session of its own, output appended to `log` (mode 0600).

    Raises OSError when the executable can't be run.
    """
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        dict(environment),
        setsid=True,
        setsigmask=(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    stat = _stat(pid)
    return ProcessId(pid, int(stat[_START_TICKS]) if stat else 0, _boot_id())


def alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs; a zombie does not.

    A killed process counts as running until its last thread, and with it its ports, are gone.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    stat = _stat(process.pid)
    return (
        stat is not None
        and (stat[_STATE] not in (_ZOMBIE, _DEAD) or int(stat[_THREADS]) > 1)
        and int(stat[_START_TICKS]) == process.started
        and process.boot == _boot_id()
    )


def leaders(variable: str, value: str) -> list[ProcessId]:
    """Processes that `spawn` started with this variable in their environment, whoever knows them.

    Not what they started in turn: that is in their session. Other users' processes are not seen.
    """
    wanted = f"{variable}={value}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        # It may end at any moment, and it may be another user's.
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if os.getsid(pid) == pid and wanted in environment and (stat := _stat(pid)):
                found.append(ProcessId(pid, int(stat[_START_TICKS]), _boot_id()))
    return found


def terminate(processes: Sequence[ProcessId], grace: float = 5.0) -> None:
    """End processes: SIGTERM to all, SIGKILL to those left after `grace` seconds; waits for both.

    Raises TimeoutError when the kernel does not end one of them within 10 s of its SIGKILL.
    """
    remaining = _signal(processes, signal.SIGTERM, grace)
    remaining = _signal(remaining, signal.SIGKILL, 10.0)
    if remaining:
        raise TimeoutError(f"processes {[p.pid for p in remaining]} outlived SIGKILL for 10 s")


def _signal(processes: Sequence[ProcessId], number: signal.Signals, wait: float) -> list[ProcessId]:
    remaining = [process for process in processes if alive(process)]
    for process in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    deadline = time.monotonic() + wait
    while (remaining := [p for p in remaining if alive(p)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return remaining


def tail(log: Path, lines: int = 8, width: int = 300) -> list[str]:
    """Last `lines` lines of a log file, each cut to `width` characters; [] when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 64 * 1024))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line[:width] for line in text.splitlines() if line.strip()][-lines:]
