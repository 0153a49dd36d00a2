"""What runs on the cluster to serve the stack: Helm releases of pinned charts, a storage class.

Nothing of the platform is there before them, and all of it is deleted before them: a controller
outlives what it made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_aws.eks.pod_identity_association import PodIdentityAssociation
from pulumi_kubernetes.helm.v3 import Release

from components.aws import policies, versions
from components.aws.files import SharedFiles
from components.aws.iam import Granted, pod_role
from components.aws.shape import GPU_LABEL
from components.aws.site import Site

NAMESPACE = "kube-system"
DRIVERS = (EBS, EFS) = ("ebs.csi.aws.com", "efs.csi.aws.com")
STORAGE_CLASS = "gp3"
"""The cluster's default StorageClass: encrypted volumes of EBS."""
SHARED_CLASS = "efs"
"""StorageClass of volumes that pods of all zones write, if there is a file system."""
_IDS = ("50000", "59999")
"""Users of access points, one each; a file system has at most 10,000 of them."""
_TIMEOUT = 600  # seconds


@dataclass(frozen=True)
class Home:
    """Where controllers run: `needs` are the add-ons and nodes that they can't do without."""

    name: pulumi.Output[str]
    provider: kubernetes.Provider
    parent: pulumi.Resource
    needs: Sequence[pulumi.Resource]

    def options(self, *needs: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of an object on the cluster."""
        return pulumi.ResourceOptions(
            parent=self.parent, provider=self.provider, depends_on=[*self.needs, *needs]
        )


def storage_class(home: Home, key_arn: pulumi.Output[str]) -> pulumi.Resource:
    """The default StorageClass."""
    made: pulumi.Resource = kubernetes.storage.v1.StorageClass(
        STORAGE_CLASS,
        metadata={
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        provisioner=EBS,
        # A volume is in one zone: that of the pod which is its first user.
        volume_binding_mode="WaitForFirstConsumer",
        allow_volume_expansion=True,
        reclaim_policy="Delete",
        parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": key_arn},
        opts=home.options(),
    )
    return made


def shared_class(home: Home, files: SharedFiles) -> pulumi.Resource:
    """The StorageClass of shared files: a claim is a directory with a user of its own.

    All who write are that user, whoever they are in their pod. When the claim is deleted so is the
    access point, without which nobody reaches the directory; its files stay.
    """
    made: pulumi.Resource = kubernetes.storage.v1.StorageClass(
        SHARED_CLASS,
        metadata={"name": SHARED_CLASS},
        provisioner=EFS,
        reclaim_policy="Delete",
        mount_options=["tls"],
        parameters={
            "provisioningMode": "efs-ap",
            "fileSystemId": files.id,
            "directoryPerms": "700",
            "gidRangeStart": _IDS[0],
            "gidRangeEnd": _IDS[1],
            "basePath": "/volumes",
            "subPathPattern": "${.PVC.namespace}/${.PVC.name}",
            "ensureUniqueDirectory": "true",
        },
        opts=home.options(*files.ready),
    )
    return made


def load_balancer_controller(
    site: Site, home: Home, vpc: pulumi.Output[str], nodes_group: pulumi.Output[str]
) -> pulumi.Resource:
    """The AWS Load Balancer Controller, for Services."""
    account = "aws-load-balancer-controller"
    policy = pulumi.Output.all(site.scope, vpc, nodes_group).apply(
        lambda values: policies.load_balancer_controller(*values)
    )
    granted = pod_role(
        site, "load-balancers", NAMESPACE, account, home.parent, inline={"balance": policy}
    )
    values = {
        "clusterName": home.name,
        "region": site.aws.region,
        # Told, because pods can't ask the metadata service.
        "vpcId": vpc,
        "serviceAccount": {"create": True, "name": account},
        "defaultTags": dict(site.tags),
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        "replicaCount": 2,
    }
    return _release(site, home, versions.LOAD_BALANCER, values, granted, account)


def autoscaler(site: Site, home: Home) -> pulumi.Resource:
    """The Cluster Autoscaler, on the groups that EKS tags with the cluster's name."""
    account = "cluster-autoscaler"
    policy = site.scope.apply(policies.autoscaler)
    granted = pod_role(site, account, NAMESPACE, account, home.parent, inline={"scale": policy})
    values = {
        "autoDiscovery": {"clusterName": home.name},
        "awsRegion": site.aws.region,
        "rbac": {"serviceAccount": {"create": True, "name": account}},
        "extraArgs": {"balance-similar-node-groups": True, "expander": "least-waste"},
    }
    return _release(site, home, versions.AUTOSCALER, values, granted, account)


def device_plugin(site: Site, home: Home) -> pulumi.Resource:
    """NVIDIA's device plugin, on the nodes that have GPUs."""
    values = {
        "nodeSelector": {f"{GPU_LABEL}.present": "true"},
        "tolerations": [{"key": GPU_LABEL, "operator": "Exists", "effect": "NoSchedule"}],
    }
    return _release(site, home, versions.DEVICE_PLUGIN, values)


def _release(
    site: Site,
    home: Home,
    chart: versions.Chart,
    values: Mapping[str, Any],
    granted: Granted | None = None,
    account: str = "",
) -> pulumi.Resource:
    needs: list[pulumi.Resource] = []
    if granted is not None:
        needs = [
            *granted.ready,
            PodIdentityAssociation(
                f"{site.name}-{chart.name}",
                cluster_name=home.name,
                namespace=NAMESPACE,
                service_account=account,
                role_arn=granted.arn,
                opts=pulumi.ResourceOptions(parent=home.parent, depends_on=list(granted.ready)),
            ),
        ]
    made: pulumi.Resource = Release(
        chart.name,
        name=chart.name,
        chart=chart.name,
        version=chart.version,
        repository_opts={"repo": chart.repository},
        namespace=NAMESPACE,
        atomic=True,
        timeout=_TIMEOUT,
        values=values,
        opts=home.options(*needs),
    )
    return made
