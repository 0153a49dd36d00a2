"""Redis as a service of AWS: what it is made of, in moto; and which settings mean what there."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc

from components.aws.create import data_key
from components.aws.network import Subnets
from components.aws.shape import Aws
from components.aws.site import site
from components.cluster.base import AMD64, Capabilities, Cluster
from components.redis import managed, wiring
from components.redis import topology as model
from components.redis.component import guard
from components.redis.create_service import create_service
from components.redis.managed import KINDS, NO_MEANING, NODE_TYPES, Managed
from components.redis.service import ServiceArgs, ServiceRedis, authorities
from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.aws.moto_mocks import ACCOUNT, REGION
from tests.aws.store_rules import OTHERS, STORES, open_sources, violations
from tests.support.graph import Graph
from tests.support.programs import Registered

GUARD = "mlplatform:redis:Topology::redis"
GROUP = "aws:elasticache/replicationGroup:ReplicationGroup"
MEMORYDB = "aws:memorydb/cluster:Cluster"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
USER = "aws:elasticache/user:User"
TOPOLOGIES = ("standalone", "replicated", "sharded", "active-active")


class Fixed(Cluster):
    def __init__(self) -> None:
        super().__init__("Fixed", "cluster")
        self._offer("cluster", "{}", "fixed", Capabilities(False, "", AMD64))


def parsed(**settings: Any) -> Managed:
    values = {f"redis{key}": value for key, value in settings.items()}
    found = model.parse({"redisProvider": "aws", **values}, KINDS)
    assert isinstance(found, Managed)
    return found


def made(topology: Managed, *, protect: bool = True) -> ServiceRedis:
    place = site("ml", Aws(region=REGION, account=ACCOUNT, protect=protect))
    key = data_key(place)
    here = pulumi.ResourceOptions(provider=place.provider)
    vpc = Vpc("vpc", cidr_block="10.0.0.0/16", opts=here)
    private = [
        Subnet(
            f"private-{zone}",
            vpc_id=vpc.id,
            cidr_block=f"10.0.{number}.0/24",
            availability_zone=f"{REGION}{zone}",
            opts=here,
        )
        for number, zone in enumerate("abc")
    ]
    subnets = Subnets(vpc.id, [subnet.id for subnet in private], [], [])
    clients = SecurityGroup(
        "clients", name="clients", description="nodes and pods", vpc_id=vpc.id, opts=here
    )
    cluster = Fixed()
    checked = guard("redis", cluster, topology, allow_data_loss=False)
    args = ServiceArgs(place, subnets, clients.id, key)
    return create_service("redis", cluster, topology, checked, args)


@pytest.fixture
def run_fresh() -> Iterator[Callable[[Callable[[], Any]], RanOnAws]]:
    """Run a program in an AWS that is empty each time."""
    with contextlib.ExitStack() as stack:

        def run(program: Callable[[], Any]) -> RanOnAws:
            stack.close()
            stack.enter_context(mock_aws())
            return run_on_aws(program)

        yield run


@pytest.fixture
def run_redis(run_fresh) -> Callable[..., RanOnAws]:
    def run(*, protect: bool = True, **settings: Any) -> RanOnAws:
        return run_fresh(lambda: made(parsed(**settings), protect=protect))

    return run


def group_of(ran) -> dict[str, Any]:
    [group] = ran.aws.elasticache.describe_replication_groups()["ReplicationGroups"]
    return group


# --- what is made --------------------------------------------------------------------------------


def test_a_master_with_replicas_fails_over_to_another_zone(run_redis):
    ran = run_redis(Topology="replicated", Replicas=2)
    group = group_of(ran)
    assert group["AutomaticFailover"] == group["MultiAZ"] == "enabled"
    assert group["MemberClusters"] == ["ml-redis-001", "ml-redis-002", "ml-redis-003"]
    assert group["ClusterEnabled"] is False
    assert group["SnapshotRetentionLimit"] == 7 and group["SnapshotWindow"] == "03:00-04:00"
    subnets = ran.aws.elasticache.describe_cache_subnet_groups()["CacheSubnetGroups"]
    made_of = {subnet["SubnetIdentifier"] for subnet in subnets[0]["Subnets"]}
    private = {r for t, n, r in ran.mocks.created if t.endswith("Subnet") and "private" in n}
    assert private and made_of == private


def test_one_node_has_nothing_to_fail_over_to(run_redis):
    group = group_of(run_redis(Topology="standalone"))
    assert group["AutomaticFailover"] == group["MultiAZ"] == "disabled"
    assert group["MemberClusters"] == ["ml-redis-001"]


def test_shards(run_redis):
    ran = run_redis(Topology="sharded", Shards=4, Replicas=2)
    group = group_of(ran)
    assert group["ClusterEnabled"] is True and len(group["NodeGroups"]) == 4
    assert len(group["MemberClusters"]) == 12
    assert group["AutomaticFailover"] == group["MultiAZ"] == "enabled"
    parameters = ran.of("aws:elasticache/parameterGroup:ParameterGroup").inputs["parameters"]
    assert {"name": "cluster-enabled", "value": "yes"} in parameters


def test_more_shards_change_their_number_and_nothing_else(run_redis):
    before, after = (
        run_redis(Topology="sharded", Shards=shards).of(GROUP).inputs for shards in (3, 5)
    )
    assert (before["numNodeGroups"], after["numNodeGroups"]) == (3, 5)
    same = [
        key for key in before if key not in ("numNodeGroups",) and "arn" not in str(before[key])
    ]
    ids = ("securityGroupIds",)
    assert {k: before[k] for k in same if k not in ids} == {
        k: after[k] for k in same if k not in ids
    }
    assert before["applyImmediately"] is True


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_only_the_clusters_nodes_and_pods_are_let_in(run_redis, topology: str):
    ran = run_redis(Topology=topology)
    group = ran.id_of("aws:ec2/securityGroup:SecurityGroup", "redis-nodes")
    clients = ran.id_of("aws:ec2/securityGroup:SecurityGroup", "clients")
    [found] = ran.aws.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    [rule] = found["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (6379, 6379, [])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [clients]
    store = MEMORYDB if topology == "active-active" else GROUP
    assert ran.of(store).inputs["securityGroupIds"] == [group]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_holds_data_keeps_the_rules(run_redis, topology: str):
    ran = run_redis(Topology=topology)
    assert violations(ran.registered) == []
    assert violations(run_redis(Topology=topology, protect=False).registered, protected=False) == []


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_last_snapshot_is_made_and_the_key_is_the_stacks_own(run_redis, topology: str):
    ran = run_redis(Topology=topology)
    key = ran.aws.kms.describe_key(KeyId="alias/ml-data")["KeyMetadata"]["Arn"]
    if topology == "active-active":
        inputs = ran.of(MEMORYDB).inputs
        assert (inputs["kmsKeyArn"], inputs["finalSnapshotName"]) == (key, "ml-redis-final")
    else:
        inputs = ran.of(GROUP).inputs
        assert (inputs["kmsKeyId"], inputs["finalSnapshotIdentifier"]) == (key, "ml-redis-final")


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_nothing_is_made_before_the_guard(run_redis, topology: str):
    graph = Graph(run_redis(Topology=topology).registered)
    own = [n for n, r in graph.resources.items() if "mlplatform:redis" in r.urn_of_parent]
    assert len(own) > 8
    for name in own:
        assert GUARD in graph.needs(name), name


def test_the_store_comes_after_users_parameters_and_the_rule_of_who_is_let_in(run_redis):
    needed = Graph(run_redis(Topology="replicated").registered).needs(f"{GROUP}::redis")
    for part in ("userGroup:UserGroup", "parameterGroup:ParameterGroup", "subnetGroup:SubnetGroup"):
        assert any(f"elasticache/{part}" in name for name in needed), part
    assert f"{USER}::redis-app" in needed


def test_no_snapshots_without_persistence(run_redis):
    inputs = run_redis(Topology="replicated", Persistence="none").of(GROUP).inputs
    assert inputs["snapshotRetentionLimit"] == 0
    assert not inputs.get("finalSnapshotIdentifier")


# --- users ---------------------------------------------------------------------------------------


def test_passwords_are_secret_and_generated_and_in_nothing_else(run_redis):
    ran = run_redis(Topology="replicated")
    users = [r for r in ran.registered if r.type == USER]
    assert {user.inputs["userName"] for user in users} == {"app", "reader", "admin"}
    for user in users:
        mode = user.request.object.fields["authenticationMode"].struct_value.fields
        [password] = mode["passwords"].list_value.values
        marks = password.struct_value.fields
        assert marks[SIGNATURE].string_value == SECRET_MARK, user.name
        [stored] = ran.aws.elasticache.describe_users(UserId=user.inputs["userId"])["Users"]
        assert stored["Authentication"] == {"Type": "password", "PasswordCount": 1}
    for resource in ran.registered:
        if resource.type != USER:
            assert "made-app_password" not in json.dumps(resource.inputs, default=str)


def test_of_redis_the_default_user_is_turned_off(run_redis):
    ran = run_redis(Topology="replicated", Engine="redis")
    default = ran.of(USER, "redis-default").inputs
    assert default["userName"] == "default" and default["accessString"] == "off -@all"
    group = ran.of("aws:elasticache/userGroup:UserGroup").inputs
    assert "ml-redis-default" in group["userIds"] and len(group["userIds"]) == 4


def test_access_strings_name_no_command_that_the_service_forbids():
    forbidden = ("bgsave", "config", "debug", "migrate", "replicaof", "save", "shutdown", "sync")
    for rule in managed.USERS.values():
        assert rule.split()[0] == "on"
        # Passwords and `reset` are not the access string's, either.
        assert not any(word.startswith((">", "#", "reset", "nopass")) for word in rule.split())
        commands = {word.lstrip("+-").partition("|")[0] for word in rule.split()}
        assert not commands.intersection(forbidden)


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_outputs_are_those_of_a_redis_in_the_cluster(run_fresh, topology: str):
    def program():
        return pulumi.Output.all(**made(parsed(Topology=topology)).outputs)

    values, secret = run_fresh(program).returned
    assert secret
    assert {
        "redisWriteEndpoint",
        "redisReadEndpoint",
        "redisWriteUri",
        "redisReadUri",
        "redisMetricsEndpoint",
        "redisCaCertificate",
    } <= set(values)
    login = "ml-redis-app" if topology == "active-active" else "app"
    endpoint = values["redisWriteEndpoint"]
    assert endpoint.endswith(":6379")
    assert values["redisWriteUri"] == f"rediss://{login}:made-app_password@{endpoint}/0"
    first = {"standalone": "master.", "replicated": "master."}.get(topology, "clustercfg.")
    assert endpoint.startswith(first)
    reads = "replica." if topology == "replicated" else first
    assert values["redisReadEndpoint"].startswith(reads)
    assert REGION in values["redisMetricsEndpoint"]


def test_uris_are_secret_and_the_authority_is_not(run_fresh):
    for name, expected in (("write_uri", True), ("read_uri", True), ("ca_certificate", False)):
        ran = run_fresh(lambda name=name: getattr(made(parsed(Topology="standalone")), name))
        assert ran.returned[1] is expected, name


def test_authorities_are_amazons():
    found = x509.load_pem_x509_certificates(authorities().encode())
    names = [certificate.subject.rfc4514_string() for certificate in found]
    assert len(names) == 4 and all("O=Amazon" in name for name in names)


def test_a_profile_is_given_what_it_takes(run_fresh):
    def program():
        redis = made(parsed(Topology="replicated", Profiles=("team-a",)))
        wiring.offer(redis, "team-a", {})

    ran = run_fresh(program)
    secret = ran.of("kubernetes:core/v1:Secret", "team-a/redis-client")
    values = secret.request.object.fields["stringData"].struct_value.fields
    assert set(values) == {"REDIS_URL", "REDIS_READ_URL", "ca.crt"}
    for value in values.values():
        assert value.struct_value.fields[SIGNATURE].string_value == SECRET_MARK


# --- alarms --------------------------------------------------------------------------------------


def test_every_node_is_watched(run_redis):
    ran = run_redis(Topology="sharded", Shards=3, Replicas=1)
    alarms = ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]
    assert len(alarms) == 3 * 4
    watched = {
        dimension["Value"]
        for alarm in alarms
        for query in alarm["Metrics"]
        for dimension in query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
    }
    assert watched == set(group_of(ran)["MemberClusters"])
    for alarm in alarms:
        [worst] = [query for query in alarm["Metrics"] if query.get("ReturnData")]
        assert worst["Expression"] == "MAX(METRICS())"


def test_alarms_of_one_node_have_no_lag_and_names_without_a_shard(run_redis):
    ran = run_redis(Topology="standalone")
    names = {alarm["AlarmName"] for alarm in ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]}
    assert names == {f"ml-redis-{name}" for name in ("memory", "cpu", "evictions")}


def test_alarms_tell_a_topic(run_aws, aws):
    topic = aws.sns.create_topic(Name="alarms")["TopicArn"]
    ran = run_aws(lambda: made(parsed(Topology="replicated", AlarmTopic=topic)))
    for alarm in ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


# --- several regions -----------------------------------------------------------------------------


def test_the_first_region_makes_what_joins_all_and_others_join(run_redis):
    multi = "aws:memorydb/multiRegionCluster:MultiRegionCluster"
    first = run_redis(Topology="active-active", Shards=2)
    assert first.of(MEMORYDB).inputs["multiRegionClusterName"] == "ldgnf-ml-redis"
    shared = ("engine", "engineVersion", "nodeType", "numShards")
    for name in shared:
        assert first.of(multi).inputs[name] == first.of(MEMORYDB).inputs[name], name


def test_another_region_joins(run_redis):
    other = run_redis(Topology="active-active", MultiRegion="ldgnf-ml-redis")
    assert not [r for r in other.registered if "multiRegionCluster" in r.type]
    assert other.of(MEMORYDB).inputs["multiRegionClusterName"] == "ldgnf-ml-redis"


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


# --- settings ------------------------------------------------------------------------------------

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


def test_windows_that_meet_only_at_their_ends_are_apart():
    parsed(Topology="replicated", SnapshotWindow="04:00-05:00")
    parsed(Topology="replicated", SnapshotWindow="06:00-07:00")
    parsed(Topology="replicated", SnapshotWindow="23:30-00:30")
    # Without snapshots there is nothing to keep apart.
    parsed(Topology="replicated", SnapshotWindow="05:30-06:30", Persistence="none")


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


# --- the rules themselves ------------------------------------------------------------------------


@dataclasses.dataclass
class Request:
    protect: bool = True


GOOD: dict[str, dict[str, Any]] = {
    GROUP: {
        "atRestEncryptionEnabled": True,
        "transitEncryptionEnabled": True,
        "transitEncryptionMode": "required",
        "kmsKeyId": "key",
        "userGroupIds": ["group"],
        "subnetGroupName": "private",
    },
    MEMORYDB: {"tlsEnabled": True, "kmsKeyArn": "key", "aclName": "own"},
    "aws:memorydb/multiRegionCluster:MultiRegionCluster": {"tlsEnabled": True},
    "aws:rds/instance:Instance": {
        "storageEncrypted": True,
        "kmsKeyId": "key",
        "deletionProtection": True,
    },
    "aws:efs/fileSystem:FileSystem": {"encrypted": True, "kmsKeyId": "key"},
    USER: {"authenticationMode": {"type": "password"}},
    "aws:memorydb/user:User": {"authenticationMode": {"type": "password"}},
}


def test_every_rule_is_broken_by_something():
    assert set(GOOD) == {*STORES, *OTHERS}
    for type_, inputs in GOOD.items():
        assert violations([Registered(type_, "x", inputs, Request())]) == []
        for name in inputs:
            without = {key: value for key, value in inputs.items() if key != name}
            assert violations([Registered(type_, "x", without, Request())]), (type_, name)
    bare = Registered(GROUP, "x", GOOD[GROUP], Request(protect=False))
    assert violations([bare]) == [f"{GROUP} x: protect is False"]


def test_public_sources_are_found():
    rule = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    for source, found in (("0.0.0.0/0", True), ("10.0.0.0/8", False), ("8.8.8.0/24", True)):
        resource = Registered(rule, "x", {"cidrIpv4": source}, Request())
        assert bool(list(open_sources(resource))) is found, source
    group = {"ingress": [{"cidrBlocks": ["10.0.0.0/8"], "ipv6CidrBlocks": ["::/0"]}]}
    resource = Registered("aws:ec2/securityGroup:SecurityGroup", "x", group, Request())
    assert list(open_sources(resource)) == ["::/0"]
