"""The `pulumi` command of this project's virtual environment.

Runs the pinned Pulumi CLI with the settings that a platform of hundreds of objects needs, so that
plain `pulumi up` has them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

from toolchain.environment import (
    adoptable,
    backend_url,
    engine_environment,
    project_folder,
    selected_stack,
    settings_on_command_line,
)
from toolchain.locks import clear_stale
from toolchain.tools import ToolMissing, cache_folder, find

PROJECT = Path(__file__).resolve().parents[1]
MARK = "ML_PLATFORM_LAUNCHER"
"""Set for the program, so that it can tell a bare `pulumi` from this one."""


def main() -> None:
    """Replace this process by the pinned Pulumi CLI."""
    try:
        pulumi = find("pulumi")
    except ToolMissing as error:
        sys.exit(str(error))
    # The environment may be active while another project is worked on.
    if project_folder(sys.argv[1:], Path.cwd()) != PROJECT:
        os.execv(pulumi, ["pulumi", *sys.argv[1:]])  # noqa: S606
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    stack = selected_stack(sys.argv[1:], os.environ, PROJECT, home)
    again = adoptable(PROJECT, stack) and not settings_on_command_line(sys.argv[1:])
    environment = {**os.environ, **engine_environment(os.environ, adoptable=again)}
    environment[MARK] = "1"
    # Pulumi's Python host starts `uv`, which `make setup` puts here where there is none.
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = os.pathsep.join([path, str(cache_folder() / "uv" / "bin")])
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
