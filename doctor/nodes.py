"""Nodes that are not ready or run out of something. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from doctor.model import Finding, Snapshot, condition, place

_PRESSURE: Final = {
    "MemoryPressure": "memory",
    "DiskPressure": "disk",
    "PIDPressure": "process ids",
    "NetworkUnavailable": "network",
}


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each node."""
    for node in snapshot.nodes:
        where = place("Node", node)
        ready = condition(node, "Ready")
        if ready.get("status") != "True":
            yield Finding(
                "error",
                "node-not-ready",
                where,
                f"it is not ready: {ready.get('message') or 'its kubelet says nothing'}",
                "look at the kubelet there (minikube: `minikube status`, `minikube start`)",
            )
        for type_, what in _PRESSURE.items():
            found = condition(node, type_)
            if found.get("status") == "True":
                yield Finding(
                    "error",
                    "node-pressure",
                    where,
                    f"it runs out of {what}: {found.get('message', '')}",
                    f"give the node more {what}, or let it run less",
                )
