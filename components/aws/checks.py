"""What settings mean for the checks before anything is made: needs, permissions and cost. Pure."""

from __future__ import annotations

from components.aws import cost, firewall, preflight
from components.aws.network import ENDPOINTS
from components.aws.permissions import ANY_ACCOUNT, Place, permissions
from components.aws.shape import Aws, Eks
from components.redis.managed import Managed
from components.redis.managed import watched as metrics_watched

CLUSTER_TAG = "eks:cluster-name"
"""What EKS puts on instances of its node groups."""
_KEYS = 2
"""Of Secrets, and of what holds data."""


def place(aws: Aws, eks: Eks, account: str, redis: Managed | None) -> Place:
    """Where the stack is, and its parts as `permissions` names them."""
    parts: set[str] = set()
    if redis is not None:
        parts.add(redis.service)
    if aws.efs:
        parts.add("efs")
    if aws.artifact_profiles:
        parts.add("artifacts")
    if aws.database_type:
        parts.add("database")
    if aws.domain:
        parts.add("entry")
    if aws.sign_in == "cognito":
        parts.add("cognito")
    if aws.api_hosts:
        parts.add("api")
    if aws.front:
        parts.add("edge")
    if aws.budget:
        parts.add("budget")
    return Place(aws.region, account, eks.name, aws.partition, frozenset(parts))


def needs(aws: Aws, eks: Eks, redis: Managed | None, own_tags: dict[str, str]) -> preflight.Needs:
    """What the stack takes from the account; `own_tags` mark what it made before."""
    own = not aws.vpc
    groups = tuple(
        preflight.NodeGroup(
            group.name,
            group.instance_types,
            nodes=group.least,
            most=group.most,
            spot=group.capacity_type == "SPOT",
        )
        for group in eks.groups
    )
    return preflight.Needs(
        region=aws.region,
        account=aws.account,
        zones=aws.zones if own else 2,
        node_groups=groups,
        vpcs=1 if own else 0,
        addresses=_gateways(aws),
        permissions=permissions(place(aws, eks, aws.account or ANY_ACCOUNT, redis)),
        own_tags={CLUSTER_TAG: eks.name, **own_tags},
    )


def stack(aws: Aws, eks: Eks, redis: Managed | None) -> cost.Stack:
    """What the stack has to pay for, with the nodes that are there at all times."""
    nodes = tuple(
        cost.Nodes(group.instance_types[0], group.least, group.disk, group.capacity_type == "SPOT")
        for group in eks.groups
        if group.least
    )
    zones = 0 if aws.vpc else aws.zones
    bought = None
    watched = 0
    if redis is not None:
        # Snapshots as large as half of the memory, one for each day, but for the first.
        gib = redis.shard_count * redis.node_memory / 1024 / 2 * max(redis.retention - 1, 0)
        bought = cost.Redis(redis.service, redis.engine, redis.node, redis.node_count, round(gib))
        watched = metrics_watched(redis)
    database = None
    if aws.database_type:
        database = cost.Database(aws.database_type, aws.database_storage, aws.database_standby)
    return cost.Stack(
        aws.region,
        database=database,
        nodes=nodes,
        nat_gateways=_gateways(aws),
        interface_endpoints=len(ENDPOINTS) * zones,
        public_addresses=_gateways(aws) + (aws.zones if aws.entry == "internet" else 0),
        load_balancers=0 if aws.front else 1,
        edge_rules=len(firewall.rules(aws.edge_rate, aws.limited)) if aws.front else 0,
        redis=bought,
        keys=_KEYS,
        shared_files=aws.efs,
        alarms=watched,
        user_pool=aws.sign_in == "cognito",
        apis=len(aws.api_hosts),
        by_use=("artefacts in S3, for their size and requests",) if aws.artifact_profiles else (),
    )


def _gateways(aws: Aws) -> int:
    if aws.vpc:
        return 0
    return 1 if aws.nat == "single" else aws.zones
