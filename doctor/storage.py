"""Volumes that are missing, lost or full. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from doctor.model import (
    STARTING,
    Finding,
    Object,
    Snapshot,
    instant,
    name_of,
    namespace_of,
    place,
)

NEARLY_FULL: Final = 0.85
FULL: Final = 0.95
_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each claim."""
    for claim in snapshot.claims:
        phase = (claim.get("status") or {}).get("phase")
        if phase == "Lost":
            yield Finding(
                "error",
                "volume-lost",
                place("PersistentVolumeClaim", claim),
                f"its volume {(claim.get('spec') or {}).get('volumeName')} is gone",
                "restore the data from a backup into a new claim",
            )
        elif phase == "Pending":
            yield from _pending(snapshot, claim)
        yield from _full(snapshot, claim)


def _pending(snapshot: Snapshot, claim: Object) -> Iterator[Finding]:
    created = instant((claim.get("metadata") or {}).get("creationTimestamp"))
    if created is not None and snapshot.now - created < STARTING:
        return
    wanted = (claim.get("spec") or {}).get("storageClassName")
    classes = {name_of(found): found for found in snapshot.storage_classes}
    events = snapshot.events_of("PersistentVolumeClaim", namespace_of(claim), name_of(claim))
    said = f": {events[-1].get('message', '')}" if events else ""
    where = place("PersistentVolumeClaim", claim)
    if wanted and wanted not in classes:
        problem = f"there is no StorageClass {wanted}"
        there = ", ".join(sorted(classes)) or "none"
        remedy = f"create it, or use one that is there ({there})"
    elif not wanted and not any(_is_default(found) for found in classes.values()):
        problem = "it names no StorageClass, and none is the default"
        remedy = f"mark one as the default: kubectl annotate storageclass NAME {_DEFAULT}=true"
    elif _waits(classes.get(wanted or "")) and not events:
        if _used(snapshot, claim):
            return  # what keeps the pod from being scheduled is told of the pod
        yield Finding(
            "warning",
            "volume-unused",
            where,
            "it waits for the first pod that uses it, and there is none",
            "nothing is to be done unless a pod should use it",
        )
        return
    else:
        problem = f"no volume has been made for it{said}"
        made_by = (classes.get(wanted or "") or {}).get("provisioner", "of the default class")
        remedy = f"look at the provisioner {made_by}: its pods, its quota, its zone"
    yield Finding("error", "volume-pending", where, problem, remedy)


def _full(snapshot: Snapshot, claim: Object) -> Iterator[Finding]:
    usage = snapshot.usage.get((namespace_of(claim), name_of(claim)))
    if usage is None or usage.share < NEARLY_FULL:
        return
    what = "bytes" if not usage.files or usage.used / usage.capacity >= usage.share else "files"
    yield Finding(
        "error" if usage.share >= FULL else "warning",
        "volume-full",
        place("PersistentVolumeClaim", claim),
        f"{usage.share:.0%} of its {what} are used",
        "make it larger (a setting of its component, or spec.resources.requests.storage of the "
        "claim), or remove data",
    )


def _is_default(found: Object) -> bool:
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(_DEFAULT) == "true")


def _waits(found: Object | None) -> bool:
    return bool(found and found.get("volumeBindingMode") == "WaitForFirstConsumer")


def _used(snapshot: Snapshot, claim: Object) -> bool:
    def uses(volume: Any) -> bool:  # noqa: ANN401
        named = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        return bool(named == name_of(claim))

    return any(
        namespace_of(pod) == namespace_of(claim)
        and any(uses(volume) for volume in (pod.get("spec") or {}).get("volumes") or ())
        for pod in snapshot.pods
    )
