"""`python -m components.cluster`: stop a stack's minikube for the night, and look whether it runs.

`pulumi up` starts it again: what starts a cluster may give it another address, which is the stack's
to know.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from components import settings as configuration
from components.cluster import minikube_commands as commands
from components.cluster.base import ClusterError
from components.cluster.drivers import run_command
from components.cluster.minikube import PATIENCE, default_folder, observe
from components.cluster.minikube_plan import Observed
from components.errors import MENDABLE
from toolchain.tools import ToolMissing, find


def _stop(arguments: argparse.Namespace) -> int:
    profile, folder, observed = _found(arguments.stack)
    if not _runs(observed):
        print(f"{profile} is stopped already; {_again(arguments.stack)}")
        return 0
    # minikube tells each step as it goes.
    done = subprocess.run(commands.stop(profile), env=_environment(folder), check=False)
    if done.returncode:
        raise ClusterError(
            f"{profile} did not stop: minikube ended with {done.returncode}; its words are above"
        )
    print(f"{profile} is stopped, with its data; {_again(arguments.stack)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    profile, _, observed = _found(arguments.stack)
    for node in observed.nodes:
        print(f"{node.name:<24} machine {node.host}, kubelet {node.kubelet}")
    healthy = bool(observed.nodes) and all(node.runs for node in observed.nodes)
    print(f"{profile} runs" if healthy else f"{profile} does not run; {_again(arguments.stack)}")
    return 0 if healthy else 1


def _found(stack: str) -> tuple[str, Path, Observed]:
    """The profile of a stack's cluster, its folder, and what there is of it.

    Raises:
        ClusterError: the stack runs elsewhere, or its cluster was not made.
        ToolMissing: there is no minikube.
    """
    settings = configuration.parse(configuration.of_stack(stack))
    if settings.cluster != "minikube":
        raise ClusterError(
            f"the stack {stack!r} has cluster {settings.cluster!r}; these commands are for minikube"
            + (": see python -m sandbox --help" if settings.cluster == "sandbox" else "")
        )
    profile = settings.minikube_profile
    folder = default_folder(profile)
    run = partial(run_command, environment=_environment(folder), patience=PATIENCE)
    if run(["minikube", "version"]).missing:
        find("minikube")
    observed = observe(profile, folder, run)
    if not observed.exists:
        raise ClusterError(
            f"minikube has no cluster {profile!r} (minikubeProfile); {_again(stack, 'make')}"
        )
    if observed.made is None:
        raise ClusterError(
            f"minikube has a cluster {profile!r} that was not made here "
            f"({folder / commands.CLUSTER_FILE} is missing); if it is to stop all the same: "
            f"minikube stop --profile={profile}"
        )
    return profile, folder, observed


def _runs(observed: Observed) -> bool:
    """Whether there is something to stop; so too where minikube can't tell."""
    return not observed.nodes or any(node.host != "Stopped" for node in observed.nodes)


def _again(stack: str, verb: str = "start") -> str:
    return f"to {verb} it: pulumi up -s {stack}"


def _environment(folder: Path) -> dict[str, str]:
    """Of minikube's commands: one that `make setup` put beside the other tools is found, too."""
    path = [os.environ.get("PATH", os.defpath)]
    with suppress(ToolMissing):
        path.append(str(find("minikube").parent))
    return {**os.environ, **commands.environment(folder), "PATH": os.pathsep.join(path)}


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(prog="python -m components.cluster", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")
    for name, run, summary in (
        ("stop", _stop, "stop the stack's minikube and keep its data"),
        ("status", _status, "whether its nodes run; exit code 1 unless all do"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.add_argument("-s", "--stack", default="local", help="(default: %(default)s)")
        verb.set_defaults(run=run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are shown as their text, exit code 1."""
    arguments = build_parser().parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except MENDABLE as error:
        print(error, file=sys.stderr)
        return 1
    return result


if __name__ == "__main__":
    sys.exit(main())
