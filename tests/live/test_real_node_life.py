"""The life of real nodes: kills of their parts, a reboot, and a stop that leaves nothing."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox import cli, controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.images.recipes import LOAD
from sandbox.node import cgroups, cluster
from sandbox.state import State
from tests.support.faults import nodes_of
from tests.support.kube import Kubectl, eventually

NAME = "test-node-life"
OPTIONS = {"nodes": 1, "real_nodes": 1}


def traces(folder: Path) -> dict[str, set[str]]:
    """What this machine shows of sandboxes' nodes, by kind."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    # iproute2 makes its folder a mount and leaves it so.
    mounts.discard("/run/netns")
    groups = {
        folder
        for hierarchy in cgroups.ROOT.iterdir()
        for top in hierarchy.glob(f"*{NAME}*")
        for folder, _, _ in os.walk(top)
    }
    commands = {
        f"{process.pid} {' '.join(process.info['cmdline'] or ())}"
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ())
    }
    spaces = Path("/run/netns")
    return {
        "mounts": mounts,
        "network namespaces": {p.name for p in spaces.iterdir()} if spaces.exists() else set(),
        "interfaces": {path.name for path in Path("/sys/class/net").iterdir()},
        "routes": set(subprocess.check_output(["ip", "route"], text=True).splitlines()),
        "rules": set(subprocess.check_output(["ip", "rule"], text=True).splitlines()),
        "cgroups": groups,
        "processes": commands,
        "folders": {str(path) for path in (folder, Path("/var/lib/kubelet")) if path.exists()},
        "settings": {
            f"{name}={Path(f'/proc/sys/{name}').read_text().strip()}"
            for name in ("vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")
        },
    }


def container(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "main", "image": LOAD, "command": ["sleep", "infinity"]}],
            "volumes": [{"name": "kept", "emptyDir": {"medium": "Memory"}}],
        },
    }


def up(kubectl: Kubectl, name: str) -> str:
    """Run a pod, and its container's id."""
    eventually(
        lambda: kubectl.try_("get", "serviceaccount", "default").returncode == 0, "an account"
    )
    kubectl.apply(container(name))
    kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    return container_id(kubectl, name)


def container_id(kubectl: Kubectl, name: str) -> str:
    [status] = kubectl.get("pod", name)["status"]["containerStatuses"]
    return str(status["containerID"])


def pids(sandbox: RunningSandbox) -> dict[str, int]:
    state = State.load(sandbox.data_dir)
    assert state is not None
    return {part: process.pid for part, process in state.processes.items()}


@pytest.fixture
def folder(real_nodes_possible: None, tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    controlplane.stop(NAME, tmp_path / "data")


def start(folder: Path) -> RunningSandbox:
    sandbox = controlplane.start(SandboxOptions(NAME, data_dir=folder, **OPTIONS))
    cluster.load_images(nodes_of(folder), print, [LOAD])
    return sandbox


def test_a_stop_leaves_nothing_of_a_node_whatever_was_killed_before(folder: Path):
    before = traces(folder)
    sandbox = start(folder)
    kubectl = Kubectl(sandbox)
    up(kubectl, "one")
    during = traces(folder)
    assert all(during[kind] - before[kind] for kind in before if kind not in ("settings", "rules"))
    assert during["settings"] == before["settings"]
    # A shim, a container's own process, and the kubelet: whoever is to take others along.
    [node] = nodes_of(folder)
    shims = [
        pid
        for pid in cgroups.processes(node.cgroup)
        if "containerd-shim" in psutil.Process(pid).name()
    ]
    assert shims
    for pid in (shims[0], pids(sandbox)["kubelet-real-0"]):
        os.kill(pid, signal.SIGKILL)
    assert cli.main(["down", "--name", NAME, "--data-dir", str(folder)]) == 0
    assert traces(folder) == before


def test_killed_parts_are_named_and_start_again_under_a_container_that_runs_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    sandbox = start(folder)
    kubectl = Kubectl(sandbox)
    running = up(kubectl, "one")
    before = pids(sandbox)
    killed = ["containerd-real-0", "kubelet-real-0", "kube-router-real-0", "coredns"]
    for part in killed:
        os.kill(before[part], signal.SIGKILL)
    arguments = ["--name", NAME, "--data-dir", str(folder)]

    def dead() -> list[str]:
        return [part.name for part in controlplane.status(NAME, folder).dead]

    eventually(lambda: len(dead()) == len(killed), "the kernel has ended them")
    assert cli.main(["status", *arguments]) == 1
    said = capsys.readouterr().out
    assert f"not running: {', '.join(killed)};" in said
    # The command that it gives, as it gives it.
    restart = shlex.split(said.rpartition("restart: python -m sandbox ")[2])
    assert cli.main(restart) == 0
    assert cli.main(["status", *arguments]) == 0
    after = pids(sandbox)
    assert {part for part in after if after[part] != before[part]} == set(killed)
    assert container_id(kubectl, "one") == running
    eventually(
        lambda: kubectl.try_("exec", "one", "--", "true").returncode == 0,
        "the new kubelet knows the pod",
    )
    up(kubectl, "two")
    assert cli.main(["logs", "kubelet-real-0", *arguments]) == 0
    assert "kubelet-real-0.log" in capsys.readouterr().out
    assert cli.main(["logs", "kubelet-real-7", *arguments]) == 1
    assert "no part 'kubelet-real-7'; there are: etcd," in capsys.readouterr().err


def test_machines_that_are_gone_are_made_again(folder: Path):
    """As after a reboot: the API server's data are there, and nothing else."""
    sandbox = start(folder)
    kubectl = Kubectl(sandbox)
    first = up(kubectl, "one")
    state = State.load(folder)
    assert state is not None
    for pid in pids(sandbox).values():
        os.kill(pid, signal.SIGKILL)
    cluster.remove_machines(controlplane.Layout(folder), state)
    sandbox = start(folder)
    eventually(
        lambda: (
            container_id(kubectl, "one") != first
            and kubectl.try_("exec", "one", "--", "true").returncode == 0
        ),
        "the pod runs again in a new container",
    )


def test_two_sandboxes_have_real_nodes_side_by_side(folder: Path, real_sandbox: RunningSandbox):
    other = Kubectl(start(folder))
    up(other, "one")
    assert controlplane.status(real_sandbox.name, real_sandbox.data_dir).healthy
    controlplane.stop(NAME, folder)
    status = controlplane.status(real_sandbox.name, real_sandbox.data_dir)
    assert status.healthy
    mine = Kubectl(real_sandbox)
    names = {item["metadata"]["name"] for item in mine.get("nodes")["items"]}
    assert names == {"real-0", "real-1", "real-2", "sandbox-0"}
