"""The component of a topology at a service of AWS."""

from __future__ import annotations

import pulumi

from components.cluster.base import Cluster
from components.cluster.eks import Eks
from components.redis.elasticache import ElastiCache
from components.redis.managed import Managed, MultiRegion
from components.redis.memorydb import MemoryDb
from components.redis.service import ServiceArgs, ServiceRedis
from components.redis.topology import RedisTopology


def beside(
    name: str, cluster: Cluster, topology: RedisTopology, guard: pulumi.Resource
) -> ServiceRedis:
    """Redis in the network of an EKS cluster, for its nodes and pods.

    Raises:
        TypeError: the cluster is another one, or the topology is not of the service.
    """
    if not isinstance(cluster, Eks) or not isinstance(topology, Managed):
        raise TypeError(f"Redis at AWS needs EKS; this is {type(cluster).__name__}")
    made = cluster.args
    args = ServiceArgs(made.site, made.subnets, cluster.security_group, made.data_key)
    return create_service(name, cluster, topology, guard, args)


def create_service(
    name: str, cluster: Cluster, topology: Managed, guard: pulumi.Resource, args: ServiceArgs
) -> ServiceRedis:
    """Redis as `topology` asks; nothing of it before `guard`."""
    if isinstance(topology, MultiRegion):
        return MemoryDb(name, cluster, topology, guard, args)
    return ElastiCache(name, cluster, topology, guard, args)
