"""Faults of a replicated Redis on real nodes, under load: what clients lose and for how long.

The bounds are those that the settings promise (components/redis/topology.py).
"""

from collections.abc import Iterator

import pytest
from redis_faults import (
    SOURCE,
    Trials,
    delete,
    fill,
    first_write,
    isolate,
    kill,
    reigns,
    restart_all,
)

from benchmarks.redis_bed import CLIENTS, Bed
from components.redis import images
from components.redis.topology import Replicated
from sandbox.controlplane import RunningSandbox
from tests.support.redis_evidence import Evidence

pytestmark = pytest.mark.faults

OLD, NEW = images.REDIS
TOPOLOGY = Replicated(
    namespace="redis-replicated",
    version=OLD,
    memory=256,
    storage=1,
    clients=(CLIENTS,),
    replicas=2,
    # By default it would change with the replicas, and with it the configuration of every pod.
    min_replicas_to_write=1,
    down_after=5000,
    max_lag=3,
)
PROMISED = TOPOLOGY.max_lag + 2
"""Seconds of writes that a master that is cut off may lose."""
FAILOVER = TOPOLOGY.down_after / 1000 + 15
"""Seconds until another master is there: found dead, agreed upon, promoted, found by the proxy."""
HANDOVER = 10.0
"""Seconds for which a planned change of master may keep clients waiting."""


@pytest.fixture(scope="module")
def trials(
    real_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trials]:
    bed = Bed(real_sandbox, tmp_path_factory.mktemp("replicated"))
    bed.up(TOPOLOGY)
    bed.start_clients(SOURCE)
    found = Trials(bed, "replicated", tags=2, rate=40)
    yield found
    found.report()
    bed.stop_clients()
    bed.destroy()


def master(bed: Bed) -> str:
    [one] = bed.masters()
    return one


def assert_promised(found: Evidence) -> None:
    """What holds under every fault."""
    assert found.acknowledged > 100
    assert found.confirmed_lost == 0
    assert not found.overlaps


def test_kill_of_the_master(trials: Trials):
    found, _ = trials.run("kill -9 of the master", lambda: kill(trials.bed, master(trials.bed)))
    assert_promised(found)
    assert found.lost_seconds < 1
    assert found.writes_down < FAILOVER
    assert found.reads_down < FAILOVER


def test_delete_of_the_masters_pod(trials: Trials):
    found, _ = trials.run("its pod deleted", lambda: delete(trials.bed, master(trials.bed)))
    assert_promised(found)
    assert found.lost == 0, "it hands over before it ends"
    assert found.masters == 2
    assert found.writes_down < HANDOVER
    assert found.reads_down < HANDOVER


def test_cut_of_the_masters_network(trials: Trials):
    bed, old = trials.bed, master(trials.bed)

    def cut() -> None:
        inside.extend(isolate(bed, old, "0", FAILOVER * 2))

    inside: list[float] = []
    found, attempts = trials.run("its network cut, both ways", cut)
    assert_promised(found)
    assert found.lost_seconds < PROMISED
    assert found.writes_down < FAILOVER
    assert inside, "it takes writes until it misses its replicas"
    first_of_new = first_write(attempts, "0", reigns(attempts, "0")[-1])
    trials.notes.append(
        "cut off, the old master took its last write (from inside its own pod) "
        f"{first_of_new - max(inside):.1f} s before the new one took its first"
    )
    assert max(inside) < first_of_new, "two masters took writes at once"


def test_full_memory(trials: Trials):
    bed = trials.bed

    found, _ = trials.run("its memory full for some seconds", lambda: fill(bed, "0"))
    assert_promised(found)
    assert found.lost == 0
    assert found.masters == 1
    assert "OutOfMemoryError" in found.errors
    assert found.reads_down < HANDOVER
    assert not any(
        status.get("lastState")
        for pod in bed.servers()
        for status in pod["status"]["containerStatuses"]
        if (status.get("lastState", {}).get("terminated") or {}).get("reason") == "OOMKilled"
    )


def test_restart_of_every_pod(trials: Trials):
    found, _ = trials.run("every pod restarted in turn", lambda: restart_all(trials.bed))
    assert_promised(found)
    assert found.lost == 0
    assert found.writes_down < HANDOVER
    assert found.reads_down < HANDOVER


def test_scale_up_and_down(trials: Trials):
    bed = trials.bed
    more = TOPOLOGY.model_copy(update={"replicas": 3})
    for name, topology in (("a replica added", more), ("a replica removed", TOPOLOGY)):
        found, _ = trials.run(name, lambda topology=topology: bed.up(topology))
        assert_promised(found)
        assert found.lost == 0
        assert found.writes_down < HANDOVER
        assert found.reads_down < HANDOVER


def test_change_of_version(trials: Trials):
    bed = trials.bed
    newer = TOPOLOGY.model_copy(update={"version": NEW})
    before = bed.redis_cli(master(bed), "INFO", "server")
    found, _ = trials.run("another version of Redis", lambda: bed.up(newer))
    after = bed.redis_cli(master(bed), "INFO", "server")
    assert _version(before) < _version(after)
    assert_promised(found)
    assert found.lost == 0
    assert found.writes_down < HANDOVER
    assert found.reads_down < HANDOVER


def _version(info: str) -> tuple[int, ...]:
    [line] = [line for line in info.splitlines() if line.startswith("redis_version:")]
    return tuple(int(part) for part in line.partition(":")[2].split("."))
