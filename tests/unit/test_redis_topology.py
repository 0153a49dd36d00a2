"""The model of Redis: every bad value is one error that names its setting; what is derived fits."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.redis import images
from components.redis.topology import (
    TOPOLOGIES,
    Client,
    Replicated,
    Sharded,
    Standalone,
    TopologyError,
    impossible,
    losses,
    parse,
)
from components.settings import Settings


@pytest.mark.parametrize(
    ("topology", "name", "value", "message"),
    [
        ("replicated", "redisSentinels", 2, "redisSentinels is 2: with fewer than 3 no majority"),
        ("replicated", "redisSentinels", 4, "redisSentinels is 4: an even quorum .* 3 or 5"),
        ("replicated", "redisQuorum", 1, "redisQuorum is 1: of 3 redisSentinels give 2 to 3"),
        ("replicated", "redisQuorum", 4, "redisQuorum is 4: of 3 redisSentinels give 2 to 3"),
        ("replicated", "redisReplicas", 0, "redisReplicas is 0: .* 1"),
        ("replicated", "redisMinReplicasToWrite", 3, "redisMinReplicasToWrite is 3, .* are 2"),
        ("replicated", "redisMaxLag", 4, "redisMaxLag is 4 s, and redisDownAfter 5000 ms: a mas"),
        ("replicated", "redisDownAfter", 10, "redisDownAfter is 10: .* 1000"),
        ("sharded", "redisShards", 2, "redisShards is 2: give 3 or more"),
        ("sharded", "redisNodeTimeout", 4000, "redisMaxLag is 3 s, and redisNodeTimeout 4000 ms"),
        ("standalone", "redisMaxmemory", 1024, "redisMaxmemory is 1024, .* at most 892 MiB"),
        ("replicated", "redisMaxmemory", 800, "redisMaxmemory is 800, .* at most 720 MiB"),
        ("standalone", "redisMemory", 64, "redisMemory is 64: .* 128"),
        ("standalone", "redisMemory", "1Gi", "redisMemory is '1Gi': .* valid integer"),
        ("standalone", "redisCpus", 0, "redisCpus is 0: .* 0.1"),
        ("standalone", "redisStorage", 0, "redisStorage is 0: .* 1"),
        ("standalone", "redisPersistence", "yes", "redisPersistence is 'yes': .* 'none', 'rdb'"),
        ("standalone", "redisEvictionPolicy", "lru", "redisEvictionPolicy is 'lru': .*noeviction"),
        ("standalone", "redisVersion", "latest", "redisVersion is 'latest': there are 7.2"),
        ("standalone", "redisNamespace", "A", "redisNamespace is 'A'"),
        (
            "standalone",
            "redisClients",
            ("a/b",),
            r"redisClients is \('a/b',\): 'a/b' is not of the",
        ),
        ("standalone", "redisClients", ("a/",), "'a/' is not of the form"),
        ("standalone", "redisMonitors", ("A b",), "'A b' is not of the form"),
        ("standalone", "redisProfiles", ("*",), "not the name of a profile"),
        ("standalone", "redisBackupUrl", "http://x", "redisBackupUrl is 'http://x': give s3://"),
        ("standalone", "redisBackupUrl", "s3://bucket", "redisBackupUrl is 's3://bucket': .* need"),
        ("standalone", "redisBackupSchedule", "daily", "redisBackupSchedule is 'daily': give the"),
        ("standalone", "redisShards", 3, "redisShards is set, but redisTopology is 'standalone'"),
        ("active-active", "redisLicence", " ", "needs a licence of Redis Enterprise: pulumi conf"),
        ("active-active", "redisNodes", 4, "redisNodes is 4: an even quorum can split"),
        ("active-active", "redisPeers", ("x",), "'x' is not of the form name=api"),
        ("ring", "redisMemory", 1024, "redisTopology is 'ring': there are none, standalone"),
    ],
)
def test_a_bad_value_is_one_error_that_names_its_setting(topology, name, value, message):
    with pytest.raises(TopologyError, match=message) as error:
        parse({"redisTopology": topology, name: value})
    assert len(str(error.value).splitlines()) == 1


def test_every_bad_setting_has_its_line_and_no_secret_is_shown():
    with pytest.raises(TopologyError) as error:
        parse(
            {
                "redisTopology": "sharded",
                "redisShards": 1,
                "redisCpus": 0,
                "redisBackupSecretKey": 7,
                "redisQuorum": 2,
            }
        )
    lines = str(error.value).splitlines()
    assert sorted(line.split()[0] for line in lines) == [
        "redisBackupSecretKey",
        "redisCpus",
        "redisQuorum",
        "redisShards",
    ]
    assert "redisBackupSecretKey is a secret" in str(error.value)


def test_no_redis_and_its_topologies():
    assert parse({}) is None
    assert parse({"redisTopology": "none", "redisShards": 1}) is None
    assert isinstance(parse({"redisTopology": "standalone"}), Standalone)
    licensed = {
        "redisLicence": "text",
        "redisPlace": "london=api-london.example.com",
        "redisPeers": ("paris=api-paris.example.com",),
        "redisClusterPassword": "one-for-all-places",
    }
    assert parse({"redisTopology": "active-active", **licensed}) is not None
    for missing, value in licensed.items():
        with pytest.raises(TopologyError, match=missing):
            parse({"redisTopology": "active-active", **licensed, missing: type(value)()})
    with pytest.raises(TopologyError, match="name a place twice"):
        parse(
            {"redisTopology": "active-active", **licensed, "redisPlace": licensed["redisPeers"][0]}
        )


@given(
    st.sampled_from(["standalone", "replicated", "sharded"]),
    st.integers(128, 65_536),
    st.sampled_from(["none", "rdb", "aof"]),
    st.integers(1, 8),
)
def test_what_is_derived_fits_the_limit(topology, memory, persistence, replicas):
    values = {
        "redisTopology": topology,
        "redisMemory": memory,
        "redisPersistence": persistence,
    }
    if topology != "standalone":
        values["redisReplicas"] = replicas
    try:
        found = parse(values)
    except TopologyError as error:
        assert "redisMemory" in str(error) and memory < 256
        return
    beside = found.backlog_mib + found.replica_buffer_mib
    assert 0 < found.maxmemory_mib <= found.ceiling_mib
    # A child that saves may copy half as much again as there is data.
    factor = 1.5 if found.forks else 1
    assert found.maxmemory_mib * factor + beside < memory
    # What is derived may also be said.
    assert parse({**values, "redisMaxmemory": found.maxmemory_mib}) is not None


@pytest.mark.parametrize(
    ("cpus", "threads"), [(1, 1), (2, 1), (3, 1), (4, 3), (6, 4), (8, 6), (16, 8), (64, 8)]
)
def test_threads_follow_from_cpus(cpus, threads):
    assert Standalone(cpus=cpus).io_threads == threads


@pytest.mark.parametrize(("replicas", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_a_master_and_the_replicas_that_it_needs_are_a_majority(replicas, needed):
    topology = Replicated(replicas=replicas)
    assert topology.required_replicas == needed
    assert 2 * (1 + topology.required_replicas) > replicas + 1


@given(st.integers(2, 20), st.integers(1000, 30_000), st.integers(-1, 2))
def test_a_master_that_is_cut_off_refuses_writes_before_another_is_made(lag, down, minimum):
    try:
        topology = Replicated(max_lag=lag, down_after=down, min_replicas_to_write=minimum)
    except ValueError:
        assume(False)
    assert topology.required_replicas == 0 or (lag + 2) * 1000 <= down


def test_who_may_connect():
    topology = Standalone(clients=("team", "apps/app=web,tier=1", "*"), profiles=("kubeflow-user",))
    assert topology.admitted == (
        Client(namespace="team", labels={}),
        Client(namespace="apps", labels={"app": "web", "tier": "1"}),
        Client(namespace="*", labels={}),
        Client(namespace="kubeflow-user", labels={}),
    )


# --- changes -------------------------------------------------------------------------------------

AOF = Standalone().shape()
NONE = {"topology": "none"}


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        (NONE, AOF, ""),
        (AOF, AOF, ""),
        (AOF, Replicated().shape(), ""),
        (AOF, Standalone(storage=80, memory=4096).shape(), ""),
        (AOF, Standalone(persistence="rdb").shape(), ""),
        (Sharded().shape(), Sharded(shards=5).shape(), ""),
        (Sharded(shards=5).shape(), Sharded().shape(), ""),
        (AOF, Standalone(version="7.4.11").shape(), ""),
        (AOF, NONE, "redisTopology was 'standalone' and is 'none'"),
        (Replicated().shape(), AOF, "redisTopology was 'replicated' and is 'standalone'"),
        (AOF, Sharded().shape(), "redisTopology was 'standalone' and is 'sharded'"),
        (AOF, Standalone(persistence="none").shape(), "redisPersistence was 'aof' and is 'none'"),
        (Standalone(persistence="none").shape(), AOF, "redisPersistence was 'none' and is 'aof'"),
        (AOF, Standalone(namespace="other").shape(), "redisNamespace was 'redis' and is 'other'"),
        (Standalone(version="7.4.11").shape(), AOF, "redisVersion was 7.4.11 and is 7.2.16"),
    ],
)
def test_what_a_change_loses(old, new, lost):
    found = losses(old, new)
    assert (not lost and not found) or found[0].startswith(lost)
    assert len(found) <= 1


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (Standalone(storage=9).shape(), AOF, "redisStorage was 9 and is 8 GiB: volumes only grow"),
        (AOF, Standalone(storage_class="fast").shape(), "redisStorageClass was '' and is 'fast'"),
        (AOF, Standalone(storage=9).shape(), ""),
        (NONE, Standalone(storage_class="fast").shape(), ""),
        (Standalone(storage=9).shape(), Standalone(namespace="new").shape(), ""),
        (Standalone(storage=9).shape(), Replicated().shape(), "redisStorage was 9"),
        (Standalone(storage=9).shape(), Sharded().shape(), ""),
    ],
)
def test_what_no_consent_makes_possible(old, new, reason):
    found = impossible(old, new)
    assert (not reason and not found) or found[0].startswith(reason)


# --- settings and images -------------------------------------------------------------------------


def test_every_field_is_a_setting_with_the_same_default():
    for kind in TOPOLOGIES.values():
        for name, field in kind.model_fields.items():
            setting = Settings.model_fields[f"redis_{name}"]
            assert setting.alias == field.alias
            if name != "topology":
                assert setting.default in (field.default, 0), (kind, name)


def test_images_are_official_and_by_digest():
    for image in (
        *images.REDIS.values(),
        images.HAPROXY,
        images.REDIS_EXPORTER,
        images.RCLONE,
    ):
        name, _, digest = image.partition("@sha256:")
        assert len(digest) == 64 and int(digest, 16)
        assert name.startswith("docker.io/") and not name.endswith(":latest")
        assert name.rpartition(":")[2][:1] in "0123456789v"
    assert images.DEFAULT_REDIS in images.REDIS
