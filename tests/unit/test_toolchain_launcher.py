"""The `pulumi` command: whose project, which stack, which settings; and a lock of a live run."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from toolchain import launcher, standins
from toolchain.environment import (
    adoptable,
    project_folder,
    selected_stack,
    settings_on_command_line,
)
from toolchain.locks import stale


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "-saws"], "aws"),
        (["up", "-s", "aws", "--stack=aws"], "aws"),
        (["up", "-s", "local", "--stack", "aws"], None),
        (["up", "-ys", "aws"], None),
        (["up", "-t", "urn:pulumi:aws::s"], "variable"),
        (["up", "--skip-preview", "--suppress-outputs"], "variable"),
        (["up", "-"], "variable"),
    ],
)
def test_no_other_stack_is_taken_for_the_one_of_the_flag(
    tmp_path: Path, arguments: list[str], expected: str | None
) -> None:
    assert selected_stack(arguments, {"PULUMI_STACK": "variable"}, tmp_path, tmp_path) == expected


def test_an_empty_variable_is_no_stack(tmp_path: Path) -> None:
    assert selected_stack(["up"], {"PULUMI_STACK": ""}, tmp_path, tmp_path) is None


def test_the_stack_of_another_backend_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.yaml"
    file.write_text("name: ml-platform\n")
    digest = hashlib.sha1(str(file).encode(), usedforsecurity=False).hexdigest()
    (tmp_path / "workspaces").mkdir()
    kept = {"stack": "local", "stacks": {"file:///a": "aws"}}
    settings = tmp_path / "workspaces" / f"ml-platform-{digest}-workspace.json"
    settings.write_text(json.dumps(kept))
    for backend, expected in (("file:///a", "aws"), ("file:///b", None)):
        environ = {"PULUMI_BACKEND_URL": backend}
        assert selected_stack(["up"], environ, tmp_path, tmp_path) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up"], False),
        (["up", "-C", "elsewhere", "--color=never"], False),
        (["up", "-c", "cluster=eks"], True),
        (["up", "-ccluster=eks"], True),
        (["up", "--config=cluster=eks"], True),
        (["up", "--config-file", "other.yaml"], True),
        (["up", "-yc", "cluster=eks"], True),
    ],
)
def test_settings_on_the_command_line_are_noticed(arguments: list[str], expected: bool) -> None:
    assert settings_on_command_line(arguments) is expected


@pytest.mark.parametrize(("cluster", "expected"), [("", False), ("existing", True)])
def test_an_imported_environment_may_set_the_cluster(
    tmp_path: Path, cluster: str, expected: bool
) -> None:
    config = f"config:\n  ml-platform:cluster: {cluster}\n" if cluster else ""
    (tmp_path / "Pulumi.dev.yaml").write_text(f"environment: [team/aws]\n{config}")
    assert adoptable(tmp_path, "dev") is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up"], "mine"),
        (["up", "-C", "../../other"], "other"),
        (["up", "-C../../other"], "other"),
        (["up", "--cwd=../../other/"], "other"),
        (["-yC", "../../other", "up"], None),
        (["up", "--cwd=/"], None),
    ],
)
def test_the_project_is_found_upwards_of_where_pulumi_runs(
    tmp_path: Path, arguments: list[str], expected: str | None
) -> None:
    for name in ("mine", "other"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "Pulumi.yaml").write_text(f"name: {name}\n")
    found = project_folder(arguments, tmp_path / "mine" / "sub")
    assert found == (tmp_path / expected if expected else None)


class Replaced(Exception):
    """Stands for the process being replaced; its arguments are what would run."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the launcher for a command line; returns the environment that Pulumi would get."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: ml-platform\n")
    (project / "Pulumi.local.yaml").write_text("config: {}\n")
    monkeypatch.setattr(launcher, "PROJECT", project)
    monkeypatch.setattr(launcher, "find", lambda tool: Path("/pinned") / tool)
    for variable in (
        "PULUMI_SKIP_CHECKPOINTS",
        "PULUMI_STACK",
        launcher.MARK,
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def replace(path: Path, argv: list[str], environment: dict[str, str]) -> None:
        raise Replaced(path, argv, environment)

    monkeypatch.setattr(os, "execve", replace)
    monkeypatch.setattr(os, "execv", lambda path, argv: replace(path, argv, dict(os.environ)))

    def run(folder: Path, *arguments: str) -> dict[str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["pulumi", *arguments])
        with pytest.raises(Replaced) as replaced:
            launcher.main()
        path, argv, environment = replaced.value.args
        assert (path, argv) == (Path("/pinned/pulumi"), ["pulumi", *arguments])
        return environment

    return run


def test_this_project_gets_the_settings_and_uv(run, tmp_path: Path) -> None:
    environment = run(tmp_path / "project", "up", "-s", "local")
    assert environment["PULUMI_SKIP_CHECKPOINTS"] == "true"
    assert environment[launcher.MARK] == "1"
    path = environment["PATH"].split(os.pathsep)
    # This pulumi has no language host beside it, as one that was built.
    uv = tmp_path / "cache" / "ml-platform" / "uv" / "bin"
    added = [str(standins.LANGUAGE), str(uv), "/pinned"]
    assert path == [*os.environ["PATH"].split(os.pathsep), *added]


def test_stand_ins_are_for_what_is_not_there_and_for_sandboxes(tmp_path: Path) -> None:
    pulumi = tmp_path / "pulumi"
    both = [standins.LANGUAGE, standins.KUBERNETES]
    assert standins.folders(pulumi, tmp_path, "", sandbox=True) == both
    assert standins.folders(pulumi, tmp_path, "", sandbox=False) == [standins.LANGUAGE]
    (tmp_path / "pulumi-language-python").touch()
    plugin = tmp_path / "plugins/resource-kubernetes-v4.34.2/pulumi-resource-kubernetes"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    assert standins.folders(pulumi, tmp_path, "", sandbox=True) == []


def test_checkpoints_are_kept_where_a_killed_run_leaves_no_lock_here(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    assert "PULUMI_SKIP_CHECKPOINTS" not in run(tmp_path / "project", "up", "-s", "local")


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of a killed run of the stack `local`; `pulumi` is a script that notes its words."""
    lock = tmp_path / "state/.pulumi/locks/organization/ml-platform/local/x.json"
    lock.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    now = datetime.now(UTC).isoformat()
    lock.write_text(
        json.dumps({"pid": ended.pid, "hostname": socket.gethostname(), "timestamp": now})
    )
    return lock


def pulumi_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    program, words = tmp_path / "pulumi", tmp_path / "words"
    program.write_text(f'#!/bin/sh\necho "$@" >> {words}\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setattr(launcher, "find", lambda tool: program)
    monkeypatch.setattr(os, "execve", lambda *_: None)
    return words


def test_after_a_killed_run_the_stack_is_read_again_first(
    run, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = pulumi_that(tmp_path, monkeypatch, 0)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("sys.argv", ["pulumi", "stack", "output", "-s", "local"])
    launcher.main()
    assert killed.exists() and not words.exists()
    monkeypatch.setattr("sys.argv", ["pulumi", "up", "-s", "local"])
    launcher.main()
    assert words.read_text() == "refresh --yes --skip-preview --run-program --stack local\n"
    assert not killed.exists()
    launcher.main()
    assert len(words.read_text().splitlines()) == 1


def test_a_stack_that_cannot_be_read_again_keeps_its_lock(
    run, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi_that(tmp_path, monkeypatch, 255)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("sys.argv", ["pulumi", "up", "-s", "local"])
    with pytest.raises(SystemExit, match=r"could not be read again.*pulumi cancel"):
        launcher.main()
    assert killed.exists()


def test_a_cluster_of_the_command_line_keeps_checkpoints(run, tmp_path: Path) -> None:
    environment = run(tmp_path / "project", "up", "-s", "local", "-c", "cluster=eks")
    assert "PULUMI_SKIP_CHECKPOINTS" not in environment
    assert environment[launcher.MARK] == "1"


def test_another_project_is_left_alone(run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "Pulumi.yaml").write_text("name: other\n")
    assert run(other, "up", "-s", "local") == dict(os.environ)
    assert run(tmp_path / "project", "-C", "../other", "up", "-s", "local") == dict(os.environ)


def test_a_missing_pulumi_is_one_line_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match=r"pulumi .* is not installed; run: make setup"):
        launcher.main()


def test_a_step_of_the_clock_costs_no_live_run_its_lock(tmp_path: Path) -> None:
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    lock = tmp_path / ".pulumi" / "locks" / "organization" / "p" / "s" / "x.json"
    lock.parent.mkdir(parents=True)
    taken = started - timedelta(seconds=30)
    owner = {"pid": os.getpid(), "hostname": socket.gethostname(), "timestamp": taken.isoformat()}
    lock.write_text(json.dumps(owner))
    assert stale(tmp_path, "p") == []
    assert lock.exists()
