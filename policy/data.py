"""The rule about what cannot be made again: it must not go by a slip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policy.resource import Resource, mapping
from review.stateful import kubernetes_kind, what_is_lost

# What of the cloud protects a resource itself, if it is true (or, with a "!", false).
_OWN: Final = {
    "aws:cognito/userPool:UserPool": ("deletionProtection",),
    "aws:dynamodb/table:Table": ("deletionProtectionEnabled",),
    "aws:eks/cluster:Cluster": ("deletionProtection",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("finalSnapshotIdentifier",),
    "aws:elasticache/cluster:Cluster": ("finalSnapshotIdentifier",),
    "aws:elasticache/serverlessCache:ServerlessCache": ("finalSnapshotName",),
    "aws:memorydb/cluster:Cluster": ("finalSnapshotName",),
    "aws:rds/cluster:Cluster": ("deletionProtection",),
    "aws:rds/instance:Instance": ("deletionProtection",),
}
_CLAIMS: Final = "persistentVolumeClaimRetentionPolicy"


def protected(resource: Resource) -> Iterator[str]:
    """A resource that holds data, which one wrong change would delete."""
    if resource.protect:
        return
    kind = kubernetes_kind(resource.type)
    if kind == "apps/StatefulSet":
        policy = mapping(mapping(resource.properties.get("spec")).get(_CLAIMS))
        for moment in ("whenDeleted", "whenScaled"):
            if policy.get(moment) == "Delete":
                yield f"{_CLAIMS}.{moment} is Delete, which deletes the data; use Retain"
    elif kind == "/PersistentVolumeClaim":
        yield "its volume goes with it; set the resource option protect, or use a StatefulSet"
    elif resource.type.startswith("aws:") and (lost := what_is_lost(resource.type)):
        own = _OWN.get(resource.type, ())
        if not any(resource.properties.get(name) not in (None, False, "INACTIVE") for name in own):
            also = f", or {' or '.join(own)}" if own else ""
            yield f"it holds {lost}; set the resource option protect{also}"
