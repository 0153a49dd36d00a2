"""`python -m toolchain`: install the pinned tools, list them, tell where one is."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from toolchain.inventory import missing, rows, table
from toolchain.pins import PLUGINS, TOOLS, Tool, this_platform
from toolchain.tools import Origin, find, installed


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; an error is one message on standard error and exit code 1."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    # A setup that is told to end takes its build with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(arguments)
    except (RuntimeError, OSError) as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("toolchain: interrupted; the next run goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m toolchain",
        description="The pinned tools: downloaded and verified, or built from source where a "
        "download is refused.",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    setup = verbs.add_parser("setup", help="install what is missing")
    setup.add_argument(
        "--retry",
        action="store_true",
        help="ask again for downloads that were refused, also for what was built instead",
    )
    setup.set_defaults(run=_setup)
    listing = verbs.add_parser(
        "list", help="what is used, from where; exit code 1 if one is missing"
    )
    listing.set_defaults(run=_list)
    for verb in (setup, listing):
        verb.add_argument(
            "--sandbox",
            action="store_true",
            help="with the tools of the embedded control plane (on Linux)",
        )
        verb.add_argument(
            "--real-nodes",
            action="store_true",
            help="with the tools of the embedded control plane's real nodes (on Linux)",
        )
    path = verbs.add_parser("path", help="the path of a tool's executable")
    path.add_argument("tool", choices=TOOLS)
    path.set_defaults(run=_path)
    return parser


def _setup(arguments: argparse.Namespace) -> int:
    tools = _wanted(sandbox=arguments.sandbox, real_nodes=arguments.real_nodes)
    if missing(tools, PLUGINS, retry=arguments.retry):
        # Only now: networking and archives take longer to import than all the rest.
        from toolchain.setup import setup

        setup(tools, PLUGINS, _say, retry=arguments.retry)
    _say(table(rows(tools, PLUGINS)))
    pulumi = installed(TOOLS["pulumi"])
    if pulumi and pulumi.origin is Origin.BUILT:
        _say(
            "pulumi is built without its Python language host, which is not published as a module: "
            "plain `pulumi up` uses the project's stand-in"
        )
    if any(not row.there for row in rows(tools, PLUGINS)) or (
        pulumi and pulumi.origin is Origin.BUILT
    ):
        _say("once downloads are possible: python -m toolchain setup --retry")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    lines = rows(_wanted(sandbox=arguments.sandbox, real_nodes=arguments.real_nodes), PLUGINS)
    _say(table(lines))
    lacking = [row.name for row in lines if row.needed and not row.there]
    if lacking:
        print(f"toolchain: missing {', '.join(lacking)}; run: make setup", file=sys.stderr)
    return 1 if lacking else 0


def _path(arguments: argparse.Namespace) -> int:
    _say(str(find(arguments.tool)))
    return 0


def _wanted(*, sandbox: bool, real_nodes: bool) -> list[Tool]:
    if (sandbox or real_nodes) and this_platform().os != "linux":
        _say("the embedded control plane is for Linux: its tools are left out here")
        sandbox = real_nodes = False
    return [
        tool
        for tool in TOOLS.values()
        if (sandbox or not tool.sandbox) and (real_nodes or not tool.real_nodes)
    ]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
