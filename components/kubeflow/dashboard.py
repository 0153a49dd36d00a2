"""The dashboard on this machine: a port-forward that is made again when its connection is lost."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_FORWARDS = "Forwarding from "
_HANDLES = "Handling connection "


class DashboardError(RuntimeError):
    """The dashboard can't be reached; the message says why and what mends it."""


@dataclass(frozen=True)
class Dashboard:
    """Where a stack's dashboard is: the outputs `url`, `portForward` and `kubeconfig`."""

    url: str
    command: tuple[str, ...]
    """kubectl and its words."""
    kubeconfig: str = field(repr=False)
    """Its contents."""


def dashboard_of(pulumi: Path, stack: str, project: Path) -> Dashboard:
    """The dashboard of a stack that is up.

    Raises DashboardError when the stack can't be read or is not up.
    """
    found = outputs(pulumi, stack, project, ("url", "portForward", "kubeconfig"))
    # Where a provider signs in behind a gateway, the dashboard is nowhere else.
    by_gateway = found["url"] == found.get("gatewayUrl")
    command = tuple(shlex.split(found["gatewayPortForward" if by_gateway else "portForward"]))
    return Dashboard(found["url"], command, found["kubeconfig"])


def outputs(pulumi: Path, stack: str, project: Path, wanted: Sequence[str]) -> dict[str, str]:
    """All outputs of a stack that is up, secrets in plain.

    Raises DashboardError when the stack can't be read or has not all that are `wanted`.
    """
    done = subprocess.run(
        [pulumi, "stack", "output", "--json", "--show-secrets", "--stack", stack],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().removeprefix("error: ")
        raise DashboardError(f"the outputs of the stack {stack!r} can't be read: {said}")
    found: dict[str, str] = json.loads(done.stdout)
    # What another passphrase encrypted comes as null, and no error.
    if unread := [name for name in wanted if name in found and found[name] is None]:
        raise DashboardError(
            f"the output {', '.join(unread)} of the stack {stack!r} can't be decrypted: is the "
            "passphrase in $PULUMI_CONFIG_PASSPHRASE or $PULUMI_CONFIG_PASSPHRASE_FILE the stack's?"
        )
    if missing := [name for name in wanted if not found.get(name)]:
        raise DashboardError(
            f"the stack {stack!r} has no output {', '.join(missing)}; "
            f"bring it up first: pulumi up -s {stack}"
        )
    return found


def show(
    dashboard: Dashboard,
    kubectl: Path,
    opened: Callable[[str], object],
    say: Callable[[str], object],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Forward until interrupted, and give `opened` the URL once it answers.

    The kubeconfig lies in a folder that only its owner may enter, for as long as this runs.

    Raises:
        DashboardError: the first connection can't be made. A later one is tried again, after 1 s at
            first and 30 s at most.
    """
    with tempfile.TemporaryDirectory(prefix="ml-platform-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(dashboard.kubeconfig)
        words = [str(kubectl), *dashboard.command[1:]]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        seconds, answered = _FIRST_PAUSE, False

        def announce() -> None:
            opened(dashboard.url)

        while True:
            answers, said = _forward(words, environment, None if answered else announce)
            answered = answered or answers
            if not answered:
                raise DashboardError(f"{shlex.join(dashboard.command)} failed: {said}")
            seconds = _FIRST_PAUSE if answers else min(2 * seconds, _LONGEST_PAUSE)
            say(f"connection lost ({said}); again in {seconds:.0f} s")
            pause(seconds)


def _forward(
    words: Sequence[str], environment: Mapping[str, str], opened: Callable[[], object] | None
) -> tuple[bool, str]:
    """Run kubectl to its end; whether it forwarded at all, and the last that it said."""
    answers, last = False, ""
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for line in process.stdout or ():
            # One line for each of IPv4 and IPv6.
            if line.startswith(_FORWARDS) and not answers:
                answers = True
                if opened:
                    opened()
            elif line.strip() and not line.startswith((_FORWARDS, _HANDLES)):
                last = line.strip().removeprefix("error: ")
    finally:
        process.terminate()
        process.wait()
    return answers, last or f"kubectl ended with {process.returncode}"
