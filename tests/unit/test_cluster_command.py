"""`python -m components.cluster`: what it refuses, and what it says then. Engine tests stop one."""

import json
import re
from pathlib import Path

import pytest

from components.cluster import __main__ as command
from components.cluster import minikube_commands as commands
from tests.support.minikube_world import PROFILE, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    settings = {"cluster": "minikube", "minikubeProfile": PROFILE}
    monkeypatch.setattr(command.configuration, "of_stack", lambda stack: settings)
    return World(tmp_path, monkeypatch)


def stands(world: World, *hosts: str) -> None:
    """A cluster of ours, with a node in each of these states."""
    profiles = world.minikube / "profiles"
    profiles.mkdir()
    nodes = [{"Name": f"{PROFILE}-{number}", "Host": host} for number, host in enumerate(hosts)]
    (profiles / f"{PROFILE}.json").write_text(
        json.dumps({"Name": PROFILE, "Nodes": nodes, "Port": 8443})
    )
    world.folder.mkdir(parents=True)
    made = dict.fromkeys(("cpus", "memory_mib", "disk_gib"), 1)
    texts = dict.fromkeys(("identity", "driver", "kubernetes_version", "container_runtime"), "a")
    (world.folder / commands.CLUSTER_FILE).write_text(json.dumps(made | texts))


def told(capfd: pytest.CaptureFixture[str], verb: str = "stop", code: int = 1) -> str:
    assert command.main([verb]) == code
    return capfd.readouterr().err


def test_a_cluster_that_was_never_made(world: World, capfd):
    said = told(capfd)
    assert said.strip() == (
        f"minikube has no cluster '{PROFILE}' (minikubeProfile); to make it: pulumi up -s local"
    )
    assert told(capfd, "status") == said
    assert world.calls() == []


def test_a_cluster_of_somebody_else_is_left_alone(world: World, capfd):
    stands(world, "Running")
    (world.folder / commands.CLUSTER_FILE).unlink()
    assert f"not made here ({world.folder}" in told(capfd)
    assert world.calls() == []
    assert set(world.nodes().values()) == {"Running"}


def test_no_minikube(world: World, capfd, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.root / "no-tools"))
    said = told(capfd)
    assert re.match(r"minikube \S+ is not installed", said)
    assert "run: make setup" in said


def test_a_stack_that_runs_elsewhere(world: World, capfd, monkeypatch):
    monkeypatch.setattr(command.configuration, "of_stack", lambda stack: {"cluster": "sandbox"})
    said = told(capfd)
    assert "the stack 'local' has cluster 'sandbox'; these commands are for minikube" in said
    assert "python -m sandbox" in said


def test_a_stop_that_fails_is_no_success(world: World, capfd):
    stands(world, "Running")
    world.control("fail-at", "stop")
    said = told(capfd)
    assert "GUEST_STOP" in said
    assert f"{PROFILE} did not stop: minikube ended with 80; its words are above" in said


def test_a_half_stopped_one_is_stopped(world: World, capfd):
    stands(world, "Stopped", "Running")
    told(capfd, code=0)
    assert set(world.nodes().values()) == {"Stopped"}
    assert world.calls() == [["stop", f"--profile={PROFILE}", "--keep-context-active"]]
