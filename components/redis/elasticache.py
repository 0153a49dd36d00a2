"""Redis on Amazon ElastiCache: one node, a master with replicas, or shards."""

from __future__ import annotations

import pulumi
from pulumi_aws.elasticache.parameter_group import ParameterGroup
from pulumi_aws.elasticache.replication_group import ReplicationGroup
from pulumi_aws.elasticache.subnet_group import SubnetGroup
from pulumi_aws.elasticache.user import User
from pulumi_aws.elasticache.user_group import UserGroup

from components.cluster.base import Cluster
from components.redis import managed, names
from components.redis.managed import Managed, ManagedSharded
from components.redis.service import ServiceArgs, ServiceRedis

NAMESPACE = "AWS/ElastiCache"
_DEFAULT_USER = "default"
"""User of connections that name none."""


class ElastiCache(ServiceRedis):
    """A replication group, its users, parameters and alarms.

    With replicas the master and they are in different zones, and a failure of the master promotes a
    replica. Shards are added and taken away while clients work: the provider waits for slots to
    move. Deleting it makes a last snapshot.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: Managed,
        guard: pulumi.Resource,
        args: ServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster, topology, guard, args, opts)
        self._name = name
        copies = topology.replicas_of_a_master > 0
        sharded = isinstance(topology, ManagedSharded)
        subnets = SubnetGroup(
            name,
            name=self.identifier,
            description="Redis: private subnets",
            subnet_ids=list(args.subnets.private),
            opts=self.child,
        )
        parameters = self._parameters()
        users = self._users()
        size = (
            {
                "num_node_groups": topology.shard_count,
                "replicas_per_node_group": topology.replicas_of_a_master,
            }
            if sharded
            else {"num_cache_clusters": topology.node_count}
        )
        group = ReplicationGroup(
            name,
            replication_group_id=self.identifier,
            description=f"Redis of {args.site.name}",
            engine=topology.engine,
            engine_version=topology.in_use,
            node_type=topology.node,
            port=names.REDIS_PORT,
            cluster_mode="enabled" if sharded else "disabled",
            **size,
            # Of shards the service asks for it, also where they have no replicas.
            automatic_failover_enabled=copies or sharded,
            multi_az_enabled=copies,
            subnet_group_name=subnets.name,
            security_group_ids=[self.security_group.id],
            parameter_group_name=parameters.name,
            at_rest_encryption_enabled=True,
            kms_key_id=args.key.arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            user_group_ids=[users.user_group_id],
            snapshot_retention_limit=topology.retention,
            snapshot_window=topology.snapshot_window if topology.retention else None,
            snapshot_name=topology.snapshot or None,
            final_snapshot_identifier=f"{self.identifier}-final" if topology.retention else None,
            maintenance_window=topology.maintenance_window,
            auto_minor_version_upgrade=True,
            notification_topic_arn=topology.alarm_topic or None,
            apply_immediately=True,
            opts=self.kept,
        )
        self.ready: pulumi.Resource = group
        self.watch(name, NAMESPACE, lambda node: {"CacheClusterId": node})
        if sharded:
            write = read = group.configuration_endpoint_address
        else:
            write = group.primary_endpoint_address
            read = group.reader_endpoint_address if copies else write
        self.serve(write, read)
        self.finish()

    def _parameters(self) -> ParameterGroup:
        topology = self.topology
        return ParameterGroup(
            f"{self._name}-{topology.family}",
            # Another family is another group: one that is in use can't be deleted.
            name=f"{self.identifier}-{topology.family.replace('.', '-')}",
            family=topology.family,
            description=f"Redis of {self.args.site.name}",
            parameters=[
                {"name": key, "value": value} for key, value in sorted(topology.parameters.items())
            ],
            opts=self.child,
        )

    def _users(self) -> UserGroup:
        """Who may sign in."""
        made = {
            user: self._user(user, rule, [self.user_password(user)])
            for user, rule in managed.USERS.items()
        }
        if self.topology.engine == "redis":
            # A group of Redis must have it; nobody knows its password, and it may do nothing.
            nobody = self.user_password("health")
            made[_DEFAULT_USER] = self._user(_DEFAULT_USER, "off -@all", [nobody])
        return UserGroup(
            self._name,
            user_group_id=self.identifier,
            engine=self.topology.engine,
            user_ids=[user.user_id for user in made.values()],
            opts=self.child,
        )

    def _user(self, user: str, rule: str, passwords: list[pulumi.Output[str]]) -> User:
        return User(
            f"{self._name}-{user}",
            user_id=f"{self.identifier}-{user}",
            user_name=user,
            engine=self.topology.engine,
            access_string=rule,
            authentication_mode={"type": "password", "passwords": passwords},
            opts=self.child,
        )
