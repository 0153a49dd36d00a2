"""Where pipelines of a profile keep their artefacts, if not in the platform's own store.

Kubeflow Pipelines' driver and launcher read a ConfigMap `kfp-launcher` of the run's namespace. A
root of `s3://`, without providers beside it, is opened with what the pod's environment gives:
https://github.com/kubeflow/pipelines/blob/2.5.0/backend/src/v2/config/s3.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pulumi

from components.cluster.base import ObjectStore
from components.kubeflow.objects import Kinds, Object, Ref
from components.kubeflow.rules import Edge, Rule

LAUNCHER: Final = "kfp-launcher"


def launchers(store: ObjectStore | None) -> list[dict[str, Any]]:
    """A ConfigMap for each namespace that has a root in the store."""
    return [launcher(profile, root) for profile, root in store.roots.items()] if store else []


def launcher(profile: str, root: pulumi.Input[str]) -> dict[str, Any]:
    """The ConfigMap of a profile whose artefacts are below `root`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LAUNCHER, "namespace": profile},
        "data": {"defaultPipelineRoot": root},
    }


def order(objects: Iterable[Object]) -> Iterator[Edge]:
    """A launcher's ConfigMap waits for the profile that is given its namespace."""
    known = list(objects)
    kinds = Kinds(known)
    profiles = {ref.name: ref for body in known if (ref := kinds.ref(body)).kind == "Profile"}
    for body in known:
        ref = kinds.ref(body)
        if ref == Ref("ConfigMap", "", ref.namespace, LAUNCHER) and ref.namespace in profiles:
            reason = "lives in the namespace that is made for"
            yield Edge(ref, profiles[ref.namespace], Rule.NAMESPACE, reason)
