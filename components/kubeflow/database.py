"""Metadata of pipelines in a MySQL outside of the cluster.

Clients of MySQL read its address from the ConfigMap `pipeline-install-config` and its user from the
Secret `mysql-secret`; `access.secure` writes them. Here goes the server that nobody asks any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.kubeflow.objects import WORKLOAD_KINDS, Object, labels_of, pod_template
from components.kubeflow.selectors import matches, subset

NAMESPACE: Final = "kubeflow"
SERVER: Final = "mysql"
"""The Service of the server."""


def without_server(objects: Sequence[Object]) -> list[Object]:
    """The objects without MySQL's server, its Service and what Istio is told of both.

    Its volume's claim stays: what a platform has recorded outlives the change to another database,
    and the change back. A new one binds no volume, where StorageClasses wait for a pod.
    """
    gone = {id(body) for body in _server(objects)}
    return [body for body in objects if id(body) not in gone]


def _server(objects: Sequence[Object]) -> Iterator[Object]:
    inside = [body for body in objects if body["metadata"].get("namespace") == NAMESPACE]
    selector: dict[str, str] = {}
    for body in inside:
        if body["kind"] == "Service" and body["metadata"]["name"] == SERVER:
            selector = (body.get("spec") or {}).get("selector") or {}
            yield body
    if not selector:
        return
    labels: dict[str, str] = {}
    for body in inside:
        template = pod_template(body) if body["kind"] in WORKLOAD_KINDS else None
        if template is not None and subset(selector, labels_of(template)):
            labels = labels_of(template)
            yield body
    for body in inside:
        spec = body.get("spec") or {}
        if body["kind"] == "AuthorizationPolicy":
            chosen = spec.get("selector")
            if chosen and matches(chosen, labels):
                yield body
        elif body["kind"] == "DestinationRule" and _is_service(str(spec.get("host", ""))):
            yield body


def _is_service(host: str) -> bool:
    return host == SERVER or host.startswith(f"{SERVER}.{NAMESPACE}.")
