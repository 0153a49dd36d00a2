"""Names, addresses and paths of a sandbox's real nodes. Pure.

A sandbox with real nodes owns 10.<octet>.0.0/16 beside its 127.<octet>.0.0/16:

    10.<octet>.0.0/24     the machines: .1 this host, .2 the control plane, .10 and on the nodes
    10.<octet>.64.0/18    pods, a /24 for each node
    10.<octet>.128.0/17   Services
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

MAX_NODES = 16
CONTROL_PLANE = "control-plane"
"""The machine that no kubelet runs on: it joins the others, and has the cluster's DNS."""
LABEL, REAL, SIMULATED = "ml-platform/node", "real", "simulated"
"""Label of every node of a sandbox with real nodes, and taint of its simulated ones."""

_FIRST_NODE = 10
_FIRST_POD_RANGE = 64
_DNS = 10


def whole_range(octet: int) -> IPv4Network:
    """All addresses of the real nodes of the sandbox with this second octet."""
    return IPv4Network(f"10.{octet}.0.0/16")


def service_range(octet: int) -> IPv4Network:
    """Range of a sandbox's Services, where it has real nodes."""
    return IPv4Network(f"10.{octet}.128.0/17")


def pod_range(octet: int) -> IPv4Network:
    """Range of all real pods."""
    return IPv4Network(f"10.{octet}.64.0/18")


def host_address(octet: int) -> str:
    """Address of this host on the machines' network; the API server listens there."""
    return f"10.{octet}.0.1"


def control_plane_address(octet: int) -> str:
    """Address of the machine `control-plane`, and of CoreDNS."""
    return f"10.{octet}.0.2"


def dns_address(octet: int) -> IPv4Address:
    """ClusterIP of the Service `kube-dns`."""
    return service_range(octet)[_DNS]


def host_interface(octet: int) -> str:
    """The one interface that a sandbox adds to this host's own network namespace."""
    return f"sandbox{octet}"


@dataclass(frozen=True)
class Node:
    """One real node, by its number from 0."""

    index: int
    octet: int
    sandbox: str
    folder: Path

    @property
    def name(self) -> str:
        """Name of the Node object, and of the machine."""
        return f"real-{self.index}"

    @property
    def user(self) -> str:
        """User of its kubelet, as the Node authorizer wants it."""
        return f"system:node:{self.name}"

    @property
    def namespace(self) -> str:
        """Its network namespace, as `ip netns` names it."""
        return namespace(self.sandbox, self.octet, self.name)

    @property
    def address(self) -> str:
        """Its address on the machines' network."""
        return f"10.{self.octet}.0.{_FIRST_NODE + self.index}"

    @property
    def pods(self) -> IPv4Network:
        """Range of its pods."""
        return IPv4Network(f"10.{self.octet}.{_FIRST_POD_RANGE + self.index}.0/24")

    @property
    def cgroup(self) -> str:
        """Its cgroup below the root of each hierarchy."""
        return f"{cgroup(self.sandbox, self.octet)}/{self.name}"

    @property
    def mount_namespace(self) -> Path:
        """The file that holds its mount namespace."""
        return self.folder / "namespace" / "mnt"

    @property
    def socket(self) -> Path:
        """Socket of its containerd."""
        return self.folder / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        """What its kubelet keeps, pods' scratch volumes too: its /var/lib/kubelet."""
        return self.folder / "kubelet"

    def config(self, file: str) -> Path:
        """A file that its processes read."""
        return self.folder / "config" / file


def namespace(sandbox: str, octet: int, machine: str) -> str:
    """Network namespace of a machine, as `ip netns` names it."""
    return f"sandbox-{sandbox}-{octet}-{machine}"


def cgroup(sandbox: str, octet: int) -> str:
    """Cgroup of all nodes of a sandbox, below the root of each hierarchy."""
    return f"sandbox-{sandbox}-{octet}"


def nodes(sandbox: str, octet: int, count: int, data_dir: Path) -> tuple[Node, ...]:
    """The real nodes of a sandbox."""
    folder = data_dir / "nodes"
    return tuple(Node(index, octet, sandbox, folder / f"real-{index}") for index in range(count))


def volumes_folder(data_dir: Path) -> Path:
    """Where the volumes of real pods are: one folder each."""
    return data_dir / "volumes"
