"""The sandbox for real: its processes, its API server, and what is simulated behind it."""

import contextlib
import json
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sandbox import audit, cli, controlplane, daemon, network, parts
from sandbox.api import ApiError, Client
from sandbox.controlplane import RunningSandbox, SandboxError, SandboxOptions
from sandbox.state import State

pytestmark = pytest.mark.engine

DELAY = 2.0
NAMESPACE = "test"


def eventually(check: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until `check` gives something true; an API error counts as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = check()
        except (ApiError, OSError) as error:
            found, last = False, error
        else:
            last = found
        if found:
            return
        assert time.monotonic() < deadline, last
        time.sleep(0.05)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    folder = tmp_path_factory.mktemp("one") / "data"
    running = controlplane.start(SandboxOptions("test-one", admission_delay=DELAY, data_dir=folder))
    Client(running.admin_kubeconfig).request(
        "POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}
    )
    yield running
    running.stop()
    assert not folder.exists()


@pytest.fixture
def client(sandbox: RunningSandbox) -> Client:
    return Client(sandbox.kubeconfig)


def pids(running: RunningSandbox) -> dict[str, int]:
    state = State.load(running.data_dir)
    assert state is not None
    return {part: process.pid for part, process in state.processes.items()}


def listening(of: set[int]) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in of
    }


def deployment(name: str, labels: dict[str, str] | None = None) -> dict:
    selector = {"app": name}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector},
                "spec": {"containers": [{"name": "main", "image": "example.org/none"}]},
            },
        },
    }


# --- processes -----------------------------------------------------------------------------------


def test_all_parts_run_on_loopback_only_with_private_files(sandbox: RunningSandbox):
    status = controlplane.status("test-one", sandbox.data_dir)
    assert status.healthy
    assert {part.name for part in status.parts} == {part.name for part in parts.PARTS}
    assert {part.pid for part in status.parts} == set(pids(sandbox).values())
    addresses = listening(set(pids(sandbox).values()))
    assert len(addresses) >= 5
    assert {ip for ip, _ in addresses if not ip.startswith("127.")} == set()
    modes = {
        str(path): oct(stat.S_IMODE(path.stat().st_mode))
        for path in [sandbox.data_dir, *sandbox.data_dir.rglob("*")]
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert modes == {}


def test_starting_a_running_one_changes_nothing(sandbox: RunningSandbox):
    before, began = pids(sandbox), time.monotonic()
    options = SandboxOptions("test-one", admission_delay=DELAY, data_dir=sandbox.data_dir)
    assert controlplane.start(options) == sandbox
    assert time.monotonic() - began < 1.0
    # Without options it keeps those that it has, of which the delay is not the default.
    assert cli.main(["start", "--name", "test-one", "--data-dir", str(sandbox.data_dir)]) == 0
    assert pids(sandbox) == before


def test_other_settings_for_a_running_one_are_refused(sandbox: RunningSandbox):
    with pytest.raises(SandboxError, match=r"nodes=3, not 5; leave that out"):
        controlplane.start(
            SandboxOptions("test-one", 5, admission_delay=DELAY, data_dir=sandbox.data_dir)
        )


def test_two_live_side_by_side_and_one_leaves_nothing_behind(
    sandbox: RunningSandbox, tmp_path: Path
):
    folder = tmp_path / "two"
    other = controlplane.start(SandboxOptions("test-two", nodes=1, data_dir=folder))
    mine, theirs = State.load(sandbox.data_dir), State.load(folder)
    assert mine is not None
    assert theirs is not None
    try:
        assert mine.octet != theirs.octet
        assert set(mine.ports.values()) & set(theirs.ports.values()) == set()
        nodes = Client(other.kubeconfig).request("GET", "/api/v1/nodes")["items"]
        assert [node["metadata"]["name"] for node in nodes] == ["sandbox-0"]
        nodes = Client(sandbox.kubeconfig).request("GET", "/api/v1/nodes")["items"]
        assert len(nodes) == 3
        ports = listening(set(pids(other).values()))
        assert ports
    finally:
        other.stop()
    assert not folder.exists()
    assert not any(daemon.alive(process) for process in theirs.processes.values())
    assert not any(network.answers(*address) for address in ports)
    assert controlplane.status("test-one", sandbox.data_dir).healthy
    other.stop()


NAMES = [part.name for part in parts.PARTS]
# What was talking to a server that died starts again too: it would look for it too late.
RESTARTED = {parts.ETCD: NAMES, parts.API_SERVER: NAMES[1:]}


def alive(sandbox: RunningSandbox, part: str) -> bool:
    state = State.load(sandbox.data_dir)
    return state is not None and daemon.alive(state.processes[part])


@pytest.mark.parametrize("part", NAMES)
def test_a_killed_part_is_named_and_restarted(
    sandbox: RunningSandbox, client: Client, capsys: pytest.CaptureFixture[str], part: str
):
    marker = {"metadata": {"name": f"before-{part}"}}
    client.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", marker)
    before = pids(sandbox)
    os.kill(before[part], signal.SIGKILL)
    eventually(lambda: not alive(sandbox, part))

    arguments = ["--name", "test-one", "--data-dir", str(sandbox.data_dir)]
    assert cli.main(["status", *arguments]) == 1
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if part in line and "died" in line]
    assert f"not running: {part};" in printed

    assert cli.main(["start", *arguments, "--admission-delay", str(DELAY)]) == 0
    assert f"{part} (pid {before[part]}) died" in capsys.readouterr().err
    after = pids(sandbox)
    restarted = [name for name in after if after[name] != before[name]]
    assert sorted(restarted) == sorted(RESTARTED.get(part, [part]))
    assert cli.main(["status", *arguments]) == 0
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/before-{part}"
    eventually(lambda: client.request("GET", path))
    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    client.request("POST", deployments, deployment(f"after-{part}"))
    path = f"{deployments}/after-{part}"
    eventually(lambda: client.request("GET", path)["status"].get("availableReplicas") == 1, 20)


@pytest.mark.parametrize("then", ["start", "stop"])
def test_a_part_that_a_killed_start_did_not_write_down_is_ended(tmp_path: Path, then: str):
    options = SandboxOptions("test-killed", nodes=1, data_dir=tmp_path)
    running = controlplane.start(options)
    try:
        state = State.load(tmp_path)
        assert state is not None
        lost = [state.processes.pop(parts.SIMULATORS), state.processes.pop(parts.KWOK)]
        state.save(tmp_path)
        if then == "start":
            controlplane.start(options)
            assert not any(daemon.alive(process) for process in lost)
    finally:
        running.stop()
    assert not any(daemon.alive(process) for process in lost)


def test_a_part_that_dies_while_starting_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "kube-scheduler"
    broken.write_text("#!/bin/sh\necho my disk is full\nexit 3\n")
    broken.chmod(0o755)
    find = controlplane.tools.find
    monkeypatch.setattr(
        controlplane.tools,
        "find",
        lambda tool: broken if tool == "kube-scheduler" else find(tool),
    )
    options = SandboxOptions("test-broken", data_dir=tmp_path / "data")
    with pytest.raises(SandboxError, match=r"kube-scheduler .*died(?s:.*)my disk is full"):
        controlplane.start(options)
    state = State.load(tmp_path / "data")
    assert state is not None
    assert not any(daemon.alive(process) for process in state.processes.values())
    monkeypatch.undo()
    controlplane.start(options).stop()
    assert not (tmp_path / "data").exists()


def test_a_folder_with_foreign_files_is_neither_used_nor_removed(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(controlplane.StateError, match="not a sandbox"):
        controlplane.start(SandboxOptions("test-foreign", data_dir=tmp_path))
    controlplane.stop("test-foreign", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "dear"


# --- the cluster ---------------------------------------------------------------------------------


def test_rbac_and_the_audit_log_tell_users_apart(sandbox: RunningSandbox, client: Client):
    path = f"/apis/authorization.k8s.io/v1/namespaces/{NAMESPACE}/localsubjectaccessreviews"
    review = {
        "metadata": {"namespace": NAMESPACE},
        "spec": {
            "user": "somebody",
            "resourceAttributes": {"namespace": NAMESPACE, "verb": "list", "resource": "secrets"},
        },
    }
    assert client.request("POST", path, review)["status"]["allowed"] is False
    name = f"audited-{time.time_ns()}"
    config_maps = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    client.request("POST", f"{config_maps}?dryRun=All", {"metadata": {"name": name}})
    client.request("POST", config_maps, {"metadata": {"name": name}})
    with contextlib.suppress(ApiError):
        client.request("POST", config_maps, {"metadata": {"name": name}})
    Client(sandbox.admin_kubeconfig).request("DELETE", f"{config_maps}/{name}")
    mine = [
        event for event in audit.read(sandbox.audit_log) if event.key and event.key.name == name
    ]
    summary = audit.summarise(mine)
    assert (summary.writes, summary.dry_runs, summary.failed_dry_runs) == (2, 1, 0)
    assert [event.code for event in summary.failed] == [409]
    assert audit.summarise(mine, "admin").writes == 1


def test_jobs_complete_and_daemon_sets_reach_every_node(client: Client):
    pod = {"containers": [{"name": "main", "image": "example.org/none"}]}
    job = {
        "metadata": {"name": "job"},
        "spec": {"template": {"spec": pod | {"restartPolicy": "Never"}}},
    }
    jobs = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    client.request("POST", jobs, job)
    daemon_sets = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
    client.request("POST", daemon_sets, deployment("agent"))
    eventually(lambda: client.request("GET", f"{jobs}/job")["status"].get("succeeded") == 1)
    eventually(
        lambda: client.request("GET", f"{daemon_sets}/agent")["status"].get("numberAvailable") == 3
    )


def test_a_deleted_deployment_takes_its_pods_along(client: Client):
    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    client.request("POST", deployments, deployment("short"))
    path = f"{deployments}/short"
    eventually(lambda: client.request("GET", path)["status"].get("availableReplicas") == 1)
    client.request("DELETE", f"{path}?propagationPolicy=Foreground")
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dshort"
    eventually(lambda: not client.request("GET", pods)["items"])


@pytest.mark.parametrize("storage_class", ["standard", "delayed"])
def test_a_claim_is_bound_and_its_volume_goes_with_it(client: Client, storage_class: str):
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
    name = f"data-{storage_class}"
    client.request(
        "POST",
        claims,
        {
            "metadata": {"name": name},
            "spec": {
                "storageClassName": storage_class,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    if storage_class == "delayed":
        time.sleep(0.5)
        assert client.request("GET", f"{claims}/{name}")["status"]["phase"] == "Pending"
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
        client.request(
            "POST",
            pods,
            {
                "metadata": {"name": "consumer"},
                "spec": {
                    "containers": [{"name": "main", "image": "example.org/none"}],
                    "volumes": [volume],
                },
            },
        )
    eventually(lambda: client.request("GET", f"{claims}/{name}")["status"]["phase"] == "Bound")
    if storage_class == "delayed":
        client.request("DELETE", f"{pods}/consumer")
    client.request("DELETE", f"{claims}/{name}")
    eventually(
        lambda: (
            not [
                volume
                for volume in client.request("GET", "/api/v1/persistentvolumes")["items"]
                if volume["spec"]["claimRef"]["name"] == name
            ]
        )
    )


# --- what stands for containers ------------------------------------------------------------------


def webhook_configuration(name: str, annotations: dict[str, str] | None = None) -> dict:
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "webhooks": [
            {
                "name": "validate.example.org",
                "clientConfig": {
                    "service": {"namespace": NAMESPACE, "name": name, "path": "/validate"}
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    }
                ],
                "objectSelector": {"matchLabels": {"admitted-by": name}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def service(name: str) -> dict:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": 8443}]},
    }


def test_a_webhook_refuses_connections_until_its_deployment_was_ready_for_the_delay(
    sandbox: RunningSandbox, client: Client
):
    def admit(name: str) -> dict:
        labels = {"admitted-by": "hook"}
        body = {"metadata": {"name": name, "labels": labels}}
        return client.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)

    client.request("POST", f"/api/v1/namespaces/{NAMESPACE}/services", service("hook"))
    client.request("POST", CONFIGURATIONS, webhook_configuration("hook"))
    refused = r"500 .*failed calling webhook.*connection refused"
    eventually(lambda: refuses(admit, refused))

    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    client.request("POST", deployments, deployment("hook"))
    path = f"{deployments}/hook"
    eventually(lambda: client.request("GET", path)["status"].get("availableReplicas") == 1)
    available = time.monotonic()
    with pytest.raises(ApiError, match=refused):
        admit("too-early")
    eventually(lambda: admit("in-time"))
    assert time.monotonic() - available > DELAY / 2
    logged = [json.loads(line) for line in sandbox.admission_log.read_text().splitlines()]
    assert [(entry["name"], entry["path"]) for entry in logged if entry["user"] == "deployer"] == [
        ("in-time", "/validate")
    ]

    scale = {"spec": {"replicas": 0}}
    client.request("PATCH", f"{path}/scale", scale, "application/merge-patch+json")
    eventually(lambda: refuses(admit, refused))
    client.request("DELETE", f"{CONFIGURATIONS}/hook")


def refuses(admit: Callable[[str], dict], message: str) -> bool:
    """Whether an object is refused so; one that gets through was asked for too early."""
    try:
        admit(f"probe-{time.time_ns()}")
    except ApiError as error:
        assert "failed calling webhook" in str(error)
        return re.search(message, str(error)) is not None
    return False


def definition(plural: str, kind: str, scope: str) -> dict:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def test_certificates_are_issued_and_injected_once_cert_manager_is_available(client: Client):
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for plural, kind, scope in (
        ("certificates", "Certificate", "Namespaced"),
        ("issuers", "Issuer", "Namespaced"),
        ("clusterissuers", "ClusterIssuer", "Cluster"),
    ):
        client.request("POST", definitions, definition(plural, kind, scope))
    api = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}"
    common = {"apiVersion": "cert-manager.io/v1"}
    issuer = {**common, "kind": "Issuer", "metadata": {"name": "own"}, "spec": {"selfSigned": {}}}
    eventually(lambda: client.request("POST", f"{api}/issuers", issuer))
    certificate = {
        **common,
        "kind": "Certificate",
        "metadata": {"name": "cert"},
        "spec": {"secretName": "tls", "dnsNames": ["a.b"], "issuerRef": {"name": "own"}},
    }
    eventually(lambda: client.request("POST", f"{api}/certificates", certificate))
    annotation = {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/cert"}
    client.request("POST", CONFIGURATIONS, webhook_configuration("injected", annotation))

    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/tls"
    with pytest.raises(ApiError, match="404"):
        client.request("GET", secret)
    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    for name, component in (("cert-manager", "controller"), ("cainjector", "cainjector")):
        labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component}
        client.request("POST", deployments, deployment(name, labels))
    eventually(lambda: client.request("GET", secret)["data"]["tls.crt"])

    def bundle() -> str | None:
        found = client.request("GET", f"{CONFIGURATIONS}/injected")
        return found["webhooks"][0]["clientConfig"].get("caBundle")

    eventually(bundle)
    assert bundle() == client.request("GET", secret)["data"]["ca.crt"]
    [condition] = client.request("GET", f"{api}/certificates/cert")["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "True")
    client.request("DELETE", f"{CONFIGURATIONS}/injected")
