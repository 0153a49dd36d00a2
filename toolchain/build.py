"""Tools built from pinned Go modules, where their download is refused or is not published."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolchain.download import PROGRESS, Say
from toolchain.pins import Tool
from toolchain.tools import linker_flags

_LOG_TAIL = 20
_PER_MODULE = ("GOOS", "GOARCH", "GOFLAGS", "GOWORK", "GOBIN", "GO111MODULE")


class BuildError(RuntimeError):
    """A tool can't be built; the message says why and what to do."""


@dataclass(frozen=True)
class Go:
    """A Go installation. `fetches`: it gets a newer Go by itself where a module asks for it."""

    path: str
    version: str
    fetches: bool


def find_go() -> Go | None:
    """The `go` on PATH, None if there is none. Raises BuildError when it does not run."""
    path = shutil.which("go")
    if path is None:
        return None
    # In the root folder: a go.mod near by would make it answer for another version.
    result = subprocess.run(
        [path, "env", "GOVERSION", "GOTOOLCHAIN"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BuildError(f"{path} does not run: {result.stderr.strip()}")
    version, policy, *_ = [*result.stdout.splitlines(), "", ""]
    # Before 1.21 there was no GOTOOLCHAIN, and no Go that gets another.
    return Go(path, version.removeprefix("go"), policy.rpartition("+")[2] == "auto")


def needed_go(module: Path) -> str:
    """The Go version that a module asks for, as in 1.25.0."""
    match = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise BuildError(f"{module / 'go.mod'} names no Go version; add a line like: go 1.25.0")
    return match[1]


def build(go: Go, tools: Sequence[Tool], folder: Path, *, log: Path, held: int, say: Say) -> None:
    """Build tools of one Go module.

    Args:
        go: what to build with.
        tools: tools whose sources are in the same module and take the same linker flags.
        folder: where the executables are put, each under its tool's name.
        log: the file for Go's output.
        held: a file descriptor that Go keeps open, so that a lock on it outlives this process.
        say: where to tell of progress.

    Raises:
        BuildError: Go is too old or fails; what was compiled stays in Go's own cache.
    """
    sources = [tool.source for tool in tools if tool.source]
    module = sources[0].module
    names = ", ".join(tool.name for tool in tools)
    _check_version(go, module, names, say)
    say(f"{names}: building from source with Go {go.version} (its output: {log})")
    environment = {key: value for key, value in os.environ.items() if key not in _PER_MODULE}
    environment |= {"GOWORK": "off", "GOFLAGS": "-buildvcs=false", "GOBIN": str(folder)}
    flags = linker_flags(sources[0], tools[0].version)
    packages = [source.package for source in sources]
    tags = ["-tags", sources[0].tags] if sources[0].tags else []
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [go.path, "install", "-trimpath", *tags, "-ldflags", flags, *packages],
            cwd=module,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[held],
        )
        try:
            code = _wait(process, names, started, say)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if code:
        raise BuildError(
            f"{names}: `go install` in {module} ended with exit code {code}; run the same command "
            f"again once this is mended, and what was compiled is used:\n{_tail(log)}"
        )
    for tool, package in zip(tools, packages, strict=True):
        (folder / executable(package)).rename(folder / tool.name)
    say(f"{names}: built in {time.monotonic() - started:.0f} s")


def executable(package: str) -> str:
    """What Go calls a package's executable: the last part of its path that is no version."""
    path = PurePosixPath(package)
    return path.parent.name if re.fullmatch(r"v\d+", path.name) else path.name


def _check_version(go: Go, module: Path, names: str, say: Say) -> None:
    needed = needed_go(module)
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", go.version)
    if found is None or _numbers(found[0]) >= _numbers(needed):
        return
    if not go.fetches:
        raise BuildError(
            f"{names}: building needs Go {needed} or newer, found {go.version} ({go.path}), which "
            f"is not allowed to get a newer one itself; install Go {needed} or newer from "
            "https://go.dev/dl, or set GOTOOLCHAIN=auto (from Go 1.21 on)"
        )
    say(f"{names}: Go {go.version} first gets itself Go {needed}")


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _wait(process: subprocess.Popen[bytes], names: str, started: float, say: Say) -> int:
    while True:
        try:
            return process.wait(timeout=PROGRESS)
        except subprocess.TimeoutExpired:
            say(f"{names}: still building, {time.monotonic() - started:.0f} s")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])
