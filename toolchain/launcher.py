"""The `pulumi` command of this project's virtual environment.

Runs the pinned Pulumi CLI with the settings that a platform of hundreds of objects needs, so that
plain `pulumi up` has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlparse

from toolchain import standins
from toolchain.environment import (
    PROJECT_NAME,
    adoptable,
    backend_url,
    cluster,
    engine_environment,
    project_folder,
    selected_stack,
    settings_on_command_line,
)
from toolchain.locks import stale, taken_away
from toolchain.tools import ToolMissing, cache_folder, find, pulumi_home

PROJECT = Path(__file__).resolve().parents[1]
_CHANGING = frozenset({"up", "update", "preview", "destroy", "refresh", "import"})
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
    home = pulumi_home()
    stack = selected_stack(sys.argv[1:], os.environ, PROJECT, home)
    state = local_state(backend_url(os.environ, home))
    again = (
        # Only there can a killed run be told by its lock.
        state is not None
        and adoptable(PROJECT, stack)
        and not settings_on_command_line(sys.argv[1:])
    )
    environment = {**os.environ, **engine_environment(os.environ, adoptable=again)}
    environment[MARK] = "1"
    # Pulumi's Python host starts `uv`, which `make setup` puts here where there is none.
    path = environment.get("PATH", os.defpath)
    sandbox = cluster(PROJECT, stack) == "sandbox"
    added = [*standins.folders(pulumi, home, path, sandbox=sandbox), cache_folder() / "uv" / "bin"]
    with suppress(ToolMissing):
        added.append(find("minikube").parent)
    environment["PATH"] = os.pathsep.join([path, *map(str, added)])
    if state and stack and not _CHANGING.isdisjoint(sys.argv[1:]):
        recover(pulumi, state, stack, environment)
    os.execve(pulumi, ["pulumi", *sys.argv[1:]], environment)  # noqa: S606


def recover(pulumi: Path, state: Path, stack: str, environment: dict[str, str]) -> None:
    """After a run of the stack that was killed: bring its state up to what is really there.

    State is written at the end of a run only, so a killed one may have removed what the state
    still has. (What it created is adopted by the next one.)
    """
    name = stack.rpartition("/")[2]
    killed = [lock for lock in stale(state, PROJECT_NAME) if lock.stack == name]
    if not killed:
        return
    print(f"a run of stack {stack} was killed: reading its resources again", file=sys.stderr)
    command = [str(pulumi), "refresh", "--yes", "--skip-preview", "--run-program", "--stack", stack]
    try:
        with taken_away(killed):
            subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"stack {stack} could not be read again (exit code {error.returncode}): see above. "
            "Bring its cluster back, then run this again; or keep the state as it is, at your own "
            "risk: pulumi cancel"
        )


def local_state(backend: str) -> Path | None:
    """The folder of a `file://` back end, None for any other."""
    url = urlparse(backend)
    if url.scheme != "file":
        return None
    path = unquote(url.netloc + url.path)
    return Path(path).expanduser()
