"""Redis at AWS as tests run it: in three subnets, beside a cluster that is none."""

from typing import Any

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc

from components.aws.create import data_key
from components.aws.network import Subnets
from components.aws.shape import Aws
from components.aws.site import site
from components.cluster.base import AMD64, Capabilities, Cluster
from components.redis import topology as model
from components.redis.component import guard
from components.redis.create_service import create_service
from components.redis.managed import KINDS, Managed
from components.redis.service import ServiceArgs, ServiceRedis
from tests.aws.moto_mocks import ACCOUNT, REGION

GROUP = "aws:elasticache/replicationGroup:ReplicationGroup"
USER = "aws:elasticache/user:User"
MEMORYDB = "aws:memorydb/cluster:Cluster"
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
