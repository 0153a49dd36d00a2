"""Fields that a cluster fills in itself, taken out of the objects.

Applied as they stand in a manifest, they would be written again at every change of the object,
over what a controller has put there since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from components.kubeflow.objects import CRD_KIND, MUTATING_KIND, VALIDATING_KIND, Object


def normalise(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """The objects without `status`, `metadata.creationTimestamp`, and what controllers own.

    These are the rules of an aggregated ClusterRole (the control plane overwrites them) and an
    empty `caBundle` of a webhook (cert-manager or the webhook's own pods fill it).
    """
    return [_normalised(body) for body in objects]


def _normalised(body: Object) -> dict[str, Any]:
    kept = {key: value for key, value in body.items() if key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping) and "creationTimestamp" in metadata:
        kept["metadata"] = {k: v for k, v in metadata.items() if k != "creationTimestamp"}
    kind = kept.get("kind")
    if kind == "ClusterRole" and kept.get("aggregationRule"):
        kept.pop("rules", None)
    elif kind in (MUTATING_KIND, VALIDATING_KIND):
        kept["webhooks"] = [_trusting(hook) for hook in kept.get("webhooks") or []]
    elif kind == CRD_KIND and "webhook" in ((kept.get("spec") or {}).get("conversion") or {}):
        conversion = dict(kept["spec"]["conversion"])
        conversion["webhook"] = _trusting(conversion["webhook"])
        kept["spec"] = {**kept["spec"], "conversion": conversion}
    return kept


def _trusting(hook: Mapping[str, Any]) -> dict[str, Any]:
    """A webhook's entry without an empty certificate authority; some write a newline for it."""
    client = hook.get("clientConfig") or {}
    # "Cg==" is a newline in base64.
    if client.get("caBundle") in ("", None, "Cg=="):
        client = {key: value for key, value in client.items() if key != "caBundle"}
    return {**hook, "clientConfig": client}
