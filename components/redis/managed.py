"""Redis as a service of AWS: which of its kinds a topology is there, and how large. Pure.

The same typed topologies as in a cluster, and what only the service has. A setting that has no
meaning there is an error that says why; the persistence of `redisPersistence: aof`, the default,
is told by `notes`.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/WhatIs.html,
https://docs.aws.amazon.com/memorydb/latest/devguide/multi-Region.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from components.redis.topology import (
    AWS,
    RedisTopology,
    Replicated,
    Sharded,
    Standalone,
    alias,
)

Engine = Literal["valkey", "redis"]
ELASTICACHE, MEMORYDB = "elasticache", "memorydb"
USERS: Final[Mapping[str, str]] = {
    "app": "on ~* &* +@all -@admin -@dangerous +info +role +sort +cluster|slots +cluster|shards",
    "reader": "on ~* &* +@read +@connection +@transaction +subscribe +psubscribe +unsubscribe "
    "+punsubscribe -@admin -@dangerous +info +cluster|slots +cluster|shards",
    "admin": "on ~* &* +@all",
}
"""Access strings of the users, of whom nobody else is let in:
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html#Access-string"""

VERSIONS: Final[Mapping[str, Sequence[str]]] = {
    "valkey": ("7.2", "8.0", "8.1", "8.2"),
    "redis": ("6.2", "7.0", "7.1"),
}
"""Versions of ElastiCache by engine, oldest first."""
_DEFAULT_VERSION: Final = {"valkey": "8.1", "redis": "7.1"}
MULTI_REGION_VERSION: Final = "7.3"
"""Of Valkey, the only one of MemoryDB Multi-Region."""


@dataclass(frozen=True)
class NodeType:
    """A type of node without its service's prefix: memory in MiB, and vCPUs."""

    name: str
    memory: int
    cpus: int


NODE_TYPES: Final = (
    NodeType("t4g.micro", 512, 2),
    NodeType("t4g.small", 1402, 2),
    NodeType("t4g.medium", 3164, 2),
    NodeType("m7g.large", 6533, 2),
    NodeType("r7g.large", 13383, 2),
    NodeType("r7g.xlarge", 26951, 4),
    NodeType("r7g.2xlarge", 54087, 8),
    NodeType("r7g.4xlarge", 108349, 16),
    NodeType("r7g.8xlarge", 214579, 32),
    NodeType("r7g.12xlarge", 325396, 48),
    NodeType("r7g.16xlarge", 429148, 64),
)
"""What `redisMemory` and `redisCpus` choose from, smallest first:
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheNodes.SupportedTypes.html"""

_NO_VOLUME = "its nodes have no volumes"
_CLOUDWATCH = "its metrics are in CloudWatch, which no pod reads"
_SNAPSHOTS = (
    "the service makes snapshots itself: set redisSnapshotDays, redisSnapshotWindow, redisSnapshot"
)
_SERVICE = "the service fails over by itself"
NO_MEANING: Final[Mapping[str, str]] = {
    "version": "set redisEngine and redisEngineVersion",
    "maxmemory": "the type of node sets it: redisMemory or redisNodeType",
    "storage": _NO_VOLUME,
    "storage_class": _NO_VOLUME,
    "clients": "who may connect are the cluster's nodes and pods, which it can't tell apart",
    "monitors": _CLOUDWATCH,
    "prometheus_operator": _CLOUDWATCH,
    "backup_url": _SNAPSHOTS,
    "backup_endpoint": _SNAPSHOTS,
    "backup_schedule": _SNAPSHOTS,
    "backup_access_key": _SNAPSHOTS,
    "backup_secret_key": _SNAPSHOTS,
    "restore_backup": _SNAPSHOTS,
    "restore_overwrite": _SNAPSHOTS,
    "proxies": "there is no proxy; clients of shards must know Redis Cluster",
    "read_lag": "the read endpoint is the service's",
    "sentinels": _SERVICE,
    "quorum": _SERVICE,
    "down_after": _SERVICE,
    "node_timeout": _SERVICE,
    "nodes": "set redisShards and redisReplicas",
    "place": "every region is a stack of its own: set redisMultiRegion",
    "peers": "every region is a stack of its own: set redisMultiRegion",
    "cluster_password": "regions need no password of each other",
    "licence": "MemoryDB needs none",
}
"""Fields that mean nothing at the service, and why."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_WINDOW = re.compile(rf"({_TIME})-({_TIME})")
_WEEK_WINDOW = re.compile(rf"({'|'.join(_DAYS)}):({_TIME})-({'|'.join(_DAYS)}):({_TIME})")
_LONGEST: Final = 32
_DAY, _WEEK = 24 * 60, 7 * 24 * 60
"""Minutes."""
_NODE_TYPE = r"^((cache|db)\.)?[a-z0-9]+\.[a-z0-9]+$|^$"
_TOPIC = r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:\S+)?$"


class Managed(RedisTopology):
    """What every topology has at the service."""

    provider: Literal["aws"] = "aws"
    engine: Engine = "valkey"
    engine_version: str = ""
    """"" for the newest of `VERSIONS` that is a while old."""
    node_type: Annotated[str, Field(pattern=_NODE_TYPE)] = ""
    """A type of node, with or without `cache.` or `db.`; "" chooses by `memory` and `cpus`."""
    snapshot_days: Annotated[int, Field(ge=0, le=35)] = 7
    """How long daily snapshots are kept; none with the persistence `none`."""
    snapshot_window: str = "03:00-04:00"
    """When the daily snapshot is made, in UTC."""
    maintenance_window: str = "sun:05:00-sun:06:00"
    """When the service may patch nodes, in UTC."""
    snapshot: str = ""
    """Name of a snapshot to start from; a change of it makes Redis anew."""
    alarm_topic: Annotated[str, Field(pattern=_TOPIC)] = ""
    """ARN of the SNS topic that alarms go to; "" for alarms that are only seen."""

    @property
    def service(self) -> Literal["elasticache", "memorydb"]:
        """Which service it is."""
        return "elasticache"

    @property
    def node(self) -> str:
        """The type of node, with its service's prefix."""
        prefix = "db." if self.service == MEMORYDB else "cache."
        if self.node_type:
            return prefix + self.node_type.removeprefix("cache.").removeprefix("db.")
        return prefix + _smallest(self.memory, self.cpus, self._candidates()).name

    @property
    def node_memory(self) -> int:
        """Memory of a node in MiB; `memory` of a type that is not in `NODE_TYPES`."""
        name = self.node.removeprefix("cache.").removeprefix("db.")
        return next((kind.memory for kind in NODE_TYPES if kind.name == name), self.memory)

    @property
    def shard_count(self) -> int:
        """Shards; 1 where nothing is sharded."""
        return 1

    @property
    def node_count(self) -> int:
        """All nodes, of all shards."""
        return self.shard_count * (1 + self.replicas_of_a_master)

    @property
    def in_use(self) -> str:
        """`engine_version`, or the default one."""
        return self.engine_version or _DEFAULT_VERSION[self.engine]

    @property
    def family(self) -> str:
        """Family of its parameter group: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.html."""
        if (self.engine, self.in_use) == ("redis", "6.2"):
            return "redis6.x"
        return f"{self.engine}{self.in_use.split('.')[0]}"

    @property
    def retention(self) -> int:
        """Days for which snapshots are kept."""
        return 0 if self.persistence == "none" else self.snapshot_days

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters that differ from the service's defaults, by name."""
        return {"maxmemory-policy": self.eviction_policy}

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the settings the service does in another way."""
        if self.persistence != "aof":
            return ()
        return (
            "redisPersistence is 'aof': ElastiCache has no log of writes; a shard that loses all "
            "its nodes goes back to its last daily snapshot",
        )

    def shape(self) -> dict[str, Any]:
        """What is remembered to see what a change would lose."""
        return {
            "topology": self.topology,
            "provider": AWS,
            "namespace": self.namespace,
            "engine": self.engine,
            "engine_version": self.in_use,
            "snapshot": self.snapshot,
        }

    def members(self, identifier: str) -> list[list[str]]:
        """Names of the nodes of each shard: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Shards.html."""
        ordinals = range(1, 2 + self.replicas_of_a_master)
        if isinstance(self, Sharded | MultiRegion):
            return [
                [f"{identifier}-{shard:04}-{ordinal:03}" for ordinal in ordinals]
                for shard in range(1, self.shard_count + 1)
            ]
        return [[f"{identifier}-{ordinal:03}" for ordinal in ordinals]]

    def _candidates(self) -> Sequence[NodeType]:
        return NODE_TYPES

    # --- checks ------------------------------------------------------------------------------

    @model_validator(mode="before")
    @classmethod
    def _has_meaning(cls, values: Any) -> Any:  # noqa: ANN401
        """Of what is given, everything must mean something here."""
        if not isinstance(values, Mapping):
            return values
        lines = [
            f"{alias(name)} is set, but redisProvider is 'aws', where it means nothing: {why}"
            for name, why in NO_MEANING.items()
            if alias(name) in values
            and (name not in cls.model_fields or _is_set(cls, name, values))
        ]
        if lines:
            raise ValueError("\n".join(lines))
        return values

    @field_validator("snapshot_window")
    @classmethod
    def _is_window(cls, value: str) -> str:
        if not (found := _WINDOW.fullmatch(value)) or _length(_daily(found), _DAY) < 60:
            raise ValueError("give an hour or more in UTC, like 03:00-04:00")
        return value

    @field_validator("maintenance_window")
    @classmethod
    def _is_weekly(cls, value: str) -> str:
        if not (found := _WEEK_WINDOW.fullmatch(value)) or _length(_weekly(found), _WEEK) < 60:
            raise ValueError("give an hour or more of a week in UTC, like sun:05:00-sun:06:00")
        return value

    @model_validator(mode="after")
    def _is_offered(self) -> Self:
        known = self._versions()
        if self.in_use not in known:
            raise ValueError(
                f"redisEngineVersion is {self.engine_version!r}: of {self.engine} there are "
                f"{', '.join(known)}"
            )
        if self.replicas_of_a_master > 5:
            raise ValueError(
                f"redisReplicas is {self.replicas_of_a_master}: the service has at most 5 of a "
                "master"
            )
        if not self.node_type:
            _smallest(self.memory, self.cpus, self._candidates())
        if self.retention and _overlap(self.snapshot_window, self.maintenance_window):
            raise ValueError(
                f"redisSnapshotWindow is {self.snapshot_window!r} and redisMaintenanceWindow "
                f"{self.maintenance_window!r}: the service wants them apart"
            )
        return self

    @model_validator(mode="after")
    def _takes_effect(self) -> Self:
        """What another setting leaves without effect is told, not dropped."""
        given = self.model_fields_set
        lines = [
            f"{alias(name)} is set, but redisNodeType names the node; remove one of them"
            for name in ("memory", "cpus")
            if self.node_type and name in given
        ]
        lines += [
            f"{alias(name)} is set, but redisPersistence is 'none': there are no snapshots"
            for name in ("snapshot_days", "snapshot_window")
            if self.persistence == "none" and name in given
        ]
        if "max_lag" in given and getattr(self, "min_replicas_to_write", 0) < 1:
            lines.append("redisMaxLag is set, but redisMinReplicasToWrite is not 1 or more")
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def _versions(self) -> Sequence[str]:
        return VERSIONS[self.engine]


class ManagedStandalone(Managed, Standalone):
    """One node of ElastiCache, cluster mode off."""

    topology: Literal["standalone"] = "standalone"


class _ManagedCopies(Managed):
    """Masters with replicas."""

    @property
    def parameters(self) -> dict[str, str]:
        """A master with too few replicas refuses writes only if that is asked for.

        Not by default: the service takes minutes to replace a node, and its master would refuse
        writes for as long.
        """
        found = super().parameters
        minimum = getattr(self, "min_replicas_to_write", -1)
        if minimum > 0:
            lag = getattr(self, "max_lag", 0)
            found |= {"min-replicas-to-write": str(minimum), "min-replicas-max-lag": str(lag)}
        return found

    def _check_no_overlap(self, setting: str, milliseconds: int) -> None:
        """The service's own times are not settings."""


class ManagedReplicated(_ManagedCopies, Replicated):
    """A master of ElastiCache and its replicas in other zones, cluster mode off."""

    topology: Literal["replicated"] = "replicated"


class ManagedSharded(_ManagedCopies, Sharded):
    """Shards of ElastiCache, cluster mode on. Their number changes online."""

    topology: Literal["sharded"] = "sharded"

    @property
    def shard_count(self) -> int:
        """`shards`."""
        return self.shards

    @property
    def parameters(self) -> dict[str, str]:
        """As without shards, and the mode itself."""
        return {**super().parameters, "cluster-enabled": "yes"}

    def shape(self) -> dict[str, Any]:
        """As every topology's, and the shards."""
        return {**super().shape(), "shards": self.shards}


class MultiRegion(Managed):
    """MemoryDB in several regions, all of which take writes; each region is a stack of its own.

    Writes are in a log of several zones before they are acknowledged. Of writes to the same key in
    two regions the last one stays:
    https://docs.aws.amazon.com/memorydb/latest/devguide/multi-Region.consistency.html
    """

    topology: Literal["active-active"] = "active-active"
    memory: Annotated[int, Field(ge=128, le=1_048_576)] = 16384
    shards: Annotated[int, Field(ge=1, le=500)] = 1
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Copies of each master in other zones of this region."""
    multi_region: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    """Name of the multi-region cluster to join; "" makes one."""

    @property
    def service(self) -> Literal["elasticache", "memorydb"]:
        """MemoryDB."""
        return "memorydb"

    @property
    def replicas_of_a_master(self) -> int:
        """`replicas`."""
        return self.replicas

    @property
    def shard_count(self) -> int:
        """`shards`."""
        return self.shards

    @property
    def in_use(self) -> str:
        """The one version that there is, unless one is named."""
        return self.engine_version or MULTI_REGION_VERSION

    @property
    def notes(self) -> tuple[str, ...]:
        """Writes are durable whatever the persistence."""
        return ()

    def shape(self) -> dict[str, Any]:
        """As every topology's, the shards, and the cluster that it is a part of."""
        return {**super().shape(), "shards": self.shards, "multi_region": self.multi_region}

    def _candidates(self) -> Sequence[NodeType]:
        return [kind for kind in NODE_TYPES if kind.name.startswith("r7g.") and kind.cpus >= 4]

    def _versions(self) -> Sequence[str]:
        return (MULTI_REGION_VERSION,)

    @model_validator(mode="after")
    def _can_be_everywhere(self) -> Self:
        if self.engine != "valkey":
            raise ValueError("redisEngine is 'redis', and MemoryDB Multi-Region has only 'valkey'")
        if self.eviction_policy != "noeviction":
            raise ValueError(
                f"redisEvictionPolicy is {self.eviction_policy!r}: MemoryDB Multi-Region has "
                "its own parameters, which evict nothing; remove it"
            )
        if self.persistence == "none":
            raise ValueError(
                "redisPersistence is 'none', and MemoryDB always keeps a log of writes; remove it"
            )
        small = self.node.removeprefix("db.")
        if not re.fullmatch(r"r[7-9]g\.\d*xlarge", small):
            raise ValueError(
                f"redisNodeType is {self.node_type!r}: MemoryDB Multi-Region needs "
                "db.r7g.xlarge or larger"
            )
        return self


KINDS: Final[Mapping[str, type[Managed]]] = {
    get_args(kind.model_fields["topology"].annotation)[0]: kind
    for kind in (ManagedStandalone, ManagedReplicated, ManagedSharded, MultiRegion)
}
"""The models by the value of `redisTopology`."""


@dataclass(frozen=True)
class Alarm:
    """An alarm on the worst of the nodes of a shard.

    It is raised when `metric` (by `statistic` of a minute) is above `threshold` for `minutes`.
    """

    name: str
    metric: str
    statistic: Literal["Maximum", "Sum"]
    threshold: float
    minutes: int
    summary: str


def alarms(topology: Managed) -> Iterator[Alarm]:
    """The alarms of each shard; thresholds as those of Redis in a cluster:
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheMetrics.WhichShouldIMonitor.html.
    """
    full = "then it refuses writes" if topology.eviction_policy == "noeviction" else "keys go"
    yield Alarm(
        "memory",
        "DatabaseMemoryUsagePercentage",
        "Maximum",
        90,
        5,
        f"Redis uses 90 % of its memory; {full}",
    )
    yield Alarm(
        "cpu", "EngineCPUUtilization", "Maximum", 90, 5, "Redis uses 90 % of its one thread"
    )
    yield Alarm("evictions", "Evictions", "Sum", 0, 5, "Redis evicts keys: it is too small")
    if topology.replicas_of_a_master and topology.service == ELASTICACHE:
        yield Alarm("lag", "ReplicationLag", "Maximum", 10, 5, "A replica of Redis lags")


LAG_OF_REGIONS: Final = Alarm(
    "region-lag",
    "MultiRegionClusterReplicationLag",
    "Maximum",
    10_000,  # milliseconds
    5,
    "What another region wrote comes 10 s late, or later",
)
"""Of active-active, for all shards and pairs of regions together:
https://docs.aws.amazon.com/memorydb/latest/devguide/multi-Region.monitoring.html"""


def watched(topology: Managed) -> int:
    """How many metrics alarms look at; each is paid for. Of regions one pair, at least."""
    regions = topology.shard_count if isinstance(topology, MultiRegion) else 0
    return topology.node_count * len(list(alarms(topology))) + regions


def identifier(prefix: str, topology: RedisTopology) -> str:
    """What the service knows it by: at most 32 letters, so that users' names fit as well.

    Raises:
        ValueError: it would be longer.
    """
    name = f"{prefix}-{topology.namespace}"
    if len(name) > _LONGEST or "--" in name:
        raise ValueError(
            f"redisNamespace is {topology.namespace!r}, so its name at AWS would be {name!r}: at "
            f"most {_LONGEST} letters, and no two hyphens in a row"
        )
    return name


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _daily(found: re.Match[str]) -> tuple[int, int]:
    return _minutes(found[1]), _minutes(found[2])


def _weekly(found: re.Match[str]) -> tuple[int, int]:
    first, start, last, end = found.groups()
    return (
        _DAYS.index(first) * _DAY + _minutes(start),
        _DAYS.index(last) * _DAY + _minutes(end),
    )


def _length(window: tuple[int, int], period: int) -> int:
    """Minutes of a window that may go past the period's end."""
    return (window[1] - window[0]) % period


def _overlap(daily: str, weekly: str) -> bool:
    """Whether a window of every day meets one of the week."""
    day, week = _WINDOW.fullmatch(daily), _WEEK_WINDOW.fullmatch(weekly)
    if not day or not week:
        return False
    start, end = _weekly(week)
    length = _length((start, end), _WEEK)
    for number in range(len(_DAYS)):
        first = number * _DAY + _daily(day)[0]
        ahead, behind = (first - start) % _WEEK, (start - first) % _WEEK
        if ahead < length or behind < _length(_daily(day), _DAY):
            return True
    return False


def _is_set(kind: type[Managed], name: str, values: Mapping[str, Any]) -> bool:
    return bool(values[alias(name)] != kind.model_fields[name].default)


def _smallest(memory: int, cpus: float, kinds: Sequence[NodeType]) -> NodeType:
    for kind in kinds:
        if kind.memory >= memory and kind.cpus >= cpus:
            return kind
    raise ValueError(
        f"redisMemory is {memory} MiB and redisCpus {cpus:g}: the largest node is "
        f"{kinds[-1].name} with {kinds[-1].memory} MiB and {kinds[-1].cpus} CPUs; set redisShards, "
        "or redisNodeType"
    )
