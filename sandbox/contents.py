"""Everything that an API server holds, found by its discovery."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus

from sandbox.api import ApiError, Client, Object
from sandbox.audit import ObjectKey

DERIVED = frozenset(
    {
        "controllerrevisions",
        "endpoints",
        "endpointslices",
        "ipaddresses",
        "persistentvolumes",
        "pods",
        "replicasets",
    }
)
"""Resources that controllers make of the objects that somebody applied."""
# Written by the control plane at times of its own.
_RESTLESS = frozenset({"events", "leases", "componentstatuses"})
_PATIENCE = 60.0
_PAUSE = 0.2


def contents(client: Client) -> dict[ObjectKey, Object]:
    """Every object of every kind that is served, apart from events and leases.

    Raises:
        sandbox.api.ApiError: the API server refuses a list.
        OSError: it can't be reached.
    """
    found: dict[ObjectKey, Object] = {}
    for group, resource, items in _lists(client):
        for item in items:
            metadata = item["metadata"]
            key = ObjectKey(group, resource, metadata.get("namespace", ""), metadata["name"])
            found[key] = item
    return found


def furnished(client: Client) -> dict[ObjectKey, Object]:
    """The contents, once every namespace has what the control plane puts in each.

    Raises:
        TimeoutError: it doesn't within a minute.
        sandbox.api.ApiError, OSError: as `contents`.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = contents(client)
        names = [key.name for key in found if key.resource == "namespaces"]
        wanted = {ObjectKey("", "configmaps", name, "kube-root-ca.crt") for name in names}
        wanted |= {ObjectKey("", "serviceaccounts", name, "default") for name in names}
        lacking = sorted(wanted - found.keys())
        if not lacking:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"still missing: {', '.join(map(str, lacking))}")
        time.sleep(_PAUSE)


def applied(keys: Iterable[ObjectKey]) -> set[ObjectKey]:
    """The keys without those of objects that controllers make."""
    return {key for key in keys if key.resource not in DERIVED}


def _lists(client: Client) -> Iterator[tuple[str, str, list[Object]]]:
    """Group, resource and objects of each kind, at one of its versions."""
    paths = {"": ["/api/v1"]}
    for group in client.request("GET", "/apis")["groups"]:
        versions = [version["groupVersion"] for version in group["versions"]]
        paths[group["name"]] = [f"/apis/{version}" for version in versions]
    for name, versions in paths.items():
        seen = set(_RESTLESS)
        for path in versions:
            for served in _list(client, path, "resources"):
                resource = served["name"]
                if "list" not in served["verbs"] or "/" in resource or resource in seen:
                    continue
                seen.add(resource)
                items = _list(client, f"{path}/{resource}", "items")
                yield name, resource, [{"kind": served["kind"], **item} for item in items]


def _list(client: Client, path: str, key: str) -> list[Object]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return client.request("GET", path).get(key) or []
        except ApiError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return []
            # The API server says so for a while of a kind that was defined anew.
            busy = error.code == HTTPStatus.TOO_MANY_REQUESTS
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
