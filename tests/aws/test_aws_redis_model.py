"""Which settings mean what for Redis as a service of AWS, and what a change of them loses."""

from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from components.redis import managed
from components.redis import topology as model
from components.redis.managed import NO_MEANING, NODE_TYPES
from components.redis.service import authorities
from tests.aws.redis_stack import TOPOLOGIES, parsed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Engine": "redis"}, "only 'valkey'"),
        ({"EvictionPolicy": "allkeys-lru"}, "redisEvictionPolicy is 'allkeys-lru'"),
        ({"Persistence": "none"}, "redisPersistence is 'none'"),
        ({"NodeType": "cache.r7g.large"}, r"needs db\.r7g\.xlarge or larger"),
        ({"EngineVersion": "8.0"}, r"of valkey there are 7\.3"),
    ],
)
def test_what_several_regions_can_not_have(settings: dict[str, str], message: str):
    with pytest.raises(model.TopologyError, match=message):
        parsed(Topology="active-active", **settings)


def test_access_strings_name_no_command_that_the_service_forbids():
    forbidden = ("bgsave", "config", "debug", "migrate", "replicaof", "save", "shutdown", "sync")
    for rule in managed.USERS.values():
        assert rule.split()[0] == "on"
        # Passwords and `reset` are not the access string's, either.
        assert not any(word.startswith((">", "#", "reset", "nopass")) for word in rule.split())
        commands = {word.lstrip("+-").partition("|")[0] for word in rule.split()}
        assert not commands.intersection(forbidden)


def test_authorities_are_amazons():
    found = x509.load_pem_x509_certificates(authorities().encode())
    names = [certificate.subject.rfc4514_string() for certificate in found]
    assert len(names) == 4 and all("O=Amazon" in name for name in names)


GIVEN: dict[str, Any] = {
    "version": "7.4.11",
    "maxmemory": 500,
    "storage": 9,
    "storage_class": "fast",
    "clients": ("*",),
    "monitors": ("other",),
    "prometheus_operator": True,
    "backup_url": "s3://bucket",
    "backup_endpoint": "https://store",
    "backup_schedule": "0 4 * * *",
    "backup_access_key": "key",
    "backup_secret_key": "a-secret",
    "restore_backup": "latest",
    "restore_overwrite": True,
    "proxies": 3,
    "read_lag": 11,
    "sentinels": 5,
    "quorum": 3,
    "down_after": 6000,
    "node_timeout": 6000,
    "nodes": 5,
    "place": "a=api.b",
    "peers": ("c=api.d",),
    "cluster_password": "a-secret",
    "licence": "a-secret",
}


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("name", sorted(NO_MEANING))
def test_a_setting_that_means_nothing_there_is_refused_by_name(topology: str, name: str):
    setting = model.alias(name)
    with pytest.raises(model.TopologyError) as caught:
        parsed(Topology=topology, **{setting.removeprefix("redis"): GIVEN[name]})
    assert f"{setting} is set, but redisProvider is 'aws'" in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_all_of_them_are_told_at_once():
    with pytest.raises(model.TopologyError) as caught:
        parsed(Topology="replicated", Sentinels=5, Storage=20, Proxies=4)
    assert str(caught.value).count("means nothing") == 3


def test_every_field_of_a_model_means_something_or_is_refused():
    """A new field is either of use to the service, or in `NO_MEANING`."""
    used = {
        *("topology", "namespace", "memory", "cpus", "persistence", "eviction_policy"),
        *("profiles", "allow_data_loss", "replicas", "min_replicas_to_write", "max_lag", "shards"),
    }
    for kind in model.TOPOLOGIES.values():
        assert set(kind.model_fields) <= used | set(NO_MEANING), kind


@given(st.integers(256, 429_148), st.integers(1, 64))
def test_the_smallest_node_that_fits_is_taken(memory: int, cpus: int):
    try:
        topology = parsed(Topology="standalone", Memory=memory, Cpus=cpus)
    except model.TopologyError:
        assert not [n for n in NODE_TYPES if n.memory >= memory and n.cpus >= cpus]
        return
    taken = next(n for n in NODE_TYPES if topology.node == f"cache.{n.name}")
    assert taken.memory >= memory and taken.cpus >= cpus
    smaller = NODE_TYPES[: NODE_TYPES.index(taken)]
    assert not [n for n in smaller if n.memory >= memory and n.cpus >= cpus]


def test_defaults():
    assert parsed(Topology="replicated").node == "cache.t4g.small"
    assert parsed(Topology="active-active").node == "db.r7g.xlarge"
    assert parsed(Topology="replicated", NodeType="r7g.large").node == "cache.r7g.large"
    assert parsed(Topology="replicated").family == "valkey8"
    assert parsed(Topology="replicated", Engine="redis").family == "redis7"


def test_a_persistence_that_the_service_has_in_another_way_is_told():
    assert "no log of writes" in parsed(Topology="replicated").notes[0]
    assert parsed(Topology="replicated", Persistence="rdb").notes == ()
    assert parsed(Topology="active-active").notes == ()


def test_replicas_that_writes_need_are_a_parameter_only_if_asked_for():
    assert "min-replicas-to-write" not in parsed(Topology="replicated").parameters
    asked = parsed(Topology="replicated", MinReplicasToWrite=1, MaxLag=20).parameters
    assert asked["min-replicas-to-write"] == "1" and asked["min-replicas-max-lag"] == "20"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Replicas": 6}, "redisReplicas is 6"),
        ({"EngineVersion": "9.9"}, "redisEngineVersion is '9.9'"),
        ({"SnapshotWindow": "3-4"}, "redisSnapshotWindow is '3-4'"),
        ({"SnapshotWindow": "03:00-03:30"}, "redisSnapshotWindow is '03:00-03:30'"),
        ({"SnapshotWindow": "05:30-06:30"}, "the service wants them apart"),
        ({"SnapshotWindow": "04:30-05:30"}, "the service wants them apart"),
        (
            {"SnapshotWindow": "23:30-00:30", "MaintenanceWindow": "mon:00:00-mon:01:00"},
            "the service wants them apart",
        ),
        ({"MaintenanceWindow": "sun:05:00-sun:05:59"}, "redisMaintenanceWindow is"),
        ({"MaintenanceWindow": "sun:25:00-sun:26:00"}, "redisMaintenanceWindow is"),
        ({"MaintenanceWindow": "sunday"}, "redisMaintenanceWindow is 'sunday'"),
        ({"NodeType": "large"}, "redisNodeType"),
        ({"Memory": 500_000}, "the largest node"),
        ({"AlarmTopic": "me"}, "redisAlarmTopic"),
        ({"SnapshotDays": 36}, "redisSnapshotDays"),
    ],
)
def test_bad_values_are_told(settings: dict[str, Any], message: str):
    with pytest.raises(model.TopologyError, match=message):
        parsed(Topology="replicated", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MaxLag": 20}, "redisMaxLag is set, but redisMinReplicasToWrite"),
        ({"NodeType": "r7g.large", "Memory": 2048}, "redisMemory is set, but redisNodeType"),
        ({"NodeType": "r7g.large", "Cpus": 2}, "redisCpus is set, but redisNodeType"),
        ({"Persistence": "none", "SnapshotDays": 3}, "redisSnapshotDays is set, but"),
    ],
)
def test_what_another_setting_leaves_without_effect_is_told(settings: dict[str, Any], message: str):
    with pytest.raises(model.TopologyError, match=message):
        parsed(Topology="replicated", **settings)


def test_windows_that_meet_only_at_their_ends_are_apart():
    parsed(Topology="replicated", SnapshotWindow="04:00-05:00")
    parsed(Topology="replicated", SnapshotWindow="06:00-07:00")
    parsed(Topology="replicated", SnapshotWindow="23:30-00:30")
    # Without snapshots there is nothing to keep apart.
    parsed(Topology="replicated", MaintenanceWindow="sun:03:30-sun:04:30", Persistence="none")


def test_a_name_that_is_too_long_is_told():
    with pytest.raises(ValueError, match="at most 32 letters"):
        managed.identifier("a" * 20, parsed(Topology="standalone", Namespace="b" * 20))


# --- changes -------------------------------------------------------------------------------------


def change(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[str], list[str]]:
    shapes = [parsed(**{"Topology": "replicated", **change}).shape() for change in (before, after)]
    return model.losses(*shapes), model.impossible(*shapes)


def test_moving_in_or_out_of_the_cluster_loses_data():
    inside = model.parse({"redisTopology": "replicated"})
    assert inside is not None
    outside = parsed(Topology="replicated").shape()
    for pair in ((inside.shape(), outside), (outside, inside.shape())):
        [lost] = model.losses(*pair)
        assert "redisProvider was" in lost
        assert model.impossible(*pair) == []


def test_what_a_change_at_the_service_loses():
    assert change({}, {"Replicas": 3}) == ([], [])
    assert change({"Topology": "standalone"}, {}) == ([], [])
    assert change({}, {"Topology": "standalone"}) == ([], [])
    assert change({"Engine": "redis"}, {}) == ([], [])
    assert change({"Persistence": "none"}, {}) == ([], [])
    lost, _ = change({}, {"Topology": "sharded"})
    assert "redisTopology was 'replicated' and is 'sharded'" in lost[0]
    lost, _ = change({}, {"Snapshot": "old"})
    assert "redisSnapshot was '' and is 'old'" in lost[0]


def test_what_the_service_refuses():
    _, refused = change({}, {"Engine": "redis"})
    assert "redisEngine was 'valkey' and is 'redis'" in refused[0]
    _, refused = change({"EngineVersion": "8.1"}, {"EngineVersion": "7.2"})
    assert "redisEngineVersion was 8.1 and is 7.2" in refused[0]
