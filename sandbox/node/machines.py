"""The machines of real nodes: network and mount namespaces, links, routes, cgroups.

The machine `control-plane` has the bridge that joins all, so that this host's own tables and
interfaces have one link and its routes more, and no firewall of this host sees the traffic.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from sandbox.node import cgroups, plan
from sandbox.node.commands import NETWORK_NAMESPACES, NodeError, inside, run
from sandbox.node.plan import CONTROL_PLANE, Node

_BRIDGE, _UPLINK, _HOST_PORT = "br0", "eth0", "host"
# Folders that the kubelet and containerd write to wherever the rest of their data is.
_PRIVATE = ("/run", "/var/lib", "/var/log")
_KUBELET = "/var/lib/kubelet"
# What the kubelet would set for all of this host (its check of them passes so), and that a pod does
# not see.
_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def exist(sandbox: str, octet: int, nodes: Sequence[Node]) -> bool:
    """Whether the machines are there; a reboot takes them all."""
    return (
        (NETWORK_NAMESPACES / plan.namespace(sandbox, octet, CONTROL_PLANE)).exists()
        and all((NETWORK_NAMESPACES / node.namespace).exists() for node in nodes)
        and all(_is_mount(node.mount_namespace) for node in nodes)
        and Path("/sys/class/net", plan.host_interface(octet)).exists()
    )


def create(sandbox: str, octet: int, nodes: Sequence[Node]) -> None:
    """Make the machines. Raises NodeError when a command fails; `remove` takes away what is there.

    Args:
        sandbox: the sandbox's name.
        octet: second octet of its range.
        nodes: its real nodes, whose folders are there.
    """
    control_plane = plan.namespace(sandbox, octet, CONTROL_PLANE)
    _add_namespace(control_plane, forwarding=True)
    interface = plan.host_interface(octet)
    _ip(
        [
            f"link add {_BRIDGE} type bridge mcast_snooping 0",
            f"address add {plan.control_plane_address(octet)}/24 dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
        ],
        control_plane,
    )
    _ip([f"link add {interface} type veth peer name {_HOST_PORT} netns {control_plane}"])
    _ip([f"link set {_HOST_PORT} master {_BRIDGE} up"], control_plane)
    for node in nodes:
        _add_namespace(node.namespace, forwarding=True)
        _ip(
            [f"link add {_UPLINK} type veth peer name {node.name} netns {control_plane}"],
            node.namespace,
        )
        _ip([f"link set {node.name} master {_BRIDGE} up"], control_plane)
        _ip(
            [
                f"address add {node.address}/24 dev {_UPLINK}",
                f"link set {_UPLINK} up",
                f"route add default via {plan.control_plane_address(octet)}",
                *_pod_routes(other for other in nodes if other is not node),
            ],
            node.namespace,
        )
        cgroups.create(node.cgroup)
        _add_mounts(node)
    _ip(_pod_routes(nodes), control_plane)
    _ip(
        [
            f"address add {plan.host_address(octet)}/24 dev {interface}",
            f"link set {interface} up",
            *_pod_routes(nodes),
            f"route add {plan.service_range(octet)} via {plan.control_plane_address(octet)}",
        ]
    )


def remove(sandbox: str, octet: int, nodes: Sequence[Node]) -> None:
    """End what runs on the machines and take them away, also half made ones.

    Raises NodeError when a process or a cgroup stays.
    """
    for node in nodes:
        cgroups.kill(node.cgroup)
    for node in nodes:
        # With its file and its processes goes the namespace, and with that all of its mounts.
        for path in (node.mount_namespace, node.mount_namespace.parent):
            if _is_mount(path):
                run(["umount", str(path)])
        _delete_namespace(node.namespace)
        cgroups.remove(node.cgroup)
    _delete_namespace(plan.namespace(sandbox, octet, CONTROL_PLANE))
    with contextlib.suppress(NodeError):
        # Its other end went with the namespace, and it in a moment, too.
        run(["ip", "link", "delete", plan.host_interface(octet)])
    cgroups.remove(plan.cgroup(sandbox, octet))


def _pod_routes(nodes: Iterable[Node]) -> list[str]:
    return [f"route add {node.pods} via {node.address}" for node in nodes]


def _ip(commands: Sequence[str], namespace: str = "") -> None:
    where = ["-netns", namespace] if namespace else []
    run(["ip", *where, "-batch", "-"], "".join(f"{command}\n" for command in commands))


def _add_namespace(name: str, *, forwarding: bool) -> None:
    run(["ip", "netns", "add", name])
    _ip(["link set lo up"], name)
    settings = {
        "net/ipv4/ip_forward": int(forwarding),
        "net/ipv4/conf/all/rp_filter": 0,
        "net/ipv4/conf/default/rp_filter": 0,
        # Bridged frames are not this machine's to filter or to translate.
        "net/bridge/bridge-nf-call-iptables": 0,
    }
    lines = [f"[ ! -e /proc/sys/{k} ] || echo {v} >/proc/sys/{k}" for k, v in settings.items()]
    run([*inside(name), "sh", "-euc", "\n".join(lines)])


def _delete_namespace(name: str) -> None:
    if (NETWORK_NAMESPACES / name).exists():
        run(["ip", "netns", "delete", name])


def _add_mounts(node: Node) -> None:
    """Make the node's mount namespace, held by a file."""
    file = node.mount_namespace
    file.parent.mkdir(mode=0o700, exist_ok=True)
    # A namespace can't be held by a file in a mount that is copied into itself.
    run(["mount", "--bind", str(file.parent), str(file.parent)])
    run(["mount", "--make-private", str(file.parent)])
    file.touch()
    values = node.folder / "sysctl"
    # Mounts of pods reach one another inside the namespace and never leave it.
    lines = ["mount --make-rshared /"]
    lines += [f"mount -t tmpfs -o mode=0755 tmpfs {folder}" for folder in _PRIVATE]
    # Its sockets are far down there, and a path to a socket is short.
    node.kubelet.mkdir(mode=0o700, exist_ok=True)
    lines.append(f"mkdir {_KUBELET}")
    lines.append(f"mount --bind {shlex.quote(str(node.kubelet))} {_KUBELET}")
    for name, value in _SYSCTLS.items():
        path = values / name.replace("/", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n")
        target = f"/proc/sys/{name}"
        lines.append(f"[ ! -e {target} ] || mount --bind {shlex.quote(str(path))} {target}")
    script = "\n".join(lines)
    run(["unshare", f"--mount={file}", "--propagation=slave", "sh", "-euc", script])


def _is_mount(path: Path) -> bool:
    # os.path.ismount does not know a file.
    wanted = str(path).replace(" ", "\\040")
    return any(
        line.split()[4] == wanted for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )


def private_folders() -> tuple[str, ...]:
    """Folders that a node has of its own, so that a sandbox's data can't be below them."""
    return _PRIVATE
