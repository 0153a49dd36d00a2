"""Redis for the notebooks and pipelines of a Kubeflow profile.

A Secret `redis-client` in the profile's namespace holds the addresses, the password and the
authority. A PodDefault of the same name brings them into pods: a notebook's owner ticks "Redis" in
its configurations, a pipeline step carries the label `redis-client: "true"`.
https://github.com/kubeflow/kubeflow/blob/master/components/admission-webhook/README.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from components.kubeflow.objects import CRD_KIND, Ref
from components.redis import config, names
from components.redis.component import Installation

CLIENT: Final = "redis-client"
"""Secret, PodDefault, and the label of pods that want it."""
WRITE_VARIABLE, READ_VARIABLE, AUTHORITY_VARIABLE = "REDIS_URL", "REDIS_READ_URL", "REDIS_CA"
"""Environment variables: the URI that takes writes, the one for reads, the authority's file."""
_AUTHORITY: Final = "ca.crt"


def offer(
    redis: Installation, profile: str, kubeflow: Mapping[Ref, pulumi.Resource]
) -> list[pulumi.Resource]:
    """Give a profile what it takes to use Redis.

    `kubeflow` are its objects: the profile, if it is one of them, comes first. Without the
    component that brings PodDefaults there is only the Secret.
    """
    owner = kubeflow.get(Ref("Profile", "kubeflow.org", "", profile))
    kind = kubeflow.get(Ref(CRD_KIND, "apiextensions.k8s.io", "", "poddefaults.kubeflow.org"))
    values: dict[str, Any] = {
        WRITE_VARIABLE: redis.write_uri,
        READ_VARIABLE: redis.read_uri,
        _AUTHORITY: redis.ca_certificate,
    }
    secret = redis.add(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": names.metadata(CLIENT, profile),
            "type": "Opaque",
            "stringData": values,
        },
        *([owner] if owner else []),
    )
    return [secret, redis.add(pod_default(profile), secret, kind)] if kind else [secret]


def pod_default(profile: str) -> dict[str, Any]:
    """The PodDefault: `kubeflow.org/v1alpha1`."""
    path = config.TLS_PATH
    variables: list[dict[str, Any]] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": CLIENT, "key": name}}}
        for name in (WRITE_VARIABLE, READ_VARIABLE)
    ]
    authority = {"secretName": CLIENT, "items": [{"key": _AUTHORITY, "path": _AUTHORITY}]}
    return {
        "apiVersion": "kubeflow.org/v1alpha1",
        "kind": "PodDefault",
        "metadata": names.metadata(CLIENT, profile),
        "spec": {
            "desc": "Redis",
            "selector": {"matchLabels": {CLIENT: "true"}},
            "env": [*variables, {"name": AUTHORITY_VARIABLE, "value": f"{path}/{_AUTHORITY}"}],
            "volumes": [{"name": CLIENT, "secret": authority}],
            "volumeMounts": [{"name": CLIENT, "mountPath": path, "readOnly": True}],
        },
    }
