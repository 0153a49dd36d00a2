"""The gateway by the real engine on a real API server, with the real definitions: every object is
admitted at the first write. Pods are simulated; traffic is tested on real nodes.
"""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import pytest
from pulumi import automation

from components.cluster.sandbox import Sandbox, SandboxArgs
from components.errors import shown_plainly
from components.gateway.component import Gateway, GatewayArgs, checked
from components.gateway.install import InstallArgs
from components.gateway.routes import parse
from components.gateway.workloads import NAMES
from sandbox import audit, controlplane
from sandbox.api import ApiError, Client
from sandbox.audit import AuditSummary
from sandbox.contents import contents, furnished
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.engine import open_stack
from sandbox.parts import DEPLOYER
from tests.support.gateway_sources import MANIFESTS, real_definitions
from toolchain.tools import find

pytestmark = pytest.mark.engine
HOST = "app.example.com"


def routes(**more: Any) -> dict[str, Any]:
    """A route with a key, one with a password, and a port of TCP."""
    return {
        "listeners": [
            {"protocol": "http", "name": "http"},
            {"protocol": "https", "name": "https"},
            {"protocol": "tcp", "name": "cache", "port": 6379, "backend": "cache"},
        ],
        "hosts": [{"name": HOST, "tls": {"type": "ownCa"}}],
        "backends": [
            {"name": "app", "service": {"name": "app", "namespace": "default", "port": 80}},
            {
                "name": "cache",
                "service": {"name": "cache", "namespace": "default", "port": 6379},
                "protocol": "tcp",
            },
        ],
        "consumers": [{"name": "ann"}],
        "policies": [
            {"type": "apiKey", "name": "keys", "consumers": ["ann"]},
            {"type": "basic", "name": "users", "consumers": ["ann"]},
            {"type": "rateLimit", "name": "rate", "requests": 10},
        ],
        "routes": [
            {
                "name": "api",
                "hosts": [HOST],
                "path": {"value": "/api"},
                "backends": [{"name": "app"}],
                "policies": ["keys", "rate"],
            },
            {"name": "app", "hosts": [HOST], "backends": [{"name": "app"}], "policies": ["users"]},
        ],
        **more,
    }


class Installation:
    """A stack with nothing but a gateway."""

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.client = Client(sandbox.admin_kubeconfig, "test")
        furnished(self.client)
        self.before = set(contents(self.client))
        self.said: list[str] = []
        self.changed: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}

    def run(self, verb: str, implementation: str, values: dict[str, Any]) -> AuditSummary:
        """Run a verb of Pulumi's; what the API server was asked to write."""
        definitions = self.folder / "definitions"
        install = InstallArgs(
            implementation,  # type: ignore[arg-type]
            find("kustomize"),
            self.folder / "cache",
            self.folder / "gateway.lock.json",
            MANIFESTS[implementation],
            definitions=definitions if definitions.exists() else None,
        )
        args = GatewayArgs(install, parse(values))
        self.said.clear()
        self.changed.clear()

        def program() -> None:
            with shown_plainly():
                checked(args, [])
            cluster = Sandbox("cluster", SandboxArgs(self.sandbox.name, self.sandbox.data_dir))
            gateway = Gateway("gateway", cluster, args)
            for name, value in gateway.outputs.items():
                pulumi.export(name, value)

        def note(event: automation.EngineEvent) -> None:
            if event.resource_pre_event:
                metadata = event.resource_pre_event.metadata
                if metadata.op.value not in ("same", "read", "refresh"):
                    self.changed[metadata.urn.split("::", 2)[2]] = metadata.op.value

        since = self.sandbox.audit_log.stat().st_size
        with mock.patch.dict(os.environ):
            stack = open_stack(
                "gateway", self.sandbox.data_dir / "pulumi", {}, self.said.append, program
            )
            more = {"diff": True} if verb == "preview" else {}
            getattr(stack, verb)(
                on_output=self.said.append, on_error=self.said.append, on_event=note, **more
            )
            self.outputs = stack.outputs()
        return audit.summarise(list(audit.read(self.sandbox.audit_log, since)), DEPLOYER)

    def state(self) -> str:
        """All that Pulumi keeps, as it is on the disk."""
        kept = [file.read_bytes() for file in (self.sandbox.data_dir / "pulumi").rglob("*.json.gz")]
        assert kept
        return b"".join(map(gzip.decompress, kept)).decode()

    def left(self) -> set[Any]:
        """What is in the cluster that was not at first."""
        return set(contents(self.client)) - self.before


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("gateway")
    sandbox = controlplane.start(SandboxOptions("test-gateway", 2, data_dir=folder / "data"))
    try:
        yield Installation(sandbox, folder)
    finally:
        sandbox.stop()


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_a_gateway_from_preview_to_destroy(gateway: Installation, implementation: str) -> None:
    if implementation == "kong":
        folder = gateway.folder / "definitions"
        folder.mkdir()
        real_definitions(folder)
    assert gateway.run("preview", implementation, routes()).writes == 0
    previewed = set(gateway.changed)

    wrote = gateway.run("up", implementation, routes())
    assert wrote.failed == [] and wrote.repeated == []
    assert set(gateway.changed) == previewed
    names = NAMES[implementation]
    deployment = gateway.client.request(
        "GET", f"/apis/apps/v1/namespaces/{names.namespace}/deployments/{names.deployment}"
    )
    assert deployment["status"]["readyReplicas"] == 2

    # No key or password is in what was shown, or in the state.
    words = gateway.outputs["gatewayCredentials"]
    assert words.secret and set(words.value) == {"key-ann", "password-ann"}
    shown = gateway.state() + "".join(gateway.said)
    assert not [name for name, word in words.value.items() if word in shown]
    certificate = gateway.outputs["gatewayCaCertificate"].value
    assert certificate.startswith("-----BEGIN CERTIFICATE-----")

    # Nothing to do: nothing is written.
    assert gateway.run("up", implementation, routes()).writes == 0
    assert gateway.changed == {}

    # Another rate is a small change, which a preview tells.
    faster = [*routes()["policies"][:2], {"type": "rateLimit", "name": "rate", "requests": 20}]
    assert gateway.run("preview", implementation, routes(policies=faster)).writes == 0
    told = dict(gateway.changed)
    assert len(told) == 1 and set(told.values()) == {"update"}, told
    wrote = gateway.run("up", implementation, routes(policies=faster))
    assert wrote.failed == [] and wrote.writes == 1 and gateway.changed == told

    wrote = gateway.run("destroy", implementation, routes())
    assert wrote.failed == []
    assert gateway.left() == set()
    with pytest.raises(ApiError):
        gateway.client.request("GET", f"/api/v1/namespaces/{names.namespace}")


def test_each_layer_of_a_chain_has_pods_of_its_own(gateway: Installation) -> None:
    wrote = gateway.run("up", "nginx", routes(topology="chain"))
    assert wrote.failed == [] and wrote.repeated == []
    found = gateway.client.request("GET", "/apis/apps/v1/namespaces/nginx-ingress/deployments")
    ready = {one["metadata"]["name"]: one["status"]["readyReplicas"] for one in found["items"]}
    assert ready == {f"nginx-ingress-{layer}": 2 for layer in ("balancer", "proxy", "gateway")}
    # Back to one box: what a layer had is gone, and nothing else was touched.
    wrote = gateway.run("up", "nginx", routes())
    assert wrote.failed == []
    assert not [n for n, op in gateway.changed.items() if "CustomResourceDefinition" in n]
    assert gateway.run("destroy", "nginx", routes()).failed == []
    assert gateway.left() == set()


def test_a_route_that_the_implementation_lacks_ends_before_anything_is_made(
    gateway: Installation,
) -> None:
    lacking = {"type": "jwt", "name": "keys", "issuer": "https://issuer.example.com"}
    values = routes(policies=[lacking, *routes()["policies"][1:]])
    since = gateway.sandbox.audit_log.stat().st_size
    with pytest.raises(automation.CommandError):
        gateway.run("preview", "nginx", values)
    said = "".join(gateway.said)
    assert "NGINX Plus has it; use" in said and "Traceback" not in said
    assert audit.summarise(list(audit.read(gateway.sandbox.audit_log, since)), DEPLOYER).writes == 0
