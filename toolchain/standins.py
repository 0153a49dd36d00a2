"""Folders with stand-ins for plugins that can't be had on this machine, for the engine's PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

_SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
KUBERNETES = _SANDBOX / "provider" / "bin"
LANGUAGE = _SANDBOX / "language" / "bin"
_HOST = "pulumi-language-python"


def official_plugin(pulumi_home: Path) -> Path | None:
    """The official Kubernetes plugin, where one is installed."""
    found = sorted(
        (pulumi_home / "plugins").glob("resource-kubernetes-v*/pulumi-resource-kubernetes*")
    )
    return found[-1] if found else None


def folders(pulumi: Path, pulumi_home: Path, path: str, *, sandbox: bool) -> list[Path]:
    """The folders to add to PATH.

    Args:
        pulumi: the CLI; its own archive has the language host beside it.
        pulumi_home: where plugins are installed.
        path: PATH as it is.
        sandbox: whether the cluster is an embedded one; the stand-in for the Kubernetes provider
            serves no other.
    """
    found = []
    if not (pulumi.parent / _HOST).exists() and shutil.which(_HOST, path=path) is None:
        found.append(LANGUAGE)
    if sandbox and official_plugin(pulumi_home) is None:
        found.append(KUBERNETES)
    return found
