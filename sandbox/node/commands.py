"""Commands of this host that set up machines, and how to run something inside one."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

NETWORK_NAMESPACES = Path("/run/netns")


class NodeError(RuntimeError):
    """Real nodes can't be set up; the message says what is missing or what failed."""


def run(command: Sequence[str], text: str = "") -> str:
    """Run a command of this host with `text` as its input, and return its output.

    Raises NodeError when it fails.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{shlex.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def inside(namespace: str, mounts: Path | None = None) -> list[str]:
    """What comes before a command that is to run in a network (and mount) namespace.

    Not `ip netns exec`, which hides the cgroup mounts. The first word is an absolute path.
    """
    command = ["/usr/bin/env", "nsenter", f"--net={NETWORK_NAMESPACES / namespace}"]
    return [*command, f"--mount={mounts}"] if mounts else command
