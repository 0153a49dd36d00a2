"""Versions that belong together: Kubernetes on EKS, its add-ons, charts, and Kubeflow. Pure.

Add-ons of a Kubernetes version: `aws eks describe-addon-versions --kubernetes-version 1.34`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT: Final = "1.34"
"""Kubernetes of a new cluster."""

CNI, PROXY, DNS = "vpc-cni", "kube-proxy", "coredns"
POD_IDENTITY, EBS, EFS = "eks-pod-identity-agent", "aws-ebs-csi-driver", "aws-efs-csi-driver"

_COMMON: Final = {
    CNI: "v1.20.5-eksbuild.1",
    DNS: "v1.12.4-eksbuild.1",
    POD_IDENTITY: "v1.3.10-eksbuild.1",
    EBS: "v1.53.0-eksbuild.1",
    EFS: "v2.1.15-eksbuild.1",
}
ADDONS: Final[Mapping[str, Mapping[str, str]]] = {
    "1.33": {**_COMMON, PROXY: "v1.33.5-eksbuild.2"},
    "1.34": {**_COMMON, PROXY: "v1.34.1-eksbuild.2"},
}
"""Add-ons by version of Kubernetes."""


@dataclass(frozen=True)
class Chart:
    """A Helm chart of a controller."""

    name: str
    repository: str
    version: str


LOAD_BALANCER: Final = Chart(
    "aws-load-balancer-controller", "https://aws.github.io/eks-charts", "1.14.1"
)
AUTOSCALER: Final = Chart("cluster-autoscaler", "https://kubernetes.github.io/autoscaler", "9.52.1")
DEVICE_PLUGIN: Final = Chart(
    "nvidia-device-plugin", "https://nvidia.github.io/k8s-device-plugin", "0.17.0"
)

# Of Kubeflow's releases, the minor versions of Kubernetes: 1.10 names 1.31 to 1.33 and newer
# (https://github.com/kubeflow/manifests/releases/tag/v1.10.0), and the sandbox runs it on 1.34.
_KUBEFLOW: Final[Mapping[str, tuple[int, int]]] = {"v1.10": (31, 34), "v1.9": (29, 31)}


def unsupported(kubernetes: str, kubeflow_ref: str) -> str:
    """Why a ref of Kubeflow doesn't run on a Kubernetes; "" if it does, or if nothing is known."""
    release = ".".join(kubeflow_ref.split(".")[:2])
    if release not in _KUBEFLOW:
        return ""
    first, last = _KUBEFLOW[release]
    if first <= int(kubernetes.partition(".")[2]) <= last:
        return ""
    return f"Kubeflow {kubeflow_ref} supports Kubernetes 1.{first} to 1.{last}"
