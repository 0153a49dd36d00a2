"""Installs what is missing: downloaded where that is possible, built from source elsewhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.build import BuildError, build, find_go, needed_go
from toolchain.debian import unpack
from toolchain.download import Downloads, Refused, Say, place
from toolchain.inventory import Work, missing, remember_refusal
from toolchain.pins import Plugin, Tool, this_platform
from toolchain.plugins import install_plugin, wanted_version
from toolchain.tools import (
    built_folder,
    cache_folder,
    downloaded_folder,
    find,
    installed,
    unpacked_folder,
)


def setup(
    tools: Sequence[Tool], plugins: Sequence[Plugin], say: Say, *, retry: bool = False
) -> None:
    """Install what is missing of `tools` and `plugins`.

    Safe to interrupt and to run twice at once: the second run waits for the first.

    Args:
        tools: the tools that must be there afterwards, but for the optional ones (`without`).
        plugins: plugins of Pulumi's, all optional.
        say: where to tell what is done.
        retry: ask again for downloads that were refused before.

    Raises:
        toolchain.download.DownloadError: a download differs from its publisher's checksum, or
            broke off.
        toolchain.build.BuildError: a tool can be neither downloaded nor built.
        toolchain.debian.DebianError: a tool can't be had from Debian's packages.
        toolchain.plugins.PluginError: Pulumi does not take a plugin.
    """
    if not missing(tools, plugins, retry=retry):
        return
    with _lock(cache_folder() / "setup.lock", say) as held:
        work = missing(tools, plugins, retry=retry)
        staging = cache_folder() / "tools" / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _Setup(say, staging, held).run(work)
        shutil.rmtree(staging)


@dataclass
class _Setup:
    say: Say
    staging: Path
    held: int
    refused: dict[str, str] = field(default_factory=dict)

    def run(self, work: Work) -> None:
        self.downloads = Downloads(self.say)
        for tool in work.tools:
            if tool.debian:
                self._unpack(tool)
        left = [tool for tool in work.tools if not tool.debian and not self._download(tool)]
        self._build([tool for tool in left if installed(tool) is None and not tool.without])
        for tool in left:
            if tool.without:
                self._do_without(tool, tool.version)
        for plugin in work.plugins:
            self._plugin(plugin)

    def _download(self, tool: Tool) -> bool:
        """Whether a tool could be downloaded; it is installed then."""
        final = downloaded_folder(tool)
        if tool.release is None or final is None:
            self.refused[tool.name] = f"{tool.name} is not published with checksums"
            return False
        release = tool.release.of(tool.version, this_platform())
        kept = _downloads_folder() / f"{tool.name}-{tool.version}-{this_platform()}"
        try:
            file = self.downloads.fetch(f"{tool.name} {tool.version}", release, kept)
        except Refused as error:
            self.refused[tool.name] = str(error)
            return False
        place(tool.name, file, release, self.staging / tool.name)
        _keep(self.staging / tool.name, final)
        file.unlink()
        return True

    def _unpack(self, tool: Tool) -> None:
        final = unpacked_folder(tool)
        if final is None:
            return
        started = time.monotonic()
        version = unpack(tool, self.staging / tool.name, final)
        _keep(self.staging / tool.name, final)
        self.say(
            f"{tool.name} {version}: unpacked from Debian's package in "
            f"{time.monotonic() - started:.1f} s"
        )

    def _build(self, tools: list[Tool]) -> None:
        if not tools:
            return
        go = find_go()
        if go is None:
            raise BuildError(self._no_way(tools))
        for module in dict.fromkeys(tool.source.module for tool in tools if tool.source):
            parts = [tool for tool in tools if tool.source and tool.source.module == module]
            folder = self.staging / module.name
            log = cache_folder() / "logs" / f"build-{module.name}.log"
            build(go, parts, folder, log=log, held=self.held, say=self.say)
            for tool in parts:
                self._keep_built(tool, folder / tool.name)

    def _keep_built(self, tool: Tool, executable: Path) -> None:
        final = built_folder(tool)
        if final is None:
            return
        whole = self.staging / f"{tool.name}-whole"
        whole.mkdir()
        executable.rename(whole / tool.name)
        _keep(whole, final)

    def _no_way(self, tools: Sequence[Tool]) -> str:
        why = "; ".join(dict.fromkeys(self.refused[tool.name] for tool in tools))
        modules = {tool.source.module for tool in tools if tool.source}
        newest = max(
            (needed_go(module) for module in modules),
            key=lambda version: [int(number) for number in version.split(".")],
        )
        ways = [f"install Go {newest} or newer (https://go.dev/dl)"]
        if all(tool.release for tool in tools):
            ways.insert(0, "let this machine download (a proxy is taken from $https_proxy)")
        return (
            f"{', '.join(tool.name for tool in tools)}: no download ({why}), and no Go on PATH to "
            f"build from source; {' or '.join(ways)}, then run: make setup"
        )

    def _plugin(self, plugin: Plugin) -> None:
        version = wanted_version(plugin)
        release = plugin.release.of(version, this_platform())
        kept = _downloads_folder() / f"plugin-{plugin.name}-{version}-{this_platform()}.tar.gz"
        name = f"plugin {plugin.name}"
        try:
            file = self.downloads.fetch(f"{name} {version}", release, kept)
        except Refused as error:
            self.refused[plugin.name] = str(error)
            self._do_without(plugin, version)
            return
        install_plugin(find("pulumi"), plugin, version, file)
        file.unlink()
        self.say(f"{name} {version}: installed")

    def _do_without(self, what: Tool | Plugin, version: str) -> None:
        why = self.refused[what.name]
        remember_refusal(what, why)
        name = what.name if isinstance(what, Tool) else f"plugin {what.name}"
        self.say(f"{name} {version}: not available here ({why}); {what.without}")


def _downloads_folder() -> Path:
    return cache_folder() / "downloads"


def _keep(staged: Path, final: Path) -> None:
    """Move a finished folder to its place, so that it is there whole or not at all."""
    for file in staged.iterdir():
        if file.is_file():
            with file.open("rb") as content:
                os.fsync(content)
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[int]:
    """Hold the lock of all setups; yields its file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"waiting for another setup (process {file.read() or '?'}, or a build it left)")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
