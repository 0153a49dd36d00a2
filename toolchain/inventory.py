"""What of the tools and plugins is there, and what is missing.

Only looks at files, so that a setup with nothing to do costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.debian import unpacked_version
from toolchain.pins import Plugin, Tool
from toolchain.plugins import plugin_folder, plugin_installed, wanted_version
from toolchain.tools import Origin, cache_folder, installed

_ASK_AGAIN = 24 * 3600.0
"""Seconds for which the refusal of something optional is remembered."""


@dataclass(frozen=True)
class Work:
    """What a setup has to do."""

    tools: tuple[Tool, ...]
    plugins: tuple[Plugin, ...]

    def __bool__(self) -> bool:
        return bool(self.tools or self.plugins)


def missing(tools: Sequence[Tool], plugins: Sequence[Plugin], *, retry: bool = False) -> Work:
    """What is not there and may be had.

    Left out is what is optional and was refused within the last day, unless `retry`, which also
    takes in what was built although its publisher has a download.
    """
    return Work(
        tuple(tool for tool in tools if _wants(tool, retry)),
        tuple(
            plugin
            for plugin in plugins
            if not plugin_installed(plugin, wanted_version(plugin))
            and (retry or refusal(plugin) is None)
        ),
    )


def _wants(tool: Tool, retry: bool) -> bool:
    found = installed(tool)
    if found is None:
        return retry or not tool.without or refusal(tool) is None
    return retry and found.origin is Origin.BUILT and tool.release is not None


def refusal(what: Tool | Plugin) -> str | None:
    """Why something optional could not be had within the last day, None if it was not tried."""
    file = _refusal_file(what)
    try:
        if time.time() - file.stat().st_mtime > _ASK_AGAIN:
            return None
        return file.read_text()
    except FileNotFoundError:
        return None


def remember_refusal(what: Tool | Plugin, why: str) -> None:
    """Keep why something optional could not be had, so that it is not asked for each time."""
    file = _refusal_file(what)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(why)


def _refusal_file(what: Tool | Plugin) -> Path:
    name = (
        f"{what.name}-{what.version}"
        if isinstance(what, Tool)
        else f"plugin-{what.name}-{wanted_version(what)}"
    )
    return cache_folder() / "refused" / name


@dataclass(frozen=True)
class Row:
    """A line of the table: `origin` is how it came to be here, `place` is its path or a remark."""

    name: str
    version: str
    origin: str
    place: str
    needed: bool
    there: bool


def rows(tools: Sequence[Tool], plugins: Sequence[Plugin]) -> list[Row]:
    """What there is of tools and plugins, and why the rest is not."""
    return [*map(_tool_row, tools), *map(_plugin_row, plugins)]


def table(lines: Sequence[Row]) -> str:
    """Rows as text, under a heading."""
    cells = [("tool", "version", "from", "path")]
    cells += [(row.name, row.version, row.origin, row.place) for row in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]
        )
        for line in cells
    )


def _tool_row(tool: Tool) -> Row:
    needed = not tool.without
    found = installed(tool)
    if found is None:
        return Row(tool.name, tool.version, *_absence(tool), needed=needed, there=False)
    version = tool.version
    if found.origin is Origin.ON_PATH:
        version = "as it is"
    elif found.origin is Origin.UNPACKED:
        version = unpacked_version(found.path.parent)
    return Row(tool.name, version, found.origin, str(found.path), needed=needed, there=True)


def _plugin_row(plugin: Plugin) -> Row:
    name, version = f"plugin {plugin.name}", wanted_version(plugin)
    if plugin_installed(plugin, version):
        place = str(plugin_folder(plugin, version))
        return Row(name, version, Origin.DOWNLOADED, place, needed=False, there=True)
    return Row(name, version, *_absence(plugin), needed=False, there=False)


def _absence(what: Tool | Plugin) -> tuple[str, str]:
    why = refusal(what) if what.without else None
    return ("missing", what.without) if why is None else ("not available", f"{why}; {what.without}")
