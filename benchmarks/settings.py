"""What each engine setting of `toolchain.environment` is worth: all on, and each alone off."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import bed, deployment, figures
from benchmarks.deployment import Measured, Subject
from benchmarks.figures import Series
from benchmarks.report import Report, say, show

ALL_ON = "all on"
_FIRST, _AGAIN = "up, empty cluster", "up, no change"
_HEAD = """\
The first `up` and one with no change, each time on a fresh sandbox: with all engine settings, and
with each of them alone as the engine has it. A ratio over 1 is what the setting saves."""


def run(subject: Subject, names: Sequence[str], rounds: int, limit: float, report: Report) -> None:
    """Measure all on and each setting of `names` off in each round.

    What takes longer than `limit` seconds is ended there and shown as more than that.
    """
    report.head(_HEAD)
    say(f"{subject.wanted.count} objects")
    variants = {ALL_ON: dict[str, str](), **{f"without {name}": {name: ""} for name in names}}
    found: dict[str, dict[str, list[Measured]]] = {}
    for number, record in report.each_round(rounds):
        order = list(variants)
        for variant in order if number % 2 == 0 else order[::-1]:
            record[variant] = _round(subject, variants[variant], limit, variant)
            for what, measured in record[variant].items():
                found.setdefault(variant, {}).setdefault(what, []).append(measured)
    rows = [[v, *(_cell(found, v, what) for what in (_FIRST, _AGAIN))] for v in variants]
    report.results = {
        variant: {what: _times(runs).median for what, runs in whats.items()}
        for variant, whats in found.items()
    }
    show(figures.table(["settings", _FIRST, _AGAIN], rows))
    report.write()


def _round(
    subject: Subject, extra: dict[str, str], limit: float, variant: str
) -> dict[str, Measured]:
    measured = {}
    with bed.fresh(say) as place:
        for what in (_FIRST, _AGAIN):
            result = deployment.verb(
                "up", place, subject, limit, extra=extra, may_take_longer=bool(extra)
            )
            measured[what] = result
            say(f"  {variant}: {what}: {result.seconds:.1f} s{'' if result.finished else ', cut'}")
            if not result.finished:
                break
    return measured


def _times(runs: Sequence[Measured]) -> Series:
    return Series(tuple(run.seconds for run in runs))


def _cell(found: dict[str, dict[str, list[Measured]]], variant: str, what: str) -> str:
    runs, base = found[variant].get(what, []), found[ALL_ON][what]
    if len(runs) < len(base):
        return "not reached in every round"
    if not all(run.finished for run in runs):
        cut = next(run for run in runs if not run.finished)
        return f"not finished after {cut.seconds:.0f} s, {cut.objects} objects"
    if variant == ALL_ON:
        return figures.seconds(_times(runs))
    return f"{figures.ratio(_times(runs).over(_times(base)))}; {_times(runs).median:.1f} s"
