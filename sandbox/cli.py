"""Command line of the sandbox: `python -m sandbox <verb>`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox import controlplane, deploy, parts
from sandbox.controlplane import SandboxError, SandboxOptions
from sandbox.daemon import tail
from sandbox.network import NetworkError
from sandbox.node import cluster
from sandbox.node.commands import NodeError
from sandbox.state import State, StateError
from toolchain.tools import ToolMissing

Verb = Callable[[argparse.Namespace], int]
_DEFAULTS = SandboxOptions()
_CHOSEN = ("nodes", "admission_delay", "real_nodes")


def _start(arguments: argparse.Namespace) -> int:
    began = time.monotonic()

    def progress(message: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {message}", file=sys.stderr)

    known = controlplane.options_of(arguments.name, arguments.data_dir)
    asked = {name: getattr(arguments, name) for name in _CHOSEN}
    options = dataclasses.replace(
        known or SandboxOptions(arguments.name, data_dir=arguments.data_dir),
        **{name: value for name, value in asked.items() if value is not None},
    )
    sandbox = controlplane.start(options, progress)
    progress(f"sandbox '{sandbox.name}' is ready")
    print(f"export KUBECONFIG={sandbox.admin_kubeconfig}")
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    status = controlplane.status(arguments.name, arguments.data_dir)
    if not status.exists:
        return _none(status)
    controlplane.stop(arguments.name, arguments.data_dir, keep=True)
    print(f"stopped; its data stay in {status.data_dir}. Go on: {status.restart}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    controlplane.stop(arguments.name, arguments.data_dir)
    return 0


def _none(status: controlplane.Status) -> int:
    print(
        f"there is no sandbox '{status.name}'; start it: "
        f"python -m sandbox start --name {status.name}"
    )
    return 1


def _status(arguments: argparse.Namespace) -> int:
    status = controlplane.status(arguments.name, arguments.data_dir)
    if not status.exists:
        return _none(status)
    for part in status.parts:
        if part.running:
            print(f"{part.name:<24} running  pid {part.pid:<8} {part.log}")
        elif part.pid is None:
            print(f"{part.name:<24} not started")
        else:
            print(f"{part.name:<24} died     pid {part.pid:<8} {part.log}")
            print(f"{'':<24}   last line: {part.hint or '(empty)'}")
    if not status.healthy:
        names = ", ".join(part.name for part in status.dead)
        print(f"not running: {names}; restart: {status.restart}")
    return 0 if status.healthy else 1


def _logs(arguments: argparse.Namespace) -> int:
    status = controlplane.status(arguments.name, arguments.data_dir)
    if not status.exists:
        print(f"there is no sandbox '{status.name}'", file=sys.stderr)
        return 1
    names = [part.name for part in status.parts]
    if arguments.part not in (None, *names):
        print(f"no part '{arguments.part}'; there are: {', '.join(names)}", file=sys.stderr)
        return 1
    for part in status.parts:
        if arguments.part in (None, part.name):
            print(f"==> {part.log} <==")
            print("\n".join(tail(part.log, arguments.lines, width=2000)))
    return 0


def _load(arguments: argparse.Namespace) -> int:
    status = controlplane.status(arguments.name, arguments.data_dir)
    state = State.load(status.data_dir)
    nodes = parts.real_nodes(parts.Layout(status.data_dir), state) if state else ()
    if not nodes:
        raise SandboxError(
            f"sandbox '{status.name}' has no real nodes; start it: "
            f"python -m sandbox start --name {status.name} --real-nodes 1"
        )
    for name in cluster.load_images(nodes, lambda line: print(line, file=sys.stderr)):
        print(name)
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    status = controlplane.status(arguments.name, arguments.data_dir)
    if not status.exists:
        print(f"there is no sandbox '{status.name}'", file=sys.stderr)
        return 1
    print(parts.Layout(status.data_dir).kubeconfig(arguments.user))
    return 0


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Verb,
    summary: str,
) -> argparse.ArgumentParser:
    """Add a verb with the options that all share; `run` returns the exit code."""
    parser = verbs.add_parser(name, help=summary, description=summary)
    parser.add_argument("--name", default=_DEFAULTS.name, help="the sandbox's name (%(default)s)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder that holds all of it (default: $XDG_STATE_HOME/ml-platform/sandbox/<name>)",
    )
    parser.set_defaults(run=run)
    return parser


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A Kubernetes control plane of local processes, with simulated nodes.",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    start = add_verb(
        verbs, "start", _start, "start it, a stopped one with its data, or the parts that died"
    )
    before = "a sandbox that is there keeps its own"
    start.add_argument("--nodes", type=int, help=f"simulated nodes ({_DEFAULTS.nodes}; {before})")
    start.add_argument(
        "--real-nodes",
        type=int,
        help=f"nodes that run containers; needs root ({_DEFAULTS.real_nodes}; {before})",
    )
    start.add_argument(
        "--admission-delay",
        type=float,
        metavar="SECONDS",
        help="from a webhook's Deployment being ready to its server answering "
        f"({_DEFAULTS.admission_delay}; {before})",
    )
    add_verb(verbs, "stop", _stop, "end its processes and keep its data")
    add_verb(verbs, "down", _down, "end it and remove its data")
    add_verb(verbs, "status", _status, "state of each part; exit code 1 unless all run")
    logs = add_verb(verbs, "logs", _logs, "last lines of each part's log")
    logs.add_argument("part", nargs="?", help="one of those that `status` names (default: all)")
    logs.add_argument("--lines", type=int, default=20, help="(%(default)s)")
    add_verb(verbs, "load", _load, "build the images for real nodes, and give them to each")
    kubeconfig = add_verb(verbs, "kubeconfig", _kubeconfig, "path of its kubeconfig")
    kubeconfig.add_argument(
        "--user",
        choices=[parts.ADMIN, parts.DEPLOYER],
        default=parts.ADMIN,
        help="whose; the audit log tells them apart (%(default)s)",
    )
    up = add_verb(verbs, "up", deploy.up, "bring the whole platform onto it")
    preview = add_verb(verbs, "preview", deploy.preview, "show what `up` would change")
    refresh = add_verb(verbs, "refresh", deploy.refresh, "read every object again")
    destroy = add_verb(verbs, "destroy", deploy.destroy, "take the platform off it again")
    for verb in (up, preview, refresh, destroy):
        deploy.add_options(verb)
    for verb in (preview, refresh):
        verb.add_argument("--diff", action="store_true", help="show the changed fields")
    preview.add_argument(
        "--events", type=Path, metavar="FILE", help="write the engine's event log, for `review`"
    )
    figures = add_verb(verbs, "audit", deploy.figures, "count writes; exit code 1 if one failed")
    figures.add_argument("--user", default=parts.DEPLOYER, help="whose writes (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are one line on standard error, exit code 1."""
    arguments = build_parser().parse_args(argv)
    run: Verb = arguments.run
    try:
        return run(arguments)
    except (SandboxError, StateError, NetworkError, NodeError, ToolMissing) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
