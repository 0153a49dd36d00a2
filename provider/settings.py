"""Configuration that both plugins share: which cluster, and when a change means another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provider.kubeconfig import active_cluster
from provider.rpc import Change, Difference
from provider.values import Unknown, plain

_CLUSTER = ("kubeconfig", "context", "cluster")


def _text(values: Mapping[str, Any], name: str) -> str:
    value = plain(values.get(name))
    return value if isinstance(value, str) else ""


def difference(olds: Mapping[str, Any], news: Mapping[str, Any]) -> Difference:
    """Changes of a provider's configuration, as the official Kubernetes provider judges them.

    Another active cluster in the kubeconfig means that every resource is made anew; while
    `clusterIdentifier` is set and stays the same, it never does.
    """
    old, new = plain(dict(olds)), plain(dict(news))
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    identified = "clusterIdentifier" in new and old.get("clusterIdentifier") == new.get(
        "clusterIdentifier"
    )
    replaces = set()
    if "clusterIdentifier" in changed and "clusterIdentifier" in old and "clusterIdentifier" in new:
        replaces.add("clusterIdentifier")
    unknown = {key for key in _CLUSTER if isinstance(new.get(key), Unknown)}
    if unknown:
        replaces |= unknown
    elif not identified:
        before = active_cluster(*(_text(old, key) for key in _CLUSTER))
        after = active_cluster(*(_text(new, key) for key in _CLUSTER))
        if before is not None and after is not None and before != after:
            replaces |= {key for key in _CLUSTER if key in changed}
    if identified:
        replaces.clear()
    return Difference([Change(key, "update", key in replaces) for key in changed])
