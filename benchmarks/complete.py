"""When a deployment is done: the same question to the API server, whoever deployed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.kubeflow.objects import WORKLOAD_KINDS, Kinds, Object, Ref
from sandbox.api import ApiError, Client

_POLL = 0.2


@dataclass(frozen=True)
class Expected:
    """The objects that must be there: for each collection's path the Refs in it."""

    collections: Mapping[str, frozenset[Ref]]

    @property
    def count(self) -> int:
        """How many objects."""
        return sum(len(refs) for refs in self.collections.values())


def expected(objects: Sequence[Object]) -> Expected:
    """What the API server must have once the objects are applied."""
    kinds = Kinds(objects)
    found: dict[str, set[Ref]] = defaultdict(set)
    for body in objects:
        ref, version = kinds.ref(body), str(body["apiVersion"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        found[f"{root}/{kinds.plural(ref.group, ref.kind)}"].add(ref)
    return Expected({path: frozenset(refs) for path, refs in sorted(found.items())})


def lacking(kubeconfig: Path, wanted: Expected) -> list[str]:
    """What is not there yet, or there but not available; [] when the deployment is done."""
    client = Client(kubeconfig, "ml-platform-benchmark")
    missing: list[str] = []
    for path, refs in wanted.collections.items():
        try:
            items = client.request("GET", path)["items"]
        except ApiError as error:
            if error.code != 404:
                raise
            items = []
        missing += _lacking(refs, items)
    return missing


def _lacking(refs: frozenset[Ref], items: Iterable[Mapping[str, Any]]) -> list[str]:
    there = {
        (item["metadata"].get("namespace") or "", item["metadata"]["name"]): item for item in items
    }
    missing = []
    for ref in sorted(refs):
        item = there.get((ref.namespace, ref.name))
        if item is None:
            missing.append(f"{ref} is not there")
        elif ref.kind in WORKLOAD_KINDS and not available(ref.kind, item):
            missing.append(f"{ref} is not available")
    return missing


def available(kind: str, body: Mapping[str, Any]) -> bool:
    """Whether a Deployment, StatefulSet or DaemonSet has all of its pods, of its latest version."""
    status, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        return False
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = ("updatedNumberScheduled", "numberAvailable")
    else:
        wanted = (body.get("spec") or {}).get("replicas", 1)
        counts = ("updatedReplicas", "availableReplicas")
    return all(status.get(count, 0) >= wanted for count in counts)


def wait(kubeconfig: Path, wanted: Expected, limit: float) -> float:
    """Seconds from now until the deployment is done; 0 if it already is.

    Raises TimeoutError, naming what is missing, when it is not within `limit` seconds.
    """
    began = time.monotonic()
    asked = began
    while missing := lacking(kubeconfig, wanted):
        if asked - began > limit:
            shown = "; ".join(missing[:5])
            raise TimeoutError(f"after {limit:.0f} s {len(missing)} are lacking: {shown}")
        time.sleep(_POLL)
        asked = time.monotonic()
    # What the answer says held when it was asked for, so the asking itself does not count.
    return asked - began
