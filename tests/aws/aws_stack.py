"""The stack as tests run it, and what they ask of the AWS that it made."""

from __future__ import annotations

from typing import Any

from components.aws.create import eks
from components.aws.shape import parse
from components.cluster.eks import Eks
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.aws.moto_mocks import REGION

CLUSTER, ADDON = "aws:eks/cluster:Cluster", "aws:eks/addon:Addon"
GROUP = "aws:eks/nodeGroup:NodeGroup"
SUBNET, RELEASE = "aws:ec2/subnet:Subnet", "kubernetes:helm.sh/v3:Release"
EVERYBODY = "0.0.0.0/0"


def program(**settings: Any) -> Eks:
    values = {"awsRegion": REGION, **settings}
    aws = {name: value for name, value in values.items() if name.startswith("aws")}
    rest = {name: value for name, value in values.items() if name.startswith("eks")}
    return eks("cluster", *parse(aws, rest, "v1.10.2"))


def run_stack(**settings: Any) -> RanOnAws:
    return run_on_aws(lambda: program(**settings))


def subnets_of(ran: RanOnAws, kind: str) -> set[str]:
    return {id_ for t, name, id_ in ran.mocks.created if t == SUBNET and f"-{kind}-" in name}


def way_out(ran: RanOnAws, subnet: str) -> dict[str, Any]:
    [table] = ran.aws.ec2.describe_route_tables(
        Filters=[{"Name": "association.subnet-id", "Values": [subnet]}]
    )["RouteTables"]
    [route] = [r for r in table["Routes"] if r.get("DestinationCidrBlock") == EVERYBODY]
    return route
