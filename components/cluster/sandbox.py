"""The embedded control plane, as `python -m sandbox start` has started it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.cluster.base import AMD64, Capabilities, Cluster, ClusterError
from sandbox import controlplane
from sandbox.controlplane import Status
from sandbox.parts import DEPLOYER, Layout


@dataclass(frozen=True)
class SandboxArgs:
    """Which sandbox: its name, and the folder that holds all of it (None: the name's own)."""

    name: str = "default"
    data_dir: Path | None = None


class Sandbox(Cluster):
    """A sandbox that runs; it is neither started nor stopped here.

    Raises:
        ClusterError: it doesn't run, or a part of it died.
        sandbox.state.StateError: its name or data folder isn't usable.
    """

    def __init__(
        self, name: str, args: SandboxArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        status = controlplane.status(args.name, args.data_dir)
        if not status.healthy:
            raise ClusterError(_not_running(args, status))
        layout = Layout(status.data_dir)
        super().__init__("Sandbox", name, opts)
        self._offer(
            name,
            layout.kubeconfig(DEPLOYER).read_text(),
            f"sandbox/{args.name}/{_incarnation(layout)}",
            # Its simulated nodes say that they are amd64, and nothing gives out addresses.
            Capabilities(load_balancer=False, storage_class="", architecture=AMD64),
        )


def _incarnation(layout: Layout) -> str:
    """Changes when the sandbox is made anew: its authority is; its port moves at any start."""
    return hashlib.sha256(Path(layout.certificate("ca")).read_bytes()).hexdigest()[:12]


def _not_running(args: SandboxArgs, status: Status) -> str:
    start = f"python -m sandbox start --name {args.name}"
    if args.data_dir is not None:
        start += f" --data-dir {args.data_dir}"
    if not status.exists:
        return f"sandboxName is {args.name!r}, and no sandbox of that name runs; start it: {start}"
    dead = ", ".join(part.name for part in status.dead)
    return f"sandbox {args.name!r}: {dead} died; start what died again: {start}"
