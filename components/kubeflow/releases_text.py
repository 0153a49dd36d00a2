"""A comparison of two releases as text, what is lost first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from components.kubeflow.objects import CRD_KIND
from components.kubeflow.releases import Gone, Report, split_image
from provider.instances import counted


def text(report: Report) -> str:
    """Headed lists; an empty one is left out."""
    losses = report.losses
    lines = [f"{report.old} -> {report.new}", ""]
    if losses:
        lines += [f"{len(losses)} would be lost, or refused:", *_items(losses)]
    else:
        lines.append("Nothing would be lost.")
    if report.unasked:
        lines += [
            "",
            f"The cluster was not asked: {report.unasked}",
            "Not known: objects of definitions that go, stored versions, APIs that it serves.",
        ]
    for title, entries in _sections(report):
        if found := list(entries):
            lines += ["", title, *_items(found)]
    return "\n".join(lines)


def _items(entries: Iterable[str]) -> Iterator[str]:
    return (f"  {entry}" for entry in entries)


def _sections(report: Report) -> Iterator[tuple[str, Iterable[str]]]:
    gone = [one for one in report.gone if not one.object.startswith(f"{CRD_KIND}/")]
    yield (
        "Objects that go, with what they hold:",
        [f"{one.component}: {one.object}: {one.lost}" for one in gone if one.lost],
    )
    yield "Definitions that go:", _definitions(report)
    yield "Other objects that go:", _by_component([one for one in gone if not one.lost])
    yield "Objects that are new:", (f"{name}: {count}" for name, count in report.added.items())
    yield "Versions of definitions that go:", _versions(report)
    yield (
        "APIs that the cluster does not serve:",
        (f"{one.api_version} {one.kind}: {_some(one.objects)}" for one in report.unserved),
    )
    yield (
        "Objects that are deleted and made anew:",
        (f"{one.component}: {one.object}: {', '.join(one.fields)}" for one in report.replaced),
    )
    yield (
        "Databases:",
        (
            f"{one.object}: {one.old} -> {split_image(one.new)[1]}: {one.means}"
            for one in report.databases
        ),
    )
    yield (
        "Settings that do not fit:",
        (f"{one.setting} {one.entry}: {one.problem}" for one in report.settings),
    )
    yield (
        "Images that change:",
        (
            f"{one.component}: {one.object}: {one.container}: {_moved(one.old, one.new)}"
            for one in report.images
        ),
    )


def _definitions(report: Report) -> Iterator[str]:
    for one in report.definitions:
        if one.instances is None:
            held = "its objects were not counted"
        elif one.instances:
            held = f"{sum(one.instances.values())} objects: {counted(one.instances)}"
        else:
            held = "no objects"
        own = f", and {one.own} of the release itself" if one.own else ""
        yield f"{one.component}: {one.name}: {held}{own}"


def _versions(report: Report) -> Iterator[str]:
    for one in report.versions:
        what = "is removed" if one.removed else "is no longer served"
        if one.refused is None:
            what += "; the cluster was not asked whether objects are stored in it"
        elif one.refused:
            what += f", and the API server refuses that: {one.fix}"
        yield f"{one.definition} {one.version} {what}"


def _by_component(gone: Sequence[Gone]) -> Iterator[str]:
    for name, group in groupby(gone, key=lambda one: one.component):
        yield f"{name}: {', '.join(one.object for one in group)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _moved(old: str, new: str) -> str:
    was, is_ = split_image(old), split_image(new)
    return f"{_short(old)} -> {_short(is_[1] if was[0] == is_[0] else new)}"


def _short(image: str) -> str:
    """A digest's first letters tell it from others."""
    name, separator, digest = image.rpartition("sha256:")
    return f"{name}{separator}{digest[:12] if separator else digest}"
