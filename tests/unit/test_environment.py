"""How the engine is run: its environment, and the locks of runs that were killed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolchain.environment import adoptable, backend_url, engine_environment, selected_stack
from toolchain.launcher import local_state
from toolchain.locks import StaleLock, stale, taken_away


def test_what_the_user_set_is_left_alone() -> None:
    added = engine_environment({"GOGC": "100", "PULUMI_PARALLEL": "2"}, adoptable=True)
    assert "GOGC" not in added and "PULUMI_PARALLEL" not in added
    assert added["PULUMI_SKIP_CHECKPOINTS"] == "true"


def test_checkpoints_are_kept_where_a_lost_one_would_orphan_something() -> None:
    assert "PULUMI_SKIP_CHECKPOINTS" not in engine_environment({}, adoptable=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config:\n  ml-platform:cluster: sandbox\n", True),
        ("config:\n  ml-platform:cluster: minikube\n", True),
        ("config:\n  ml-platform:cluster: existing\n", True),
        ("config:\n  ml-platform:cluster: eks\n", False),
        ("config:\n  ml-platform:cluster: something-new\n", False),
        ("config: {}\n", True),  # the default is minikube
        ("config: [\n", False),
        (None, False),
    ],
)
def test_which_stacks_can_be_created_over_themselves(
    tmp_path: Path, text: str | None, expected: bool
) -> None:
    if text is not None:
        (tmp_path / "Pulumi.dev.yaml").write_text(text)
    assert adoptable(tmp_path, "dev") is expected
    assert adoptable(tmp_path, "organization/ml-platform/dev") is expected
    assert adoptable(tmp_path, None) is False


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "-s", "local"], "local"),
        (["up", "--stack", "local"], "local"),
        (["up", "--stack=local"], "local"),
        (["up", "-s=local"], "local"),
        (["-s"], None),
        (["up"], "variable"),
    ],
)
def test_the_stack_of_a_command_line(
    tmp_path: Path, arguments: list[str], expected: str | None
) -> None:
    environ = {"PULUMI_STACK": "variable"}
    assert selected_stack(arguments, environ, tmp_path, tmp_path) == expected


@pytest.mark.parametrize(
    "kept", [{"stack": "picked"}, {"stack": "old", "stacks": {"file:///s": "picked"}}]
)
def test_the_stack_that_was_selected(tmp_path: Path, kept: dict[str, object]) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    (home / "workspaces").mkdir(parents=True)
    file = project / "Pulumi.yaml"
    file.write_text("name: ml-platform\n")
    digest = hashlib.sha1(str(file).encode()).hexdigest()
    (home / "workspaces" / f"ml-platform-{digest}-workspace.json").write_text(json.dumps(kept))
    (home / "credentials.json").write_text('{"current": "file:///s"}')
    assert selected_stack(["up"], {}, project, home) == "picked"
    assert selected_stack(["up"], {}, tmp_path, home) is None


def test_the_backend_is_the_variable_or_the_last_login(tmp_path: Path) -> None:
    assert backend_url({}, tmp_path) == ""
    (tmp_path / "credentials.json").write_text('{"current": "s3://bucket"}')
    assert backend_url({}, tmp_path) == "s3://bucket"
    assert backend_url({"PULUMI_BACKEND_URL": "file:///x"}, tmp_path) == "file:///x"


def test_only_a_file_backend_has_a_folder() -> None:
    assert local_state("file:///var/state") == Path("/var/state")
    assert local_state("file://~/state") == Path.home() / "state"
    assert local_state("file://~") == Path.home()
    assert local_state("s3://bucket") is None
    assert local_state("") is None


def _lock(state: Path, pid: int, host: str, taken: datetime, project: str = "p") -> Path:
    path = state / ".pulumi" / "locks" / "organization" / project / "s" / f"{pid}-{host}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = {"pid": pid, "username": "me", "hostname": host, "timestamp": taken.isoformat()}
    path.write_text(json.dumps(owner))
    return path


@pytest.fixture
def ended() -> int:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    time.sleep(0.05)
    return process.pid


def test_only_locks_of_ended_processes_of_this_host_are_stale(tmp_path: Path, ended: int) -> None:
    here, now = socket.gethostname(), datetime.now(UTC)
    _lock(tmp_path, os.getpid(), here, now)
    gone = _lock(tmp_path, ended, here, now)
    _lock(tmp_path, ended, "another-host", now)
    _lock(tmp_path, ended, here, now, project="another")
    (tmp_path / ".pulumi/locks/organization/p/torn.json").write_text("{")
    assert stale(tmp_path, "p") == [StaleLock(gone, ended, "s")]
    gone.unlink()
    # The number was given to a younger process since.
    reused = _lock(tmp_path, os.getpid(), here, now - timedelta(days=30))
    assert [lock.path for lock in stale(tmp_path, "p")] == [reused]


def test_a_lock_comes_back_when_its_stack_could_not_be_read(tmp_path: Path, ended: int) -> None:
    path = _lock(tmp_path, ended, socket.gethostname(), datetime.now(UTC))
    locks, content = stale(tmp_path, "p"), path.read_bytes()
    with pytest.raises(RuntimeError), taken_away(locks):
        assert not path.exists()
        raise RuntimeError
    assert path.read_bytes() == content
    with taken_away(locks):
        pass
    assert not path.exists()


def test_a_folder_without_locks_is_fine(tmp_path: Path) -> None:
    assert stale(tmp_path / "missing", "p") == []
