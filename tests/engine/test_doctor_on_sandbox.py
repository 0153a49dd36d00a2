"""The doctor on a real API server, with each fault planted: it finds that one, and only reads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from doctor.ask import ask, connection
from doctor.cli import main
from doctor.diagnose import diagnose
from sandbox import audit, controlplane
from sandbox.api import MERGE_PATCH, ApiError, Client
from sandbox.controlplane import RunningSandbox, SandboxOptions
from tests.support.doctor_world import certificate, private_key
from tests.support.kube import eventually

pytestmark = pytest.mark.engine

NAMESPACE = "ill"
NODE = "played-by-the-test"
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ward:
    """A cluster in which faults are planted."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = Client(sandbox.admin_kubeconfig, "test")

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.client.request("POST", path, body)

    def gone(self, path: str) -> None:
        self.client.request("DELETE", f"{path}?gracePeriodSeconds=0")

        def check() -> bool:
            try:
                self.client.request("GET", path)
            except ApiError as error:
                return error.code == 404
            return False

        eventually(check, f"{path} is gone")

    def findings(self) -> list[Any]:
        found = diagnose(ask(connection(self.sandbox.admin_kubeconfig, "")))
        return [one for one in found if NODE not in one.where]

    def codes(self) -> list[str]:
        return [one.code for one in self.findings()]

    @contextmanager
    def planted(self, path: str, body: dict[str, Any], status: Any = None) -> Iterator[None]:
        """An object for as long as the block runs, with a status that no controller gave it."""
        name = body["metadata"]["name"]
        self.make(path, body)
        try:
            if status is not None:
                self.client.request(
                    "PATCH", f"{path}/{name}/status", {"status": status}, MERGE_PATCH
                )
            yield
        finally:
            self.gone(f"{path}/{name}")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("doctor") / "data"
    sandbox = controlplane.start(SandboxOptions("test-doctor", data_dir=folder))
    ward = Ward(sandbox)
    ward.make("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    # A node without a kubelet and without its simulator: what its pods say is the test's.
    ward.make("/api/v1/nodes", {"metadata": {"name": NODE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"

    def there() -> bool:
        try:
            return bool(ward.client.request("GET", account))
        except ApiError:
            return False

    eventually(there, "the namespace has its account")
    yield ward
    sandbox.stop()


PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
POD = {
    "metadata": {"name": "app"},
    "spec": {
        "nodeName": NODE,
        "containers": [{"name": "main", "image": "app:1"}],
        # The node is not ready, which would drive the pod out.
        "tolerations": [{"operator": "Exists"}],
    },
}


def status(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    container = {
        "name": "main", "image": "app:1", "imageID": "", "ready": False, "restartCount": 4,
        "state": state, "lastState": {"terminated": last} if last else {},
    }  # fmt: skip
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": LONG_AGO}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}


def crashed(message: str, **more: Any) -> dict[str, Any]:
    last = {"exitCode": 1, "reason": "Error", "message": message, **more}
    return status({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, last)


def pulling(message: str) -> dict[str, Any]:
    return status({"waiting": {"reason": "ErrImagePull", "message": message}})


def test_nothing_is_wrong_at_first(ward):
    assert ward.findings() == []


@pytest.mark.parametrize(
    ("planted", "code", "words"),
    [
        (pulling("app:1: not found"), "image-pull", "app:1: not found"),
        (pulling("no match for platform in manifest"), "image-architecture", "no match"),
        (crashed("panic: no database"), "crash", "panic: no database"),
        (crashed("inotify: too many open files"), "inotify", "too many open files"),
        (crashed("exec /app: exec format error"), "image-architecture", "exec format error"),
        (crashed("", exitCode=137, reason="OOMKilled"), "out-of-memory", "more memory"),
        (status({"running": {}}), "not-ready", "is not ready"),
        (
            status({"waiting": {"reason": "CreateContainerConfigError", "message": "no secret a"}}),
            "container-config",
            "no secret a",
        ),
    ],
)
def test_a_pod(ward, planted, code, words):
    with ward.planted(PODS, POD, planted):
        (found,) = ward.findings()
        assert (found.code, found.severity) == (code, "error")
        assert f"Pod {NAMESPACE}/app" in found.where
        assert words in found.problem
        assert found.remedy
    assert ward.findings() == []


def test_a_pod_that_the_scheduler_really_cannot_place(ward):
    large = {"requests": {"memory": "900Ti"}}
    spec = {"containers": [{"name": "main", "image": "app:1", "resources": large}]}
    with ward.planted(PODS, {"metadata": {"name": "large"}, "spec": spec}):
        eventually(lambda: ward.codes() == ["unschedulable"], "the scheduler has looked at it")
        (found,) = ward.findings()
        assert "Insufficient memory" in found.problem
        assert "no node has enough memory left" in found.remedy


def test_a_webhook_that_does_not_answer(ward):
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    service = {"namespace": NAMESPACE, "name": "hook"}
    authority = certificate(datetime.now(UTC) + timedelta(days=90))
    hook = {
        "name": "hook.example.com",
        "clientConfig": {"service": service, "caBundle": authority},
        "rules": [
            {
                "apiGroups": ["nobody.example.com"], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["things"],
            }
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    }  # fmt: skip
    services = f"/api/v1/namespaces/{NAMESPACE}/services"
    with ward.planted(path, {"metadata": {"name": "hooks"}, "webhooks": [hook]}):
        (found,) = ward.findings()
        assert (found.code, found.severity) == ("webhook-not-answering", "error")
        assert f"there is no Service {NAMESPACE}/hook" in found.problem
        spec = {"selector": {"app": "hook"}, "ports": [{"port": 443}]}
        with ward.planted(services, {"metadata": {"name": "hook"}, "spec": spec}):
            (found,) = ward.findings()
            assert f"no pod behind the Service {NAMESPACE}/hook is ready" in found.problem


@pytest.mark.parametrize(
    ("days", "code", "severity"),
    [(-1, "certificate-expired", "error"), (3, "certificate-expiring", "warning")],
)
def test_a_certificate(ward, days, code, severity):
    data = {
        "tls.crt": certificate(datetime.now(UTC) + timedelta(days=days)),
        "tls.key": private_key(),
    }
    body = {"metadata": {"name": "web"}, "type": "kubernetes.io/tls", "data": data}
    with ward.planted(f"/api/v1/namespaces/{NAMESPACE}/secrets", body):
        (found,) = ward.findings()
        assert (found.code, found.severity) == (code, severity)
        assert found.where == f"Secret {NAMESPACE}/web"


def test_a_volume_that_nobody_makes(ward, monkeypatch):
    # Nobody waits two minutes here for a claim to be old enough.
    monkeypatch.setattr("doctor.storage.STARTING", timedelta(0))
    body = {
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": "fast",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    with ward.planted(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims", body):
        (found,) = ward.findings()
        assert found.code == "volume-pending"
        assert "there is no StorageClass fast" in found.problem


def test_redis_without_a_majority_of_sentinels(ward):
    labels = {
        "app.kubernetes.io/part-of": "redis",
        "app.kubernetes.io/component": "redis-sentinel",
    }
    # No pod of it comes: the quota of the namespace has no place for one.
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    pod = {"metadata": {"labels": labels}, "spec": POD["spec"]}
    body = {
        "metadata": {"name": "redis-sentinel", "labels": labels},
        "spec": {
            "replicas": 3, "serviceName": "none",
            "selector": {"matchLabels": labels}, "template": pod,
        },
    }  # fmt: skip
    with (
        ward.planted(f"/api/v1/namespaces/{NAMESPACE}/resourcequotas", quota),
        ward.planted(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets", body),
    ):
        assert ward.codes() == ["redis-no-majority"]


def test_a_node_whose_kubelet_is_silent(ward):
    found = diagnose(ask(connection(ward.sandbox.admin_kubeconfig, "")))
    assert [one.code for one in found] == ["node-not-ready"]
    assert found[0].where == f"Node {NODE}"


def test_the_command_only_reads_and_its_exit_code_tells(ward, capsys):
    log = ward.sandbox.audit_log
    since = log.stat().st_size
    assert main(["--json", "--kubeconfig", str(ward.sandbox.admin_kubeconfig)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in told["findings"]] == ["node-not-ready"]
    assert main(["--kubeconfig", str(ward.sandbox.admin_kubeconfig)]) == 1
    assert NODE in capsys.readouterr().out
    mine = [event for event in audit.read(log, since) if event.user_agent == "ml-platform-doctor"]
    assert {event.verb for event in mine} <= {"get", "list"}
    assert mine
