"""Where the pinned tools are on this machine.

Only looks at files: no subprocess, no socket.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from toolchain.pins import TOOLS, GoSource, Tool, UnsupportedPlatform, this_platform


class ToolMissing(RuntimeError):
    """A tool is not installed; the message names it and the fix."""


class Origin(StrEnum):
    """How a tool came to be on this machine."""

    DOWNLOADED = "downloaded"
    BUILT = "built"
    UNPACKED = "unpacked"
    ON_PATH = "on PATH"


@dataclass(frozen=True)
class Installed:
    """A tool that is there: the absolute path of its executable, and where it is from."""

    tool: Tool
    path: Path
    origin: Origin


def cache_folder() -> Path:
    """The project's cache: $XDG_CACHE_HOME or ~/.cache, then ml-platform."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "ml-platform"


def pulumi_home() -> Path:
    """Where Pulumi keeps its plugins and credentials: $PULUMI_HOME or ~/.pulumi."""
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def find(tool: str) -> Path:
    """The absolute path of a tool's pinned executable.

    Raises:
        ToolMissing: it is not installed, not to be had on this platform, or none of this
            project's tools.
    """
    if tool not in TOOLS:
        raise ToolMissing(f"{tool} is none of this project's tools, which are {', '.join(TOOLS)}")
    pinned = TOOLS[tool]
    try:
        found = installed(pinned)
    except UnsupportedPlatform as error:
        raise ToolMissing(f"{tool} is not to be had: {error}") from error
    if found:
        return found.path
    fix = f"run: make {'setup-real-nodes' if pinned.real_nodes else 'setup'}"
    if pinned.without:
        fix += " (on a machine that may download it), or put your own on PATH"
    needed = f" ({pinned.without})" if pinned.without else ""
    raise ToolMissing(f"{tool} {pinned.version} is not installed{needed}; {fix}")


def installed(tool: Tool) -> Installed | None:
    """A tool as it is on this machine, the publisher's before a built one; None if it is not."""
    for folder, origin in (
        (downloaded_folder(tool), Origin.DOWNLOADED),
        (built_folder(tool), Origin.BUILT),
        (unpacked_folder(tool), Origin.UNPACKED),
    ):
        if folder and os.access(folder / tool.name, os.X_OK):
            return Installed(tool, folder / tool.name, origin)
    if (tool.without or tool.debian) and (path := shutil.which(tool.name)):
        return Installed(tool, Path(path).absolute(), Origin.ON_PATH)
    return None


def downloaded_folder(tool: Tool) -> Path | None:
    """Where a tool's download is put; None if nobody publishes it with checksums."""
    return _folder(tool, "downloaded") if tool.release else None


def built_folder(tool: Tool) -> Path | None:
    """Where a tool built from source is put: another for another source, flags or platform."""
    return _folder(tool, build_key(tool.source, tool.version)) if tool.source else None


def unpacked_folder(tool: Tool) -> Path | None:
    """Where a tool from Debian's packages is put; None if it is from elsewhere."""
    if tool.debian is None:
        return None
    return _folder(tool, hashlib.sha256(repr(tool.debian).encode()).hexdigest()[:16])


def linker_flags(source: GoSource, version: str) -> str:
    """Go's `-ldflags` for a tool: no symbol table, and its version where it must be told."""
    if not source.version_variable:
        return "-s -w"
    return f"-s -w -X {source.version_variable}=v{version}"


def build_key(source: GoSource, version: str) -> str:
    """Digest of what decides a build: go.mod, go.sum, package, flags, tags, own sources."""
    digest = hashlib.sha256(f"{source.package}\0{linker_flags(source, version)}\0".encode())
    if source.tags:
        digest.update(f"{source.tags}\0".encode())
    # A module of this project's own has sources beside its go.mod.
    for path in (*(source.module / name for name in ("go.mod", "go.sum")), *_sources(source)):
        digest.update(path.read_bytes())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _sources(source: GoSource) -> list[Path]:
    return sorted(source.module.glob("*.go"))


def _folder(tool: Tool, key: str) -> Path:
    return cache_folder() / "tools" / tool.name / f"{tool.version}-{this_platform()}-{key}"
