"""Tools from the packages of the machine's own Debian or Ubuntu, unpacked beside the others.

Nothing is installed on the machine. apt verifies what it downloads against the signed index of its
archive (apt-secure(8)).
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolchain.pins import Tool

_PROGRAMS = ("apt-get", "dpkg-deb")
_ROOT, _VERSION = "root", "version"


class DebianError(RuntimeError):
    """A tool can't be had from Debian's packages; the message says why and what to do."""


def unpack(tool: Tool, folder: Path, final: Path) -> str:
    """Make a tool's folder of its packages.

    Args:
        tool: a tool with a Debian source.
        folder: the folder to make; its programs are scripts that set the library path.
        final: where that folder will be moved to.

    Returns:
        The version of the tool's own package.

    Raises:
        DebianError: this machine has no apt, or apt does not get the packages.
    """
    source = tool.debian
    if source is None:
        raise DebianError(f"{tool.name} is in no Debian package")
    if lacking := [program for program in _PROGRAMS if shutil.which(program) is None]:
        raise DebianError(
            f"{tool.name}: this machine has no {' and no '.join(lacking)} to get it by; "
            f"install the package {source.packages[0]} of your distribution"
        )
    root = folder / _ROOT
    root.mkdir(parents=True)
    try:
        _run(["apt-get", "--quiet", "download", *source.packages], folder)
    except DebianError:
        # The lists are older than the archive, or were never fetched.
        _run(["apt-get", "--quiet", "update"], folder)
        _run(["apt-get", "--quiet", "download", *source.packages], folder)
    version = ""
    for file in sorted(folder.glob("*.deb")):
        name, found = _run(
            ["dpkg-deb", "--showformat=${Package} ${Version}", "--show", str(file)], folder
        ).split()
        if name == source.packages[0]:
            version = found
        _run(["dpkg-deb", "--extract", str(file), str(root)], folder)
        file.unlink()
    (folder / _VERSION).write_text(version)
    libraries = {path.parent for path in root.rglob("lib*.so*") if path.is_file()}
    environment = {
        "LD_LIBRARY_PATH": ":".join(
            str(final / path.relative_to(folder))
            for path in sorted(libraries)
            if path.name != "xtables"
        )
    }
    for path in libraries:
        if path.name == "xtables":
            environment["XTABLES_LIBDIR"] = str(final / path.relative_to(folder))
    for name, program, words in source.programs:
        script = folder / name
        script.write_text(_script(environment, [str(final / _ROOT / program), *words]))
        script.chmod(0o755)
    return version


def unpacked_version(folder: Path) -> str:
    """The version of the package that a tool's folder was made of."""
    return (folder / _VERSION).read_text()


def _script(environment: dict[str, str], command: Sequence[str]) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items() if value]
    return "\n".join(["#!/bin/sh", *lines, f'exec {shlex.join(command)} "$@"', ""])


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise DebianError(f"{shlex.join(command)} failed: {'; '.join(words)}")
    return done.stdout
