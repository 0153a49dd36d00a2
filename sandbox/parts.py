"""The processes of a sandbox: their order, command lines and certificates.

Flags follow what kubeadm gives a production control plane
(https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/); where a flag
differs, a comment says why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from sandbox import network, nodes, pki
from sandbox.node import plan
from sandbox.state import State

ADMIN, DEPLOYER = "admin", "deployer"
ADMISSION_USER, CERT_MANAGER_USER = "sandbox-admission", "sandbox-cert-manager"
STORAGE_USER = "sandbox-storage"
_MASTERS = ("system:masters",)

USERS: dict[str, tuple[str, ...]] = {
    ADMIN: _MASTERS,
    DEPLOYER: _MASTERS,
    ADMISSION_USER: _MASTERS,
    CERT_MANAGER_USER: _MASTERS,
    STORAGE_USER: _MASTERS,
    "system:kwok": _MASTERS,
    "system:kube-controller-manager": (),
    "system:kube-scheduler": (),
}
"""Users with a client certificate, and their groups; real nodes have users of their own."""

PROXY_USER, DNS_USER = "system:kube-proxy", "system:coredns"
POLICY_USER = "system:kube-router"
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"

ETCD, API_SERVER = "etcd", "kube-apiserver"
CONTROLLERS, SCHEDULER = "kube-controller-manager", "kube-scheduler"
KWOK, SIMULATORS = "kwok", "simulators"

# Requests of the control plane's own loops are not what an audit of a deployment looks for, and
# they are most of the log. Everything that anybody else asks is there, reads included.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "None",
            "users": [
                "system:apiserver",
                "system:kube-controller-manager",
                "system:kube-scheduler",
                "system:kwok",
                PROXY_USER,
                DNS_USER,
                POLICY_USER,
            ],
            "verbs": ["get", "list", "watch"],
        },
        {
            "level": "None",
            "userGroups": ["system:serviceaccounts:kube-system", "system:nodes"],
            "verbs": ["get", "list", "watch"],
        },
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Layout:
    """Paths inside the data folder of a sandbox."""

    root: Path

    @property
    def logs(self) -> Path:
        """One log file a part, and the audit log."""
        return self.root / "logs"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Files that the parts read: policy, stages."""
        return self.root / "config"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, JSON lines."""
        return self.logs / "audit.jsonl"

    @property
    def admission_log(self) -> Path:
        """Requests that the simulated webhooks answered, JSON lines."""
        return self.logs / "admission-requests.jsonl"

    def log(self, part: str) -> Path:
        """Output of a part."""
        return self.logs / f"{part}.log"

    def kubeconfig(self, user: str) -> Path:
        """Kubeconfig of a user; that of the deployer is `kubeconfig`."""
        name = "kubeconfig" if user == DEPLOYER else f"{user.replace(':', '-')}.kubeconfig"
        return self.root / name

    def certificate(self, name: str) -> str:
        """Path of a certificate, as a flag's value."""
        return str(self.pki / f"{name}.crt")

    def key(self, name: str) -> str:
        """Path of a private key, as a flag's value."""
        return str(self.pki / f"{name}.key")


def write_credentials(layout: Layout, state: State) -> None:
    """Generate every certificate, key and kubeconfig of a new sandbox."""

    def store(name: str, pair: pki.KeyPair) -> None:
        pki.write_private(layout.pki / f"{name}.crt", pair.certificate)
        pki.write_private(layout.pki / f"{name}.key", pair.key)

    cluster = pki.create_authority(f"sandbox-{state.name}")
    etcd = pki.create_authority(f"sandbox-{state.name}-etcd")
    front_proxy = pki.create_authority(f"sandbox-{state.name}-front-proxy")
    # Webhooks have an authority of their own: an API server that trusted their certificates without
    # an injected caBundle would hide a missing one.
    webhooks = pki.create_authority(f"sandbox-{state.name}-webhooks")
    accounts = pki.create_authority(f"sandbox-{state.name}-service-accounts")
    for name, pair in (
        ("ca", cluster),
        ("etcd-ca", etcd),
        ("front-proxy-ca", front_proxy),
        ("webhook-ca", webhooks),
        ("service-accounts", accounts),
    ):
        store(name, pair)
    pki.write_private(layout.pki / "service-accounts.pub", pki.public_key(accounts))
    service_ip = str(service_range(state)[1])
    store(
        "apiserver",
        pki.issue(
            cluster,
            "kube-apiserver",
            dns=[
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
            ips=[api_address(state), service_ip],
        ),
    )
    store("serving", pki.issue(cluster, "localhost", dns=["localhost"], ips=["127.0.0.1"]))
    store("front-proxy", pki.issue(front_proxy, "front-proxy-client"))
    store("etcd", pki.issue(etcd, "etcd", ips=[network.own_address(state.octet)]))
    store("etcd-client", pki.issue(etcd, "kube-apiserver-etcd-client"))
    store(
        _KUBELET_CLIENT,
        pki.issue(cluster, _KUBELET_CLIENT, organizations=_MASTERS),
    )
    addresses = {node.user: node for node in real_nodes(layout, state)}
    for user, groups in users(layout, state).items():
        # A kubelet serves with the certificate that it calls with.
        serves = addresses.get(user)
        store(
            user.replace(":", "-"),
            pki.issue(
                cluster,
                user,
                organizations=groups,
                dns=[serves.name] if serves else (),
                ips=[serves.address] if serves else (),
            ),
        )


def users(layout: Layout, state: State) -> dict[str, tuple[str, ...]]:
    """Users of a sandbox that have a client certificate, and their groups."""
    nodes = real_nodes(layout, state)
    if not nodes:
        return USERS
    return {
        **USERS,
        PROXY_USER: ("system:node-proxier",),
        DNS_USER: _MASTERS,
        POLICY_USER: _MASTERS,
        **{node.user: ("system:nodes",) for node in nodes},
    }


def real_nodes(layout: Layout, state: State) -> tuple[plan.Node, ...]:
    """The real nodes of a sandbox."""
    return plan.nodes(state.name, state.octet, state.real_nodes, layout.root)


def service_range(state: State) -> IPv4Network:
    """Range of a sandbox's Services: on loopback, unless containers are to reach them."""
    if state.real_nodes:
        return plan.service_range(state.octet)
    return network.service_range(state.octet)


def api_address(state: State) -> str:
    """Address that the API server listens on: on loopback, unless containers are to reach it."""
    return plan.host_address(state.octet) if state.real_nodes else "127.0.0.1"


def write_kubeconfigs(layout: Layout, state: State) -> None:
    """Write a kubeconfig for each user; the server's port may have moved since the last start."""
    authority = (layout.pki / "ca.crt").read_bytes()
    for user in users(layout, state):
        name = user.replace(":", "-")
        pair = pki.KeyPair(
            (layout.pki / f"{name}.crt").read_bytes(), (layout.pki / f"{name}.key").read_bytes()
        )
        content = pki.kubeconfig(
            server_url(state), authority, user, pair, f"ml-platform-sandbox-{state.name}"
        )
        pki.write_private(layout.kubeconfig(user), content)


def write_config(layout: Layout, state: State) -> None:
    """Write the files that the parts are started with."""
    pki.write_private(layout.config / "audit-policy.json", json.dumps(_AUDIT_POLICY).encode())
    kwok = nodes.kwok_config(heartbeats=state.real_nodes > 0)
    pki.write_private(layout.config / "kwok.yaml", kwok.encode())


def server_url(state: State) -> str:
    """Address of the API server."""
    return f"https://{api_address(state)}:{state.ports[API_SERVER]}"


def _etcd(binary: Path, layout: Layout, state: State) -> list[str]:
    address = network.own_address(state.octet)
    client = f"https://{address}:{state.ports['etcd']}"
    peer = f"https://{address}:{state.ports['etcd-peer']}"
    return [
        str(binary),
        "--name=sandbox",
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        f"--cert-file={layout.certificate('etcd')}",
        f"--key-file={layout.key('etcd')}",
        f"--trusted-ca-file={layout.certificate('etcd-ca')}",
        "--client-cert-auth=true",
        f"--peer-cert-file={layout.certificate('etcd')}",
        f"--peer-key-file={layout.key('etcd')}",
        f"--peer-trusted-ca-file={layout.certificate('etcd-ca')}",
        "--peer-client-cert-auth=true",
        # A sandbox that loses power is started afresh; else the disk would set the pace.
        "--unsafe-no-fsync=true",
        "--log-level=warn",
    ]


def _api_server(binary: Path, layout: Layout, state: State) -> list[str]:
    etcd = f"https://{network.own_address(state.octet)}:{state.ports['etcd']}"
    address = api_address(state)
    if state.real_nodes:
        containers = [
            f"--kubelet-certificate-authority={layout.certificate('ca')}",
            f"--kubelet-client-certificate={layout.certificate(_KUBELET_CLIENT)}",
            f"--kubelet-client-key={layout.key(_KUBELET_CLIENT)}",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    else:
        # The endpoints of Service default/kubernetes may not be loopback addresses, so none are
        # written: simulated containers don't dial it.
        containers = ["--endpoint-reconciler-type=none"]
    return [
        str(binary),
        f"--bind-address={address}",
        f"--secure-port={state.ports[API_SERVER]}",
        f"--advertise-address={address}",
        *containers,
        f"--tls-cert-file={layout.certificate('apiserver')}",
        f"--tls-private-key-file={layout.key('apiserver')}",
        f"--client-ca-file={layout.certificate('ca')}",
        f"--etcd-servers={etcd}",
        f"--etcd-cafile={layout.certificate('etcd-ca')}",
        f"--etcd-certfile={layout.certificate('etcd-client')}",
        f"--etcd-keyfile={layout.key('etcd-client')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={service_range(state)}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={layout.key('service-accounts')}",
        f"--requestheader-client-ca-file={layout.certificate('front-proxy-ca')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={layout.certificate('front-proxy')}",
        f"--proxy-client-key-file={layout.key('front-proxy')}",
        f"--audit-policy-file={layout.config / 'audit-policy.json'}",
        f"--audit-log-path={layout.audit_log}",
        # One file: an audit that was rotated away can't be counted.
        "--audit-log-maxsize=4096",
        "--profiling=false",
    ]


def _controllers(binary: Path, layout: Layout, state: State) -> list[str]:
    kubeconfig = layout.kubeconfig("system:kube-controller-manager")
    return [
        str(binary),
        "--bind-address=127.0.0.1",
        f"--secure-port={state.ports[CONTROLLERS]}",
        f"--tls-cert-file={layout.certificate('serving')}",
        f"--tls-private-key-file={layout.key('serving')}",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={layout.certificate('ca')}",
        f"--service-account-private-key-file={layout.key('service-accounts')}",
        f"--cluster-signing-cert-file={layout.certificate('ca')}",
        f"--cluster-signing-key-file={layout.key('ca')}",
        f"--service-cluster-ip-range={service_range(state)}",
        # Simulated nodes alone don't fail, and send no heartbeats. The other is the default.
        f"--node-monitor-grace-period={'50s' if state.real_nodes else '24h'}",
        # There is one of it.
        "--leader-elect=false",
        # The defaults (20 a second) would make the controllers, not the deployment, set the pace.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def _scheduler(binary: Path, layout: Layout, state: State) -> list[str]:
    kubeconfig = layout.kubeconfig("system:kube-scheduler")
    return [
        str(binary),
        "--bind-address=127.0.0.1",
        f"--secure-port={state.ports[SCHEDULER]}",
        f"--tls-cert-file={layout.certificate('serving')}",
        f"--tls-private-key-file={layout.key('serving')}",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def _kwok(binary: Path, layout: Layout, state: State) -> list[str]:
    return [
        str(binary),
        f"--config={layout.config / 'kwok.yaml'}",
        f"--kubeconfig={layout.kubeconfig('system:kwok')}",
        f"--manage-nodes-with-annotation-selector={nodes.MANAGED}",
        "--cidr=10.64.0.1/16",
        # With leases, one conflict on a busy machine stops the pods of a node for half a minute.
        "--node-lease-duration-seconds=0",
    ]


def _simulators(binary: Path, layout: Layout, state: State) -> list[str]:
    return [
        str(binary),
        "-m",
        "sandbox.simulators",
        f"--data-dir={layout.root}",
        f"--admission-delay={state.admission_delay}",
    ]


@dataclass(frozen=True)
class Part:
    """One process: the tool it runs (None: this Python), its command line, ports, environment.

    `follows_api`: it talks to the API server, so that it starts again after that one's loss.
    """

    name: str
    tool: str | None
    command: Callable[[Path, Layout, State], list[str]]
    ports: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    follows_api: bool = True

    def argv(self, find: Callable[[str], Path], layout: Layout, state: State) -> list[str]:
        """Command line; `find` gives the executable of a tool."""
        binary = Path(sys.executable) if self.tool is None else find(self.tool)
        return self.command(binary, layout, state)


PARTS: tuple[Part, ...] = (
    Part(ETCD, "etcd", _etcd, ("etcd", "etcd-peer")),
    Part(API_SERVER, "kube-apiserver", _api_server, (API_SERVER,)),
    Part(CONTROLLERS, "kube-controller-manager", _controllers, (CONTROLLERS,)),
    Part(SCHEDULER, "kube-scheduler", _scheduler, (SCHEDULER,)),
    Part(KWOK, "kwok", _kwok),
    Part(SIMULATORS, None, _simulators),
)
"""The control plane's parts, in the order in which they start; those of real nodes follow."""


def port_address(port: str, state: State) -> str:
    """Address that a part's port is bound on: etcd claims the range, the others share 127.0.0.1."""
    if port == API_SERVER:
        return api_address(state)
    return network.own_address(state.octet) if port.startswith("etcd") else "127.0.0.1"
