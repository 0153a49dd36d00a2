"""How time grows with the number of objects: a curve."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bed, chart, copies, deployment, figures, writes
from benchmarks.deployment import Measured, Subject
from benchmarks.figures import Series
from benchmarks.report import Report, say, show
from components.kubeflow import catalog, render, source
from components.kubeflow.objects import CRD_KIND
from toolchain.tools import cache_folder, find

SIZES = (150, 300, 611, 1222, 2444)
_FIRST, _AGAIN = "up, empty cluster", "up, no change"
_TOLERANCE = 1.2
_HEAD = """\
Sizes below Kubeflow's own are whole components with what they need. Larger ones are all of
Kubeflow and copies of its namespaces with every object that lives in one; definitions, cluster
roles and webhook configurations are not multiplied. All are rendered from manifests that were made
for this, each on a fresh sandbox with empty caches."""


@dataclass(frozen=True)
class _Size:
    subject: Subject
    objects: int
    definitions: int
    namespaced: int


def run(
    folder: Path, sizes: Sequence[int], rounds: int, limit: float, svg: Path, report: Report
) -> None:
    """Measure the first `up` and one with no change at each size, in each round."""
    report.head(_HEAD)
    with tempfile.TemporaryDirectory(prefix="ml-platform-benchmark-sources-") as scratch:
        subjects = _sizes(folder, sorted(sizes), Path(scratch))
        found: dict[int, dict[str, list[Measured]]] = {}
        state: dict[int, int] = {}
        for _, record in report.each_round(rounds):
            for size in subjects:
                with bed.fresh(say) as place:
                    for what in (_FIRST, _AGAIN):
                        result = deployment.verb("up", place, size.subject, limit)
                        say(f"  {size.objects} objects, {what}: {result.seconds:.1f} s")
                        found.setdefault(size.objects, {}).setdefault(what, []).append(result)
                        record[f"{size.objects} {what}"] = result
                    state[size.objects] = writes.state(place.state)
    medians = {
        what: [(n, _times(runs[what]).median) for n, runs in found.items()]
        for what in (_FIRST, _AGAIN)
    }
    show(_table(subjects, found, state))
    for what, points in medians.items():
        show(f"\n{what}: {verdict(points)}")
    report.results = {"points": medians, "state_bytes": state}
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(_chart(medians))
    say(f"written: {svg}")
    report.write()


def _sizes(folder: Path, sizes: Sequence[int], scratch: Path) -> list[_Size]:
    """The manifests of each size, written below `scratch`."""
    found = source.resolve(source.SourceSpec(folder), cache_folder(), Path())
    parts = render.by_component(found, find("kustomize"), cache_folder())
    components = catalog.read(found.root).components
    needs = {name: tuple(component.requires) for name, component in components.items()}
    subjects = []
    for size in sizes:
        chosen = copies.resized(parts, needs, size)
        objects = [body for bodies in chosen.values() for body in bodies]
        place = scratch / str(size)
        copies.write(chosen, place)
        definitions = sum(body["kind"] == CRD_KIND for body in objects)
        subject = deployment.subject(place, objects)
        subjects.append(_Size(subject, len(objects), definitions, copies.namespaced(objects)))
        say(f"{size} objects wanted: {len(objects)} of {', '.join(chosen)}")
    return subjects


def _times(runs: Sequence[Measured]) -> Series:
    return Series(tuple(run.seconds for run in runs))


def _table(
    subjects: Sequence[_Size],
    found: dict[int, dict[str, list[Measured]]],
    state: dict[int, int],
) -> str:
    rows = []
    for size in subjects:
        row = [str(size.objects), str(size.definitions), str(size.namespaced)]
        for what in (_FIRST, _AGAIN):
            times = _times(found[size.objects][what])
            row += [figures.seconds(times), f"{times.median / size.objects * 1000:.1f} ms"]
        rows.append([*row, figures.megabytes(state[size.objects])])
    header = ["objects", "definitions", "namespaced", _FIRST, "each", _AGAIN, "each", "state"]
    return figures.table(header, rows)


def verdict(points: Sequence[tuple[int, float]]) -> str:
    """The exponent that fits, and the step that cost most over its share, from sizes and times."""
    if len(points) < 2:
        return "one size tells nothing of growth"
    power = figures.exponent([n for n, _ in points], [t for _, t in points])
    steps = list(itertools.pairwise(points))
    over, (before, _), (after, _) = max(
        ((t1 / t0) / (n1 / n0), (n0, t0), (n1, t1)) for (n0, t0), (n1, t1) in steps
    )
    text = "no worse than linear within 20 %" if over <= _TOLERANCE else "WORSE THAN LINEAR"
    marginal = [
        f"{(t1 - t0) / (n1 - n0) * 1000:.1f} ms from {n0} to {n1}" for (n0, t0), (n1, t1) in steps
    ]
    return (
        f"time = c * objects^{power:.2f}; the steepest step, from {before} to {after} objects, is "
        f"{over:.2f} x linear: {text}. Each further object: {', '.join(marginal)}"
    )


def _chart(medians: dict[str, list[tuple[int, float]]]) -> str:
    size, _ = medians[_FIRST][-1]
    base, base_seconds = min(medians[_FIRST], key=lambda point: abs(point[0] - SIZES[2]))
    linear = {f"linear from {base} objects": [(0.0, 0.0), (size, base_seconds * size / base)]}
    return chart.svg(medians, linear, "objects", "seconds")
