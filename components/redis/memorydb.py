"""Redis on Amazon MemoryDB in several regions, all of which take writes.

Each region is a stack of its own. The first one makes the multi-region cluster and exports its
name; the others join by `redisMultiRegion`.
https://docs.aws.amazon.com/memorydb/latest/devguide/multi-Region.html
"""

from __future__ import annotations

import pulumi
from pulumi_aws.memorydb.acl import Acl
from pulumi_aws.memorydb.cluster import Cluster as MemoryDbCluster
from pulumi_aws.memorydb.multi_region_cluster import MultiRegionCluster
from pulumi_aws.memorydb.subnet_group import SubnetGroup
from pulumi_aws.memorydb.user import User

from components.cluster.base import Cluster
from components.redis import managed, names
from components.redis.managed import MultiRegion
from components.redis.service import ServiceArgs, ServiceRedis, query_of_all

NAMESPACE = "AWS/MemoryDB"


class MemoryDb(ServiceRedis):
    """The cluster of this region, its users and alarms, and in the first region what joins all.

    Nodes, shards and version are the same in all regions; replicas, users and keys are each
    region's. Parameters are the service's own for multi-region clusters.
    """

    multi_region: pulumi.Output[str]
    """Name of the multi-region cluster, by which other regions join."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: MultiRegion,
        guard: pulumi.Resource,
        args: ServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster, topology, guard, args, opts)
        self._name = name
        self.multi_region = self._joined(topology)
        subnets = SubnetGroup(
            name,
            name=self.identifier,
            description="Redis: private subnets",
            subnet_ids=list(args.subnets.private),
            opts=self.child,
        )
        made = MemoryDbCluster(
            name,
            name=self.identifier,
            description=f"Redis of {args.site.name}",
            multi_region_cluster_name=self.multi_region,
            engine=topology.engine,
            engine_version=topology.in_use,
            node_type=topology.node,
            num_shards=topology.shards,
            num_replicas_per_shard=topology.replicas,
            port=names.REDIS_PORT,
            subnet_group_name=subnets.name,
            security_group_ids=[self.security_group.id],
            acl_name=self._acl().name,
            tls_enabled=True,
            kms_key_arn=args.key.arn,
            snapshot_retention_limit=topology.retention,
            snapshot_window=topology.snapshot_window if topology.retention else None,
            snapshot_name=topology.snapshot or None,
            final_snapshot_name=f"{self.identifier}-final",
            maintenance_window=topology.maintenance_window,
            auto_minor_version_upgrade=True,
            sns_topic_arn=topology.alarm_topic or None,
            opts=self.kept,
        )
        self.ready: pulumi.Resource = made
        self.watch(
            name,
            NAMESPACE,
            lambda node: {"ClusterName": self.identifier, "NodeName": node},
        )
        lag = managed.LAG_OF_REGIONS
        # AWS does not tell the names of its dimensions: it is of pairs of regions, and of shards.
        self.alarm(name, lag.name, lag, query_of_all(lag, NAMESPACE))
        host = made.cluster_endpoints.apply(lambda found: found[0]["address"] if found else None)
        self.serve(host, host)
        self.finish()

    @property
    def outputs(self) -> dict[str, pulumi.Input[str]]:
        """Those of every topology, and how another region joins."""
        return {**super().outputs, "redisMultiRegion": self.multi_region}

    def login(self, user: str) -> str:
        """Users are the account's in this region, and none of another cluster's."""
        return f"{self.identifier}-{user}"

    def _joined(self, topology: MultiRegion) -> pulumi.Output[str]:
        if topology.multi_region:
            return pulumi.Output.from_input(topology.multi_region)
        made = MultiRegionCluster(
            self._name,
            multi_region_cluster_name_suffix=self.identifier,
            description=f"Redis of {self.args.site.name}",
            engine=topology.engine,
            engine_version=topology.in_use,
            node_type=topology.node,
            num_shards=topology.shards,
            tls_enabled=True,
            # Shards change in all regions together.
            update_strategy="coordinated",
            opts=self.kept,
        )
        found: pulumi.Output[str] = made.multi_region_cluster_name
        return found

    def _acl(self) -> Acl:
        """Users of this region; MemoryDB has no default user to turn off."""
        users = [
            User(
                f"{self._name}-{user}",
                user_name=self.login(user),
                access_string=rule,
                authentication_mode={"type": "password", "passwords": [self.user_password(user)]},
                opts=self.child,
            )
            for user, rule in managed.USERS.items()
        ]
        return Acl(
            self._name,
            name=self.identifier,
            user_names=[user.user_name for user in users],
            opts=self.child,
        )
