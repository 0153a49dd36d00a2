"""A Redis on real nodes: brought there by the engine through the components, used from a pod.

For measurements and for tests of faults; both need root on Linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
from pulumi import automation
from redis.crc import key_slot

from components.cluster.sandbox import Sandbox, SandboxArgs
from components.redis import names
from components.redis import topology as topologies
from components.redis.component import guard
from components.redis.create import create
from components.redis.sharded import Sharded
from components.redis.topology import RedisTopology
from sandbox.controlplane import RunningSandbox
from sandbox.engine import open_stack
from sandbox.images.recipes import LOAD
from sandbox.node import faults
from sandbox.node.plan import Node
from sandbox.parts import Layout, real_nodes
from sandbox.state import State
from toolchain.tools import find

CLIENTS: str = "clients"
"""The namespace of the pod that clients run in; a topology must let it in."""
POD: str = "load"
_STACK = "redis"
_TIMEOUT = 120.0
_LOG, _SOURCE, _PACKAGES = "/log", "/source", "/packages"


class BedError(RuntimeError):
    """Something on the bed is not as it must be; the message says what."""


@dataclass(frozen=True)
class Endpoints:
    """Where clients go: URIs with passwords, and the authority's certificate as PEM."""

    write: str
    read: str
    authority: str


class Bed:
    """One Redis installation on a sandbox with real nodes.

    Args:
        sandbox: it runs, with real nodes.
        folder: for the client pod's files and the logs of clients.
    """

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.topology: RedisTopology | None = None
        self.endpoints: Endpoints | None = None
        self.said: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    # --- the engine ------------------------------------------------------------------------------

    def up(self, topology: RedisTopology) -> None:
        """Bring a topology there, or change the one that is there, and wait until all is ready.

        Raises pulumi.automation.CommandError with the engine's words when it fails.
        """
        outputs = self._stack(
            topology, lambda stack: stack.up(on_output=self._hear, on_error=self._hear)
        ).outputs
        self.topology = topology
        self.endpoints = Endpoints(
            outputs["write"].value, outputs["read"].value, outputs["authority"].value
        )

    def destroy(self) -> None:
        """Take it away again."""
        if self.topology:
            self._stack(self.topology, lambda stack: stack.destroy(on_output=self._hear))

    def _hear(self, line: str) -> None:
        self.said.append(line)

    def _stack(self, topology: RedisTopology, run: Callable[[automation.Stack], Any]) -> Any:  # noqa: ANN401
        def program() -> None:
            args = SandboxArgs(self.sandbox.name, self.sandbox.data_dir)
            cluster = Sandbox("sandbox", args)
            watched = guard("redis", cluster, topology, allow_data_loss=True)
            redis = create("redis", cluster, topology, watched)
            write, read = redis.write_uri, redis.read_uri
            if isinstance(redis, Sharded):
                # For clients that speak Redis Cluster; the endpoints are the entry proxy's.
                write = _moved(write, redis.write_endpoint, redis.cluster_endpoint)
                read = _moved(read, redis.read_endpoint, redis.cluster_endpoint)
            pulumi.export("write", write)
            pulumi.export("read", read)
            pulumi.export("authority", redis.ca_certificate)

        # The engine's PATH is no one else's.
        with mock.patch.dict(os.environ):
            home = self.sandbox.data_dir / "pulumi-redis"
            return run(open_stack(_STACK, home, {}, self.said.append, program))

    # --- the cluster -----------------------------------------------------------------------------

    def kubectl(self, *words: str, text: str = "", check: bool = True) -> str:
        """What kubectl prints; it is the administrator. Raises BedError when it fails."""
        done = subprocess.run(
            self.kubectl_command(*words), input=text, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise BedError(f"kubectl {' '.join(words[:6])} failed: {done.stderr.strip()[-600:]}")
        return done.stdout

    def kubectl_command(self, *words: str) -> list[str]:
        """The command line of a kubectl, for one that is to go on in the background."""
        return [str(find("kubectl")), f"--kubeconfig={self.sandbox.admin_kubeconfig}", *words]

    def get(self, *words: str) -> dict[str, Any]:
        """An object or a list, as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "--output=json"))
        return found

    @property
    def namespace(self) -> str:
        """The installation's namespace."""
        if self.topology is None:
            raise BedError("nothing is installed yet")
        return self.topology.namespace

    def servers(self) -> list[dict[str, Any]]:
        """The pods of Redis itself."""
        found = self.get("pods", "-n", self.namespace, "--selector=app.kubernetes.io/part-of=redis")
        return [
            pod
            for pod in found["items"]
            if any(container["name"] == "redis" for container in pod["spec"]["containers"])
        ]

    def redis_cli(self, pod: str, *words: str, check: bool = True) -> str:
        """What redis-cli prints inside a Redis pod, as the user `admin`."""
        script = 'exec redis-cli --no-auth-warning --user "$REDIS_USER" $REDIS_TLS_ARGS "$@"'
        return self.kubectl(
            *("exec", "-n", self.namespace, pod, "-c", "redis", "--"),
            *("sh", "-c", script, "redis-cli", *words),
            check=check,
        )

    def replication(self, pod: str) -> dict[str, str]:
        """`INFO replication` of a pod; empty when it does not answer."""
        text = self.redis_cli(pod, "INFO", "replication", check=False)
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def masters(self) -> list[str]:
        """The pods that say they are masters, by name."""
        return sorted(
            pod["metadata"]["name"]
            for pod in self.servers()
            if self.replication(pod["metadata"]["name"]).get("role") == "master"
        )

    def master_of(self, tag: str, *, cut_off: str = "") -> str:
        """The pod that is master of the keys with a hash tag.

        `cut_off` is a pod that still believes what it was, and so is not asked. "" for none.
        """
        masters = [pod for pod in self.masters() if pod != cut_off]
        if not masters:
            return ""
        if not isinstance(self.topology, topologies.Sharded):
            return masters[0]
        slot = key_slot(tag.encode())
        for line in self.redis_cli(masters[0], "CLUSTER", "NODES").splitlines():
            _, address, flags, *_, ranges = line.split(maxsplit=8)
            if "master" in flags and any(_holds(part, slot) for part in ranges.split()):
                return address.rpartition(",")[2].partition(".")[0]
        return ""

    def settled(self) -> bool:
        """Whether every pod is ready, and every master has all of its replicas in step."""
        if self.topology is None:
            return False
        pods = self.get("pods", "-n", self.namespace, f"--selector={names.PART_OF}=redis")["items"]
        if not all(_ready(pod) for pod in pods):
            return False
        found = [self.replication(pod["metadata"]["name"]) for pod in self.servers()]
        masters = [one for one in found if one.get("role") == "master"]
        replicas = [one for one in found if one.get("role") == "slave"]
        attached = sum(int(one.get("connected_slaves", 0)) for one in masters)
        return (
            bool(masters)
            and len(masters) + len(replicas) == len(found)
            and attached == len(replicas)
            and all(one.get("master_link_status") == "up" for one in replicas)
            and len(replicas) == len(masters) * self.topology.replicas_of_a_master
        )

    def wait(self, check: Callable[[], object], what: str, seconds: float = _TIMEOUT) -> None:
        """Wait until `check` is true. Raises BedError with `what` when it stays false."""
        end = time.monotonic() + seconds
        while not check():
            if time.monotonic() > end:
                raise BedError(f"not so after {seconds:.0f} s: {what}\n{self.overview()}")
            time.sleep(0.5)

    def overview(self) -> str:
        """All pods, for a message."""
        return self.kubectl("get", "pods", "--all-namespaces", "--output=wide", check=False)

    @contextlib.contextmanager
    def cut(self, pod: str) -> Iterator[None]:
        """Drop all that a pod sends and all that is sent to it, silently."""
        found = self.get("pod", "-n", self.namespace, pod)
        nodes = {node.name: node for node in nodes_of(self.sandbox)}
        node = nodes[found["spec"]["nodeName"]]
        interface = faults.cut_pod(node, found["status"]["podIP"])
        try:
            yield
        finally:
            faults.mend_pod(node, interface)

    # --- the clients' pod --------------------------------------------------------------------

    def start_clients(self, source: Path) -> None:
        """Start the pod that clients run in; `source` is a folder of programs that it sees.

        They find redis-py, the endpoints in $REDIS_WRITE_URL and $REDIS_READ_URL, and the
        authority's certificate in $REDIS_CA.
        """
        if self.endpoints is None:
            raise BedError("nothing is installed yet")
        (self.folder / "ca.crt").write_text(self.endpoints.authority)
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CLIENTS}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": POD, "namespace": CLIENTS},
                "stringData": {
                    "REDIS_WRITE_URL": self.endpoints.write,
                    "REDIS_READ_URL": self.endpoints.read,
                    "REDIS_CA": f"{_LOG}/ca.crt",
                    "PYTHONPATH": _PACKAGES,
                },
            },
            client_pod(POD, CLIENTS, LOAD, self.folder, source, secret=POD),
        ]
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-f", "-", text=json.dumps(listed))
        self.kubectl("wait", "-n", CLIENTS, "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")

    def stop_clients(self) -> None:
        """Take their pod away."""
        self.kubectl("delete", "namespace", CLIENTS, "--ignore-not-found", "--wait=true")

    def in_clients(self, *words: str, check: bool = True) -> str:
        """What a command in the clients' pod prints."""
        return self.kubectl("exec", "-n", CLIENTS, POD, "--", *words, check=check)

    def begin_in_clients(self, *words: str) -> subprocess.Popen[str]:
        """A command in the clients' pod that goes on."""
        return subprocess.Popen(
            self.kubectl_command("exec", "-n", CLIENTS, POD, "--", *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def nodes_of(sandbox: RunningSandbox) -> tuple[Node, ...]:
    """The real nodes of a sandbox."""
    state = State.load(sandbox.data_dir)
    if state is None:
        raise BedError(f"no sandbox in {sandbox.data_dir}")
    return real_nodes(Layout(sandbox.data_dir), state)


def _holds(part: str, slot: int) -> bool:
    """Whether a word of `CLUSTER NODES`, like 0-5460, is a range with the slot in it."""
    if not part[:1].isdigit():
        return False
    first, _, last = part.partition("-")
    return int(first) <= slot <= int(last or first)


def _moved(uri: pulumi.Output[str], old: str, new: str) -> pulumi.Output[str]:
    return uri.apply(lambda text: text.replace(old, new))


def client_pod(
    name: str,
    namespace: str,
    image: str,
    log: Path,
    source: Path,
    *,
    secret: str = "",
    labels: Mapping[str, str] | None = None,
    command: Sequence[str] = ("sleep", "infinity"),
) -> dict[str, Any]:
    """A pod that sees folders of this machine and redis-py, and waits to be told what to run."""
    packages = Path(sysconfig.get_path("purelib")) / "redis"
    folders = {"log": (log, _LOG), "source": (source, _SOURCE)}
    folders["packages"] = (packages, f"{_PACKAGES}/redis")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {"app": name})},
        "spec": {
            "nodeSelector": {"ml-platform/node": "real"},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(command),
                    **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
                    "volumeMounts": [
                        {"name": volume, "mountPath": path} for volume, (_, path) in folders.items()
                    ],
                }
            ],
            "volumes": [
                {"name": volume, "hostPath": {"path": str(folder), "type": "Directory"}}
                for volume, (folder, _) in folders.items()
            ],
        },
    }


def _ready(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Succeeded" or any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or []
    )
