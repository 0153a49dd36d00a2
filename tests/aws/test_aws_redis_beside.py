"""The cluster and Redis beside it, in one program: rules that hold for all, and the order."""

from collections.abc import Iterator

import pytest

from components.cluster.eks import Eks
from components.redis import topology as model
from components.redis.component import guard
from components.redis.create_service import beside
from components.redis.managed import KINDS
from tests.aws.aws_stack import program
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.store_rules import violations
from tests.support.graph import Graph

GROUP = "aws:elasticache/replicationGroup:ReplicationGroup"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


def whole() -> None:
    cluster = program()
    assert isinstance(cluster, Eks)
    topology = model.parse({"redisProvider": "aws", "redisTopology": "replicated"}, KINDS)
    assert topology is not None
    checked = guard("redis", cluster, topology, allow_data_loss=False)
    beside("redis", cluster, topology, checked)


@pytest.fixture(scope="module")
def ran() -> Iterator[RanOnAws]:
    with in_moto():
        yield run_on_aws(whole)


def test_rules_of_what_holds_data(ran: RanOnAws):
    assert violations(ran.registered) == []


def test_redis_lets_in_the_clusters_own_group_and_is_in_its_private_subnets(ran: RanOnAws):
    made = {(t, name): id_ for t, name, id_ in ran.mocks.created}
    rule = ran.of(RULE, "redis-nodes").inputs
    groups = ran.aws.ec2.describe_security_groups()["SecurityGroups"]
    [cluster] = [g for g in groups if g["GroupName"].startswith("eks-cluster-sg-")]
    assert rule["referencedSecurityGroupId"] == cluster["GroupId"]
    subnets = ran.of("aws:elasticache/subnetGroup:SubnetGroup").inputs["subnetIds"]
    private = {
        id_ for (t, name), id_ in made.items() if t.endswith(":Subnet") and "-private-" in name
    }
    assert set(subnets) == private


def test_redis_is_gone_before_the_cluster_whose_group_it_lets_in(ran: RanOnAws):
    """What depends on something is deleted before it."""
    graph = Graph(ran.registered)
    assert "aws:eks/cluster:Cluster::cluster" in graph.needs(f"{RULE}::redis-nodes")
    assert "aws:kms/key:Key::ml-platform-data" in graph.needs(f"{GROUP}::redis")


def test_a_cluster_that_is_not_eks_has_no_redis_at_aws():
    topology = model.parse({"redisProvider": "aws", "redisTopology": "standalone"}, KINDS)
    assert topology is not None
    with pytest.raises(TypeError, match="Redis at AWS needs EKS; this is str"):
        beside("redis", "no cluster", topology, None)  # type: ignore[arg-type]
