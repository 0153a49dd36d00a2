"""The `pulumi` command of this project's virtual environment.

Runs the pinned Pulumi CLI with the settings that a platform of hundreds of objects needs, so that
plain `pulumi up` has them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

from toolchain.environment import adoptable, backend_url, engine_environment, selected_stack
from toolchain.locks import clear_stale
from toolchain.tools import ToolMissing, find

PROJECT = Path(__file__).resolve().parents[1]
MARK = "ML_PLATFORM_LAUNCHER"
"""Set for the program, so that it can tell a bare `pulumi` from this one."""


def main() -> None:
    """Replace this process by the pinned Pulumi CLI."""
    try:
        pulumi = find("pulumi")
    except ToolMissing as error:
        sys.exit(str(error))
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    stack = selected_stack(sys.argv[1:], os.environ, PROJECT, home)
    environment = dict(os.environ)
    environment |= engine_environment(os.environ, adoptable=adoptable(PROJECT, stack))
    environment[MARK] = "1"
    if state := local_state(backend_url(os.environ, home)):
        for line in clear_stale(state):
            print(line, file=sys.stderr)
    os.execve(pulumi, ["pulumi", *sys.argv[1:]], environment)  # noqa: S606


def local_state(backend: str) -> Path | None:
    """The folder of a `file://` back end, None for any other."""
    url = urlparse(backend)
    if url.scheme != "file":
        return None
    path = unquote(url.netloc + url.path)
    return Path(path).expanduser()
