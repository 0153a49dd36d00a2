"""The project's own plugin: definitions by digest, and gates that webhooks must answer.

What it promises is in provider/mlplatform.py, provider/definitions.py and provider/admission.py.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import secrets
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from provider_support import (
    MLPLATFORM,
    Background,
    Cluster,
    Engine,
    InitFailed,
    Object,
    Plugin,
    Proxy,
    Refused,
    Resource,
    config_map,
    definition,
    eventually,
    workload,
)

from provider.definitions import RESUMED
from provider.values import UNKNOWN, Secret
from sandbox import audit, pki
from sandbox.api import ApiError

pytest_plugins = ("provider_fixtures",)
pytestmark = pytest.mark.engine

DEFINITION = "mlplatform:kubernetes:CustomResourceDefinition"
GATE = "mlplatform:kubernetes:AdmissionReady"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "MutatingWebhookConfiguration": f"{ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{ADMISSION}/validatingwebhookconfigurations",
}
PROBING = "ml-platform-probe"


@pytest.fixture(scope="session")
def start_mlplatform(
    cluster: Cluster, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Plugin]]:
    """Starts plugins `mlplatform`: `start(kubeconfig=...)`."""
    folder = tmp_path_factory.mktemp("mlplatform")
    started: list[Plugin] = []

    def start(kubeconfig: str = "") -> Plugin:
        config = {"kubeconfig": kubeconfig or cluster.kubeconfig}
        started.append(Plugin(MLPLATFORM, engine, folder, config))
        return started[-1]

    yield start
    for plugin in started:
        plugin.stop()


@pytest.fixture(scope="session")
def mlplatform(start_mlplatform: Callable[..., Plugin]) -> Plugin:
    return start_mlplatform()


def own_writes(cluster: Cluster, name: str) -> list[audit.AuditEvent]:
    """What the deployer wrote, or tried in a dry run, of an object of that name."""
    marker = f"mark-{secrets.token_hex(4)}"
    cluster.exists(f"/api/v1/namespaces/default/configmaps/{marker}")
    log = cluster.sandbox.audit_log
    eventually(lambda: marker.encode() in log.read_bytes())
    return [
        event
        for event in audit.read(log)
        if event.key is not None
        and event.key.name == name
        and event.user == "deployer"
        and event.verb in audit.WRITES
    ]


# --- the process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_plugin_that_is_no_longer_needed_ends_at_once_and_quietly(
    start_mlplatform: Callable[..., Plugin], sent: signal.Signals
):
    """The engine interrupts its plugins at the end of each run and waits for them."""
    plugin = start_mlplatform()
    began = time.monotonic()
    plugin.process.send_signal(sent)
    plugin.process.wait(5)
    assert time.monotonic() - began < 1
    assert not plugin.errors


def test_a_plugin_ends_with_an_engine_that_was_killed(engine: Engine):
    script = f"{MLPLATFORM} {engine.address} & echo $!; wait"
    parent = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    plugin = psutil.Process(int(parent.stdout.readline()))
    assert parent.stdout.readline().strip().isdigit()
    parent.kill()
    parent.wait()
    plugin.wait(5)


# --- definitions ---------------------------------------------------------------------------------


class Store:
    """A folder of bodies, as the program fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, body: Object) -> str:
        content = json.dumps(body).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / f"{digest}.json").write_bytes(content)
        return f"sha256:{digest}"

    def program(self, body: Object) -> Object:
        """Inputs for a definition, whose body is put into the store."""
        return {
            "name": body["metadata"]["name"],
            "digest": self.put(body),
            "store": str(self.folder),
            "summary": {"group": body["spec"]["group"], "kind": body["spec"]["names"]["kind"]},
        }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    folder = tmp_path / "store"
    folder.mkdir()
    return Store(folder)


@pytest.fixture
def group() -> str:
    return f"g{secrets.token_hex(4)}.example.org"


def test_a_definition_is_created_once_every_version_is_served(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str, namespace: str
):
    versions = [f"v{number}" for number in range(1, 6)]
    program = store.program(definition(group, "Thing", versions))
    resource = mlplatform.resource(DEFINITION).create(program)
    for version in versions:
        served = cluster.get(f"/apis/{group}/{version}")["resources"]
        assert [entry["kind"] for entry in served] == ["Thing"]
        path = f"/apis/{group}/{version}/namespaces/{namespace}/things"
        body = {"apiVersion": f"{group}/{version}", "kind": "Thing", "metadata": {"name": version}}
        cluster.post(path, body)
    assert resource.id == f"things.{group}"


def test_the_state_is_small(mlplatform: Plugin, cluster: Cluster, store: Store, group: str):
    body = definition(group, "Thing")
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] = {
        f"field{i}": {"type": "string", "description": "words " * 20} for i in range(500)
    }
    program = store.program(body)
    resource = mlplatform.resource(DEFINITION).create(program)
    uid = cluster.get(f"{DEFINITIONS}/things.{group}")["metadata"]["uid"]
    assert resource.state == {**program, "uid": uid}
    assert len(json.dumps(resource.state)) < 1000
    assert resource.read().state == resource.state


def test_another_digest_is_applied_and_the_same_is_no_change(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    resource = mlplatform.resource(DEFINITION)
    program = store.program(definition(group, "Thing", ("v1", "v2")))
    resource.create(program)
    assert not resource.diff({**program, "store": "/elsewhere"}).some
    changed = store.program(definition(group, "Thing", ("v2", "v3")))
    found = resource.diff(changed)
    assert found.changes == {"digest": "UPDATE"}
    assert not found.replaces
    before = resource.state["uid"]
    # The old storage version has to stay until nothing is stored in it: there is nothing.
    cluster.merge(f"{DEFINITIONS}/things.{group}/status", {"status": {"storedVersions": ["v2"]}})
    resource.update(changed)
    assert resource.state["uid"] == before
    live = cluster.get(f"{DEFINITIONS}/things.{group}")
    assert [version["name"] for version in live["spec"]["versions"]] == ["v2", "v3"]
    assert cluster.get(f"/apis/{group}/v3")["resources"]


def test_another_name_is_another_definition(mlplatform: Plugin, store: Store, group: str):
    resource = mlplatform.resource(DEFINITION)
    resource.create(store.program(definition(group, "Thing")))
    assert resource.diff(store.program(definition(group, "Other"))).replaces == ["name"]


def test_what_somebody_changed_is_found_and_put_back(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    program = store.program(definition(group, "Thing"))
    path = f"{DEFINITIONS}/things.{group}"
    resource = mlplatform.resource(DEFINITION).create(program)
    assert resource.refresh().state["digest"] == program["digest"]
    assert not resource.diff(program).some
    cluster.merge(path, {"spec": {"names": {"shortNames": ["th"]}}})
    assert resource.refresh().state["digest"] == program["digest"], "not a field of ours"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    cluster.merge(path, {"spec": {"versions": versions}})
    drifted = resource.refresh().state["digest"]
    assert drifted.startswith("sha256:drifted-")
    assert resource.read().state["digest"] == drifted
    assert resource.diff(program).changes == {"digest": "UPDATE"}
    resource.update(program)
    schema = cluster.get(path)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["x-kubernetes-preserve-unknown-fields"] is True
    assert "properties" not in schema
    assert resource.refresh().state["digest"] == program["digest"]


def test_a_definition_that_is_gone_has_no_id(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    resource = mlplatform.resource(DEFINITION).create(store.program(definition(group, "Thing")))
    cluster.delete(f"{DEFINITIONS}/things.{group}")
    assert eventually(lambda: resource.read().id == "")
    resource.delete()


def test_a_definition_is_adopted(mlplatform: Plugin, cluster: Cluster, store: Store, group: str):
    """A run that was killed left it behind."""
    uid = cluster.post(DEFINITIONS, definition(group, "Thing"))["metadata"]["uid"]
    resource = mlplatform.resource(DEFINITION)
    resource.create(store.program(definition(group, "Thing", ("v1", "v2"))))
    assert resource.state["uid"] == uid
    assert cluster.get(f"/apis/{group}/v2")["resources"]


def test_a_deletion_waits_for_what_was_stored(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str, namespace: str
):
    resource = mlplatform.resource(DEFINITION).create(store.program(definition(group, "Thing")))
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"
    metadata = {"name": "x", "finalizers": ["example.org/held"]}
    cluster.post(path, {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": metadata})
    deletion = Background(resource.delete)
    here = f"{DEFINITIONS}/things.{group}"
    eventually(lambda: cluster.get(here)["metadata"].get("deletionTimestamp"))
    eventually(lambda: cluster.get(f"{path}/x")["metadata"].get("deletionTimestamp"))
    assert not deletion.done
    cluster.merge(f"{path}/x", {"metadata": {"finalizers": None}})
    deletion.result()
    assert not cluster.exists(here)


def test_a_deletion_that_takes_too_long_says_what_holds_it(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    body = definition(group, "Thing")
    body["metadata"]["finalizers"] = ["example.org/held"]
    resource = mlplatform.resource(DEFINITION).create(store.program(body))
    with pytest.raises(Refused, match=r"timed out.*example\.org/held"):
        resource.delete(timeout=1)
    here = f"{DEFINITIONS}/things.{group}"
    cluster.merge(here, {"metadata": {"finalizers": None}})
    resource.delete()
    assert not cluster.exists(here)


def test_a_deletion_that_the_server_gave_up_is_resumed(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    """The server leaves such a definition alone until somebody changes it."""
    body = definition(group, "Thing")
    body["metadata"]["finalizers"] = ["example.org/held"]
    resource = mlplatform.resource(DEFINITION).create(store.program(body))
    deletion = Background(resource.delete)
    here = f"{DEFINITIONS}/things.{group}"

    def reason() -> str:
        conditions = {c["type"]: c for c in cluster.get(here)["status"]["conditions"]}
        return str(conditions.get("Terminating", {}).get("reason"))

    eventually(lambda: reason() == "InstanceDeletionCompleted")
    conditions = cluster.get(here)["status"]["conditions"]
    for condition in conditions:
        if condition["type"] == "Terminating":
            condition.update(status="True", reason="InstanceDeletionFailed")
    cluster.merge(f"{here}/status", {"status": {"conditions": conditions}})
    eventually(lambda: RESUMED in cluster.get(here)["metadata"].get("annotations", {}))
    assert not deletion.done
    cluster.merge(here, {"metadata": {"finalizers": None}})
    deletion.result()
    assert not cluster.exists(here)


def test_a_definition_without_its_names_is_recorded(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    first = mlplatform.resource(DEFINITION, "first")
    first.create(store.program(definition(group, "Thing")))
    rival = definition(group, "Rival")
    rival["spec"]["names"]["shortNames"] = ["things"]
    second = mlplatform.resource(DEFINITION, "second")
    with pytest.raises(InitFailed, match=r'"things" is already in use'):
        second.create(store.program(rival))
    assert second.id == f"rivals.{group}"
    second.delete()
    assert not cluster.exists(f"{DEFINITIONS}/rivals.{group}")


def test_a_preview_of_a_definition_writes_nothing(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    program = store.program(definition(group, "Thing"))
    resource = mlplatform.resource(DEFINITION)
    assert resource.preview(program) == {**program, "uid": UNKNOWN}
    assert resource.preview({**program, "digest": UNKNOWN}) == {**program, "digest": UNKNOWN}
    invalid = definition(group, "Thing")
    invalid["spec"]["versions"][0]["storage"] = False
    with pytest.raises(Refused, match="storage"):
        resource.preview(store.program(invalid))
    assert not cluster.exists(f"{DEFINITIONS}/things.{group}")
    found = own_writes(cluster, f"things.{group}")
    assert found
    assert all(event.dry_run for event in found)


@pytest.mark.parametrize("operation", ["preview", "create", "read"])
def test_a_body_that_is_missing_or_damaged_is_an_error_that_says_what_to_do(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str, operation: str
):
    program = store.program(definition(group, "Thing"))
    resource = mlplatform.resource(DEFINITION)
    if operation == "read":
        resource.create(program)

    def run() -> object:
        return resource.read() if operation == "read" else getattr(resource, operation)(program)

    path = store.folder / f"{program['digest'].removeprefix('sha256:')}.json"
    path.write_text("{}")
    with pytest.raises(Refused, match=rf"store: {path} is damaged: delete it and render"):
        run()
    path.unlink()
    with pytest.raises(Refused, match=rf"store: can't read {path}: No such file.*render"):
        run()
    assert cluster.exists(f"{DEFINITIONS}/things.{group}") is (operation == "read")


def test_an_authority_that_was_injected_stays(
    mlplatform: Plugin, cluster: Cluster, store: Store, group: str
):
    """cert-manager's injector writes it; the body in the manifests has a placeholder or none."""
    body = definition(group, "Thing", ("v1", "v2"))
    body["metadata"]["annotations"] = {"cert-manager.io/inject-ca-from": "nowhere/none"}
    client_config = {"service": {"namespace": "nowhere", "name": "none", "path": "/convert"}}
    webhook = {"clientConfig": client_config, "conversionReviewVersions": ["v1"]}
    body["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    resource = mlplatform.resource(DEFINITION).create(store.program(body))
    path = f"{DEFINITIONS}/things.{group}"
    authority = base64.b64encode(pki.create_authority("injected").certificate).decode()
    injected = {"conversion": {"webhook": {"clientConfig": {"caBundle": authority}}}}
    cluster.merge(path, {"spec": injected})
    client_config["caBundle"] = base64.b64encode(b"placeholder").decode()
    body["metadata"]["labels"] = {"changed": "yes"}
    resource.update(store.program(body))
    live = cluster.get(path)
    assert live["metadata"]["labels"] == {"changed": "yes"}
    assert live["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] == authority
    assert not resource.refresh().state["digest"].startswith("sha256:drifted")


def test_forty_definitions_at_once(
    mlplatform: Plugin, store: Store, group: str, record_property: Callable
):
    began = time.monotonic()
    creations = [
        Background(
            lambda i=i: mlplatform.resource(DEFINITION, f"x{i}").create(
                store.program(definition(f"x{i}.{group}", "Thing", ("v1", "v2")))
            )
        )
        for i in range(40)
    ]
    made: list[Resource] = [creation.result() for creation in creations]
    record_property("seconds", time.monotonic() - began)
    for deletion in [Background(resource.delete) for resource in made]:
        deletion.result()
    assert not mlplatform.errors


# --- gates ---------------------------------------------------------------------------------------


class Webhook:
    """A webhook's server outside the cluster, that a test lets answer, deny or stay silent."""

    def __init__(self) -> None:
        authority = pki.create_authority("contract-webhooks")
        self.authority = base64.b64encode(authority.certificate).decode()
        self._pair = pki.issue(authority, "localhost", dns=["localhost"], ips=["127.0.0.1"])
        self.asked: list[Object] = []
        self.denial = ""
        self.silent = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def open(self, folder: Path) -> None:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                review = json.loads(self.rfile.read(size))
                outer.asked.append(review["request"])
                if outer.silent.is_set():
                    while outer.silent.wait(0.1) and outer.silent.is_set():
                        time.sleep(0.05)
                    return
                response = {"uid": review["request"]["uid"], "allowed": not outer.denial}
                if outer.denial:
                    response["status"] = {"message": outer.denial, "code": 403}
                body = json.dumps({**review, "response": response}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        pem = folder / f"webhook-{self.port}.pem"
        pem.write_bytes(self._pair.certificate + self._pair.key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.silent.clear()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def entry(self, namespace: str, name: str, **more: object) -> Object:
        """Its entry in a configuration: for ConfigMaps of a namespace."""
        return {
            "name": name,
            "clientConfig": {
                "url": f"https://127.0.0.1:{self.port}/admit",
                "caBundle": self.authority,
            },
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["configmaps"],
                }
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
            **more,
        }


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


class Gates:
    """Webhook configurations of one test, and gates for them."""

    def __init__(self, cluster: Cluster, plugin: Plugin, namespace: str) -> None:
        self._cluster = cluster
        self._plugin = plugin
        self.namespace = namespace
        self.made: list[str] = []

    def configure(self, name: str, *entries: Object, kind: str = "") -> str:
        """Make a configuration; its name."""
        kind = kind or "ValidatingWebhookConfiguration"
        full = f"{self.namespace}-{name}"
        self._cluster.post(KINDS[kind], {"metadata": {"name": full}, "webhooks": list(entries)})
        self.made.append(f"{KINDS[kind]}/{full}")
        return f"{kind}/{full}"

    def remove(self) -> None:
        for path in self.made:
            with contextlib.suppress(Exception):
                self._cluster.delete(path)

    def program(self, *webhooks: tuple[str, str], **more: object) -> Object:
        return {
            "webhooks": [{"configuration": c, "webhook": w} for c, w in webhooks],
            "probes": [config_map(self.namespace, "probe")],
            **more,
        }

    def pass_through(
        self, *webhooks: tuple[str, str], name: str = "gate", timeout: float = 30.0
    ) -> Background[Resource]:
        """Create a gate in the background."""
        resource = self._plugin.resource(GATE, name)
        program = self.program(*webhooks)
        return Background(lambda: resource.create(program, timeout=timeout))


@pytest.fixture
def gates(cluster: Cluster, mlplatform: Plugin, namespace: str) -> Iterator[Gates]:
    gates = Gates(cluster, mlplatform, namespace)
    yield gates
    gates.remove()


def probes(cluster: Cluster, namespace: str) -> list[audit.AuditEvent]:
    """Dry runs of gates in a namespace so far."""
    return [
        event
        for event in audit.read(cluster.sandbox.audit_log)
        if event.user_agent == PROBING and event.key and event.key.namespace == namespace
    ]


def configured(cluster: Cluster, namespace: str) -> bool:
    """Whether the API server asks the webhooks of a namespace by now: an object is refused."""
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    try:
        cluster.post(path, {"metadata": {"name": f"x-{secrets.token_hex(4)}"}})
    except Exception as error:
        return "failed calling webhook" in str(error)
    return False


def test_a_gate_is_passed_once_the_webhook_answers(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str, tmp_path: Path
):
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    eventually(lambda: configured(cluster, namespace))
    creation = gates.pass_through((name, "a.example.org"))
    eventually(lambda: len(probes(cluster, namespace)) > 2)
    assert not creation.done
    webhook.open(tmp_path)
    assert creation.result().id == "gate"
    assert webhook.asked[-1]["dryRun"] is True
    assert webhook.asked[-1]["object"]["metadata"]["name"].startswith("probe-")
    names = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    assert {item["metadata"]["name"] for item in names} <= {"kube-root-ca.crt"}


def test_a_denial_is_an_answer(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str, tmp_path: Path
):
    webhook.denial = "never"
    webhook.open(tmp_path)
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    gates.pass_through((name, "a.example.org")).result()


def test_a_gate_waits_for_the_configuration(
    gates: Gates, webhook: Webhook, namespace: str, tmp_path: Path
):
    webhook.open(tmp_path)
    later = f"ValidatingWebhookConfiguration/{namespace}-a"
    creation = gates.pass_through((later, "b.example.org"))
    gates.configure("a", webhook.entry(namespace, "a.example.org"))
    time.sleep(0.3)
    assert not creation.done, "the configuration has another webhook only"
    path = gates.made[-1]
    entries = [webhook.entry(namespace, "a.example.org"), webhook.entry(namespace, "b.example.org")]
    gates._cluster.merge(path, {"webhooks": entries})
    creation.result()


def test_a_gate_waits_for_all_its_webhooks(
    gates: Gates, cluster: Cluster, namespace: str, tmp_path: Path
):
    first, second = Webhook(), Webhook()
    one = gates.configure(
        "a", first.entry(namespace, "a.example.org"), kind="MutatingWebhookConfiguration"
    )
    two = gates.configure("b", second.entry(namespace, "b.example.org"))
    eventually(lambda: configured(cluster, namespace))
    creation = gates.pass_through((one, "a.example.org"), (two, "b.example.org"))
    first.open(tmp_path)
    eventually(lambda: len(first.asked) > 2)
    assert not creation.done
    second.open(tmp_path)
    creation.result()
    assert second.asked
    first.close()
    second.close()


def test_a_late_gate_names_the_webhook_and_its_last_answer(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str
):
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    eventually(lambda: configured(cluster, namespace))
    creation = gates.pass_through((name, "a.example.org"), timeout=1.5)
    with pytest.raises(Refused) as failed:
        creation.result()
    text = str(failed.value)
    assert 1.4 < creation.seconds < 4
    assert f"webhook a.example.org of {name}" in text
    assert f"https://127.0.0.1:{webhook.port}/admit" in text
    assert 'failed calling webhook "a.example.org"' in text
    assert "connection refused" in text


def test_a_late_gate_says_that_there_is_no_configuration(gates: Gates):
    missing = "MutatingWebhookConfiguration/none"
    with pytest.raises(Refused, match=rf"a\.b of {missing}: the configuration does not exist"):
        gates.pass_through((missing, "a.b"), timeout=0.5).result()


def test_the_timeout_is_the_inputs_where_the_resource_has_none(gates: Gates, mlplatform: Plugin):
    program = gates.program(("MutatingWebhookConfiguration/none", "a.b"), timeoutSeconds=1)
    began = time.monotonic()
    with pytest.raises(Refused, match="did not become ready in time"):
        mlplatform.resource(GATE).create(program)
    assert 1 <= time.monotonic() - began < 3


def test_a_gate_fails_when_its_configuration_is_deleted(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str
):
    """Otherwise the dry run would pass, for nobody would be asked."""
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    eventually(lambda: configured(cluster, namespace))
    creation = gates.pass_through((name, "a.example.org"))
    eventually(lambda: probes(cluster, namespace))
    cluster.delete(gates.made[-1])
    with pytest.raises(Refused, match=rf"{name} was deleted"):
        creation.result()
    assert creation.seconds < 10


def test_a_preview_of_a_gate_asks_nothing(
    gates: Gates, mlplatform: Plugin, cluster: Cluster, webhook: Webhook, namespace: str
):
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    program = gates.program((name, "a.example.org"))
    resource = mlplatform.resource(GATE)
    assert resource.preview(program) == program
    assert resource.preview({**program, "webhooks": UNKNOWN}) == {**program, "webhooks": UNKNOWN}
    assert not probes(cluster, namespace)


def test_a_cancelled_gate_ends_soon_even_while_a_webhook_is_silent(
    start_mlplatform: Callable[..., Plugin],
    cluster: Cluster,
    webhook: Webhook,
    namespace: str,
    tmp_path: Path,
):
    plugin = start_mlplatform()
    gates = Gates(cluster, plugin, namespace)
    webhook.silent.set()
    webhook.open(tmp_path)
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    creation = gates.pass_through((name, "a.example.org"))
    eventually(lambda: webhook.asked)
    began = time.monotonic()
    plugin.cancel()
    with pytest.raises(Refused, match=r"cancelled.*a\.example\.org"):
        creation.result()
    assert time.monotonic() - began < 3
    gates.remove()


def test_a_passed_gate_is_asked_again_for_other_webhooks_or_probes_only(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str, tmp_path: Path
):
    webhook.open(tmp_path)
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    resource = gates.pass_through((name, "a.example.org")).result()
    program = gates.program((name, "a.example.org"))
    assert not resource.diff(program).some
    assert not resource.diff({**program, "timeoutSeconds": 5}).some
    before = len(webhook.asked)
    assert resource.read().state == resource.state
    assert len(webhook.asked) == before
    changed = {**program, "probes": [config_map(namespace, "another")]}
    assert resource.diff(changed).changes == {"probes": "UPDATE"}
    resource.update(changed)
    assert len(webhook.asked) == before + 1
    resource.delete()
    assert len(webhook.asked) == before + 1


def test_a_gate_outlasts_a_lost_api_server(
    start_mlplatform: Callable[..., Plugin],
    cluster: Cluster,
    webhook: Webhook,
    namespace: str,
    tmp_path: Path,
):
    proxy = Proxy(cluster.kubeconfig)
    gates = Gates(cluster, start_mlplatform(proxy.kubeconfig), namespace)
    name = gates.configure("a", webhook.entry(namespace, "a.example.org"))
    eventually(lambda: configured(cluster, namespace))
    creation = gates.pass_through((name, "a.example.org"))
    eventually(lambda: probes(cluster, namespace))
    proxy.cut()
    webhook.open(tmp_path)
    time.sleep(1)
    assert not creation.done
    proxy.open()
    creation.result()
    proxy.cut()
    gates.remove()


def in_cluster(namespace: str, webhook: Webhook, **config: str) -> Object:
    """An entry for a webhook behind the Service `hook`."""
    entry = webhook.entry(namespace, "a.example.org")
    service = {"namespace": namespace, "name": "hook", "path": "/admit"}
    return {**entry, "clientConfig": {"service": service, **config}}


def expose(cluster: Cluster, namespace: str) -> None:
    ports = [{"port": 443, "targetPort": 8443}]
    body = {"metadata": {"name": "hook"}, "spec": {"selector": {"app": "hook"}, "ports": ports}}
    cluster.post(f"/api/v1/namespaces/{namespace}/services", body)


def test_a_webhook_whose_service_has_no_pods_is_not_asked(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str
):
    expose(cluster, namespace)
    name = gates.configure("a", in_cluster(namespace, webhook, caBundle=webhook.authority))
    with pytest.raises(Refused, match=rf"Service {namespace}/hook has no ready endpoint yet"):
        gates.pass_through((name, "a.example.org"), timeout=0.5).result()
    assert not probes(cluster, namespace)


def test_a_gate_waits_for_the_pods_behind_the_service(
    gates: Gates, cluster: Cluster, webhook: Webhook, namespace: str
):
    """A webhook in the cluster, whose authority something in the cluster injects."""
    name = gates.configure("a", in_cluster(namespace, webhook))
    creation = gates.pass_through((name, "a.example.org"))
    expose(cluster, namespace)
    assert not creation.done
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    cluster.post(deployments, workload("Deployment", namespace, "hook"))
    creation.result()
    asked = cluster.sandbox.admission_log.read_text()
    assert f'"service":"{namespace}/hook"' in asked


# --- credentials ---------------------------------------------------------------------------------

KEPT = "/api/v1/namespaces/kube-system/secrets/ml-platform-credentials"


@pytest.fixture
def credentials(mlplatform: Plugin, cluster: Cluster) -> Iterator[Resource]:
    """The cluster's one set of credentials, which no other test leaves behind."""
    assert not cluster.exists(KEPT)
    yield mlplatform.resource("mlplatform:access:Credentials")
    with contextlib.suppress(ApiError):
        cluster.delete(KEPT)


def values(state: Object) -> dict[str, str]:
    """The credentials in a state, each of which must be secret."""
    found = {key: value for key, value in state.items() if key != "stored"}
    assert found
    assert all(isinstance(value, Secret) for value in found.values())
    return {key: value.value for key, value in found.items()}


def test_credentials_are_generated_once_and_found_again(
    credentials: Resource, mlplatform: Plugin, cluster: Cluster
):
    """A run that was killed before its state was written must not make others."""
    made = values(credentials.create({}).state)
    assert {"password", "password_hash", "cookie_secret"} <= set(made)
    assert len(set(made.values())) == len(made)
    data = cluster.get(KEPT)["data"]
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == made
    again = mlplatform.resource(credentials.token, "again").create({})
    assert values(again.state) == made
    assert not credentials.diff({}).some
    for text in (mlplatform.engine.said(), mlplatform.errors):
        assert made["password"] not in text


def test_credentials_that_the_cluster_lost_are_put_back(credentials: Resource, cluster: Cluster):
    made = values(credentials.create({}).state)
    cluster.delete(KEPT)
    found = credentials.refresh()
    assert found.id == "ml-platform-credentials"
    assert values(found.state) == made
    assert credentials.diff({}).changes == {"stored": "UPDATE"}
    credentials.update({})
    assert values(credentials.state) == made
    assert cluster.exists(KEPT)
    credentials.refresh()
    assert not credentials.diff({}).some


def test_another_password_changes_its_hash_and_nothing_else(
    credentials: Resource, cluster: Cluster
):
    before = values(credentials.create({"password": Secret("correct horse 1")}).state)
    assert before["password"] == "correct horse 1"
    program = {"password": Secret("correct horse 2")}
    assert credentials.diff(program).changes == {"password": "UPDATE"}
    shown = values(credentials.preview(program))
    assert shown["password"] == "correct horse 2"
    assert shown["password_hash"] is UNKNOWN
    assert base64.b64decode(cluster.get(KEPT)["data"]["password"]) == b"correct horse 1"
    after = values(credentials.update(program).state)
    assert {key for key in after if after[key] != before[key]} == {"password", "password_hash"}
    # Without a password of the program's the last one stands.
    assert not credentials.diff({}).some


def test_a_preview_of_credentials_generates_none(credentials: Resource, cluster: Cluster):
    assert set(values(credentials.preview({})).values()) == {UNKNOWN}
    assert not cluster.exists(KEPT)


def test_a_bad_password_is_refused_without_being_shown(credentials: Resource):
    password = "x" * 73
    _, failures = credentials.check({"password": Secret(password)})
    assert failures
    assert password not in failures[0]


def test_deleted_credentials_leave_nothing(credentials: Resource, cluster: Cluster):
    credentials.create({})
    credentials.delete()
    assert not cluster.exists(KEPT)
