"""A gateway with NGINX on real nodes, from the project's own objects, by kubectl.

For measurements and for tests of its traffic; both need root on Linux.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components import certificates
from components.gateway import access, component, credentials, tls
from components.gateway.component import GatewayArgs
from components.gateway.install import InstallArgs
from components.gateway.routes import Gateway
from components.gateway.workloads import NAMES, Names
from sandbox.controlplane import RunningSandbox
from sandbox.engine import PROJECT
from toolchain.tools import find

SOURCE = PROJECT.parent / "shared" / "sources" / "nginx-kubernetes-ingress" / "v5.5.4"
"""Upstream's manifests, beside the project."""
NGINX = NAMES["nginx"]
Object = dict[str, Any]
_CRD = "CustomResourceDefinition"
_ROUTED = "virtualservers,virtualserverroutes,transportservers"
# The controller warns of a sign-in that two locations share, and carries out both.
_CARRIED_OUT = ("Valid", "Warning")
_PATIENCE = 120.0


class BedError(RuntimeError):
    """Something on the bed is not as it must be; the message says what."""


class Kubectl(Protocol):
    """kubectl as an administrator."""

    def run(self, *words: str, text: str = "", timeout: float = 120.0) -> str:
        """What it prints; fails with what it says."""

    def apply(self, *objects: Object) -> None:
        """Server-side apply of objects."""

    def get(self, *words: str) -> Object:
        """An object or a list."""


class Admin:
    """kubectl as a sandbox's administrator. Raises BedError when it fails."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._command = [str(find("kubectl")), f"--kubeconfig={sandbox.admin_kubeconfig}"]

    def run(self, *words: str, text: str = "", timeout: float = 120.0) -> str:
        """What it prints."""
        done = subprocess.run(
            [*self._command, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise BedError(f"kubectl {' '.join(words[:6])} failed: {done.stderr.strip()[-600:]}")
        return done.stdout

    def apply(self, *objects: Object) -> None:
        """Server-side apply of objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--server-side", "-f", "-", text=json.dumps(listed))

    def get(self, *words: str) -> Object:
        """An object or a list."""
        found: Object = json.loads(self.run("get", *words, "--output=json"))
        return found


@dataclass(frozen=True)
class Installed:
    """A gateway that has carried out its routes.

    Args:
        pods: addresses of those that clients come to.
        authority: PEM of who signed its certificates.
        keys: keys and passwords of consumers, as `components.gateway.access` names them.
    """

    pods: tuple[str, ...]
    authority: str
    keys: Mapping[str, str]


def arguments(
    routes: Gateway, folder: Path, replicas: int = 1, monitors: tuple[str, ...] = ()
) -> GatewayArgs:
    """An installation from the manifests beside the project; `folder` keeps what is rendered."""
    kustomize = Path(find("kustomize"))
    place = InstallArgs("nginx", kustomize, folder / "cache", folder / "lock.json", path=SOURCE)
    return GatewayArgs(install=place, routes=routes, replicas=replicas, monitors=monitors)


def install(kubectl: Kubectl, args: GatewayArgs) -> Installed:
    """Install a gateway and its routes, and wait until it has carried them out.

    Raises BedError where it does not in time.
    """
    routes = args.routes
    names = tls.own_names(routes, f"{NGINX.service}.{NGINX.namespace}.svc")
    now = datetime.datetime.now(datetime.UTC)
    keys = access.complete({}, names, access.wanted(routes), now)
    certificate = credentials.certificate(
        NGINX.namespace, keys[certificates.CERTIFICATE], keys[certificates.KEY]
    )
    secrets = [certificate, *credentials.objects(routes, "nginx", NGINX.namespace, keys)]
    bodies = component.objects(args, load_balancer=False)
    definitions = [body for body in bodies if body["kind"] == _CRD]
    first = [body for body in bodies if body["kind"] == "Namespace"]
    last = [body for body in bodies if body["kind"] == "Deployment"]
    rest = [body for body in bodies if body not in (*definitions, *first, *last)]
    kubectl.apply(*definitions, *first)
    listed = [f"crd/{body['metadata']['name']}" for body in definitions]
    kubectl.run("wait", "--for=condition=Established", "--timeout=60s", *listed)
    kubectl.apply(*secrets, *rest)
    kubectl.apply(*last)
    found, *_ = [
        pods(kubectl, args.replicas_of(layer), args.names_of(layer)) for layer in args.layers
    ]
    settle(kubectl)
    return Installed(found, keys[certificates.AUTHORITY], keys)


def pods(kubectl: Kubectl, count: int, names: Names = NGINX) -> tuple[str, ...]:
    """Addresses of an installation's pods, once there are so many, all ready."""
    kubectl.run(
        *("rollout", "status", "-n", names.namespace, f"--timeout={_PATIENCE:.0f}s"),
        f"deployment/{names.deployment}",
        timeout=_PATIENCE + 30,
    )
    labels = ",".join(f"{key}={value}" for key, value in names.labels.items())
    end = time.monotonic() + _PATIENCE
    while True:
        # Pods of an earlier rollout may still be there.
        found = kubectl.get("pods", "-n", names.namespace, "-l", labels)["items"]
        if len(found) == count and all(one["status"].get("podIP") for one in found):
            return tuple(one["status"]["podIP"] for one in found)
        if time.monotonic() > end:
            raise BedError(f"{len(found)} pods of the gateway, not {count}")
        time.sleep(0.2)


def settle(kubectl: Kubectl) -> None:
    """Wait until the controller has carried out every route, as it stands now."""
    end = time.monotonic() + _PATIENCE
    while True:
        waiting = [
            f"{one['kind']} {one['metadata']['name']}: {one.get('status')}"
            for one in kubectl.get(_ROUTED, "--all-namespaces")["items"]
            if (one.get("status") or {}).get("state") not in _CARRIED_OUT
        ]
        if not waiting:
            return
        if time.monotonic() > end:
            raise BedError("not carried out: " + "; ".join(waiting)[:2000])
        time.sleep(0.2)
