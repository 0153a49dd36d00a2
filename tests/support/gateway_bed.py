"""A gateway on real nodes with backends behind it that tell what they were asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway_bed import NGINX, arguments, install
from components.gateway.routes import parse
from sandbox.images.recipes import LOAD
from tests.support.gateway_client import Client
from tests.support.kube import Kubectl, eventually

BACKENDS, SIGN_IN = "backends", "oauth2-proxy"
_ECHO = (Path(__file__).parent / "gateway_echo.py").read_text()
_REAL = {"ml-platform/node": "real"}
Object = dict[str, Any]


@dataclass(frozen=True)
class Bed:
    """A gateway that runs, with backends.

    Args:
        kubectl: on its cluster.
        pods: addresses of its pods.
        client: asks the first of them.
        keys: keys and passwords of consumers, as `components.gateway.access` names them.
    """

    kubectl: Kubectl
    pods: tuple[str, ...]
    client: Client
    keys: Mapping[str, str]

    def log(self) -> list[str]:
        """The lines that a pod of the gateway has written."""
        name = f"deployment/{NGINX.deployment}"
        return self.kubectl.run("logs", "-n", NGINX.namespace, name, "--tail=-1").splitlines()


def bring_up(kubectl: Kubectl, folder: Path, routes: str, replicas: int = 1) -> Bed:
    """Backends, and a gateway before them that has carried out its routes (YAML).

    Three pods are behind the Service `echo`, one behind `canary`, and none behind `nobody`; one
    signs browsers in.
    """
    kubectl.apply(*(_namespace(name) for name in (BACKENDS, SIGN_IN)))
    for within in (BACKENDS, SIGN_IN):
        _account(kubectl, within)
    pods = [*(echo(f"echo-{i}", "echo") for i in range(3)), echo("canary", "canary")]
    kubectl.apply(*pods, echo(SIGN_IN, SIGN_IN, SIGN_IN))
    kubectl.apply(
        *(service(name, name) for name in ("echo", "canary", "nobody")),
        service(SIGN_IN, SIGN_IN, SIGN_IN),
    )
    words = [f"pod/{pod['metadata']['name']}" for pod in pods]
    kubectl.run("wait", "-n", BACKENDS, "--for=condition=Ready", "--timeout=90s", *words)
    found = install(kubectl, arguments(parse(routes), folder, replicas, (BACKENDS,)))
    return Bed(kubectl, found.pods, Client(found.pods[0], found.authority), found.keys)


def take_down(kubectl: Kubectl) -> None:
    """Take the gateway and its backends away; definitions and what belongs to no namespace stay."""
    kubectl.run(
        *("delete", "namespace", "--wait=true", "--ignore-not-found"),
        *(NGINX.namespace, BACKENDS, SIGN_IN),
    )


def echo(name: str, app: str, within: str = BACKENDS) -> Object:
    """A pod of the backend that tells what it was asked."""
    container = {
        "name": "echo",
        "image": LOAD,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", _ECHO],
        "readinessProbe": {"httpGet": {"path": "/healthy", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": within, "labels": {"app": app}},
        "spec": {
            "nodeSelector": _REAL,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
            "containers": [container],
        },
    }


def service(name: str, app: str, within: str = BACKENDS) -> Object:
    """A Service of backends: HTTP at 80, gRPC at 9090."""
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "grpc", "port": 9090, "targetPort": 9090},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": within},
        "spec": {"selector": {"app": app}, "ports": ports},
    }


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _account(kubectl: Kubectl, within: str) -> None:
    def there() -> bool:
        return kubectl.try_("get", "serviceaccount", "default", "-n", within).returncode == 0

    eventually(there, "the namespace has its service account")
