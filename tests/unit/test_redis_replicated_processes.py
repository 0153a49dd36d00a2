"""Scripts of a master, replicas and Sentinels on real processes: who is master, what is lost."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from components.redis import access, config
from components.redis.topology import Replicated
from tests.support.redis_processes import PASSWORDS, Pods, eventually

SERVERS = [f"redis-{n}.pods" for n in range(3)]
SENTINELS = [f"sentinel-{n}.pods" for n in range(3)]
SENTINEL_PORT = 26379
DOWN_AFTER = 4000
TOPOLOGY = Replicated(down_after=DOWN_AFTER, max_lag=2)


class Replicas(Pods):
    """Pods of a master and its replicas, and of Sentinels."""

    def __init__(self, folder: Path, persistence: str = "aof") -> None:
        super().__init__(folder, tls=True)
        self.topology = TOPOLOGY.model_copy(update={"persistence": persistence})
        (folder / "sentinel-users.acl").write_text(access.sentinel_acl(PASSWORDS))
        (folder / "sentinel").write_text(PASSWORDS["sentinel"])
        (folder / "replica.conf").write_text(
            f"masteruser replica\nmasterauth {PASSWORDS['replica']}\n"
        )

    def variables(self, name: str = "") -> dict[str, str]:
        folder = self.folder / name
        return {
            **super().variables(name),
            "CONFIG": str(folder / "config"),
            "DATA": str(folder / "data"),
            "ACCESS": str(self.folder),
            "ANNOUNCE_HOST": name,
            "SERVERS": " ".join(SERVERS),
            "SENTINELS": " ".join(SENTINELS),
            "MASTER_NAME": "redis",
            "QUORUM": str(self.topology.majority),
            "DOWN_AFTER": str(DOWN_AFTER),
            "FAILOVER_TIMEOUT": "20000",
            "PARALLEL_SYNCS": "1",
        }

    def pod(self, name: str, *, empty: bool = False) -> None:
        """Start a pod at a new address, with its volume or, `empty`, without."""
        sentinel = name in SENTINELS
        folder = self.folder / name
        (folder / "config").mkdir(parents=True, exist_ok=True)
        if empty:
            subprocess.run(["rm", "-rf", str(folder / "data")], check=True)
        (folder / "data").mkdir(exist_ok=True)
        super().start(name, script="sentinel-node.sh" if sentinel else "redis-node.sh")

    def _config(self, name: str, volume: Path) -> list[str]:
        sentinel = name in SENTINELS
        text = config.sentinel_conf() if sentinel else config.redis_conf(self.topology)
        for path in (config.TLS_PATH, config.ACCESS_PATH):
            text = text.replace(path, str(self.folder))
        # The source of connections, too, is the pod's address.
        own = f"bind {self.addresses[name]}\nbind-source-addr {self.addresses[name]}\n"
        text = text.replace("dir /data\n", "") + own
        (volume / "config").mkdir(exist_ok=True)
        (volume / "config" / ("sentinel.conf" if sentinel else "redis.conf")).write_text(text)
        return []

    def begin_all(self) -> None:
        for name in SERVERS:
            self.pod(name)
        eventually(lambda: self.role(SERVERS[0])["connected_slaves"] == 2)
        for name in SENTINELS:
            self.pod(name)
        for name in SENTINELS:
            eventually(lambda name=name: self.agreed(name))

    def sentinel(self, name: str) -> "redis.Redis[Any]":
        return redis.Redis(
            self.addresses[name],
            SENTINEL_PORT,
            username="admin",
            password=PASSWORDS["admin"],
            ssl=True,
            ssl_ca_certs=f"{self.folder}/ca.crt",
            ssl_check_hostname=False,
            decode_responses=True,
            socket_timeout=5,
        )

    def agreed(self, name: str) -> bool:
        return bool(self.sentinel(name).execute_command("SENTINEL", "CKQUORUM", "redis"))

    def named(self) -> str:
        """The master by name, as the first Sentinel has it."""
        return self.sentinel(SENTINELS[0]).execute_command(
            "SENTINEL GET-MASTER-ADDR-BY-NAME", "redis"
        )[0]

    def role(self, name: str) -> dict[str, Any]:
        return self.client(name).info("replication")

    def masters(self) -> list[str]:
        found = []
        for name in self.processes:
            if name in SERVERS:
                try:
                    found += [name] if self.role(name)["role"] == "master" else []
                except redis.RedisError:
                    continue
        return found

    def settled(self) -> str:
        """Wait for one master that the others follow; its name."""

        def one() -> str | None:
            masters = self.masters()
            others = [n for n in SERVERS if n in self.processes and n not in masters]
            up = all(self.role(n).get("master_link_status") == "up" for n in others)
            return masters[0] if len(masters) == 1 and up else None

        return eventually(one, 60)


class Writer:
    """Writes numbers to whoever is master; keeps those that were acknowledged."""

    def __init__(self, pods: Replicas) -> None:
        self._pods = pods
        self.acknowledged: list[int] = []
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def _write(self) -> None:
        last, number = time.monotonic(), 0
        while not self._stop.is_set():
            for name in SERVERS:
                client = self._pods.client(name, "app")
                try:
                    while not self._stop.is_set():
                        client.rpush("written", number)
                        now = time.monotonic()
                        self.longest, last = max(self.longest, now - last), now
                        self.acknowledged.append(number)
                        number += 1
                        time.sleep(0.001)
                except redis.RedisError:
                    number += 1  # may have been written all the same

    def __enter__(self) -> "Writer":
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def lost(self, master: str) -> set[int]:
        kept = self._pods.client(master).lrange("written", 0, -1)
        return set(self.acknowledged) - {int(value) for value in kept}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Replicas]]:
    made: list[Replicas] = []

    def begin(persistence: str = "aof") -> Replicas:
        pods = Replicas(tmp_path, persistence)
        made.append(pods)
        pods.__enter__()
        pods.begin_all()
        return pods

    yield begin
    for pods in made:
        pods.__exit__()


def test_a_dead_master_is_replaced_and_comes_back_as_a_replica(make):
    pods = make()
    with Writer(pods) as writer:
        pods.kill(SERVERS[0])
        master = pods.settled()
        eventually(lambda: len(writer.acknowledged) > 300)
    assert master != SERVERS[0] and pods.named() == master
    # Not sent yet when the process died: milliseconds' worth.
    assert len(writer.lost(master)) <= 5
    assert DOWN_AFTER / 1000 < writer.longest < DOWN_AFTER / 1000 + 6
    pods.pod(SERVERS[0])
    assert pods.settled() == master
    assert pods.role(SERVERS[0])["master_host"] == master


def test_a_master_that_is_told_to_stop_hands_over_and_loses_nothing(make):
    pods = make()
    with Writer(pods) as writer:
        handed = pods.run("redis-handover.sh", name=SERVERS[0])
        assert handed.returncode == 0, handed.stdout + handed.stderr
        assert pods.named() != SERVERS[0]
        os.killpg(pods.processes[SERVERS[0]].pid, signal.SIGTERM)
        pods.processes.pop(SERVERS[0]).wait(20)
        master = pods.settled()
        before = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > before + 50)
    assert writer.lost(master) == set()
    assert writer.longest < DOWN_AFTER / 1000


@pytest.mark.parametrize("persistence", ["none", "rdb", "aof"])
def test_a_master_that_comes_back_at_once_loses_nothing(make, persistence: str):
    pods = make(persistence)
    client = pods.client(SERVERS[0], "app")
    client.set("precious", "here")
    assert client.wait(2, 5000) == 2
    pods.kill(SERVERS[0])
    # Without persistence its volume is gone with it.
    pods.pod(SERVERS[0], empty=persistence == "none")
    master = pods.settled()
    assert pods.client(master).get("precious") == "here"
    # With a log it knows all that it acknowledged; without, a replica knows more.
    assert (master == SERVERS[0]) == (persistence == "aof")


def test_an_empty_master_that_reaches_nobody_at_first_loses_nothing(make, tmp_path: Path):
    """As when the network lets a new pod in a moment late."""
    pods = make("none")
    client = pods.client(SERVERS[0], "app")
    client.set("precious", "here")
    assert client.wait(2, 5000) == 2
    pods.kill(SERVERS[0])
    real, hosts = pods.addresses, pods.hosts
    # Its own file of hosts, with addresses at which nobody listens.
    pods.addresses, pods.hosts = dict.fromkeys(real, "127.255.255.253"), tmp_path / "late"
    pods.pod(SERVERS[0], empty=True)
    late, pods.hosts = pods.hosts, hosts
    pods.addresses = {**real, SERVERS[0]: pods.addresses[SERVERS[0]]}
    hosts.write_text("".join(f"{ip} {host}\n" for host, ip in pods.addresses.items()))
    time.sleep(4)
    late.write_text(hosts.read_text())
    assert pods.client(pods.settled()).get("precious") == "here"


def test_a_master_without_replicas_in_reach_refuses_writes(make):
    pods = make()
    client = pods.client(SERVERS[0], "app")
    stopped = [pods.processes[name].pid for name in SERVERS[1:]]
    for process in stopped:
        os.killpg(process, signal.SIGSTOP)
    began = time.monotonic()

    def refused() -> bool:
        try:
            client.set("a", "b")
        except redis.ResponseError as error:
            return "NOREPLICAS" in str(error)
        return False

    eventually(refused)
    assert time.monotonic() - began <= TOPOLOGY.max_lag + 2
    for process in stopped:
        os.killpg(process, signal.SIGCONT)
    eventually(lambda: not refused())


def test_all_stop_at_once_and_the_last_master_is_the_next(make):
    """Also with no Sentinel that remembers: its own configuration says what it was."""
    pods = make()
    pods.kill(SERVERS[0])
    master = pods.settled()
    pods.pod(SERVERS[0])
    pods.settled()
    pods.client(master, "app").set("late", "yes")
    for name in [*SERVERS, *SENTINELS]:
        pods.kill(name)
    for name in SERVERS:
        pods.pod(name)
    for name in SENTINELS:
        pods.pod(name, empty=True)
    assert pods.settled() == master
    assert pods.client(SERVERS[0]).get("late") == "yes"
    eventually(lambda: pods.named() == master)
