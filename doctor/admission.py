"""Admission webhooks that cannot answer, which keeps everything from being made. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from doctor.certificates import end_of, expiring
from doctor.model import Finding, Object, Snapshot, name_of, namespace_of


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each webhook; one that may fail gives a warning only."""
    services = {(namespace_of(body), name_of(body)) for body in snapshot.services}
    ready = _ready(snapshot)
    for configuration in snapshot.webhooks:
        for hook in configuration.get("webhooks") or ():
            yield from _hook(snapshot, configuration, hook, services, ready)


def _hook(
    snapshot: Snapshot,
    configuration: Object,
    hook: Mapping[str, Any],
    services: set[tuple[str, str]],
    ready: set[tuple[str, str]],
) -> Iterator[Finding]:
    client = hook.get("clientConfig") or {}
    service = client.get("service")
    where = f"{configuration.get('kind', 'Webhook')} {name_of(configuration)}, {hook.get('name')}"
    needed = hook.get("failurePolicy", "Fail") == "Fail"
    effect = "what it is asked about is refused" if needed else "it is passed over"
    if service:
        key = (str(service.get("namespace")), str(service.get("name")))
        named = "/".join(key)
        if key not in services:
            problem, remedy = (
                f"there is no Service {named}, so {effect}",
                "bring its component back, or delete the configuration",
            )
        elif key not in ready:
            problem, remedy = (
                f"no pod behind the Service {named} is ready, so {effect}",
                "look at what is said about its pods here",
            )
        else:
            problem = remedy = ""
        if problem:
            severity: Any = "error" if needed else "warning"
            yield Finding(severity, "webhook-not-answering", where, problem, remedy)
    if not client.get("caBundle") and service:
        yield Finding(
            "error" if needed else "warning",
            "webhook-without-authority",
            where,
            f"it has no caBundle, so nothing trusts its server and {effect}",
            "look at cert-manager's cainjector, or at the component that puts it there",
        )
    yield from expiring(
        snapshot.now, end_of(client.get("caBundle")), where, "renew the authority of the webhook"
    )


def _ready(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Services behind which a pod is ready."""
    found = set()
    for piece in snapshot.endpoint_slices:
        labels = (piece.get("metadata") or {}).get("labels") or {}
        name = labels.get("kubernetes.io/service-name")
        for endpoint in piece.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            if name and endpoint.get("addresses") and conditions.get("ready", True):
                found.add((namespace_of(piece), str(name)))
    return found
