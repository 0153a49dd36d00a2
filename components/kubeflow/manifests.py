"""A plan as a component: every object of it a node of Pulumi's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from components.cluster.base import Cluster
from components.kubeflow.objects import CRD_KIND, Object, Ref, annotations_of, group_of
from components.kubeflow.plan import Node, Plan
from components.kubeflow.rules import Gate
from components.kubeflow.store import put
from components.platform_provider import AdmissionReady, CustomResourceDefinition

FIELD_MANAGER = "ml-platform"
_MANAGER_ANNOTATION = "pulumi.com/patchFieldManager"
_FORCE_ANNOTATION = "pulumi.com/patchForce"
_SKIP_ANNOTATION = "pulumi.com/skipAwait"
_WAIT_ANNOTATION = "pulumi.com/waitFor"


@dataclass(frozen=True)
class ManifestsArgs:
    """What `Manifests` applies and how.

    `store` is where bodies of CustomResourceDefinitions are kept (a cache; safe to delete);
    `timeout` is how long one object may take to become ready, as a Go duration. `made` are
    resources of the plan that are registered already, by another component. `after` is what has to
    be there before any object, which the plan doesn't know of. `force` is "true" by an object's
    name, where a preview may not know it; see `components.platform_provider.KubeflowRelease`.
    """

    plan: Plan
    cluster: Cluster
    store: Path
    timeout: str = "30m"
    made: Mapping[Ref, pulumi.Resource] = field(default_factory=dict)
    after: Sequence[pulumi.Resource] = ()
    force: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class Manifests(pulumi.ComponentResource):
    """Applies a plan: one resource an object, in the order of its edges, each written once."""

    def __init__(
        self, name: str, args: ManifestsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:kubeflow:Manifests", name, None, opts)
        self._args = args
        self._made: dict[Ref, pulumi.Resource] = dict(args.made)
        for node in args.plan.nodes:
            if node.ref not in args.made:
                self._made[node.ref] = self._node(node)
        self.register_outputs({})

    @property
    def resources(self) -> Mapping[Ref, pulumi.Resource]:
        """A resource for each object and each gate of the plan."""
        return self._made

    def _node(self, node: Node) -> pulumi.Resource:
        if node.gate is not None:
            return self._gate(node.ref, node.gate)
        if node.body is None:
            raise ValueError(f"{node.ref} is neither an object nor a gate")
        if node.ref.kind == CRD_KIND:
            return self._definition(node.ref, node.body)
        return pulumi.CustomResource(
            type_token(node.body),
            resource_name(node.ref),
            _with_annotations(
                node,
                self._args.cluster.capabilities.balancer_annotations,
                self._args.force.get(str(node.ref), "true"),
            ),
            self._options(node.ref, self._args.cluster.provider, _aliases(node)),
        )

    def _definition(self, ref: Ref, body: Object) -> pulumi.Resource:
        spec = body["spec"]
        return CustomResourceDefinition(
            resource_name(ref),
            manifest_name=ref.name,
            digest=put(self._args.store, body),
            store=str(self._args.store),
            summary={
                "group": spec["group"],
                "kind": spec["names"]["kind"],
                "scope": spec["scope"],
                "versions": [v["name"] for v in spec["versions"] if v.get("served")],
            },
            opts=self._options(ref, self._args.cluster.platform),
        )

    def _gate(self, ref: Ref, gate: Gate) -> pulumi.Resource:
        return AdmissionReady(
            resource_name(ref),
            webhooks=[
                {
                    "configuration": f"{hook.configuration.kind}/{hook.configuration.name}",
                    "webhook": hook.name,
                }
                for hook in gate.webhooks
            ],
            probes=[dict(probe) for probe in gate.probes],
            opts=self._options(ref, self._args.cluster.platform),
        )

    def _options(
        self,
        ref: Ref,
        provider: pulumi.ProviderResource,
        aliases: Sequence[pulumi.Alias] = (),
    ) -> pulumi.ResourceOptions:
        timeout = self._args.timeout
        # What needs nothing of the plan comes first; the others come after it.
        needed = [self._made[other] for other in self._args.plan.needed[ref]] or self._args.after
        return pulumi.ResourceOptions(
            parent=self,
            provider=provider,
            deleted_with=self._args.cluster.deleted_with,
            depends_on=list(needed),
            aliases=list(aliases),
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout),
        )


def type_token(body: Object) -> str:
    """The type of an object in the Kubernetes provider: `kubernetes:apps/v1:Deployment`."""
    version = str(body["apiVersion"])
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{body['kind']}"


def resource_name(ref: Ref) -> str:
    """The name of an object's resource; its kind and group are in the resource's type."""
    return f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name


def _aliases(node: Node) -> list[pulumi.Alias]:
    """The types under which the same object may be in the state: other versions of its kind.

    Without them a new API version would be created over the object, and the object then deleted.
    """
    body = node.body or {}
    group, own = node.ref.group, str(body["apiVersion"]).rpartition("/")[2]
    if not group or group_of(str(body["apiVersion"])) != group:
        return []
    return [
        pulumi.Alias(type_=f"kubernetes:{group}/{version}:{node.ref.kind}")
        for version in node.versions
        if version != own
    ]


def _awaited(body: Object) -> bool:
    """Whether others need the address that a load balancer gives the Service."""
    return (body.get("spec") or {}).get("type") == "LoadBalancer" and (
        annotations_of(body).get(_SKIP_ANNOTATION) == "false"
    )


def _with_annotations(
    node: Node, balancer: Mapping[str, pulumi.Input[str]], force: pulumi.Input[str]
) -> Mapping[str, Any]:
    """The object, telling the provider who its fields belong to and what others wait for.

    `balancer` is what the cluster's load balancers are told; `force` is "true", once it is known.
    """
    body = dict(node.body or {})
    metadata = dict(body["metadata"])
    # One manager for good: state that was lost with a killed run finds its own fields again. By
    # force: a field that somebody edited is put back, where else the run would end at a conflict.
    added: dict[str, pulumi.Input[str]] = {
        _MANAGER_ANNOTATION: FIELD_MANAGER,
        _FORCE_ANNOTATION: force,
    }
    if node.ref.kind == "Service" and not node.ref.group:
        if (body.get("spec") or {}).get("type") == "LoadBalancer":
            added |= balancer
        added[_SKIP_ANNOTATION] = "true"
        if _awaited(body):
            # Asked for, so that the address is an output.
            body["status"] = None
            added[_SKIP_ANNOTATION] = "false"
    if node.condition:
        added[_WAIT_ANNOTATION] = f"condition={node.condition}"
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **added}
    body["metadata"] = metadata
    return body
