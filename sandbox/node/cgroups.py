"""Cgroups of real nodes: made before a node's processes, which are found and ended by them.

All that a node runs is in its cgroup, whatever started it, so that nothing can outlive a stop.
Versions 1 and 2 of cgroups are laid out as https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html have them.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

from sandbox.node.commands import NodeError

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuset", "memory", "pids")
"""Controllers that the kubelet can't do without."""

_SYSTEM = "system"
_PATIENCE = 10.0
_POLL = 0.02
_INHERITED = ("cpuset.cpus", "cpuset.mems")


def is_unified() -> bool:
    """Whether this machine has cgroups of version 2 only."""
    return (ROOT / "cgroup.controllers").exists()


def missing_controllers() -> list[str]:
    """Controllers that real nodes need and this machine does not have mounted."""
    if is_unified():
        found = set((ROOT / "cgroup.controllers").read_text().split())
    else:
        found = {controller for folder in _hierarchies() for controller in folder.name.split(",")}
    return [controller for controller in NEEDED if controller not in found]


def create(cgroup: str) -> None:
    """Make a node's cgroup in each hierarchy, and the one for its own processes in it."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in (*Path(cgroup).parts, _SYSTEM):
            if is_unified() and part != _SYSTEM:
                _delegate(folder)
            folder = folder / part
            folder.mkdir(exist_ok=True)
            _inherit(folder)


def joining(cgroup: str) -> list[str]:
    """What comes before a command that is to run, with all that it starts, in a node's cgroup."""
    file = _tracking() / cgroup / _SYSTEM / "cgroup.procs"
    return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(file)]


def kill(cgroup: str) -> None:
    """End every process in a cgroup and below it, at once.

    Raises NodeError when the kernel does not end one of them within 10 s.
    """
    deadline = time.monotonic() + _PATIENCE
    while found := processes(cgroup):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise NodeError(f"processes {found} of the cgroup {cgroup} outlived SIGKILL")
        time.sleep(_POLL)


def processes(cgroup: str) -> list[int]:
    """Processes in a cgroup and below it; none if there is no such cgroup."""
    found = []
    for folder, _, files in os.walk(_tracking() / cgroup):
        if "cgroup.procs" in files:
            try:
                text = (Path(folder) / "cgroup.procs").read_text()
            except OSError:
                # Removed meanwhile.
                continue
            found += [int(line) for line in text.split()]
    return found


def remove(cgroup: str) -> None:
    """Remove a cgroup that has no process any more from each hierarchy.

    Raises NodeError when the kernel holds one of them for 10 s.
    """
    deadline = time.monotonic() + _PATIENCE
    # A killed process may still end what it asked of the kernel: look again until there is none.
    while found := [top for h in _hierarchies() if (top := h / cgroup).exists()]:
        walks = (os.walk(top, topdown=False) for top in found)
        for folder, _, _ in itertools.chain.from_iterable(walks):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                # A process counts until its parent has waited for it.
                if time.monotonic() > deadline:
                    raise NodeError(f"the cgroup {folder} can't be removed: {error}") from error
                time.sleep(_POLL)
                break


def _hierarchies() -> list[Path]:
    """Folders of the mounted hierarchies: one of version 2, or one for each set of controllers."""
    if is_unified():
        return [ROOT]
    # A controller has further names as symbolic links. In `unified`, of version 2 beside the
    # others, runc makes containers' cgroups, too.
    return sorted(
        folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.is_symlink()
    )


def _tracking() -> Path:
    """The hierarchy by which processes are found: each of them is in all."""
    return ROOT if is_unified() else ROOT / "pids"


def _delegate(folder: Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{controller}" for controller in available)
    (folder / "cgroup.subtree_control").write_text(wanted)


def _inherit(folder: Path) -> None:
    """Version 1 takes no process into a cgroup without CPUs and memory nodes."""
    for name in _INHERITED:
        file = folder / name
        if not is_unified() and file.exists() and not file.read_text().strip():
            file.write_text((folder.parent / name).read_text())
