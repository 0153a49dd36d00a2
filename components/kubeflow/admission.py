"""Admission webhooks: which of them the API server calls for an object.

Follows https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.kubeflow.objects import (
    ADMISSION_GROUP,
    CRD_KIND,
    MUTATING_KIND,
    VALIDATING_KIND,
    Object,
    Ref,
)
from components.kubeflow.selectors import matches

CONVERSION = "conversion"
"""The name that stands for the conversion webhook of a CustomResourceDefinition."""


@dataclass(frozen=True)
class Request:
    """What the API server looks at when it picks the webhooks for a write.

    `namespace` is "" and `namespace_labels` None for an object that lives in no namespace; for
    a Namespace, `namespace_labels` are its own labels.
    """

    group: str
    resource: str
    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str] | None


@dataclass(frozen=True)
class Webhook:
    """One webhook that is served inside the cluster."""

    configuration: Ref
    name: str
    service_namespace: str
    service_name: str
    spec: Mapping[str, Any]

    @property
    def blocks(self) -> bool:
        """Whether a write fails as long as the webhook cannot answer."""
        return (self.spec.get("failurePolicy") or "Fail") == "Fail"

    @property
    def allows_dry_run(self) -> bool:
        """Whether the API server calls it for a dry run; conversion has no side effects."""
        return self.name == CONVERSION or self.spec.get("sideEffects") in ("None", "NoneOnDryRun")

    def admits(self, request: Request) -> bool:
        """Whether the API server asks this webhook about creates or updates of an object."""
        # The API server never sends webhook configurations to webhooks.
        if request.group == ADMISSION_GROUP and request.resource.endswith("webhookconfigurations"):
            return False
        if request.namespace_labels is not None and not matches(
            self.spec.get("namespaceSelector"), request.namespace_labels
        ):
            return False
        if not matches(self.spec.get("objectSelector"), request.labels):
            return False
        return any(_rule_matches(rule, request) for rule in self.spec.get("rules") or [])


def _rule_matches(rule: Mapping[str, Any], request: Request) -> bool:
    if set(rule.get("operations") or []) == {"CONNECT"}:
        return False
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") != bool(request.namespace):
        return False
    groups = rule.get("apiGroups") or []
    # Versions are left out: with matchPolicy Equivalent, the default, any version of a
    # resource matches a rule for another of its versions.
    return ("*" in groups or request.group in groups) and bool(
        {"*", "*/*", request.resource, f"{request.resource}/*"} & set(rule.get("resources") or [])
    )


def webhooks_of(ref: Ref, body: Object) -> Iterator[Webhook]:
    """The webhooks that a configuration, or a CRD with conversion, has inside the cluster.

    One reached by URL is outside the plan and left out.
    """
    if ref.group == ADMISSION_GROUP and ref.kind in (MUTATING_KIND, VALIDATING_KIND):
        for spec in body.get("webhooks") or []:
            yield from _webhook(ref, spec["name"], spec.get("clientConfig") or {}, spec)
    elif ref.kind == CRD_KIND:
        conversion = body["spec"].get("conversion") or {}
        if conversion.get("strategy") == "Webhook":
            client = (conversion.get("webhook") or {}).get("clientConfig") or {}
            yield from _webhook(ref, CONVERSION, client, {})


def _webhook(
    ref: Ref, name: str, client: Mapping[str, Any], spec: Mapping[str, Any]
) -> Iterator[Webhook]:
    if service := client.get("service"):
        yield Webhook(ref, name, service["namespace"], service["name"], spec)
