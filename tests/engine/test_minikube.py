"""A minikube cluster in the hands of the real Pulumi engine, from creation to deletion.

minikube and the plugin `pulumi-resource-command` are stand-ins (tests/support); the engine, the
scripts, the state and the two Kubernetes plugins' configuration are real.
"""

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.cluster import __main__ as command
from tests.support.minikube_program import Deployment, RunFailed
from tests.support.minikube_world import PROFILE, SECRET, USERS_OWN, World

pytestmark = pytest.mark.engine

MACHINE, KUBECONFIG = "cluster-machine", "cluster-kubeconfig"
DELETED = ["delete", f"--profile={PROFILE}"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi-home"))
    return World(tmp_path, monkeypatch)


@pytest.fixture
def deployment(world: World, tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "state of the engine")


def verbs(calls: list[list[str]]) -> list[str]:
    return [call[0] if call[0] != "node" else f"node {call[1]}" for call in calls]


def server(deployment: Deployment) -> str:
    return json.loads(deployment.kubeconfig.value)["clusters"][0]["cluster"]["server"]


def test_from_creation_to_deletion(world: World, deployment: Deployment):
    planned = deployment.preview()
    assert planned[MACHINE] == planned[KUBECONFIG] == planned["workload"] == "create"
    assert world.calls() == []
    assert not world.folder.exists()

    assert deployment.up()[MACHINE] == "create"
    calls = world.calls()
    assert verbs(calls) == ["start", "ssh"]
    assert "--memory=4096mb" in calls[0]
    assert deployment.kubeconfig.secret
    kubeconfig = json.loads(deployment.kubeconfig.value)
    assert kubeconfig["current-context"] == PROFILE
    assert [len(kubeconfig[part]) for part in ("contexts", "clusters", "users")] == [1, 1, 1]
    assert deployment.workload() == ["created"]

    assert deployment.up() == {}
    assert world.calls() == []

    assert "workload" in deployment.destroy()
    assert world.calls() == [DELETED]
    assert world.cluster() is None
    assert not world.folder.exists()
    # It went with the machine.
    assert deployment.workload() == []
    assert world.users_kubeconfig.read_text() == USERS_OWN


def test_the_credentials_are_nowhere_to_be_read(world: World, deployment: Deployment):
    deployment.up()
    deployment.up(nodes=2)
    key = base64.b64encode(f"{SECRET}-{PROFILE}".encode()).decode()
    assert key in deployment.kubeconfig.value
    written = deployment.written()
    assert MACHINE in written
    for text in (SECRET, key, key.rstrip("=")[:-1]):
        assert text not in written


def test_nodes_are_added_and_taken_away_in_place(world: World, deployment: Deployment):
    deployment.up()
    world.calls()
    assert deployment.preview(nodes=3) == {MACHINE: "update"}
    assert deployment.up(nodes=3) == {MACHINE: "update"}
    assert list(world.nodes()) == [PROFILE, f"{PROFILE}-m02", f"{PROFILE}-m03"]
    assert verbs(world.calls()) == ["start", "node add", "node add", "ssh", "ssh", "ssh"]
    assert deployment.up(nodes=3) == {}

    with pytest.raises(RunFailed, match="minikubeNodes: the cluster has 3, the settings say 1"):
        deployment.up(nodes=1)
    assert world.calls() == []
    assert deployment.up(nodes=1, allow_data_loss=True) == {MACHINE: "update"}
    assert list(world.nodes()) == [PROFILE]
    assert deployment.up() == {}


def test_kubernetes_is_raised_in_place_and_not_lowered(world: World, deployment: Deployment):
    deployment.up()
    world.calls()
    assert deployment.up(kubernetes_version="v1.34.4") == {MACHINE: "update"}
    assert "--kubernetes-version=v1.34.4" in world.calls()[0]
    with pytest.raises(RunFailed, match=r"Version: the cluster has v1\.34\.4"):
        deployment.preview()
    assert world.calls() == []


def test_a_cluster_is_stopped_and_started(world: World, deployment: Deployment):
    deployment.up(nodes=2)
    world.calls()
    before = deployment.kubeconfig.value
    assert deployment.up(nodes=2, running=False) == {MACHINE: "update"}
    assert world.calls() == [["stop", f"--profile={PROFILE}", "--keep-context-active"]]
    assert set(world.nodes().values()) == {"Stopped"}
    assert deployment.kubeconfig.value == before
    assert deployment.up(nodes=2, running=False) == {}
    assert deployment.preview(nodes=2)[MACHINE] == "update"
    assert world.calls() == []

    steps = deployment.up(nodes=2)
    assert (steps[MACHINE], steps[KUBECONFIG]) == ("update", "update")
    assert set(world.nodes().values()) == {"Running"}
    assert deployment.up(nodes=2) == {}
    assert deployment.workload() == ["created"]


def test_stopped_by_its_command_up_starts_it_and_changes_nothing_else(
    world: World, deployment: Deployment, monkeypatch, capfd
):
    settings = {"cluster": "minikube", "minikubeProfile": PROFILE}
    monkeypatch.setattr(command.configuration, "of_stack", lambda stack: settings)
    deployment.up(nodes=2)
    assert deployment.workload() == ["created"]
    assert command.main(["status"]) == 0
    world.calls()
    assert command.main(["stop"]) == command.main(["stop"]) == 0
    assert world.calls() == [["stop", f"--profile={PROFILE}", "--keep-context-active"]]
    assert set(world.nodes().values()) == {"Stopped"}
    assert command.main(["status", "-s", "mine"]) == 1
    assert "does not run; to start it: pulumi up -s mine" in capfd.readouterr().out

    # It gets another address; the last of these is the Kubernetes provider, which is told of it.
    world.control("port", "9443")
    changed = {MACHINE: "update", KUBECONFIG: "update", "cluster": "update"}
    assert deployment.up(nodes=2) == changed
    assert set(world.nodes().values()) == {"Running"}
    assert server(deployment) == "https://127.0.0.1:9443"
    assert command.main(["status"]) == 0
    assert deployment.up(nodes=2) == {}
    assert deployment.workload() == []
    assert world.users_kubeconfig.read_text() == USERS_OWN


def test_a_stopped_cluster_is_deleted(world: World, deployment: Deployment):
    deployment.up()
    deployment.up(running=False)
    world.calls()
    deployment.destroy()
    assert world.calls() == [DELETED]
    assert world.cluster() is None


def by_hand(world: World, *words: str) -> None:
    """What a user does in a terminal, with their own kubeconfig."""
    subprocess.run(["minikube", *words, f"--profile={PROFILE}"], check=True, capture_output=True)
    (world.minikube / "log.jsonl").unlink()
    world.users_kubeconfig.write_text(USERS_OWN)


def test_a_cluster_that_went_down_is_started_again_at_its_new_address(
    world: World, deployment: Deployment
):
    deployment.up()
    assert server(deployment) == "https://127.0.0.1:8443"
    world.users_kubeconfig.unlink()
    by_hand(world, "stop")
    world.calls()
    world.control("port", "9443")
    steps = deployment.up()
    assert (steps[MACHINE], steps[KUBECONFIG]) == ("update", "update")
    assert "replace" not in " ".join(steps.values())
    assert server(deployment) == "https://127.0.0.1:9443"
    assert verbs(world.calls()) == ["start", "ssh"]
    assert deployment.up() == {}
    assert deployment.workload() == ["created"]


def test_a_cluster_that_was_deleted_by_hand_is_another_one(world: World, deployment: Deployment):
    deployment.up()
    world.users_kubeconfig.unlink()
    by_hand(world, "delete")
    deployment.workload()
    steps = deployment.up()
    assert "replace" in steps[MACHINE] or steps[MACHINE] == "create-replacement"
    assert deployment.workload() == ["created"]
    assert list(world.nodes()) == [PROFILE]
    assert deployment.up() == {}


def test_other_memory_is_refused_or_replaces_all(world: World, deployment: Deployment):
    deployment.up()
    world.calls()
    deployment.workload()
    with pytest.raises(RunFailed, match="minikubeMemory: the cluster has 4096") as refused:
        deployment.up(memory_mib=8192)
    assert "deletes the cluster and all its data" in str(refused.value)
    assert world.calls() == []

    changes = {"memory_mib": 8192, "allow_data_loss": True}
    planned = deployment.preview(**changes)
    assert "replace" in planned[MACHINE]
    assert "replace" in planned["workload"]
    deployment.up(**changes)
    calls = world.calls()
    assert verbs(calls) == ["delete", "start", "ssh"]
    assert "--memory=8192mb" in calls[1]
    # Nothing is taken off a cluster that is gone.
    assert deployment.workload() == ["created"]
    assert deployment.up(**changes) == {}
    assert deployment.up(memory_mib=8192) == {}


def test_a_start_that_fails_tells_what_to_do_and_can_go_on(world: World, deployment: Deployment):
    world.control("fail-at", "start")
    with pytest.raises(RunFailed) as failed:
        deployment.up()
    assert f"minikube delete --profile={PROFILE}" in str(failed.value)
    assert "GUEST_START" in str(failed.value)
    world.control("fail-at", None)
    assert deployment.up()[MACHINE] == "create"
    assert list(world.nodes().values()) == ["Running"]
    assert deployment.up() == {}


def test_an_update_that_fails_is_tried_again(world: World, deployment: Deployment):
    deployment.up()
    world.control("fail-at", "node")
    with pytest.raises(RunFailed, match="GUEST_NODE"):
        deployment.up(nodes=2)
    world.control("fail-at", None)
    assert deployment.up(nodes=2) == {MACHINE: "update"}
    assert len(world.nodes()) == 2
    assert deployment.up(nodes=2) == {}


def test_an_unfit_machine_is_told_in_the_preview(world: World, deployment: Deployment):
    world.docker(MemTotal=2 << 30)
    with pytest.raises(RunFailed) as error:
        deployment.preview()
    assert "memory of Docker Desktop: found 2048 MiB, needed 4096 MiB" in str(error.value)


def killed_at(word: str, world: World, deployment: Deployment, **changes: Any) -> None:
    """Run `up`, and kill all of it with no warning while minikube is at a certain point."""
    world.control("hang-at", word)
    process = deployment.process("up", changes)
    deadline = time.monotonic() + 120
    while not (world.minikube / "hangs").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    root = psutil.Process(process.pid)
    victims = [root, *root.children(recursive=True)]
    for victim in victims:
        victim.kill()
    process.communicate()
    assert psutil.wait_procs(victims, timeout=30)[1] == []
    world.control("hang-at", None)
    (world.minikube / "hangs").unlink()


def test_a_killed_creation_is_gone_on_with(world: World, deployment: Deployment):
    killed_at("start", world, deployment)
    assert world.nodes() == {PROFILE: "Stopped"}
    assert deployment.up()[MACHINE] == "create"
    assert world.nodes() == {PROFILE: "Running"}
    assert deployment.up() == {}
    deployment.destroy()
    assert world.cluster() is None
    assert not world.folder.exists()


def test_a_killed_update_is_gone_on_with(world: World, deployment: Deployment):
    deployment.up()
    killed_at("node", world, deployment, nodes=2)
    assert deployment.up(nodes=2) == {MACHINE: "update"}
    assert len(world.nodes()) == 2
    assert deployment.up(nodes=2) == {}


@pytest.mark.parametrize("word", ["delete", "start"])
def test_a_killed_replacement_is_gone_on_with(word: str, world: World, deployment: Deployment):
    changes = {"memory_mib": 8192, "allow_data_loss": True}
    deployment.up()
    deployment.workload()
    killed_at(word, world, deployment, **changes)
    deployment.up(**changes)
    assert world.nodes() == {PROFILE: "Running"}
    assert world.cluster()["Flags"]["--memory"] == "8192mb"
    assert deployment.workload() == ["created"]
    assert deployment.up(**changes) == {}


def test_a_killed_deletion_is_gone_on_with(world: World, deployment: Deployment, monkeypatch):
    deployment.up()
    world.control("fail-at", "delete")
    with pytest.raises(RunFailed, match="GUEST_DELETE"):
        deployment.destroy()
    world.control("fail-at", None)
    # minikube was done, but nobody wrote that down.
    world.users_kubeconfig.unlink()
    by_hand(world, "delete")
    deployment.destroy()
    assert world.calls() == [DELETED]
    assert not world.folder.exists()
