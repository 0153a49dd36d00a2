"""Faults of a Redis Cluster on real nodes, under load: what clients lose and for how long.

Clients speak Redis Cluster. Every figure is of some keys at a time: a fault of one shard is not
hidden by the others.
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
from components.redis.topology import Sharded
from sandbox.controlplane import RunningSandbox
from tests.support.redis_evidence import Evidence

pytestmark = pytest.mark.faults

OLD, NEW = images.REDIS
TOPOLOGY = Sharded(
    namespace="redis-sharded",
    version=OLD,
    memory=192,
    cpus=0.2,
    storage=1,
    clients=(CLIENTS,),
    shards=3,
    replicas=1,
    proxies=1,
    node_timeout=5000,
    max_lag=3,
)
PROMISED = TOPOLOGY.max_lag + 2
"""Seconds of writes that a master that is cut off may lose."""
FAILOVER = 2 * TOPOLOGY.node_timeout / 1000 + 15
"""Seconds until a replica is master: found failing, voted for, found by clients."""
HANDOVER = 10.0
"""Seconds for which a planned change of master may keep clients waiting."""
TAG = "0"
"""Hash tag of the keys whose shard suffers."""


@pytest.fixture(scope="module")
def trials(
    real_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trials]:
    bed = Bed(real_sandbox, tmp_path_factory.mktemp("sharded"))
    bed.up(TOPOLOGY)
    bed.start_clients(SOURCE)
    found = Trials(bed, "sharded", tags=4, rate=20)
    yield found
    found.report()
    bed.stop_clients()
    bed.destroy()


def assert_promised(found: Evidence) -> None:
    """What holds under every fault."""
    assert found.acknowledged > 100
    assert found.confirmed_lost == 0
    assert not found.overlaps


def assert_planned(found: Evidence) -> None:
    """What holds when the master hands over."""
    assert_promised(found)
    assert found.lost == 0
    assert found.writes_down < HANDOVER
    assert found.reads_down < HANDOVER


def test_sharded_kill_of_a_master(trials: Trials):
    bed: Bed = trials.bed
    found, _ = trials.run("kill -9 of a master", lambda: kill(bed, bed.master_of(TAG)))
    assert_promised(found)
    assert found.lost_seconds < 1
    assert found.writes_down < FAILOVER
    assert found.reads_down < FAILOVER


def test_sharded_delete_of_a_masters_pod(trials: Trials):
    bed = trials.bed
    found, _ = trials.run("its pod deleted", lambda: delete(bed, bed.master_of(TAG)))
    assert_planned(found)
    assert found.masters == 2


def test_sharded_cut_of_a_masters_network(trials: Trials):
    bed, old = trials.bed, trials.bed.master_of(TAG)
    inside: list[float] = []
    found, attempts = trials.run(
        "its network cut, both ways", lambda: inside.extend(isolate(bed, old, TAG, FAILOVER * 2))
    )
    assert_promised(found)
    assert found.lost_seconds < PROMISED
    assert found.writes_down < FAILOVER
    assert inside, "it takes writes until it misses its replica"
    first_of_new = first_write(attempts, TAG, reigns(attempts, TAG)[-1])
    trials.notes.append(
        "cut off, the old master took its last write (from inside its own pod) "
        f"{first_of_new - max(inside):.1f} s before the new one took its first"
    )
    assert max(inside) < first_of_new, "two masters took writes at once"


def test_sharded_full_memory(trials: Trials):
    found, _ = trials.run("its memory full for some seconds", lambda: fill(trials.bed, TAG))
    assert_promised(found)
    assert found.lost == 0
    assert found.masters == 1
    assert "OutOfMemoryError" in found.errors
    assert found.reads_down < HANDOVER


def test_sharded_restart_of_every_pod(trials: Trials):
    found, _ = trials.run("every pod restarted in turn", lambda: restart_all(trials.bed))
    assert_planned(found)


def test_sharded_shards_added_and_removed(trials: Trials):
    more = TOPOLOGY.model_copy(update={"shards": 4})
    for name, topology in (("a shard added", more), ("a shard removed", TOPOLOGY)):
        found, _ = trials.run(name, lambda topology=topology: trials.bed.up(topology))
        assert_planned(found)


def test_sharded_change_of_version(trials: Trials):
    newer = TOPOLOGY.model_copy(update={"version": NEW})
    found, _ = trials.run("another version of Redis", lambda: trials.bed.up(newer))
    assert_planned(found)
