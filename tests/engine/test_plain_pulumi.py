"""Plain `pulumi` on a command line, as a user types it: the launcher, the CLI, the program."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from review.events import preview_of, read
from sandbox import audit, controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
LAUNCH = "from toolchain.launcher import main; main()"

pytestmark = pytest.mark.engine


class Project:
    """A copy of the project: the CLI writes a stack's settings beside `Pulumi.yaml`."""

    def __init__(self, folder: Path, sandbox: RunningSandbox) -> None:
        self.folder, self.sandbox = folder / "project", sandbox
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("components", "policy", "provider", "review", "sandbox", "toolchain"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        for path in (ROOT / "__main__.py", ROOT / "pyproject.toml", *ROOT.glob("Pulumi*.yaml")):
            shutil.copy(path, self.folder)
        (self.folder / ".venv").symlink_to(Path(sys.prefix))
        state = folder / "state"
        state.mkdir()
        self.environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": "correct horse",
            "PULUMI_HOME": str(folder / "home"),
            "PYTHONPATH": str(self.folder),
        }
        self.state = state / ".pulumi/stacks/ml-platform/sandbox.json.gz"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def writes(self, since: int) -> audit.AuditSummary:
        return audit.summarise(audit.read(self.sandbox.audit_log, since))

    def mark(self) -> int:
        return self.sandbox.audit_log.stat().st_size


@pytest.fixture
def project(tmp_path: Path):
    sandbox = controlplane.start(SandboxOptions("test-plain", data_dir=tmp_path / "data"))
    try:
        project = Project(tmp_path, sandbox)
        project.run("stack", "init", "sandbox")
        for name, value in (
            ("sandboxName", sandbox.name),
            ("sandboxData", str(sandbox.data_dir)),
            ("kubeflowPath", str(SOURCE)),
        ):
            project.run("config", "set", "-s", "sandbox", name, value)
        component = ("kubeflowComponents[0]", "cert-manager")
        project.run("config", "set", "-s", "sandbox", "--path", *component)
        yield project
    finally:
        sandbox.stop()


def test_a_user_types_pulumi(project: Project) -> None:
    up = ("up", "-s", "sandbox", "--yes", "--skip-preview")
    since = project.mark()
    output = project.run(*up)
    made = project.writes(since)
    assert len(made.first_write) > 40
    assert (made.failed, made.repeated) == ([], [])
    assert "this is not the project's `pulumi`" not in output
    assert project.state.exists()
    password = project.run("stack", "output", "password", "-s", "sandbox", "--show-secrets")
    assert len(password.split()[-1]) == 24
    assert password.split()[-1] not in output

    since = project.mark()
    assert re.search(r"\d+ unchanged", project.run(*up))
    assert project.writes(since).writes == 0

    # What a workflow does: the policies run, and the log becomes a report.
    events = project.folder / "events"
    project.environment["PULUMI_DEBUG_COMMANDS"] = "true"
    more = ("-c", "ml-platform:policyLevel=mandatory", "--event-log", str(events))
    project.run("preview", "-s", "sandbox", *more)
    del project.environment["PULUMI_DEBUG_COMMANDS"]
    log = events.read_text()
    assert password.split()[-1] not in log
    summary = next(event for event in read(log.splitlines()) if "summaryEvent" in event)
    (pack,) = summary["summaryEvent"]["PolicyPacks"]
    assert pack.startswith("ml-platform|local|")
    preview = preview_of(read(log.splitlines()))
    assert (preview.stack, preview.changes, preview.errors) == ("sandbox", (), [])

    # Killed while it deletes: the state still has all, the cluster does not.
    since = project.mark()
    process = project.start("destroy", "-s", "sandbox", "--yes", "--skip-preview")
    while project.writes(since).writes < 5:
        assert process.poll() is None, "destroy ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while _plugins(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _plugins(project)

    output = project.run(*up)
    assert "a run of stack sandbox was killed: reading its resources again" in output
    kept = project.run("preview", "-s", "sandbox", "--refresh", "--expect-no-changes")
    assert "was killed" not in kept
    project.run("destroy", "-s", "sandbox", "--yes", "--skip-preview")


def _plugins(project: Project) -> list[str]:
    """Command lines of plugins that a killed engine of this project left."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"PULUMI_BACKEND_URL={project.environment['PULUMI_BACKEND_URL']}" in environment:
            found.append(" ".join(words))
    return found
