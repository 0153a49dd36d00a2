"""What the guard of a release remembers: what can't be made again, and what no dry run can try."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from components.kubeflow.manifests import type_token
from components.kubeflow.objects import CRD_KIND, Kinds, Object, Ref
from provider.diff import force_new
from review.stateful import what_is_lost

_VOLUMES = ("PersistentVolume", "PersistentVolumeClaim")
# Kinds with fields that can't be changed whose refusal the Kubernetes provider does not recognise
# as that: it looks for "field is immutable", and then tries another name.
_REFUSED = frozenset(
    {
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("", "Service"),
        ("apps", "StatefulSet"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("storage.k8s.io", "StorageClass"),
    }
)


def lost_with(body: Object) -> str:
    """What goes with an object that is deleted; "" for what can be made again."""
    return what_is_lost(type_token(body))


def holdings(bodies: Iterable[Object]) -> dict[str, dict[str, str]]:
    """{name: {lost, fixed}} of all that holds what can't be made again.

    A name is that of `Ref`. `lost` is what goes with it in words. `fixed` is a digest of what can't
    be changed of a volume: with another one it is deleted and made anew. It is "" of all else.
    """
    found = list(bodies)
    kinds = Kinds(found)
    result: dict[Ref, dict[str, str]] = {}
    for body in found:
        if lost := lost_with(body):
            ref = kinds.ref(body)
            fixed = _fixed(body) if ref.kind in _VOLUMES else ""
            result[ref] = {"lost": lost, "fixed": fixed}
    return {str(ref): result[ref] for ref in sorted(result)}


def trials(bodies: Iterable[Object]) -> dict[str, list[str]]:
    """{name: digests} of objects whose dry run may be refused though the update is not.

    A dry run meets the cluster as it is before the update. Where all digests differ from those that
    are deployed it is of no use: a custom resource that changed together with its definition, of
    which the old schema knows nothing (its own digest, and the definition's); and what is deleted
    and made anew, where the object is still there (a digest of the fields that can't be changed).
    """
    found = list(bodies)
    kinds = Kinds(found)
    definitions = {
        (body["spec"]["group"], body["spec"]["names"]["kind"]): _digest(body)
        for body in found
        if body["kind"] == CRD_KIND
    }
    result = {}
    for body in found:
        ref = kinds.ref(body)
        if definition := definitions.get((ref.group, ref.kind)):
            result[str(ref)] = [_digest(body), definition]
        elif (ref.group, ref.kind) in _REFUSED:
            result[str(ref)] = [_fixed(body)]
    return dict(sorted(result.items()))


def _fixed(body: Object) -> str:
    values = {}
    for path in force_new(body):
        value: Any = body
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        values[path] = value
    return _digest(values)


def _digest(value: Any) -> str:  # noqa: ANN401
    content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:16]
