"""Redis Cluster's scripts on real processes: formed, scaled, killed, moved, all under load."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.redis_processes import (
    PASSWORDS,
    PORT,
    Pods,
    eventually,
    layout,
    shards,
    slots,
)

pytestmark = pytest.mark.faults

QUICK = ["repl-diskless-sync-delay 0"]
LAYOUT = "cluster-layout.sh"


class Writer:
    """Writes numbered keys by a cluster client; remembers each acknowledged one and each error."""

    def __init__(self, pods: Pods) -> None:
        self._client = pods.cluster()
        self.acknowledged: list[int] = []
        self.errors: list[str] = []
        self.asked = 0
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        last = time.monotonic()
        for number in itertools.count():
            if self._stop.is_set():
                return
            try:
                self._set(f"key-{number}", f"value-{number}")
            except redis.RedisError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                continue
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            self.acknowledged.append(number)
            time.sleep(0.001)  # leaves the machine some time for what is tested

    def _set(self, key: str, value: str) -> None:
        while True:
            try:
                self._client.set(key, value)
            except AttributeError as error:
                # redis-py 8.1 knows a new node only once it owns a slot, and stumbles when it is
                # asked (ASK) to go there before: it is right the moment after.
                if "redis_connection" not in str(error):
                    raise
                self.asked += 1
            else:
                return

    def __enter__(self) -> "Writer":
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 100)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def lost(self, pods: Pods) -> list[int]:
        """Acknowledged writes that are not there."""
        found = pods.cluster().mget_nonatomic([f"key-{n}" for n in self.acknowledged])
        pairs = zip(self.acknowledged, found, strict=True)
        return [number for number, value in pairs if value != f"value-{number}"]


def wanted(pods: Pods, count: int, replicas: int = 1) -> list[list[str]]:
    """Start what is not running of so many shards."""
    members = shards(count, replicas)
    for name in itertools.chain(*members):
        if name not in pods.processes:
            pods.start(name)
    return members


def shaped(pods: Pods, members: list[list[str]]) -> str:
    """Bring the cluster to that layout; what the script said."""
    done = pods.run(LAYOUT, *layout(members))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ids(pods: Pods, members: list[list[str]]) -> list[str]:
    """Ids of the nodes of each shard, space-separated."""
    return [" ".join(pods.client(name).cluster("MYID") for name in shard) for shard in members]


def owned(pods: Pods, members: list[list[str]]) -> list[int]:
    """Slots of each shard."""
    found = slots(pods, members[0][0])
    by_shard = [sum(found.pop(i, 0) for i in one.split()) for one in ids(pods, members)]
    assert found == {}
    return by_shard


def assert_as_wanted(pods: Pods, members: list[list[str]]) -> None:
    """Every slot owned, evenly; each shard one master whom its other members follow."""
    count = owned(pods, members)
    assert sum(count) == 16384
    assert max(count) - min(count) <= len(members)
    for shard, own in zip(members, ids(pods, members), strict=True):
        roles = [pods.client(name).info("replication") for name in shard]
        assert sorted(r["role"] for r in roles) == ["master", *["slave"] * (len(shard) - 1)]
        nodes = pods.client(shard[0]).execute_command("CLUSTER NODES").values()
        masters = {n["master_id"] for n in nodes if n["node_id"] in own and n["master_id"] != "-"}
        assert all(m in own for m in masters)
        assert len(nodes) == sum(map(len, members))


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    with Pods(tmp_path, extra=QUICK) as pods:
        yield pods


@pytest.fixture
def three(pods: Pods) -> list[list[str]]:
    """A cluster of three shards."""
    members = wanted(pods, 3)
    shaped(pods, members)
    return members


def test_formed_with_tls_and_found_as_wanted_by_a_second_run(tmp_path: Path):
    with Pods(tmp_path, tls=True, extra=QUICK) as pods:
        members = wanted(pods, 3)
        shaped(pods, members)
        assert_as_wanted(pods, members)
        before = slots(pods, members[0][0])
        again = shaped(pods, members)
        assert "joins" not in again and "moving" not in again and "gets slots" not in again
        assert slots(pods, members[0][0]) == before
        assert pods.cluster().set("a", "b")


def test_scaled_3_5_3_under_load(pods: Pods, three: list[list[str]]):
    with Writer(pods) as writer:
        old = dict(zip(ids(pods, three), owned(pods, three), strict=True))
        five = wanted(pods, 5)
        shaped(pods, five)
        assert_as_wanted(pods, five)
        new = dict(zip(ids(pods, five), owned(pods, five), strict=True))
        # Only what the new shards need was moved: no old shard gained.
        assert all(new[shard] < count for shard, count in old.items())

        shaped(pods, three)
        assert_as_wanted(pods, three)
        for name in itertools.chain(*five[3:]):
            info = pods.client(name).execute_command("CLUSTER INFO")
            assert info["cluster_known_nodes"] == "1"
            assert pods.client(name).dbsize() == 0
            pods.kill(name)
        written = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > written + 100)
    assert writer.errors == []
    assert writer.lost(pods) == []
    print(f"{len(writer.acknowledged)} writes, longest gap {writer.longest:.2f} s, {writer.asked}")


@pytest.mark.parametrize("at", [1, 40, 700, 2500])
def test_killed_half_way_and_run_again(pods: Pods, three: list[list[str]], at: int):
    with Writer(pods) as writer:
        five = wanted(pods, 5)
        run = pods.begin(LAYOUT, *layout(five))
        new = [pods.client(shard[0]).cluster("MYID") for shard in five[3:]]

        def moved() -> bool:
            found = slots(pods, five[0][0])
            return sum(found.get(i, 0) for i in new) >= at

        eventually(moved, 60)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert sum(owned(pods, five)) == 16384
        shaped(pods, five)
        assert_as_wanted(pods, five)
        # The other way, back again from the middle of it.
        run = pods.begin(LAYOUT, *layout(three))
        eventually(lambda: sum(slots(pods, five[0][0]).get(i, 0) for i in new) < 6500 - at, 60)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        shaped(pods, three)
        assert_as_wanted(pods, three)
    assert writer.errors == []
    assert writer.lost(pods) == []


def test_master_killed_and_back_at_another_address(pods: Pods, three: list[list[str]]):
    with Writer(pods):
        name, other = three[1]
        pods.kill(name)
        eventually(lambda: pods.client(other).info("replication")["role"] == "master")
        pods.start(name)
        eventually(lambda: pods.client(name).info("replication").get("master_link_status") == "up")
        assert ready(pods, name) == 0
    shaped(pods, three)
    assert_as_wanted(pods, three)


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_all_pods_back_at_other_addresses(pods: Pods, three: list[list[str]], silent: bool):
    with Writer(pods) as writer:
        pass
    old = list(pods.addresses.values())
    for name in itertools.chain(*three):
        pods.kill(name)
    with contextlib.ExitStack() as stack:
        for address in old if silent else ():
            # Takes connections and never answers, as a network does that drops packets.
            stack.enter_context(socket.create_server((address, PORT + 10_000)))
        for name in itertools.chain(*three):
            pods.start(name)
        for name in itertools.chain(*three):
            eventually(lambda name=name: ready(pods, name) == 0)
    eventually(lambda: attached(pods, three))
    assert_as_wanted(pods, three)
    assert writer.lost(pods) == []


def attached(pods: Pods, members: list[list[str]]) -> bool:
    """Whether every replica is in step with its master, and all see all."""
    infos = [pods.client(name).info("replication") for name in itertools.chain(*members)]
    return all(i["role"] == "master" or i["master_link_status"] == "up" for i in infos)


def ready(pods: Pods, name: str) -> int:
    return pods.run("cluster-ready.sh", name=name).returncode


def test_every_pod_restarted_in_turn_after_a_handover(pods: Pods, three: list[list[str]]):
    with Writer(pods) as writer:
        for name in itertools.chain(*three):
            done = pods.run("cluster-handover.sh", name=name)
            assert done.returncode == 0, done.stderr
            assert pods.client(name).info("replication")["role"] == "slave"
            pods.kill(name)
            pods.start(name)
            eventually(lambda name=name: ready(pods, name) == 0)
    assert writer.lost(pods) == []
    assert writer.errors == []
    assert_as_wanted(pods, three)


def test_readiness(pods: Pods, three: list[list[str]]):
    name = three[0][0]
    assert ready(pods, name) == 0
    for other in itertools.chain(three[1], three[2]):
        pods.kill(other)
    eventually(lambda: ready(pods, name) != 0)  # no majority
    pods.kill(name)
    assert ready(pods, name) != 0


def test_data_that_would_not_fit_is_not_moved(pods: Pods, three: list[list[str]]):
    four = wanted(pods, 4)
    shaped(pods, four)
    client = pods.cluster()
    for number in range(300):
        client.set(f"key-{number}", "x" * 100_000)
    for name in itertools.chain(*four):
        pods.client(name).config_set("maxmemory", "11mb")
    before = slots(pods, four[0][0])
    done = pods.run(LAYOUT, *layout(three))
    assert done.returncode == 3
    assert "error: the data does not fit: 3 shards would hold 1" in done.stderr
    assert "Nothing was moved" in done.stderr
    assert slots(pods, four[0][0]) == before
    for name in itertools.chain(*four):
        pods.client(name).config_set("maxmemory", "40mb")
    shaped(pods, three)
    assert_as_wanted(pods, three)
    assert client.get("key-299") == "x" * 100_000


def test_a_node_with_data_of_its_own_is_not_taken_in(pods: Pods, three: list[list[str]]):
    four = wanted(pods, 4)
    stranger = pods.client(four[3][0])
    stranger.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
    eventually(lambda: stranger.set("precious", "data"))
    done = pods.run(LAYOUT, *layout(four))
    assert done.returncode == 3
    assert f"error: {four[3][0]} holds data" in done.stderr
    assert stranger.get("precious") == "data"


def test_slots_of_a_shard_that_is_down_are_not_given_away(pods: Pods, three: list[list[str]]):
    four = wanted(pods, 4, replicas=1)
    shaped(pods, four)
    for name in four[3]:
        pods.kill(name)
    gone = eventually(
        lambda: [
            node["node_id"]
            for node in pods.client(three[0][0]).execute_command("CLUSTER NODES").values()
            if "fail" in node["flags"].split(",") and node["slots"]
        ]
    )
    done = pods.run(LAYOUT, *layout(three))
    assert done.returncode == 3
    assert f"node {gone[0]} is down and owns slots" in done.stderr


def test_fewer_than_three_shards_are_refused(tmp_path: Path):
    with Pods(tmp_path) as pods:
        done = pods.run(LAYOUT, "a", "b")
    assert done.returncode == 3
    assert "error: a cluster has at least 3 shards, not 2" in done.stderr


def test_the_password_is_on_no_command_line(pods: Pods, three: list[list[str]]):
    wanted(pods, 4)
    run = pods.begin(LAYOUT, *layout(shards(4)))
    seen: list[str] = []
    while run.poll() is None:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(PORT) in line and "redis-cli" in line:
                seen.append(line)
    assert seen
    assert not any(PASSWORDS["admin"] in line for line in seen)
    assert run.returncode == 0


def test_scripts_are_plain_shell():
    folder = Path(__file__).parents[2] / "components" / "redis" / "scripts"
    for script in folder.glob("*.sh"):
        assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
