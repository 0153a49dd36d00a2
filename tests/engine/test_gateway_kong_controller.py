"""Kong's own controller reads what is rendered: the configuration that it sends to Kong's proxy.

Everything is admitted by a real API server that holds the definitions of the Gateway API and of
Kong. In the proxy's place is a recorder, for the proxy's image could not be had.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components import certificates
from components.gateway import credentials, kong, kong_settings
from components.gateway.access import wanted
from components.gateway.rendering import Target
from components.gateway.routes import Gateway
from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from tests.support.gateway_kong import (
    CONTROLLER,
    GOLDEN,
    assert_golden,
    definitions,
    example,
    readable,
    target,
)
from tests.support.kong_admin import Admin, playing
from tests.support.kube import Kubectl
from toolchain.tools import ToolMissing, find

pytestmark = pytest.mark.engine

HTTP, HTTPS = 8000, 8443


@pytest.fixture(scope="module")
def controller() -> Path:
    """The controller's executable."""
    try:
        return find(CONTROLLER)
    except ToolMissing as error:
        pytest.skip(f"needs {error}")


@pytest.fixture(scope="module")
def sandbox(controller: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox that holds the definitions."""
    folder = tmp_path_factory.mktemp("kong") / "data"
    running = controlplane.start(SandboxOptions("test-kong", 1, data_dir=folder))
    try:
        kubectl = Kubectl(running)
        kubectl.apply(*definitions())
        kubectl.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("name", ["balancer", "proxy", "api"])
def test_the_controller_sends_the_configuration_of_the_golden_file(
    name: str, sandbox: RunningSandbox, controller: Path, tmp_path: Path
) -> None:
    model = example(name)
    where = target(model)
    bodies = [*surroundings(model, where), *kong.render(model, where)]
    file, log = GOLDEN / f"{name}.controller.yaml", tmp_path / "log"
    streams = [one.port for one in model.listeners if one.protocol == "tcp"]
    with (
        applied(Kubectl(sandbox), bodies),
        playing(HTTP, HTTPS, streams) as admin,
        running(controller, arguments(sandbox, admin), kong_settings.controller(model, where), log),
    ):
        wait(lambda: told(admin) == (file.read_text() if file.exists() else ""))
        assert_golden(told(admin), file)
        # Each route says that the controller carries it out.
        kubectl = Kubectl(sandbox)
        wait(lambda: not refused(kubectl))
        assert refused(kubectl) == []
    assert not re.findall(r"^.*(?:[Tt]ranslation fail|can't be routed).*$", log.read_text(), re.M)


def wait(check: Any) -> None:
    """Until it is so; where golden files are written, long enough for the last word."""
    writing = os.environ.get("GOLDEN") == "write"
    end = time.monotonic() + (20 if writing else 120)
    while (writing or not check()) and time.monotonic() < end:
        time.sleep(0.2)


# --- what is sent --------------------------------------------------------------------------------


def told(admin: Admin) -> str:
    """What the controller sent, for a person to read."""
    return readable([plain(admin.sent)])


def plain(value: Any) -> Any:
    """Without ids and tags, sorted by names, and with certificates as a word."""
    if isinstance(value, dict):
        left = {key: plain(one) for key, one in value.items() if key not in ("id", "tags")}
        return {key: "..." if key in ("cert",) else one for key, one in left.items()}
    if isinstance(value, list):
        found = [plain(one) for one in value]
        return sorted(found, key=repr) if all(isinstance(one, dict) for one in found) else found
    if isinstance(value, str) and value.startswith("-----BEGIN"):
        return f"{value.splitlines()[0]}..."
    return value


def refused(kubectl: Kubectl) -> list[str]:
    """The routes that the controller does not say it carries out, with what it says."""
    found = []
    for kind in ("httproutes", "tcproutes"):
        for route in kubectl.get(f"{kind}.gateway.networking.k8s.io", "--all-namespaces")["items"]:
            parents = route.get("status", {}).get("parents", [])
            said = [one for parent in parents for one in parent["conditions"]]
            good = {one["type"] for one in said if one["status"] == "True"}
            if not {"Accepted", "Programmed"} <= good or any(
                one["status"] != "True" for one in said
            ):
                words = [f"{one['type']} {one['reason']} {one['message']}" for one in said]
                found.append(f"{kind}/{route['metadata']['name']}: {words}")
    return found


# --- what is there before ------------------------------------------------------------------------


def surroundings(model: Gateway, where: Target) -> list[dict[str, Any]]:
    """The proxy's Service, its certificate, credentials, and endpoints of the backends."""
    kept = certificates.complete({}, "Gateway", ["ml.example.com"], datetime.now(UTC))
    values = {field: f"value-of-{field}" for field in wanted(model)}
    return [
        *(_namespace(name) for name in ("kong", "istio-system", "other", "redis", "team")),
        _service(model),
        credentials.certificate(where.namespace, kept["certificate"], kept["key"]),
        *credentials.objects(model, "kong", where.namespace, values),
        *_endpoints(model, where),
    ]


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _service(model: Gateway) -> dict[str, Any]:
    targets = {"http": HTTP, "https": HTTPS}
    ports = [
        {"name": one.name, "port": one.port, "targetPort": targets.get(one.protocol, one.port)}
        for one in model.listeners
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kong-proxy", "namespace": "kong"},
        "spec": {"selector": {"app": "ingress-kong"}, "ports": ports},
    }


def _endpoints(model: Gateway, where: Target) -> Iterator[dict[str, Any]]:
    """Two endpoints of each backend, of addresses that are always the same."""
    for number, backend in enumerate(model.backends):
        if backend.service is None:
            continue
        addresses = [f"10.9.{number}.{part}" for part in (1, 2)]
        name = f"{where.name}-{backend.name}"
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-test",
                "namespace": backend.service.namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "backend", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        }


@contextmanager
def applied(kubectl: Kubectl, bodies: list[dict[str, Any]]) -> Iterator[None]:
    """Objects on the cluster: a field that no definition has is an error."""
    parts = [
        [one for one in bodies if (one["kind"] == "Namespace") is first] for first in (True, False)
    ]
    for part in parts:
        listed = {"apiVersion": "v1", "kind": "List", "items": part}
        words = ("apply", "--server-side", "--validate=strict", "-f", "-")
        kubectl.run(*words, text=json.dumps(listed))
    try:
        yield
    finally:
        listed = {"apiVersion": "v1", "kind": "List", "items": parts[1]}
        kubectl.run("delete", "--ignore-not-found", "-f", "-", text=json.dumps(listed))


def arguments(sandbox: RunningSandbox, admin: Admin) -> list[str]:
    return [
        f"--kubeconfig={sandbox.admin_kubeconfig}",
        f"--kong-admin-url={admin.url}",
        "--publish-service=kong/kong-proxy",
        "--anonymous-reports=false",
        "--metrics-bind-address=0",
        "--health-probe-bind-address=127.0.0.1:0",
        "--proxy-sync-seconds=0.5",
        "--init-cache-sync-duration=0s",
    ]


@contextmanager
def running(
    binary: Path, words: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[None]:
    """The controller, with its last words in a file."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [binary, *words], env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        code = process.poll()
        process.terminate()
        process.wait(timeout=30)
    assert code is None, f"ended with {code}: {log.read_text()[-2000:]}"
