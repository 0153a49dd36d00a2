"""Command line: `python -m benchmarks <verb>`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import (
    aws,
    bed,
    deployment,
    gateway,
    gateway_bed,
    growth,
    redis,
    settings,
    up,
    where,
)
from benchmarks.command import BenchmarkError
from benchmarks.deployment import Subject
from benchmarks.redis_bed import BedError
from benchmarks.report import Report, say
from components.choose import LOCK_FILE
from components.errors import MENDABLE
from components.kubeflow.source import SourceSpec, resolve
from components.settings import Settings
from sandbox.controlplane import SandboxError
from sandbox.engine import PROJECT
from sandbox.network import NetworkError
from sandbox.node.commands import NodeError
from toolchain.tools import cache_folder

_BESIDE = PROJECT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
_RESULTS = PROJECT / "dist" / "benchmarks"
_BED_ERRORS = (BedError, gateway_bed.BedError)


def _source(arguments: argparse.Namespace) -> Path:
    """The folder of manifests: the one given, one beside the project, or the pinned release."""
    given: Path | None = arguments.source or (_BESIDE if _BESIDE.is_dir() else None)
    if given and not (given / "example").is_dir():
        raise BenchmarkError(
            f"--source is {given}, which has no example/; give a folder of kubeflow/manifests"
        )
    spec = SourceSpec(given, ref=Settings().kubeflow_ref)
    return resolve(spec, cache_folder(), LOCK_FILE, say).root


def _subject(arguments: argparse.Namespace) -> Subject:
    source = _source(arguments)
    return deployment.subject(source, deployment.rendered(source))


def _up(arguments: argparse.Namespace, report: Report) -> None:
    up.run(_subject(arguments), arguments.runs, arguments.limit, report)


def _growth(arguments: argparse.Namespace, report: Report) -> None:
    svg = arguments.svg or report.file.with_suffix(".svg")
    growth.run(_source(arguments), arguments.sizes, arguments.runs, arguments.limit, svg, report)


def _where(arguments: argparse.Namespace, report: Report) -> None:
    subject = _subject(arguments)
    where.run(subject, arguments.runs, arguments.limit, arguments.as_it_comes, report)


def _settings(arguments: argparse.Namespace, report: Report) -> None:
    names = arguments.setting or bed.SETTINGS
    settings.run(_subject(arguments), names, arguments.runs, arguments.limit, report)


def _redis(arguments: argparse.Namespace, report: Report) -> None:
    redis.run(arguments.runs, report)


def _gateway(arguments: argparse.Namespace, report: Report) -> None:
    gateway.run(arguments.runs, arguments.sizes, report)


def _aws(arguments: argparse.Namespace, report: Report) -> None:
    aws.run(_source(arguments), arguments.shards, arguments.runs, report)


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and size on embedded control planes that are started for it. "
        "Wants a quiet machine; what it was doing besides is printed before each round.",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb", dest="verb")
    for name, run, runs, summary in (
        ("up", _up, 5, "`up` and `preview` against upstream's loop of kubectl"),
        ("growth", _growth, 5, "time at 150 to 2,444 objects, as a table and a chart"),
        ("where", _where, 3, "where the time goes; memory; bytes of state"),
        ("settings", _settings, 3, "what each engine setting is worth"),
        ("aws", _aws, 3, "the AWS program's preview, by node groups and shards of Redis"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run=run)
        verb.add_argument("--runs", type=_positive, default=runs, help="rounds (%(default)s)")
        verb.add_argument(
            "--source",
            type=Path,
            help="folder of kubeflow/manifests (default: the pinned release)",
        )
        verb.add_argument(
            "--limit",
            type=_positive,
            default=900,
            metavar="SECONDS",
            help="how long one command may take (%(default)s)",
        )
        verb.add_argument(
            "--json",
            type=Path,
            default=_RESULTS / f"{name}.json",
            metavar="FILE",
            help="where every run is written (%(default)s)",
        )
    verbs.choices["growth"].add_argument(
        "--sizes", type=_positive, nargs="+", default=growth.SIZES, help="objects (%(default)s)"
    )
    verbs.choices["growth"].add_argument(
        "--svg", type=Path, metavar="FILE", help="the chart (default: beside the JSON)"
    )
    verbs.choices["where"].add_argument(
        "--as-it-comes",
        type=int,
        default=300,
        metavar="SECONDS",
        help="how long to watch the engine without settings; 0: not at all (%(default)s)",
    )
    for name, of_bed, summary in (
        (
            "redis",
            _redis,
            "Redis: what the entry proxy costs, how reads scale, how long a failover takes",
        ),
        (
            "gateway",
            _gateway,
            "the gateway: requests a second against an nginx by hand; time by number of routes",
        ),
    ):
        measured = verbs.add_parser(name, help=summary, description=summary)
        measured.set_defaults(run=of_bed)
        measured.add_argument("--runs", type=_positive, default=5, help="rounds (%(default)s)")
        measured.add_argument(
            "--json",
            type=Path,
            default=_RESULTS / f"{name}.json",
            metavar="FILE",
            help="where every run is written (%(default)s)",
        )
    verbs.choices["gateway"].add_argument(
        "--sizes", type=_positive, nargs="+", default=gateway.SIZES, help="numbers of routes"
    )
    verbs.choices["aws"].add_argument(
        "--shards", type=_positive, nargs="+", default=aws.SHARDS, help="of Redis (%(default)s)"
    )
    verbs.choices["settings"].set_defaults(limit=300)
    verbs.choices["settings"].add_argument(
        "--setting", action="append", choices=bed.SETTINGS, help="only this; may be given again"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are shown as their text, exit code 1."""
    arguments = build_parser().parse_args(argv)
    # Sandboxes outlive their parent, so an ending must go through every `finally`.
    before = signal.signal(signal.SIGTERM, _end)
    try:
        arguments.run(arguments, Report(arguments.verb, arguments.json))
    except (
        *MENDABLE,
        *_BED_ERRORS,
        BenchmarkError,
        NetworkError,
        NodeError,
        SandboxError,
    ) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
