"""The component of a topology."""

from __future__ import annotations

import pulumi

from components.cluster.base import Cluster
from components.redis import backup, monitoring
from components.redis import topology as model
from components.redis.active_active import ActiveActive
from components.redis.component import Redis
from components.redis.replicated import Replicated
from components.redis.sharded import Sharded
from components.redis.standalone import Standalone


def create(
    name: str, cluster: Cluster, topology: model.RedisTopology, guard: pulumi.Resource
) -> Redis:
    """Redis as `topology` asks, watched and backed up; nothing of it before `guard`.

    Raises:
        NotImplementedError: no component is known for the topology.
    """
    redis = _component(name, cluster, topology, guard)
    if redis.members:
        redis.add_all(monitoring.objects(topology, sum(map(len, redis.members))))
        backup.protect(redis)
    return redis


def _component(
    name: str, cluster: Cluster, topology: model.RedisTopology, guard: pulumi.Resource
) -> Redis:
    if isinstance(topology, model.Standalone):
        return Standalone(name, cluster, topology, guard)
    if isinstance(topology, model.Replicated):
        return Replicated(name, cluster, topology, guard)
    if isinstance(topology, model.Sharded):
        return Sharded(name, cluster, topology, guard)
    if isinstance(topology, model.ActiveActive):
        return ActiveActive(name, cluster, topology, guard)
    raise NotImplementedError(f"redisTopology {topology.topology!r} has no component")
