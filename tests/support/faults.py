"""Faults of the network of real nodes and their pods, for as long as a block runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.api import Client
from sandbox.controlplane import RunningSandbox
from sandbox.node import faults
from sandbox.node.plan import Node
from sandbox.parts import Layout, real_nodes
from sandbox.state import State


class Network:
    """The network of a sandbox's real nodes; what is cut drops packets silently, both ways."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._client = Client(sandbox.admin_kubeconfig)
        self.nodes = {node.name: node for node in nodes_of(sandbox.data_dir)}

    @contextlib.contextmanager
    def node_cut(self, name: str) -> Iterator[None]:
        """A node is cut off from the other nodes, the API server and the DNS."""
        faults.cut_node(self.nodes[name])
        try:
            yield
        finally:
            faults.mend_node(self.nodes[name])

    @contextlib.contextmanager
    def pod_cut(self, namespace: str, name: str) -> Iterator[None]:
        """A pod is cut off from everybody; it may be gone at the end."""
        pod = self._pod(namespace, name)
        node, address = self.nodes[pod["spec"]["nodeName"]], pod["status"]["podIP"]
        interface = faults.cut_pod(node, address)
        try:
            yield
        finally:
            faults.mend_pod(node, interface)

    def _pod(self, namespace: str, name: str) -> dict[str, Any]:
        return self._client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")


def nodes_of(data_dir: Path) -> tuple[Node, ...]:
    """The real nodes of a running sandbox."""
    state = State.load(data_dir)
    assert state is not None, f"no sandbox in {data_dir}"
    return real_nodes(Layout(data_dir), state)
