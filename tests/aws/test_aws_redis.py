"""Redis as a service of AWS: what it is made of, in moto."""

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from moto import mock_aws

from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.aws.moto_mocks import REGION
from tests.aws.redis_stack import GROUP, MEMORYDB, TOPOLOGIES, USER, made, parsed
from tests.aws.store_rules import violations
from tests.support.graph import Graph

GUARD = "mlplatform:redis:Topology::redis"
PARAMETERS = "aws:elasticache/parameterGroup:ParameterGroup"
MULTI_REGION = "aws:memorydb/multiRegionCluster:MultiRegionCluster"


@pytest.fixture(scope="module")
def ran(request: pytest.FixtureRequest) -> Iterator[RanOnAws]:
    """A topology with all defaults, made once for all tests of it; it returns its outputs."""
    topology = parsed(Topology=request.param)
    with mock_aws():
        yield run_on_aws(lambda: pulumi.Output.all(**made(topology).outputs))


def of(*topologies: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ran", topologies, indirect=True, scope="module")


def group_of(ran: RanOnAws) -> dict[str, Any]:
    [group] = ran.aws.elasticache.describe_replication_groups()["ReplicationGroups"]
    return group


def is_multi(ran: RanOnAws) -> bool:
    return any(r.type == MEMORYDB for r in ran.registered)


# --- of every topology ---------------------------------------------------------------------------


@of(*TOPOLOGIES)
def test_only_the_clusters_nodes_and_pods_are_let_in(ran: RanOnAws):
    group = ran.id_of("aws:ec2/securityGroup:SecurityGroup", "redis-nodes")
    clients = ran.id_of("aws:ec2/securityGroup:SecurityGroup", "clients")
    [found] = ran.aws.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    [rule] = found["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (6379, 6379, [])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [clients]
    assert ran.of(MEMORYDB if is_multi(ran) else GROUP).inputs["securityGroupIds"] == [group]


@of(*TOPOLOGIES)
def test_nodes_are_in_the_private_subnets(ran: RanOnAws):
    service = "memorydb" if is_multi(ran) else "elasticache"
    subnets = ran.of(f"aws:{service}/subnetGroup:SubnetGroup").inputs["subnetIds"]
    private = {r for t, n, r in ran.mocks.created if t.endswith(":Subnet") and "private" in n}
    assert len(private) == 3 and set(subnets) == private


@of(*TOPOLOGIES)
def test_what_holds_data_keeps_the_rules(ran: RanOnAws):
    assert violations(ran.registered) == []


@of(*TOPOLOGIES)
def test_a_last_snapshot_is_made_and_the_key_is_the_stacks_own(ran: RanOnAws):
    key = ran.aws.kms.describe_key(KeyId="alias/ml-data")["KeyMetadata"]["Arn"]
    if is_multi(ran):
        inputs = ran.of(MEMORYDB).inputs
        assert (inputs["kmsKeyArn"], inputs["finalSnapshotName"]) == (key, "ml-redis-final")
    else:
        inputs = ran.of(GROUP).inputs
        assert (inputs["kmsKeyId"], inputs["finalSnapshotIdentifier"]) == (key, "ml-redis-final")


@of(*TOPOLOGIES)
def test_nothing_is_made_before_the_guard(ran: RanOnAws):
    graph = Graph(ran.registered)
    own = [n for n, r in graph.resources.items() if "mlplatform:redis" in r.urn_of_parent]
    assert len(own) > 8
    for name in own:
        assert GUARD in graph.needs(name), name


@of(*TOPOLOGIES)
def test_outputs_are_those_of_a_redis_in_the_cluster(ran: RanOnAws):
    values, secret = ran.returned
    assert secret
    assert {
        "redisWriteEndpoint",
        "redisReadEndpoint",
        "redisWriteUri",
        "redisReadUri",
        "redisMetricsEndpoint",
        "redisCaCertificate",
    } <= set(values)
    login = "ml-redis-app" if is_multi(ran) else "app"
    endpoint = values["redisWriteEndpoint"]
    assert endpoint.endswith(":6379")
    assert values["redisWriteUri"] == f"rediss://{login}:made-app_password@{endpoint}/0"
    assert REGION in values["redisMetricsEndpoint"]


# --- ElastiCache ---------------------------------------------------------------------------------


@of("standalone")
def test_one_node_has_nothing_to_fail_over_to(ran: RanOnAws):
    group = group_of(ran)
    assert group["AutomaticFailover"] == group["MultiAZ"] == "disabled"
    assert group["MemberClusters"] == ["ml-redis-001"]
    values, _ = ran.returned
    assert values["redisReadEndpoint"] == values["redisWriteEndpoint"]


@of("replicated")
def test_a_master_with_replicas_fails_over_to_another_zone(ran: RanOnAws):
    group = group_of(ran)
    assert group["AutomaticFailover"] == group["MultiAZ"] == "enabled"
    assert group["MemberClusters"] == ["ml-redis-001", "ml-redis-002", "ml-redis-003"]
    assert group["ClusterEnabled"] is False
    assert group["SnapshotRetentionLimit"] == 7 and group["SnapshotWindow"] == "03:00-04:00"
    values, _ = ran.returned
    assert values["redisWriteEndpoint"].startswith("master.")
    assert values["redisReadEndpoint"].startswith("replica.")


@of("sharded")
def test_shards(ran: RanOnAws):
    group = group_of(ran)
    assert group["ClusterEnabled"] is True and len(group["NodeGroups"]) == 3
    assert len(group["MemberClusters"]) == 6
    assert group["AutomaticFailover"] == group["MultiAZ"] == "enabled"
    assert {"name": "cluster-enabled", "value": "yes"} in ran.of(PARAMETERS).inputs["parameters"]
    values, _ = ran.returned
    assert values["redisReadEndpoint"] == values["redisWriteEndpoint"]
    assert values["redisReadEndpoint"].startswith("clustercfg.")


@of("replicated")
def test_the_store_comes_after_users_parameters_and_subnets(ran: RanOnAws):
    needed = Graph(ran.registered).needs(f"{GROUP}::redis")
    for part in ("userGroup:UserGroup", "parameterGroup:ParameterGroup", "subnetGroup:SubnetGroup"):
        assert any(f"elasticache/{part}" in name for name in needed), part
    assert f"{USER}::redis-app" in needed


@of("replicated")
def test_passwords_are_secret_and_in_nothing_else(ran: RanOnAws):
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


# --- alarms --------------------------------------------------------------------------------------


@of("sharded")
def test_every_node_is_watched(ran: RanOnAws):
    alarms = ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]
    assert len(alarms) == 3 * 4
    watched = {
        dimension["Value"]
        for alarm in alarms
        for query in alarm["Metrics"]
        for dimension in query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
    }
    # Names of nodes are made by rule; these are moto's.
    assert watched == set(group_of(ran)["MemberClusters"])
    for alarm in alarms:
        [worst] = [query for query in alarm["Metrics"] if query.get("ReturnData")]
        assert worst["Expression"] == "MAX(METRICS())"


@of("standalone")
def test_alarms_of_one_node_have_no_lag_and_names_without_a_shard(ran: RanOnAws):
    names = {alarm["AlarmName"] for alarm in ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]}
    assert names == {f"ml-redis-{name}" for name in ("memory", "cpu", "evictions")}


@of("active-active")
def test_the_lag_of_regions_is_watched_over_all_pairs_and_shards(ran: RanOnAws):
    alarms = ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]
    [alarm] = [one for one in alarms if one["AlarmName"] == "ml-redis-region-lag"]
    [query] = alarm["Metrics"]
    assert query["Expression"] == 'SELECT MAX(MultiRegionClusterReplicationLag) FROM "AWS/MemoryDB"'
    assert query["ReturnData"] and query["Period"] == 60
    assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (10_000, 5)
    assert len(alarms) == 3 + 1


@of("replicated")
def test_one_region_has_no_lag_of_regions(ran: RanOnAws):
    assert not [r for r in ran.registered if "region-lag" in r.name]


# --- MemoryDB ------------------------------------------------------------------------------------


@of("active-active")
def test_the_first_region_makes_what_joins_all(ran: RanOnAws):
    one, other = ran.of(MULTI_REGION).inputs, ran.of(MEMORYDB).inputs
    assert other["multiRegionClusterName"] == "ldgnf-ml-redis"
    for name in ("engine", "engineVersion", "nodeType", "numShards"):
        assert one[name] == other[name], name
    values, _ = ran.returned
    assert values["redisMultiRegion"] == "ldgnf-ml-redis"
    assert values["redisWriteEndpoint"].startswith("clustercfg.")
