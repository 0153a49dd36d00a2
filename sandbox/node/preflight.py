"""What a machine must have to run real nodes, checked before anything is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.node import cgroups, machines, plan
from sandbox.node.commands import NodeError
from sandbox.node.processes import TOOLS

_COMMANDS = {
    "ip": "iproute2",
    "mount": "mount",
    "umount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_KMSG = Path("/dev/kmsg")
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_WATCHERS_OF_A_SANDBOX, _WATCHERS_OF_A_NODE = 16, 10
# sun_path of unix(7) with its last byte, and what containerd adds to its socket's path.
_LONGEST_SOCKET = 107 - len(".ttrpc")


def needs() -> str:
    """What this machine lacks to run real nodes, "" if nothing: for tests that skip without."""
    if sys.platform != "linux":
        return f"Linux, found {sys.platform}"
    if os.geteuid() != 0:
        return f"root, found user {os.geteuid()}"
    lacking = [command for command in _COMMANDS if shutil.which(command) is None]
    if lacking:
        packages = dict.fromkeys(_COMMANDS[command] for command in lacking)
        return f"{', '.join(lacking)} on PATH (packages {', '.join(packages)})"
    if missing := cgroups.missing_controllers():
        return (
            f"the cgroup controllers {', '.join(missing)}, which are not mounted on {cgroups.ROOT}"
        )
    if not _KMSG.exists():
        return "/dev/kmsg, from which the kubelet reads what the kernel killed"
    return ""


def check(real_nodes: int, folder: Path, find: Callable[[str], Path]) -> None:
    """Raise an error unless this machine can run real nodes.

    Args:
        real_nodes: how many.
        folder: the sandbox's data folder, absolute.
        find: gives the executable of a tool.

    Raises:
        NodeError: the machine, the number or the folder won't do.
        toolchain.tools.ToolMissing: a tool is not installed.
    """
    if not 0 <= real_nodes <= plan.MAX_NODES:
        raise NodeError(f"real_nodes: found {real_nodes}, need 0 to {plan.MAX_NODES}")
    if not real_nodes:
        return
    if lacking := needs():
        raise NodeError(f"real_nodes: found {real_nodes}, which needs {lacking}")
    for private in machines.private_folders():
        if folder.is_relative_to(private):
            raise NodeError(
                f"data_dir: found {folder}, but real nodes have a {private} of their own; "
                "choose a folder elsewhere with --data-dir"
            )
    longest = plan.nodes("", 0, real_nodes, folder)[-1].socket
    if len(os.fsencode(longest)) > _LONGEST_SOCKET:
        raise NodeError(
            f"data_dir: found {folder}, whose sockets would have paths of "
            f"{len(os.fsencode(longest))} bytes, need at most {_LONGEST_SOCKET}; "
            "choose a shorter one with --data-dir"
        )
    for tool in TOOLS:
        find(tool)


def check_watches(real_nodes: int) -> None:
    """Raise NodeError when so many new nodes would lack inotify instances, without which they die.

    All processes of a user share them, and each node's have about ten.
    """
    if not real_nodes:
        return
    allowed = int(_INSTANCES.read_text())
    needed = _WATCHERS_OF_A_SANDBOX + _WATCHERS_OF_A_NODE * real_nodes
    used = _watchers()
    if used + needed > allowed:
        raise NodeError(
            f"real_nodes: found {real_nodes}, which needs {needed} inotify instances, but {used} "
            f"of {allowed} are taken; allow more until the next boot: "
            f"sudo sysctl fs.inotify.max_user_instances={used + needed + allowed}"
        )


def _watchers() -> int:
    """How many inotify instances root's processes have."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != 0:
                continue
            for descriptor in folder.iterdir():
                with contextlib.suppress(OSError):
                    count += str(descriptor.readlink()) == "anon_inode:inotify"
    return count
