"""What an API server holds for a sandbox's real nodes. Pure."""

from __future__ import annotations

from typing import Any

from sandbox.node import plan
from sandbox.node.plan import LABEL, REAL, SIMULATED, Node

DNS_POD = "coredns"
_SYSTEM = "kube-system"
_DNS_LABELS = {"k8s-app": "kube-dns"}
SIMULATED_TAINT = {"key": LABEL, "value": SIMULATED, "effect": "NoSchedule"}
"""Keeps pods off the simulated nodes that do not ask for them by a toleration."""


def node(of: Node) -> dict[str, Any]:
    """The Node object that a kubelet finds when it registers: its pods' range is fixed by it.

    Its addresses are there at once, as kube-router does not wait for them.
    """
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": of.name,
            "labels": {
                LABEL: REAL,
                "topology.kubernetes.io/region": "sandbox",
                "topology.kubernetes.io/zone": f"sandbox-{'abc'[of.index % 3]}",
            },
        },
        "spec": {"podCIDR": str(of.pods), "podCIDRs": [str(of.pods)]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": of.address},
                {"type": "Hostname", "address": of.name},
            ]
        },
    }


def simulated(node: dict[str, Any]) -> dict[str, Any]:
    """A simulated node of a sandbox that has real ones, too: labelled and tainted."""
    metadata = node["metadata"]
    return {
        **node,
        "metadata": {**metadata, "labels": {**metadata["labels"], LABEL: SIMULATED}},
        "spec": {**node.get("spec", {}), "taints": [SIMULATED_TAINT]},
    }


def dns_service(octet: int) -> dict[str, Any]:
    """The Service `kube-dns`, as kubeadm has it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": _SYSTEM,
            "labels": {
                **_DNS_LABELS,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": str(plan.dns_address(octet)),
            "selector": _DNS_LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }


def dns_pod(node_name: str) -> dict[str, Any]:
    """The pod that stands for CoreDNS: Services and network policies select it.

    It is on a simulated node; its container is a process of the sandbox.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": DNS_POD, "namespace": _SYSTEM, "labels": _DNS_LABELS},
        "spec": {
            "nodeName": node_name,
            "containers": [{"name": "coredns", "image": "registry.k8s.io/coredns/coredns"}],
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
        },
    }


def dns_pod_status(octet: int) -> dict[str, Any]:
    """Where the pod's container really listens."""
    address = plan.control_plane_address(octet)
    return {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
