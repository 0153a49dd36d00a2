"""Command line: `python -m doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from doctor.ask import Refused, Unreachable, ask, connection
from doctor.diagnose import diagnose
from doctor.model import Finding, Snapshot

HEALTHY, ILL, UNKNOWN = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """Its options."""
    parser = argparse.ArgumentParser(
        prog="python -m doctor",
        description="Look at a running platform, and name what is wrong and how to mend it. Only "
        "reads. Exit code 0: no errors (there may be warnings); 1: errors; 2: it can't be asked.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--kubeconfig", type=Path, help="(default: $KUBECONFIG, or else ~/.kube/config)"
    )
    where.add_argument(
        "--sandbox", metavar="NAME", nargs="?", const="default", help="an embedded cluster"
    )
    parser.add_argument("--context", default="", help="of the kubeconfig (default: its current)")
    parser.add_argument("--json", action="store_true", help="for scripts")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, judge, print."""
    arguments = build_parser().parse_args(argv)
    try:
        snapshot = ask(connection(_kubeconfig(arguments), arguments.context))
    except (Unreachable, Refused) as error:
        print(f"doctor: {error}", file=sys.stderr)
        return UNKNOWN
    found = diagnose(snapshot)
    if arguments.json:
        print(document(snapshot, found))
    else:
        show(snapshot, found)
    return ILL if any(one.severity == "error" for one in found) else HEALTHY


def document(snapshot: Snapshot, found: Sequence[Finding]) -> str:
    """JSON: {at, healthy, findings: [{severity, code, where, problem, remedy}], unread}."""
    return json.dumps(
        {
            "at": snapshot.now.isoformat(),
            "healthy": not any(one.severity == "error" for one in found),
            "findings": [dataclasses.asdict(one) for one in found],
            "unread": [{"what": what, "why": why} for what, why in snapshot.unread],
        },
        indent=2,
        ensure_ascii=False,
    )


def show(snapshot: Snapshot, found: Sequence[Finding]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    if found:
        table = Table(show_lines=True, expand=False)
        for title in ("", "Where", "What is wrong", "What mends it"):
            table.add_column(title, overflow="fold")
        for one in found:
            colour = "red" if one.severity == "error" else "yellow"
            cells = (Text(one.severity, colour), one.where, one.problem, one.remedy)
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
        console.print(table)
    errors = sum(one.severity == "error" for one in found)
    console.print(
        f"{len(snapshot.pods)} pods on {len(snapshot.nodes)} nodes: "
        f"{errors} errors, {len(found) - errors} warnings"
    )
    for what, why in snapshot.unread:
        console.print(f"not looked at: {what}: {why}")


def _kubeconfig(arguments: argparse.Namespace) -> Path | None:
    if not arguments.sandbox:
        return Path(arguments.kubeconfig) if arguments.kubeconfig else None
    from sandbox import controlplane
    from sandbox.state import StateError

    try:
        return controlplane.admin_kubeconfig(arguments.sandbox)
    except StateError as error:
        raise Unreachable(str(error)) from None
