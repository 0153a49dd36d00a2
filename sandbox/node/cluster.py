"""The real nodes of a sandbox, as its control plane starts, watches and ends them."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox import network
from sandbox.api import MERGE_PATCH, ApiError, Client, Object
from sandbox.node import configs, machines, objects, plan, preflight, processes
from sandbox.node.commands import NodeError, run
from sandbox.node.plan import Node
from sandbox.parts import Layout, Part, real_nodes
from sandbox.state import State
from toolchain import tools

Check = Callable[[], bool]
_PODS = "/api/v1/namespaces/kube-system/pods"
_SERVICES = "/api/v1/namespaces/kube-system/services"


def check(count: int, folder: Path) -> None:
    """Raise NodeError or ToolMissing unless this machine can run so many real nodes."""
    preflight.check(count, folder, tools.find)


def check_new(count: int) -> None:
    """Raise NodeError unless this machine can run so many real nodes beside what it runs now."""
    preflight.check_watches(count)


def parts(layout: Layout, state: State) -> tuple[Part, ...]:
    """The processes of real nodes, in the order in which they start."""
    return processes.parts(layout, state)


def ensure_machines(layout: Layout, state: State) -> bool:
    """Make the machines where they are not all there, and whether they were made.

    Raises NodeError when one can't be made; none is left then.
    """
    nodes = real_nodes(layout, state)
    if not nodes or machines.exist(state.name, state.octet, nodes):
        return False
    remove_machines(layout, state)
    for node in nodes:
        node.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        machines.create(state.name, state.octet, nodes)
    except BaseException:
        remove_machines(layout, state)
        raise
    from sandbox.images.recipes import PAUSE

    processes.write_config(layout, state, tools.find, PAUSE)
    return True


def remove_machines(layout: Layout, state: State) -> None:
    """End all that runs on the machines and take them away."""
    if nodes := real_nodes(layout, state):
        machines.remove(state.name, state.octet, nodes)


def environment(layout: Layout, state: State, part: Part) -> Mapping[str, str]:
    """What a part of a real node has in its environment, nothing for another part."""
    if part.name not in {own.name for own in parts(layout, state)}:
        return {}
    return processes.environment(tools.find)


def nodes(layout: Layout, state: State, simulated: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Node objects of all nodes, given those of the simulated ones as they are without others."""
    real = real_nodes(layout, state)
    if not real:
        return simulated
    return [*map(objects.node, real), *map(objects.simulated, simulated)]


def runtime_of(layout: Layout, state: State, part: Part) -> Node | None:
    """The node whose containerd a part is, None where it is none."""
    for node in real_nodes(layout, state):
        if part.name == f"{processes.CONTAINERD}-{node.name}":
            return node
    return None


def runtime_answers(node: Node) -> Check:
    """Whether a node's containerd answers."""

    def check() -> bool:
        with contextlib.suppress(NodeError):
            run([*_ctr(node), "version"])
            return True
        return False

    return check


def load_images(
    nodes: Sequence[Node], say: Callable[[str], None], wanted: Collection[str] = ()
) -> list[str]:
    """Build images where they are not there yet, and give them to nodes.

    Args:
        nodes: real nodes that run.
        say: is told what is built.
        wanted: names of images as manifests have them; none for all that can be built.

    Returns:
        The names that the nodes have now.

    Raises:
        NodeError: an image can't be built or is not taken.
    """
    # Sandboxes without real nodes start faster without these.
    from sandbox.images import load
    from sandbox.images.recipe import ImageError
    from sandbox.images.recipes import BASE_PACKAGES, RECIPES
    from sandbox.images.store import Store

    recipes = [one for one in RECIPES if not wanted or set(wanted) & set(one.references)]
    store = Store(BASE_PACKAGES)
    loaded: dict[str, str] = {}
    try:
        pairs = list(zip(recipes, store.build(recipes, say), strict=True))
        for node in nodes:
            loaded = load.load(store, pairs, tools.find("ctr"), node.socket)
    except ImageError as error:
        raise NodeError(str(error)) from error
    return list(loaded)


def load_pause(node: Node, say: Callable[[str], None]) -> None:
    """Give a node the image that every pod needs. Raises NodeError when it can't be built."""
    from sandbox.images.recipes import PAUSE

    load_images([node], say, [PAUSE])


def readiness(client: Client, layout: Layout, state: State) -> Iterator[tuple[str, Check]]:
    """What must hold before pods can rely on Services, names and policies, in this order."""
    nodes = real_nodes(layout, state)
    proxies = [*(node.address for node in nodes), plan.control_plane_address(state.octet)]
    for address in proxies:
        yield f"kube-proxy of {address} is ready", _healthy(address, configs.PROXY_HEALTH_PORT)
    for node in nodes:
        # Its Node is Ready for a while after its loss.
        yield f"the kubelet of {node.name} listens", _listens(node.address, configs.KUBELET_PORT)
        policies = _healthy(node.address, configs.POLICY_HEALTH_PORT)
        yield f"network policies of {node.name} are enforced", policies
    yield "the DNS pod stands", lambda: _publish_dns(client, state.octet)
    dns = str(plan.dns_address(state.octet))
    yield "the DNS Service answers", _listens(dns, 53)


def _publish_dns(client: Client, octet: int) -> bool:
    """Create the Service and the pod of CoreDNS; whether the pod has its address."""
    _ensure(client, _SERVICES, objects.dns_service(octet))
    found = _ensure(client, _PODS, objects.dns_pod(processes.STAND_IN_NODE))
    if (found.get("status") or {}).get("phase") != "Running":
        return False
    wanted = objects.dns_pod_status(octet)
    if found["status"].get("podIP") != wanted["status"]["podIP"]:
        path = f"{_PODS}/{objects.DNS_POD}/status"
        client.request("PATCH", path, wanted, MERGE_PATCH)
    return True


def _ensure(client: Client, path: str, wanted: Object) -> Object:
    """The object as it is on the server, created if it is not there; {} if it can't be yet."""
    try:
        return client.request("GET", f"{path}/{wanted['metadata']['name']}")
    except ApiError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
    try:
        return client.request("POST", path, wanted)
    except ApiError as error:
        # The service account or the priority class of a new cluster is not there yet.
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        return {}


def _listens(address: str, port: int) -> Check:
    return lambda: network.answers(address, port)


def _healthy(address: str, port: int) -> Check:
    def check() -> bool:
        connection = http.client.HTTPConnection(address, port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    return check


def _ctr(node: Node) -> list[str]:
    return [str(tools.find("ctr")), "--address", str(node.socket)]
