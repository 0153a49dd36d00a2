"""Faults of the network: cut a node or a pod off, in both directions, and mend it.

What is cut is silent: packets are dropped, connections hang, as with a broken cable or switch.
"""

from __future__ import annotations

import json

from sandbox.node import plan
from sandbox.node.commands import NodeError, inside, run
from sandbox.node.plan import CONTROL_PLANE, Node
from toolchain import tools

# States of a bridge's port (bridge(8)): a disabled one takes no frame and gives none.
_FORWARDING, _DISABLED = "3", "0"
_DIRECTIONS = (("PREROUTING", "--in-interface"), ("POSTROUTING", "--out-interface"))


def cut_node(node: Node) -> None:
    """Cut a node's machine off: from this host, the other nodes, the API server and the DNS."""
    _port(node, _DISABLED)


def mend_node(node: Node) -> None:
    """Join a node's machine to the others again."""
    _port(node, _FORWARDING)


def cut_pod(node: Node, address: str) -> str:
    """Cut the pod with this address off: from all but processes in itself.

    The kubelet's probes over the network fail; what it runs inside the pod goes on.

    Returns:
        The node's end of the pod's pair of interfaces, by which `mend_pod` finds it.

    Raises:
        NodeError: the node has no pod of that address.
    """
    interface = _interface(node, address)
    _drop(node, "--insert", interface)
    return interface


def mend_pod(node: Node, interface: str) -> None:
    """Take back what `cut_pod` did, also when the pod is gone meanwhile."""
    _drop(node, "--delete", interface)


def _port(node: Node, state: str) -> None:
    namespace = plan.namespace(node.sandbox, node.octet, CONTROL_PLANE)
    run([*inside(namespace), "bridge", "link", "set", "dev", node.name, "state", state])


def _drop(node: Node, action: str, interface: str) -> None:
    iptables = [*inside(node.namespace), str(tools.find("iptables")), "--table", "mangle"]
    for chain, direction in _DIRECTIONS:
        run([*iptables, action, chain, direction, interface, "--jump", "DROP"])


def _interface(node: Node, address: str) -> str:
    routes = json.loads(run(["ip", "-netns", node.namespace, "-json", "route", "get", address]))
    interface = str(routes[0]["dev"])
    if not interface.startswith("veth"):
        raise NodeError(f"{node.name} has no pod with the address {address}")
    return interface
