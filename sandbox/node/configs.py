"""Configuration files of a real node's processes and of CoreDNS. Pure.

Each follows its program's own reference:
https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/,
https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/,
https://github.com/containerd/containerd/blob/v2.2.0/docs/cri/config.md,
https://www.cni.dev/plugins/current/ and https://coredns.io/plugins/.
"""

from __future__ import annotations

import json
from pathlib import Path

from sandbox.node import plan
from sandbox.node.plan import Node

DOMAIN = "cluster.local"
KUBELET_PORT, PROXY_HEALTH_PORT, POLICY_HEALTH_PORT = 10250, 10256, 20244


def containerd(node: Node, runc: Path, cni: tuple[Path, ...], pause: str) -> str:
    """containerd's configuration, TOML: its socket and images in the node's folder.

    Args:
        node: the node.
        runc: path of runc.
        cni: folders of the CNI plugins.
        pause: the image that keeps a pod's namespaces.
    """
    text = json.dumps  # A JSON string or list of strings is one of TOML, too.
    folders = [str(folder) for folder in cni]
    return f"""\
version = 3
root = {text(str(node.folder / "containerd"))}
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.native",
  "io.containerd.differ.v1.erofs",
  "io.containerd.nri.v1.nri",
]

[grpc]
address = {text(str(node.socket))}

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = {text(pause)}

[plugins."io.containerd.cri.v1.runtime"]
# Root in a virtual machine or container of its own may lack CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true
disable_hugetlb_controller = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = {text(folders)}
conf_dir = {text(str(node.config("cni")))}

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = {text(str(runc))}
SystemdCgroup = false
"""


def cni(node: Node) -> str:
    """Pod network: a pair of interfaces for each pod, all traffic routed.

    No bridge: so every packet passes the node's own rules, also between two pods of one node.
    """
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/cni",
                        "ranges": [[{"subnet": str(node.pods)}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            ],
        },
        indent=1,
    )


def kubelet(node: Node, certificate: str, key: str, authority: str) -> str:
    """The kubelet's configuration; `certificate`, `key` and `authority` are paths."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": node.address,
            "port": KUBELET_PORT,
            "healthzBindAddress": "127.0.0.1",
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": authority},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": certificate,
            "tlsPrivateKeyFile": key,
            "containerRuntimeEndpoint": f"unix://{node.socket}",
            "clusterDomain": DOMAIN,
            "clusterDNS": [str(plan.dns_address(node.octet))],
            # Pods know the cluster's names alone: this host's resolver is out of their reach.
            "resolvConf": str(node.config("resolv.conf")),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "protectKernelDefaults": True,
            "podLogsDir": str(node.folder / "logs"),
            "volumePluginDir": str(node.folder / "plugins"),
            # How full this host's disk is says nothing about a sandbox, and images are never
            # pulled again.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "logging": {"verbosity": 1},
        },
        indent=1,
    )


def kube_proxy(kubeconfig: Path, node_name: str, address: str, octet: int) -> str:
    """kube-proxy's configuration for the machine with this address.

    `node_name` is the Node that the machine is, or stands in for.
    """
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": node_name,
            "bindAddress": address,
            "healthzBindAddress": f"{address}:{PROXY_HEALTH_PORT}",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": str(plan.pod_range(octet)),
            "detectLocalMode": "ClusterCIDR",
            # Sizes of the table of connections are this host's to set.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
        },
        indent=1,
    )


def corefile(kubeconfig: Path, octet: int) -> str:
    """CoreDNS's configuration, as kubeadm has it, without a way out of the cluster."""
    return f"""\
.:53 {{
    bind {plan.control_plane_address(octet)}
    errors
    health {plan.control_plane_address(octet)}:8080
    ready {plan.control_plane_address(octet)}:8181
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {json.dumps(str(kubeconfig))}
        pods insecure
        ttl 30
    }}
    cache 30 {{
        disable success {DOMAIN}
        disable denial {DOMAIN}
    }}
    loadbalance
}}
"""
