"""The processes of a sandbox's real nodes: their order, command lines and configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbox import pki
from sandbox.node import cgroups, configs, plan
from sandbox.node.commands import inside
from sandbox.node.plan import CONTROL_PLANE, Node
from sandbox.parts import DNS_USER, POLICY_USER, PROXY_USER, Layout, Part, real_nodes
from sandbox.state import State

CONTAINERD, KUBELET, COREDNS = "containerd", "kubelet", "coredns"
PROXY, POLICIES = "kube-proxy", "kube-router"
TOOLS = (
    *(CONTAINERD, "containerd-shim-runc-v2", "ctr", "runc"),
    *(KUBELET, PROXY, POLICIES, COREDNS),
    *("ptp", "host-local", "loopback", "portmap"),
    *("iptables", "ipset"),
)
"""The tools that real nodes are made of."""

_CNI_PLUGINS = ("ptp", "host-local", "loopback", "portmap")
Find = Callable[[str], Path]


def parts(layout: Layout, state: State) -> tuple[Part, ...]:
    """The processes of a sandbox's real nodes, in the order in which they start."""
    nodes = real_nodes(layout, state)
    if not nodes:
        return ()
    return (
        *(_containerd(node) for node in nodes),
        *(_kubelet(node) for node in nodes),
        *(_policies(node) for node in nodes),
        *(_node_proxy(node) for node in nodes),
        Part(
            f"{PROXY}-{CONTROL_PLANE}",
            PROXY,
            lambda binary, layout, state: [
                *inside(_control_plane(state)),
                str(binary),
                f"--config={_shared(layout.root) / 'kube-proxy.json'}",
            ],
        ),
        Part(
            COREDNS,
            COREDNS,
            lambda binary, layout, state: [
                *inside(_control_plane(state)),
                str(binary),
                f"-conf={_shared(layout.root) / 'Corefile'}",
            ],
        ),
    )


def environment(find: Find) -> Mapping[str, str]:
    """Environment of the processes: the tools that they call by name are on its PATH."""
    called = ("containerd-shim-runc-v2", "runc", "iptables", "ipset")
    folders = dict.fromkeys(str(find(tool).parent) for tool in called)
    system = os.environ.get("PATH", os.defpath)
    # Where this user's PATH leaves them out.
    return {"PATH": ":".join([*folders, system, "/usr/sbin", "/sbin"])}


def write_config(layout: Layout, state: State, find: Find, pause: str) -> None:
    """Write every file that the processes read; `pause` is the image that each pod needs."""
    for node in real_nodes(layout, state):
        for folder in (node.folder, node.folder / "config", node.config("cni")):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        user = node.user.replace(":", "-")
        plugins = tuple(dict.fromkeys(find(plugin).parent for plugin in _CNI_PLUGINS))
        kubelet = configs.kubelet(
            node, layout.certificate(user), layout.key(user), layout.certificate("ca")
        )
        _write(
            {
                node.config("containerd.toml"): configs.containerd(
                    node, find("runc"), plugins, pause
                ),
                node.config("cni") / "pods.conflist": configs.cni(node),
                node.config("kubelet.json"): kubelet,
                node.config("resolv.conf"): "",
            }
        )
        proxy = configs.kube_proxy(
            layout.kubeconfig(PROXY_USER), node.name, node.address, node.octet
        )
        _write({node.config("kube-proxy.json"): proxy})
    shared = _shared(layout.root)
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(
        {
            # It has no Node of its own.
            shared / "kube-proxy.json": configs.kube_proxy(
                layout.kubeconfig(PROXY_USER),
                STAND_IN_NODE,
                plan.control_plane_address(state.octet),
                state.octet,
            ),
            shared / "Corefile": configs.corefile(layout.kubeconfig(DNS_USER), state.octet),
        }
    )


STAND_IN_NODE = "sandbox-0"
"""The simulated node whose name the machine `control-plane` goes by."""


def _shared(root: Path) -> Path:
    return root / "nodes" / CONTROL_PLANE


def _control_plane(state: State) -> str:
    return plan.namespace(state.name, state.octet, CONTROL_PLANE)


def _in(node: Node, command: Sequence[str]) -> list[str]:
    return [
        *cgroups.joining(node.cgroup),
        *inside(node.namespace, node.mount_namespace),
        *command,
    ]


def _containerd(node: Node) -> Part:
    return Part(
        f"{CONTAINERD}-{node.name}",
        CONTAINERD,
        lambda binary, *_: _in(
            node, [str(binary), f"--config={node.config('containerd.toml')}", "--log-level=info"]
        ),
        follows_api=False,
    )


def _kubelet(node: Node) -> Part:
    return Part(
        f"{KUBELET}-{node.name}",
        KUBELET,
        lambda binary, layout, _: _in(
            node,
            [
                str(binary),
                f"--config={node.config('kubelet.json')}",
                f"--kubeconfig={layout.kubeconfig(node.user)}",
                f"--hostname-override={node.name}",
                f"--node-ip={node.address}",
            ],
        ),
    )


def _node_proxy(node: Node) -> Part:
    return Part(
        f"{PROXY}-{node.name}",
        PROXY,
        lambda binary, *_: _in(node, [str(binary), f"--config={node.config('kube-proxy.json')}"]),
    )


def _policies(node: Node) -> Part:
    return Part(
        f"{POLICIES}-{node.name}",
        POLICIES,
        lambda binary, layout, _: _in(
            node,
            [
                str(binary),
                "--run-firewall=true",
                "--run-router=false",
                "--run-service-proxy=false",
                f"--kubeconfig={layout.kubeconfig(POLICY_USER)}",
                f"--hostname-override={node.name}",
                f"--service-cluster-ip-range={plan.service_range(node.octet)}",
                f"--health-port={configs.POLICY_HEALTH_PORT}",
                "--iptables-sync-period=1m",
            ],
        ),
    )


def _write(files: Mapping[Path, str]) -> None:
    for path, content in files.items():
        pki.write_private(path, content.encode())
