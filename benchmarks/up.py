"""`up` and `preview` against upstream's own loop, and against the first `up`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import bed, deployment, figures
from benchmarks.deployment import Measured, Subject
from benchmarks.figures import Series
from benchmarks.report import Report, say, show

FIRST, AGAIN, FULL = "up, empty cluster", "up, no change", "preview, no change"
EMPTY, WARM = "preview, empty cluster", "up, empty cluster, rendered before"
UPSTREAM = "upstream's loop"
_HEAD = f"""\
Each on a sandbox of its own, started before the clock: the same settings, the same manifests.
The clock runs from the command's start until every object is there and every Deployment,
StatefulSet and DaemonSet is available; both are asked of the API server in the same way.
- {UPSTREAM}: `{deployment.UPSTREAM}`
- {FIRST}: `python -m sandbox up`, Python's start and rendering included, no cache of any kind
- {AGAIN}, {FULL}: after that
- {EMPTY}, then {WARM}: on a sandbox of their own"""


def run(subject: Subject, rounds: int, limit: float, report: Report) -> None:
    """Measure every case in each round, the two that are compared in turns first."""
    report.head(_HEAD)
    say(f"{subject.wanted.count} objects")
    cases: dict[str, list[Measured]] = {}

    def measured(name: str, action: Callable[[], Measured]) -> None:
        result = action()
        say(f"  {name}: {result.seconds:.1f} s")
        cases.setdefault(name, []).append(result)

    def ours() -> None:
        with bed.fresh(say) as place:
            for name, verb in ((FIRST, "up"), (AGAIN, "up"), (FULL, "preview")):
                measured(name, partial(deployment.verb, verb, place, subject, limit))
        with bed.fresh(say) as place:
            for name, verb in ((EMPTY, "preview"), (WARM, "up")):
                measured(name, partial(deployment.verb, verb, place, subject, limit))

    def theirs() -> None:
        with bed.fresh(say) as place:
            measured(UPSTREAM, partial(deployment.upstream, place, subject, limit))

    for number, record in report.each_round(rounds):
        for side in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            side()
        record.update({name: runs[-1] for name, runs in cases.items()})
    report.results = _summary(cases, subject.wanted.count)
    show(_table(cases))
    report.write()


def _times(runs: list[Measured]) -> Series:
    return Series(tuple(run.seconds for run in runs))


_AIMS = {FIRST: "0.5", WARM: "0.5", AGAIN: "0.25", FULL: "0.5", EMPTY: "0.5"}


def _ratio(name: str, cases: dict[str, list[Measured]]) -> tuple[str, Series] | None:
    """What a case is compared with, and the ratios round by round."""
    if name == UPSTREAM:
        return None
    base = UPSTREAM if name in (FIRST, WARM) else FIRST
    return base, _times(cases[name]).over(_times(cases[base]))


def _table(cases: dict[str, list[Measured]]) -> str:
    rows = []
    for name in (UPSTREAM, FIRST, WARM, AGAIN, FULL, EMPTY):
        runs, compared = cases[name], _ratio(name, cases)
        last = runs[-1]
        rows.append(
            [
                name,
                figures.seconds(_times(runs)),
                f"{figures.ratio(compared[1])} of {compared[0]}" if compared else "",
                _AIMS.get(name, ""),
                f"{Series(tuple(run.cpu for run in runs)).median:.1f} s",
                f"{last.writes} ({last.failed}, {last.repeated})",
            ]
        )
    header = ["what", "time, median (all)", "ratio", "aim", "CPU", "writes (failed, repeated)"]
    return figures.table(header, rows)


def _summary(cases: dict[str, list[Measured]], objects: int) -> dict[str, object]:
    result: dict[str, object] = {"objects": objects}
    for name, runs in cases.items():
        entry: dict[str, object] = {"median_seconds": _times(runs).median}
        if compared := _ratio(name, cases):
            entry |= {"ratio_to": compared[0], "ratio": compared[1].median}
        result[name] = entry
    return result
