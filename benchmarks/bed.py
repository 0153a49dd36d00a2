"""What a measured command runs on: a fresh sandbox and folders that nobody used before."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from toolchain.environment import ENGINE, SKIP_CHECKPOINTS
from toolchain.tools import cache_folder, find, pulumi_home

Say = Callable[[str], None]
_number = itertools.count(1)


@dataclass(frozen=True)
class Bed:
    """A running sandbox, and `root`, a folder for all that is written beside it."""

    root: Path
    sandbox: RunningSandbox

    @property
    def state(self) -> Path:
        """The folder of the state back end (it holds `.pulumi`)."""
        return self.sandbox.data_dir / "pulumi"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """For a measured command: the tools are there, but no cache, no login, no settings.

        `extra` goes on top; an engine setting that is "" there is off, as the engine comes.
        """
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("PULUMI_") and key not in ("GOGC", "KUBECONFIG")
        }
        path = [str(find(tool).parent) for tool in ("kubectl", "kustomize")]
        return {
            **kept,
            "PATH": os.pathsep.join([*path, os.environ.get("PATH", os.defpath)]),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "PULUMI_HOME": str(self.root / "pulumi-home"),
            "KUBECACHEDIR": str(self.root / "kubectl-cache"),
            "KUBECONFIG": str(self.sandbox.kubeconfig),
            **(extra or {}),
        }


SETTINGS = (*ENGINE, *SKIP_CHECKPOINTS)
"""The engine's settings, each the name of a variable."""

AS_IT_COMES = dict.fromkeys(SETTINGS, "")
"""The engine without any of them."""


@contextmanager
def fresh(say: Say) -> Iterator[Bed]:
    """A sandbox started for the block, with the default options; nothing of it is left behind."""
    root = Path(tempfile.mkdtemp(prefix="ml-platform-benchmark-"))
    try:
        _link(root / "cache" / "ml-platform" / "tools", cache_folder() / "tools")
        home = pulumi_home()
        _link(root / "pulumi-home" / "plugins", home / "plugins")
        name = f"benchmark-{os.getpid()}-{next(_number)}"
        data = root / "sandbox"
        say("  a fresh sandbox")
        try:
            yield Bed(root, controlplane.start(SandboxOptions(name, data_dir=data)))
        finally:
            controlplane.stop(name, data)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True)
    if target.exists():
        link.symlink_to(target)
