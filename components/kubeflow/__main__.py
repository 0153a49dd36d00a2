"""`python -m components.kubeflow`: the dashboard; why an object waits; the plan as a picture."""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from components import settings as configuration
from components.choose import kubeflow_args
from components.errors import MENDABLE
from components.kubeflow import dashboard, explain
from components.kubeflow.component import KubeflowArgs, owners, planned
from components.kubeflow.plan import as_document
from components.settings import ROOT
from toolchain.tools import find


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
    # The launcher beside this Python, which knows the pinned CLI and what it needs.
    pulumi = Path(sys.executable).with_name("pulumi")
    found = dashboard.dashboard_of(pulumi, arguments.stack, ROOT)

    def opened(url: str) -> None:
        _say(f"the dashboard is at {url}; Ctrl-C ends it")
        if arguments.browser:
            webbrowser.open(url)

    with contextlib.suppress(KeyboardInterrupt):
        dashboard.show(found, find("kubectl"), opened, _say)
    return 0


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
    values = configuration.of_stack(arguments.stack)
    values = configuration.with_overrides(values, arguments.settings)
    return kubeflow_args(configuration.parse(values))


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
    for verb in (why, draw):
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
