"""The report of the real engine's previews and refreshes, by the commands that workflows run."""

import base64
import os
from pathlib import Path
from unittest import mock

import pytest
from life_support import KUBEFLOW

from review.cli import main as review
from review.events import lines, preview_of, read
from review.model import Operation
from sandbox import cli, controlplane
from sandbox.api import MERGE_PATCH, Client
from sandbox.controlplane import RunningSandbox
from sandbox.deploy import STACK
from sandbox.engine import open_stack
from tests.support.kube import eventually

pytestmark = pytest.mark.engine

NAME = "test-report"
DEPLOYMENT = "/apis/apps/v1/namespaces/kubeflow/deployments/training-operator"


class Bench:
    """A sandbox with one component of Kubeflow on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox = RunningSandbox(NAME, folder / "data")

    def run(self, verb: str, *words: str, component: str = "training-operator") -> int:
        settings = [
            f"kubeflowPath={KUBEFLOW}",
            f'kubeflowComponents=["{component}"]',
            # What is lost is to be in the report, not to end the preview.
            'kubeflowAllowDeletion=["Namespace/kubeflow"]',
        ]
        options = [word for setting in settings for word in ("--set", setting)]
        common = ["--name", NAME, "--data-dir", str(self.sandbox.data_dir)]
        # The engine's PATH is not that of other tests.
        with mock.patch.dict(os.environ):
            if verb in ("stop", "status", "down"):
                return cli.main([verb, *common])
            return cli.main([verb, *common, *options, *words])

    def preview(self, **more: str):
        file = self.folder / "events"
        code = self.run("preview", "--events", str(file), **more)
        assert file.stat().st_mode & 0o077 == 0
        return code, preview_of(read(file.read_text().splitlines()))

    def drift(self):
        """What a refresh that writes nothing finds."""
        events: list = []
        with mock.patch.dict(os.environ):
            settings = {
                "cluster": "sandbox",
                "sandboxName": NAME,
                "sandboxData": str(self.sandbox.data_dir),
                "kubeflowPath": str(KUBEFLOW),
                "kubeflowComponents": ["training-operator"],
            }
            stack = open_stack(STACK, self.sandbox.data_dir / "pulumi", settings, lambda _: None)
            stack.refresh(preview_only=True, on_event=events.append)
        return preview_of(read(lines(events)))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("report"))
    assert bench.run("up") == 0
    yield bench
    assert bench.run("down") == 0


def test_nothing_changes_and_nothing_drifted(bench):
    code, preview = bench.preview()
    assert (code, preview.stack, preview.finished) == (0, STACK, True)
    assert preview.changes == preview.drift == preview.violations == ()
    assert preview.errors == []
    assert preview.unchanged > 10
    assert bench.drift().drift == ()


def test_a_stopped_sandbox_is_gone_on_with_and_nothing_changes(bench, capsys):
    client = Client(bench.sandbox.admin_kubeconfig)

    def deployment():
        return client.request("GET", DEPLOYMENT)

    before = deployment()["metadata"]
    assert bench.run("stop") == bench.run("stop") == 0
    status = controlplane.status(NAME, bench.sandbox.data_dir)
    assert status.stopped
    assert f"Go on: {status.restart}" in capsys.readouterr().out
    assert bench.run("status") == 1
    # Whatever needs a sandbox that runs starts it, as it was.
    code, preview = bench.preview()
    assert (code, preview.changes, preview.errors) == (0, (), [])
    after = deployment()["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    eventually(lambda: deployment()["status"].get("availableReplicas") == 1, "it runs again")
    assert bench.drift().drift == ()


def test_another_component_deletes_and_creates_and_tells_what_is_lost(bench, tmp_path):
    code, preview = bench.preview(component="cert-manager")
    assert code == 0
    operations = {change.operation for change in preview.changes}
    assert {Operation.DELETE, Operation.CREATE} <= operations
    lost = {(change.type.rpartition(":")[2], change.name) for change in preview.losses}
    assert ("Namespace", "kubeflow") in lost
    assert "CustomResourceDefinition" in {kind for kind, _ in lost}
    page = tmp_path / "preview.html"
    text = tmp_path / "preview.md"
    options = ["--markdown", str(text), "--html", str(page)]
    assert review(["report", str(bench.folder / "events"), *options]) == 0
    assert "**delete <code>Namespace</code> <code>kubeflow</code>" in text.read_text()
    client = Client(bench.sandbox.admin_kubeconfig, "test")
    secrets = client.request("GET", "/api/v1/secrets")["items"]
    held = [value for secret in secrets for value in (secret.get("data") or {}).values()]
    assert held
    for value in held:
        for form in (value, base64.b64decode(value).decode(errors="replace")):
            assert form not in text.read_text()
            assert form not in page.read_text()


def test_what_somebody_changed_is_drift_and_is_put_back_by_a_preview(bench):
    client = Client(bench.sandbox.admin_kubeconfig, "test")
    client.request("PATCH", DEPLOYMENT, {"spec": {"replicas": 3}}, MERGE_PATCH)
    (change,) = bench.drift().drift
    assert (change.operation, change.name) == (Operation.UPDATE, "kubeflow/training-operator")
    (field,) = change.fields
    assert (field.path, field.before, field.after) == ("spec.replicas", "1", "3")


def test_a_preview_that_fails_says_why(bench, capsys):
    code, preview = bench.preview(component="no-such-component")
    assert code == 1
    assert not preview.finished or preview.errors
    assert any("no-such-component" in message.text for message in preview.errors)
