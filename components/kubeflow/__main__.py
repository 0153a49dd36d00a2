"""`python -m components.kubeflow`: the dashboard; the plan explained; two releases compared."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from components import settings as configuration
from components.choose import kubeflow_args
from components.cluster.base import ClusterError
from components.cluster.kubeconfig import select
from components.errors import MENDABLE
from components.kubeflow import dashboard, explain, releases_text, upgrade
from components.kubeflow.component import KubeflowArgs, owners, planned
from components.kubeflow.plan import as_document
from components.settings import ROOT, Settings, in_project
from sandbox import controlplane
from sandbox.parts import DEPLOYER, Layout
from sandbox.state import StateError
from toolchain.tools import find

LOST = 2
"""Exit status: a change would lose something, or be refused."""


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _explain(arguments: argparse.Namespace) -> int:
    plan = planned(_args(arguments), _say)
    print(explain.explain(plan, explain.find(plan, arguments.object)))
    return 0


def _draw(arguments: argparse.Namespace) -> int:
    args = _args(arguments)
    plan, by_ref = planned(args, _say), owners(args)
    if arguments.format == "json":
        import orjson

        content = orjson.dumps(as_document(plan), option=orjson.OPT_INDENT_2)
    elif arguments.format == "mermaid":
        content = explain.to_mermaid(plan, by_ref).encode()
    else:
        content = explain.to_dot(plan, by_ref).encode()
        if arguments.format == "svg":
            content = _svg(content)
    if arguments.output:
        arguments.output.write_bytes(content)
        _say(f"written: {arguments.output}")
    else:
        sys.stdout.buffer.write(content + b"\n")
    return 0


def _open(arguments: argparse.Namespace) -> int:
    found = dashboard.dashboard_of(_pulumi(), arguments.stack, ROOT)

    def opened(url: str) -> None:
        _say(f"the dashboard is at {url}; Ctrl-C ends it")
        if arguments.browser:
            webbrowser.open(url)

    with contextlib.suppress(KeyboardInterrupt):
        dashboard.show(found, find("kubectl"), opened, _say)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    args = kubeflow_args(settings)
    entries = {
        "kubeflowPatches": settings.kubeflow_patches,
        "kubeflowTransforms": settings.kubeflow_transforms,
    }
    to = upgrade.target_of(arguments.to, args.source)
    report = upgrade.compared(args, to, entries, lambda: _kubeconfig(arguments, settings), _say)
    print(json.dumps(report.document(), indent=2) if arguments.json else releases_text.text(report))
    return LOST if report.losses else 0


def _kubeconfig(arguments: argparse.Namespace, settings: Settings) -> str:
    """Contents of the kubeconfig of a stack's cluster."""
    try:
        if arguments.kubeconfig:
            return json.dumps(select(arguments.kubeconfig).content)
        if settings.cluster == "existing":
            return json.dumps(select(settings.kubeconfig_path(), settings.kube_context).content)
        if settings.cluster == "sandbox":
            folder = in_project(settings.sandbox_data) if settings.sandbox_data else None
            status = controlplane.status(settings.sandbox_name, folder)
            if not status.healthy:
                raise upgrade.NotAsked(f"the sandbox {settings.sandbox_name!r} doesn't run")
            return Layout(status.data_dir).kubeconfig(DEPLOYER).read_text()
        return dashboard.outputs(_pulumi(), arguments.stack, ROOT, ("kubeconfig",))["kubeconfig"]
    except (ClusterError, StateError, dashboard.DashboardError) as error:
        raise upgrade.NotAsked(str(error)) from None


def _pulumi() -> Path:
    # The launcher beside this Python, which knows the pinned CLI and what it needs.
    return Path(sys.executable).with_name("pulumi")


def _svg(dot: bytes) -> bytes:
    import shutil
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise explain.UnknownObject(
            "--format svg needs Graphviz' `dot`, which is not installed; install graphviz, "
            "or use --format mermaid"
        )
    return subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, check=True).stdout


def _args(arguments: argparse.Namespace) -> KubeflowArgs:
    return kubeflow_args(_settings(arguments))


def _settings(arguments: argparse.Namespace) -> Settings:
    values = configuration.of_stack(arguments.stack)
    return configuration.parse(configuration.with_overrides(values, arguments.settings))


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(prog="python -m components.kubeflow", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")
    why = verbs.add_parser("explain", help="why an object waits for what it waits for")
    why.add_argument("object", help="Kind/namespace/name, or the end of it")
    why.set_defaults(run=_explain)
    draw = verbs.add_parser("draw", help="the plan by component")
    draw.add_argument("--format", choices=["svg", "dot", "mermaid", "json"], default="mermaid")
    draw.add_argument("--output", type=Path, help="file to write (default: standard output)")
    draw.set_defaults(run=_draw)
    bring = verbs.add_parser("open", help="the dashboard of a stack that is up, in a browser")
    bring.add_argument("-s", "--stack", default="local", help="(default: %(default)s)")
    bring.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only say where it is"
    )
    bring.set_defaults(run=_open)
    compare = verbs.add_parser(
        "compare",
        help="what another release takes away or breaks",
        description="What the step to another release takes away or breaks; nothing is changed. "
        "Exit status 0: nothing is lost; 2: something would be lost, or refused.",
    )
    compare.add_argument("--to", required=True, metavar="REF_OR_PATH", help="the other release")
    compare.add_argument("--json", action="store_true", help="for scripts")
    compare.add_argument(
        "--kubeconfig", type=Path, help="of the cluster to ask (default: the stack's)"
    )
    compare.set_defaults(run=_compare)
    for verb in (why, draw, compare):
        verb.add_argument("-s", "--stack", default="local", help="whose settings (%(default)s)")
        verb.add_argument(
            "--set",
            action="append",
            default=[],
            dest="settings",
            metavar="SETTING=VALUE",
            help="a setting of Pulumi.yaml on top of the stack's; may be given again",
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are shown as their text, exit code 1."""
    arguments = build_parser().parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except (*MENDABLE, explain.UnknownObject, dashboard.DashboardError) as error:
        print(error, file=sys.stderr)
        return 1
    return result


if __name__ == "__main__":
    sys.exit(main())
