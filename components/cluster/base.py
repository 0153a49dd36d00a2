"""What every cluster offers to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.platform_provider import Provider

if TYPE_CHECKING:
    from components.gateway.aws import Api

AMD64, ARM64 = "amd64", "arm64"
"""Architectures of nodes, as the label `kubernetes.io/arch` names them."""
EDITOR = "default-editor"
"""Service account of the pods that Kubeflow runs for a profile: notebooks, steps of pipelines."""


class ClusterError(RuntimeError):
    """A cluster can't be had as the settings ask; the message names the setting and the fix."""


@dataclass(frozen=True)
class ObjectStore:
    """A store of objects outside of the cluster, that pods reach without a key of theirs.

    `roots` are URLs by namespace, like `s3://bucket/team`: pods of the namespace's service account
    `EDITOR` may read and write below theirs, by what their environment gives them.
    """

    roots: Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True)
class Database:
    """A MySQL outside of the cluster, at its usual port: its host, and a user who may do all."""

    host: pulumi.Input[str]
    user: str


@dataclass(frozen=True)
class Capabilities:
    """What a cluster can do.

    Args:
        load_balancer: a Service of type LoadBalancer gets an address.
        storage_class: StorageClass for volumes; "" for the cluster's default.
        architecture: of the nodes, `amd64` or `arm64`.
        balancer_annotations: what a Service of type LoadBalancer carries for it.
        object_store: where namespaces may keep objects; None for nowhere but on the cluster.
        database: makes a MySQL outside of the cluster whose user has the given password; None for
            one on the cluster.
        fronted: the gateway is led to by `front`, and needs no load balancer of its own.
    """

    load_balancer: bool
    storage_class: str
    architecture: pulumi.Input[str]
    balancer_annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    object_store: ObjectStore | None = None
    database: Callable[[pulumi.Input[str]], Database] | None = None
    fronted: bool = False


@dataclass(frozen=True)
class Backend:
    """A Service that something outside of the cluster leads to.

    `port` is the Service's, `target` that of its pods; both speak TLS. `resource` is the Service.
    """

    namespace: str
    service: str
    port: int
    target: int
    resource: pulumi.Resource


@dataclass(frozen=True)
class Balanced:
    """A Service of type LoadBalancer."""

    namespace: str
    name: str
    resource: pulumi.Resource


class Cluster(pulumi.ComponentResource):
    """A Kubernetes cluster, however it came to be. Each kind is a subclass."""

    kubeconfig: pulumi.Output[str]
    """Contents of a kubeconfig with one context and nothing outside it; a secret."""
    identifier: str
    """The same for as long as it is the same cluster, another one once it is not."""
    provider: kubernetes.Provider
    """The Kubernetes provider on this cluster."""
    platform: Provider
    """The project's own provider on this cluster."""
    capabilities: Capabilities
    deleted_with: pulumi.Resource | None
    """The resource whose deletion takes every object on the cluster with it; None if the cluster
    outlives the stack. For `ResourceOptions.deleted_with` of objects on the cluster."""

    def __init__(self, kind: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"mlplatform:cluster:{kind}", name, None, opts)

    def announce(self, address: pulumi.Output[str]) -> None:
        """Give the platform's name, if the cluster has one for it, to the address of its entry."""

    def publish(self, apis: Sequence[Api], service: Balanced) -> None:
        """Put APIs before a Service.

        Raises:
            ClusterError: the cluster is where there are none.
        """
        hosts = ", ".join(api.host for api in apis)
        raise ClusterError(f"awsApiHosts has {hosts}, but the cluster is not eks; remove it")

    def front(self, gateway: Backend) -> None:
        """Lead clients to the gateway; only where the capabilities say `fronted`."""

    def _offer(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        identifier: str,
        capabilities: Capabilities,
        deleted_with: pulumi.Resource | None = None,
        needs: Sequence[pulumi.Resource] = (),
    ) -> None:
        """Set all that a cluster offers.

        A change of `identifier`, and nothing else, makes every object on the cluster anew. Objects
        on the cluster come after what it `needs`, and are deleted before it.
        """
        self.identifier = identifier
        self.kubeconfig = pulumi.Output.secret(kubeconfig)
        self.capabilities = capabilities
        self.deleted_with = deleted_with
        child = pulumi.ResourceOptions(parent=self, depends_on=list(needs))
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            cluster_identifier=identifier,
            # State may be written only at the end of a run; what a killed one left is adopted.
            upsert_existing_objects=True,
            # Without these a changed one is deleted and made anew, and no pod starts in between.
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            opts=child,
        )
        self.platform = Provider(
            name, kubeconfig=self.kubeconfig, cluster_identifier=identifier, opts=child
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})
