"""Programs that images hold, built from pinned Go modules."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox.images.recipe import ImageError, Program
from toolchain.build import find_go, needed_go

_LOG_TAIL = 20


def build(program: Program, target: Path) -> None:
    """Build a program for this machine's processor, without a C library.

    Raises:
        ImageError: there is no Go here, or it fails; what it compiled stays in its cache.
    """
    go = find_go()
    if go is None:
        raise ImageError(
            f"{program.module.name} is built from source: install Go {needed_go(program.module)} "
            "or newer (https://go.dev/dl)"
        )
    flags = "-s -w"
    if program.version_variable:
        flags += f" -X {program.version_variable}={program.version()}"
    done = subprocess.run(
        [go.path, "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", target, "."],
        cwd=program.module,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-_LOG_TAIL:])
        raise ImageError(f"`go build` in {program.module} failed:\n{tail}")
