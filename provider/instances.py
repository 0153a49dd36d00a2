"""How many objects of a custom resource a cluster holds, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from provider.client import ApiError, Client
from provider.definitions import FIELD_MANAGER

_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE: Final = 500


@dataclass(frozen=True)
class Instances:
    """Objects of one definition by namespace, "" where it is of the whole cluster.

    `own` are those that this project applied, as the managers of their fields tell; they come and
    go with its manifests. `others` are users' and controllers'.
    """

    own: Mapping[str, int]
    others: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.own.values()) + sum(self.others.values())


def instances(client: Client, definition: str) -> Instances:
    """The objects of a CustomResourceDefinition, `<plural>.<group>`; none where it isn't served.

    Only metadata is read, 500 objects at a time.

    Raises:
        ApiError: it may not be read.
        Unreachable: the API server doesn't answer.
    """
    plural, _, group = definition.partition(".")
    own: Counter[str] = Counter()
    others: Counter[str] = Counter()
    try:
        answer = client.request("GET", f"/apis/{group}")
    except ApiError as error:
        if error.code == 404:
            return Instances(own, others)
        raise
    # A definition may lack the version that its group prefers.
    preferred = (answer.get("preferredVersion") or {}).get("groupVersion")
    served = [version["groupVersion"] for version in answer.get("versions") or ()]
    for version in sorted(served, key=lambda one: one != preferred):
        if _count(client, f"/apis/{version}/{plural}", own, others):
            break
    return Instances(own, others)


def _count(client: Client, path: str, own: Counter[str], others: Counter[str]) -> bool:
    """Whether the path is served; the objects there are added."""
    query: dict[str, Any] = {"limit": _PAGE}
    while True:
        try:
            answer = client.request("GET", path, query, accept=_METADATA_LIST)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        for item in answer.get("items") or ():
            metadata = item["metadata"]
            applied = any(
                entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
                for entry in metadata.get("managedFields") or ()
            )
            (own if applied else others)[metadata.get("namespace") or ""] += 1
        if not (more := answer["metadata"].get("continue")):
            return True
        query["continue"] = more


def counted(by_namespace: Mapping[str, int]) -> str:
    """Counts in words, the most first: `3 in team-a, 1 in team-b`, `2 of the whole cluster`."""
    ordered = sorted(by_namespace.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(
        f"{count} in {namespace}" if namespace else f"{count} of the whole cluster"
        for namespace, count in ordered
    )
