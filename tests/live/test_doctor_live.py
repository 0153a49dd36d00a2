"""The doctor on real nodes: what kubelet, containerd, kernel and Redis really say of each fault."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis_faults import process_of

from benchmarks.redis_bed import Bed
from components.redis.topology import Replicated, Sharded
from doctor.ask import ask, connection
from doctor.diagnose import diagnose
from doctor.model import Finding
from sandbox.controlplane import RunningSandbox
from sandbox.images.recipes import LOAD
from sandbox.node.commands import inside, run
from tests.support import image_registry
from tests.support.faults import nodes_of
from tests.support.kube import Kubectl, eventually

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE, REDIS, SHARDS = "ill", "redis-ill", "redis-ill-shards"
NODE = "real-0"
SMALL: dict[str, Any] = {"storage": 1, "cpus": 0.2, "proxies": 1, "replicas": 1}
MIB = 1 << 20
SIZE = 16 * MIB

# As a controller of Kubeflow ends: the kernel gives it no more watchers.
WATCHES = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print("starting manager", flush=True)
while libc.inotify_init1(0) >= 0:
    pass
raise SystemExit(f"failed to create fsnotify watcher: {os.strerror(ctypes.get_errno()).lower()}")
"""
FILL = f"""\
import pathlib, time
wanted = int({SIZE} * SHARE)
with pathlib.Path("/data/file").open("wb") as file:
    file.write(bytes(wanted))
print("filled", flush=True)
time.sleep(3600)
"""


class Ward:
    """A cluster of real nodes in which faults are planted."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.kubectl = Kubectl(sandbox)

    def findings(self, *, later: timedelta = timedelta(0)) -> list[Finding]:
        """What is wrong, `later` from now."""
        now = datetime.now(UTC) + later
        return diagnose(ask(connection(self.sandbox.admin_kubeconfig, ""), now))

    def finds(self, where: str, code: str, *, seconds: float = 60.0, **more: Any) -> Finding:
        """The one finding of a place, once it has that code."""

        def check() -> bool:
            places = (where, f"{where}, container main")
            seen[:] = [one for one in self.findings(**more) if one.where in places]
            return [one.code for one in seen] == [code]

        seen: list[Finding] = []
        try:
            eventually(check, f"{where} has {code}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}") from None
        return seen[0]

    def command(self) -> tuple[int, dict[str, Any]]:
        """`python -m doctor --json`, as a person runs it: its exit code and what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "doctor", "--json", "--kubeconfig", self.kubectl.kubeconfig],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not done.stderr
        return done.returncode, json.loads(done.stdout)


def pod(name: str, *command: str, image: str = LOAD, **more: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
    if command:
        container["command"] = list(command)
    container |= more.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            **more,
        },
    }


def claim(name: str, storage_class: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{SIZE}"}},
            **spec,
        },
    }


def foreign_program() -> bytes:
    """The head of an ELF executable for s390x, which no node is: what the kernel looks at."""
    s390 = 22
    ident = b"\x7fELF" + bytes([2, 2, 1]) + bytes(9)
    return ident + struct.pack(">HHIQQQIHHHHHH", 2, s390, 1, 0, 64, 0, 0, 64, 56, 0, 0, 0, 0)


def volume(folder: Path, name: str, share: float) -> list[dict[str, Any]]:
    """A volume that is a file system of its own, its claim, and a pod that fills it."""
    terms = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]
    mounted = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{NAMESPACE}-{name}"},
            "spec": {
                "storageClassName": "",
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": f"{SIZE}"},
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(folder / name)},
                "nodeAffinity": {
                    "required": {"nodeSelectorTerms": [{"matchExpressions": terms}]},
                },
            },
        },
        claim(name, "", volumeName=f"{NAMESPACE}-{name}"),
        pod(
            f"uses-{name}",
            *("python3", "-c", FILL.replace("SHARE", str(share))),
            container=mounted,
            volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
        ),
    ]


@pytest.fixture(scope="module")
def ward(real_sandbox: RunningSandbox) -> Ward:
    return Ward(real_sandbox)


@pytest.fixture(scope="module")
def ill(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Every fault at once, of pods, images and volumes."""
    code, told = ward.command()
    assert (code, told["healthy"], told["findings"]) == (0, True, [])
    [node] = [node for node in nodes_of(ward.sandbox.data_dir) if node.name == NODE]
    kubectl, folder = ward.kubectl, tmp_path_factory.mktemp("volumes")
    there = inside(node.namespace, node.mount_namespace)
    names = {"nearly": 0.9, "full": 0.97}
    registry = subprocess.Popen(
        [*inside(node.namespace), sys.executable, image_registry.__file__],
        stderr=subprocess.DEVNULL,
    )
    for name in names:
        (folder / name).mkdir()
        run([*there, "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder / name)])
    program = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "program", "namespace": NAMESPACE},
        "binaryData": {"app": base64.b64encode(foreign_program()).decode()},
    }
    mode = {"name": "program", "configMap": {"name": "program", "defaultMode": 0o755}}
    nobody = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "nobodys"},
        "provisioner": "nobody.example.com",
    }
    waits = {"name": "data", "persistentVolumeClaim": {"claimName": "nobodys"}}
    registered = f"127.0.0.1:{image_registry.PORT}"
    kubectl.run("create", "namespace", NAMESPACE)
    try:
        eventually(
            lambda: (
                kubectl.try_("get", "serviceaccount", "default", "-n", NAMESPACE).returncode == 0
            ),
            "the namespace has its account",
        )
        kubectl.apply(
            *(part for name, share in names.items() for part in volume(folder, name, share)),
            *(nobody, claim("nobodys", "nobodys"), claim("fast", "fast")),
            pod("waits", "sleep", "1", volumes=[waits]),
            pod("watches", "python3", "-c", WATCHES, securityContext={"runAsUser": 54321}),
            pod("panics", "sh", "-c", "echo token=hunter2-planted; echo no database >&2; exit 3"),
            program,
            pod(
                "program",
                "/app/app",
                container={"volumeMounts": [{"name": "program", "mountPath": "/app"}]},
                volumes=[mode],
            ),
            *(pod(name, image=f"{registered}/{name}:1") for name in IMAGES if name != "nowhere"),
            pod("nowhere", image="127.0.0.1:1/nowhere:1"),
        )
        yield ward
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, "--wait=true")
        kubectl.run("delete", "pv", *(f"{NAMESPACE}-{name}" for name in names))
        kubectl.run("delete", "storageclass", "nobodys")
        registry.terminate()
        registry.wait()
        for name in names:
            run([*there, "umount", str(folder / name)])


IMAGES = {
    "gone": ("image-pull", "not found", "correct its name or tag"),
    "private": ("image-pull", "pull access denied", "imagePullSecret"),
    "busy": ("image-pull", "429", "limits how often"),
    "nowhere": ("image-pull", "refused", "network, DNS and proxy"),
    "foreign": ("image-architecture", "no match for platform", "another processor"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_pulled(ill: Ward, name: str):
    code, words, remedy = IMAGES[name]
    found = ill.finds(f"Pod {NAMESPACE}/{name}", code)
    assert found.severity == "error"
    assert f"/{name}:1" in found.problem
    assert words in found.problem
    assert remedy in found.remedy


def test_a_container_that_crashes(ill: Ward):
    found = ill.finds(f"Pod {NAMESPACE}/panics", "crash")
    assert "(exit code 3)" in found.problem
    assert "no database" in found.problem
    assert "hunter2" not in found.problem
    assert f"kubectl logs -n {NAMESPACE} panics -c main --previous" in found.remedy


def test_no_inotify_watcher_is_left(ill: Ward):
    found = ill.finds(f"Pod {NAMESPACE}/watches", "inotify")
    assert "starting manager" in found.problem
    assert "too many open files" in found.problem
    assert "sudo sysctl fs.inotify.max_user_instances=" in found.remedy


def test_a_program_for_another_processor(ill: Ward):
    found = ill.finds(f"Pod {NAMESPACE}/program", "image-architecture")
    assert "exec format error" in found.problem
    assert "another processor" in found.remedy


def test_claims_that_get_no_volume(ill: Ward):
    soon = timedelta(minutes=3)
    found = ill.finds(f"PersistentVolumeClaim {NAMESPACE}/fast", "volume-pending", later=soon)
    assert "there is no StorageClass fast" in found.problem
    found = ill.finds(f"PersistentVolumeClaim {NAMESPACE}/nobodys", "volume-pending", later=soon)
    assert "no volume has been made for it" in found.problem
    assert "nobody.example.com" in found.remedy
    found = ill.finds(f"Pod {NAMESPACE}/waits", "unschedulable")
    assert "its volume is not there yet: see the claim" in found.remedy


# --- Redis ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replicated(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = Bed(ward.sandbox, tmp_path_factory.mktemp("replicated"))
    bed.up(Replicated(namespace=REDIS, memory=128, **SMALL))
    yield bed
    bed.destroy()


def healthy(ward: Ward, namespace: str) -> None:
    """Nothing is found of an installation, but for how full this machine's own disk may be."""

    def check() -> bool:
        found = ward.findings()
        seen[:] = [o for o in found if f" {namespace}/" in o.where and o.code != "volume-full"]
        return not seen

    seen: list[Finding] = []
    try:
        eventually(check, f"{namespace} is healthy", 120)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None


@contextlib.contextmanager
def paused(bed: Bed, *pods: str) -> Iterator[None]:
    """Pods whose processes answer nothing any more, as on a machine that hangs."""
    processes = [process_of(bed, name) for name in pods]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            # The kubelet may have found it dead, and started another.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def test_redis_whose_replica_is_cut_off(ward: Ward, replicated: Bed):
    healthy(ward, REDIS)
    [master] = replicated.masters()
    [replica] = {"redis-0", "redis-1"} - {master}
    with replicated.cut(replica):
        found = ward.finds(f"StatefulSet {REDIS}/redis", "redis-no-writes", seconds=90)
        assert found.severity == "error"
        assert "1 of 2 Redis are ready: a master refuses writes" in found.problem
        assert "redisMinReplicasToWrite" in found.problem
        # It is so.
        assert "NOREPLICAS" in replicated.redis_cli(master, "SET", "key", "value", check=False)
    healthy(ward, REDIS)
    assert replicated.redis_cli(replicated.masters()[0], "SET", "key", "value").strip() == "OK"


def test_redis_and_sentinels_that_hang(ward: Ward, replicated: Bed):
    with paused(replicated, "redis-sentinel-0", "redis-sentinel-1", "redis-0", "redis-1"):
        found = ward.finds(f"StatefulSet {REDIS}/redis", "redis-down", seconds=90)
        assert "none of 2 Redis is ready: no client reaches Redis" in found.problem
        found = ward.finds(f"StatefulSet {REDIS}/redis-sentinel", "redis-no-majority", seconds=90)
        assert "ready: no majority, so no dead master is replaced" in found.problem
        code, told = ward.command()
        assert code == 1
        assert "redis-down" in {one["code"] for one in told["findings"]}
    healthy(ward, REDIS)


def test_redis_with_proxies_scaled_away(ward: Ward, replicated: Bed):
    scale = ("scale", "deployment", "redis-proxy", "-n", REDIS)
    ward.kubectl.run(*scale, "--replicas=0")
    found = ward.finds(f"Deployment {REDIS}/redis-proxy", "redis-unreachable")
    assert "it is scaled to 0: no client reaches Redis" in found.problem
    # What it says mends it.
    remedy = found.remedy.removeprefix("kubectl ").replace("--replicas=N, N as in the settings", "")
    ward.kubectl.run(*remedy.split(), "--replicas=1")
    healthy(ward, REDIS)


# --- what takes a minute, and all of it ----------------------------------------------------------


def test_volumes_that_are_full(ill: Ward):
    # The kubelet measures once a minute.
    found = ill.finds(f"PersistentVolumeClaim {NAMESPACE}/full", "volume-full", seconds=180)
    assert (found.severity, found.problem) == ("error", "97% of its bytes are used")
    found = ill.finds(f"PersistentVolumeClaim {NAMESPACE}/nearly", "volume-full", seconds=180)
    assert (found.severity, found.problem) == ("warning", "90% of its bytes are used")
    assert "make it larger" in found.remedy


def test_the_command_tells_all_of_it(ill: Ward):
    code, told = ill.command()
    assert (code, told["healthy"]) == (1, False)
    codes = {one["code"] for one in told["findings"] if NAMESPACE in one["where"]}
    assert {"image-pull", "image-architecture", "crash", "inotify", "volume-full"} <= codes
    assert all(one["remedy"] for one in told["findings"])


# --- a Redis Cluster -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = Bed(ward.sandbox, tmp_path_factory.mktemp("shards"))
    bed.up(Sharded(namespace=SHARDS, memory=128, node_timeout=5000, **SMALL))
    yield bed
    bed.destroy()


@pytest.mark.faults
def test_a_shard_that_is_gone(ward: Ward, shards: Bed):
    healthy(ward, SHARDS)
    ward.kubectl.run("scale", "statefulset", "redis-shard-1", "-n", SHARDS, "--replicas=0")
    found = ward.finds(f"StatefulSet {SHARDS}/redis-shard-1", "redis-down")
    assert "it is scaled to 0: no client reaches the keys of this shard" in found.problem
    assert f"kubectl scale -n {SHARDS} statefulset redis-shard-1" in found.remedy
    ward.kubectl.run("scale", "statefulset", "redis-shard-1", "-n", SHARDS, "--replicas=2")
    healthy(ward, SHARDS)
    with paused(shards, "redis-shard-2-1"):
        ward.finds(f"StatefulSet {SHARDS}/redis-shard-2", "redis-no-writes")
    healthy(ward, SHARDS)
