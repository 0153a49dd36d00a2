"""The typed model of a Redis installation: which topology, how large, who may enter. Pure.

Every field is a setting of the stack: `memory` is `redisMemory`. A bad value is an error that
names the setting, before anything is created.

Sizes: memory in MiB, storage in GiB; `down_after` and `node_timeout` in milliseconds, `max_lag` in
seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_pascal

from components.problems import continued, told
from components.redis import images

NONE: Final = "none"
"""The topology of a stack without Redis."""
CLUSTER, AWS = "cluster", "aws"
"""Where Redis runs: in the cluster, or as a service (`components.redis.managed`)."""
Persistence = Literal["none", "rdb", "aof"]
EvictionPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_CLIENT = re.compile(r"(?P<namespace>\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(/(?P<labels>.+))?")
_LABELS = re.compile(rf"({_LABEL}/)?{_LABEL}=({_LABEL})?(,({_LABEL}/)?{_LABEL}=({_LABEL})?)*")
_CRON = re.compile(r"\S+( \S+){4}")
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")

# What a process needs beside its data: code, threads, TLS and client buffers at rest.
_PROCESS_MIB = 32
# What fragmentation of the allocator takes.
_FRAGMENTATION = 0.9
# Pages that are written while a child saves, and so exist twice: a third of the data.
_COPY_ON_WRITE = 2 / 3


class TopologyError(ValueError):
    """A topology that can't be had as the settings ask; one line for each setting."""


class Client(BaseModel):
    """Who may connect: pods of a namespace, or those of them that carry all of the labels."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    """Its name; "*" for every namespace."""
    labels: Mapping[str, str]


class Place(BaseModel):
    """One of the places of an active-active Redis: its name, and the host of its API."""

    model_config = ConfigDict(frozen=True)

    name: str
    api: str

    @property
    def databases(self) -> str:
        """What follows a database's name in its host: `.db-paris.example.com`."""
        return f".db{self.api.removeprefix('api')}"


class Backup(BaseModel):
    """Where backups go.

    `url` is `s3://bucket/prefix`, `endpoint` that of another store than Amazon's ("" for
    Amazon's), `schedule` a cron line in UTC.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    endpoint: str
    schedule: str
    access_key: str
    secret_key: str = Field(repr=False)


def alias(name: str) -> str:
    """The setting of a field: `redisMemory` of `memory`."""
    return f"redis{to_pascal(name)}"


class RedisTopology(BaseModel):
    """What every topology has. `topology` tells which of the subclasses it is."""

    model_config = ConfigDict(
        alias_generator=alias,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )

    topology: str
    namespace: Annotated[str, Field(pattern=_DNS_LABEL)] = "redis"
    version: str = images.DEFAULT_REDIS
    memory: Annotated[int, Field(ge=128, le=1_048_576)] = 1024
    """Limit of each Redis container."""
    cpus: Annotated[float, Field(ge=0.1, le=128)] = 1
    """What a Redis may use, and one more for a child that saves; a quarter is requested."""
    maxmemory: Annotated[int, Field(ge=0)] = 0
    """What data may take of `memory`; 0 derives it, see `maxmemory_mib`."""
    persistence: Persistence = "aof"
    storage: Annotated[int, Field(ge=1, le=65_536)] = 8
    storage_class: str = ""
    """"" for the cluster's default."""
    eviction_policy: EvictionPolicy = "noeviction"
    clients: tuple[str, ...] = ()
    """Who may connect: `namespace`, `namespace/label=value,...`, `*`; see `Client`."""
    monitors: tuple[str, ...] = ("monitoring",)
    """Who may read metrics, in the same form."""
    profiles: tuple[str, ...] = ()
    """Kubeflow profiles, which may connect, and are given what it takes."""
    backup_url: str = ""
    backup_endpoint: str = ""
    backup_schedule: str = "0 3 * * *"
    backup_access_key: str = ""
    backup_secret_key: str = Field(default="", repr=False)
    restore_backup: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    """The backup under `backup_url` to restore: its name, "latest" for the newest, "" for none."""
    restore_overwrite: bool = False
    """Consent to restore into a Redis that holds keys, replacing those of the same name."""
    prometheus_operator: bool = False
    """Rules and scraping as custom resources of the Prometheus Operator."""
    allow_data_loss: bool = False
    """Consent to a change that loses data."""

    @property
    def pod_security(self) -> str:
        """The Pod Security Standard that every pod passes."""
        return "restricted"

    @property
    def replicas_of_a_master(self) -> int:
        """How many copies a master feeds."""
        return 0

    # --- what is derived ---------------------------------------------------------------------

    @property
    def backlog_mib(self) -> int:
        """The replication backlog: a sixteenth of the memory, 1 to 256 MiB; 0 without replicas.

        A replica that comes back within it needs no full copy.
        """
        return min(max(self.memory // 16, 1), 256) if self.replicas_of_a_master else 0

    @property
    def replica_buffer_mib(self) -> int:
        """Output buffer of each replica, at which it is cut off: an eighth of the memory.

        Redis leaves it out of `maxmemory`, so it must fit beside it.
        """
        return max(self.memory // 8, 8) if self.replicas_of_a_master else 0

    @property
    def ceiling_mib(self) -> int:
        """The most that `maxmemory` may be: the limit less process, backlog, one full buffer of a
        replica, and fragmentation. Nothing is left for copies that a saving child makes.
        """
        beside = _PROCESS_MIB + self.backlog_mib + self.replica_buffer_mib
        return int((self.memory - beside) * _FRAGMENTATION)

    @property
    def forks(self) -> bool:
        """Whether Redis forks: to save, to rewrite its log, or to copy itself to a replica."""
        return self.persistence != NONE or self.replicas_of_a_master > 0

    @property
    def maxmemory_mib(self) -> int:
        """`maxmemory`: as set, or two thirds of the ceiling where Redis forks, else all of it."""
        if self.maxmemory:
            return self.maxmemory
        return int(self.ceiling_mib * (_COPY_ON_WRITE if self.forks else 1))

    @property
    def io_threads(self) -> int:
        """I/O threads: 1 below 4 CPUs, then three quarters of them, 8 at most.

        redis.conf advises 2 or 3 of 4 cores and 6 of 8, and no more than 8.
        """
        return 1 if self.cpus < 4 else min(int(self.cpus) * 3 // 4, 8)

    @property
    def image(self) -> str:
        """The image of Redis."""
        return images.REDIS[self.version]

    @property
    def admitted(self) -> tuple[Client, ...]:
        """`clients`, parsed, and the namespaces of `profiles`."""
        return tuple(_client(text) for text in (*self.clients, *self.profiles))

    @property
    def watching(self) -> tuple[Client, ...]:
        """`monitors`, parsed."""
        return tuple(_client(text) for text in self.monitors)

    @property
    def backup(self) -> Backup | None:
        """Where backups go; None for no backups."""
        if not self.backup_url:
            return None
        return Backup(
            url=self.backup_url,
            endpoint=self.backup_endpoint,
            schedule=self.backup_schedule,
            access_key=self.backup_access_key,
            secret_key=self.backup_secret_key,
        )

    def shape(self) -> dict[str, Any]:
        """What is remembered of a deployed topology, to see what a change of it would lose."""
        names = ("topology", "namespace", "version", "persistence", "storage", "storage_class")
        return {name: getattr(self, name) for name in names}

    # --- checks ------------------------------------------------------------------------------

    @field_validator("version")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in images.REDIS:
            raise ValueError(f"there are {', '.join(images.REDIS)}")
        return value

    @field_validator("profiles")
    @classmethod
    def _name_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(_DNS_LABEL, text):
                raise ValueError(f"{text!r} is not the name of a profile, which is a namespace's")
        return value

    @field_validator("clients", "monitors")
    @classmethod
    def _name_pods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _client(text)
        return value

    @field_validator("backup_url")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if value and not _S3.fullmatch(value):
            raise ValueError("give s3://bucket or s3://bucket/prefix")
        return value

    @field_validator("backup_schedule")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if not _CRON.fullmatch(value):
            raise ValueError("give the five fields of cron, like 0 3 * * *")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.maxmemory > self.ceiling_mib:
            raise ValueError(
                f"redisMaxmemory is {self.maxmemory}, and of redisMemory {self.memory} MiB at most "
                f"{self.ceiling_mib} MiB may be data; lower it, raise redisMemory, or set it to 0 "
                "to derive it"
            )
        if self.ceiling_mib < 32:
            raise ValueError(
                f"redisMemory is {self.memory}: beside buffers it leaves {self.ceiling_mib} MiB "
                "for data; give at least 256"
            )
        return self

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        if bool(self.backup_url) != bool(self.backup_access_key and self.backup_secret_key):
            raise ValueError(
                f"redisBackupUrl is {self.backup_url!r}: backups need it together with "
                "redisBackupAccessKey and redisBackupSecretKey"
            )
        if self.restore_backup and not self.backup_url:
            raise ValueError(
                f"redisRestoreBackup is {self.restore_backup!r}: set redisBackupUrl, where it is"
            )
        return self


class Standalone(RedisTopology):
    """One Redis. It scales by `memory` and `cpus`."""

    topology: Literal["standalone"] = "standalone"


class _Copied(RedisTopology):
    """Masters with replicas."""

    replicas: Annotated[int, Field(ge=1, le=16)] = 2
    """Copies of each master."""
    min_replicas_to_write: Annotated[int, Field(ge=-1)] = -1
    """A master with fewer replicas in reach refuses writes; -1 for half of them, see
    `required_replicas`; 0 takes writes alone."""
    max_lag: Annotated[int, Field(ge=2, le=3600)] = 3
    """How old the last sign of a replica in reach may be."""
    read_lag: Annotated[int, Field(ge=1, le=3600)] = 10
    """How long ago a replica that is read may have heard its master. More than a failover takes:
    replicas are read while there is no master."""
    proxies: Annotated[int, Field(ge=1, le=16)] = 2
    """Pods of the entry proxy."""

    @property
    def replicas_of_a_master(self) -> int:
        """`replicas`."""
        return self.replicas

    @property
    def required_replicas(self) -> int:
        """`min_replicas_to_write`, or half of the replicas rounded up: with its master they are a
        majority, of which there can't be two.
        """
        if self.min_replicas_to_write >= 0:
            return self.min_replicas_to_write
        return (self.replicas + 1) // 2

    @model_validator(mode="after")
    def _can_write(self) -> Self:
        if self.min_replicas_to_write > self.replicas:
            raise ValueError(
                f"redisMinReplicasToWrite is {self.min_replicas_to_write}, and there are "
                f"{self.replicas} redisReplicas of a master: it would refuse every write"
            )
        return self

    def _check_no_overlap(self, setting: str, milliseconds: int) -> None:
        """A master that is cut off must refuse writes before another one is made.

        It counts replicas once a second, and they report once a second: two seconds on top.
        """
        if self.required_replicas and (self.max_lag + 2) * 1000 > milliseconds:
            raise ValueError(
                f"redisMaxLag is {self.max_lag} s, and {setting} {milliseconds} ms: a master that "
                "is cut off would take writes beside the new one; keep redisMaxLag at least 2 s "
                f"below {setting}, or set redisMinReplicasToWrite to 0"
            )


class Replicated(_Copied):
    """One master and its replicas; Sentinels agree that the master is dead and promote a replica.

    What is promised of acknowledged writes: a master that dies loses those that had not reached
    a replica, usually milliseconds'; one that is cut off loses those of at most `max_lag` + 2
    seconds, for then it refuses writes. A client that waits (`WAIT`) for one replica loses none.
    """

    topology: Literal["replicated"] = "replicated"
    sentinels: int = 3
    quorum: int = 0
    """How many Sentinels must find the master dead; 0 for a majority."""
    down_after: Annotated[int, Field(ge=1000, le=600_000)] = 5000
    """Silence after which a Sentinel finds the master dead."""

    @field_validator("sentinels")
    @classmethod
    def _have_majority(cls, value: int) -> int:
        if value < 3:
            raise ValueError("with fewer than 3 no majority is left when one is lost; give 3 or 5")
        if value % 2 == 0:
            raise ValueError(
                "an even quorum of voters can split in halves, and survives no more losses than "
                f"{value - 1}; give {value - 1} or {value + 1}"
            )
        if value > 15:
            raise ValueError("give at most 15")
        return value

    @property
    def majority(self) -> int:
        """`quorum`, or a majority of the Sentinels."""
        return self.quorum or self.sentinels // 2 + 1

    @model_validator(mode="after")
    def _agree(self) -> Self:
        needed = self.sentinels // 2 + 1
        if not needed <= self.majority <= self.sentinels:
            raise ValueError(
                f"redisQuorum is {self.quorum}: of {self.sentinels} redisSentinels give {needed} "
                f"to {self.sentinels}, or 0 for a majority"
            )
        self._check_no_overlap("redisDownAfter", self.down_after)
        return self


class Sharded(_Copied):
    """Redis Cluster: masters that share the slots, each with its replicas."""

    topology: Literal["sharded"] = "sharded"
    shards: Annotated[int, Field(le=500)] = 3
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    node_timeout: Annotated[int, Field(ge=1000, le=600_000)] = 5000
    """Silence after which a node counts as failing (`cluster-node-timeout`)."""

    @field_validator("shards")
    @classmethod
    def _have_majority(cls, value: int) -> int:
        if value < 3:
            raise ValueError("give 3 or more: a majority of masters promotes a replica")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        self._check_no_overlap("redisNodeTimeout", self.node_timeout)
        return self

    def shape(self) -> dict[str, Any]:
        """As every topology's, and the shards."""
        return {**super().shape(), "shards": self.shards}


class ActiveActive(RedisTopology):
    """Redis Enterprise in several places, all of which take writes."""

    topology: Literal["active-active"] = "active-active"
    memory: Annotated[int, Field(ge=1024, le=1_048_576)] = 4096
    nodes: Annotated[int, Field(ge=3, le=35)] = 3
    """Pods of the Redis Enterprise cluster in this place."""
    place: str = ""
    """This place: `name=FQDN of its API`, like `london=api-london.example.com`."""
    peers: tuple[str, ...] = ()
    """The other places, in the same form."""
    cluster_password: str = Field(default="", repr=False)
    """By which the places administer each other; the same in all of them."""
    licence: str = Field(default="", repr=False)
    """The licence of Redis Enterprise, its text."""

    @field_validator("nodes")
    @classmethod
    def _have_majority(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"an even quorum can split; give {value - 1} or {value + 1}")
        return value

    @property
    def pod_security(self) -> str:
        """Pods are the operator's, which does not promise the restricted standard."""
        return "baseline"

    @property
    def here(self) -> Place:
        """`place`, parsed."""
        return _place(self.place)

    @property
    def places(self) -> tuple[Place, ...]:
        """All places by name, this one too."""
        return tuple(sorted(map(_place, (self.place, *self.peers)), key=lambda p: p.name))

    @field_validator("peers")
    @classmethod
    def _name_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _place(text)
        return value

    @model_validator(mode="after")
    def _is_licensed(self) -> Self:
        if not self.licence.strip():
            raise ValueError(
                "redisTopology is 'active-active', which needs a licence of Redis Enterprise: "
                'pulumi config set --secret redisLicence "$(cat licence.txt)"'
            )
        if not self.peers:
            raise ValueError(
                "redisPeers is empty: active-active needs another place, name=api-name.example.com"
            )
        if not self.place:
            raise ValueError("redisPlace is empty: name this place, name=api-name.example.com")
        _place(self.place)
        if len({place.name for place in self.places}) <= len(self.peers):
            raise ValueError(
                f"redisPlace {self.place!r} and redisPeers {list(self.peers)!r} name a place twice"
            )
        if len(self.cluster_password) < 16:
            raise ValueError(
                "redisClusterPassword is too short: give all places the same one of 16 or more "
                "letters, pulumi config set --secret redisClusterPassword"
            )
        return self


TOPOLOGIES: Final[Mapping[str, type[RedisTopology]]] = {
    get_args(kind.model_fields["topology"].annotation)[0]: kind
    for kind in (Standalone, Replicated, Sharded, ActiveActive)
}
"""The models by the value of `redisTopology`."""


def parse(
    values: Mapping[str, Any], kinds: Mapping[str, type[RedisTopology]] = TOPOLOGIES
) -> RedisTopology | None:
    """The topology of settings by name (`redisMemory`) to JSON values; None for no Redis.

    `kinds` are the models by the value of `redisTopology`.

    Raises:
        TopologyError: one line for every setting that can't be used.
    """
    name = values.get(alias("topology"), NONE)
    if name == NONE:
        return None
    if name not in kinds:
        known = ", ".join((NONE, *kinds))
        raise TopologyError(f"redisTopology is {name!r}: there are {known}")
    try:
        return kinds[name].model_validate(dict(values))
    except ValidationError as error:
        lines = [_line(values, problem) for problem in error.errors()]
        raise TopologyError("\n".join(dict.fromkeys(lines))) from None


def losses(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a change from one shape (`RedisTopology.shape`, or its topology "none") to another
    loses, a sentence each, naming settings; empty when all data stays.
    """
    before, after = old.get("topology", NONE), new.get("topology", NONE)
    if before == NONE:
        return []
    if after == NONE:
        return [f"redisTopology was {before!r} and is 'none': its volumes are deleted"]
    if lost := _elsewhere(old, new):
        return [lost]
    found = []
    # One StatefulSet in both, so that the one Redis becomes the first master.
    kept = {("standalone", "replicated")}
    if new.get("provider") == AWS:
        # A replica is taken away from the one group of nodes.
        kept |= {("replicated", "standalone")}
    if before != after and (before, after) not in kept:
        found.append(
            f"redisTopology was {before!r} and is {after!r}: data is not carried over; make a "
            "backup and restore it"
        )
    if old.get("namespace") != new.get("namespace"):
        found.append(
            f"redisNamespace was {old.get('namespace')!r} and is {new.get('namespace')!r}: its "
            "volumes stay behind and are deleted"
        )
    if NONE in (pair := (old.get("persistence"), new.get("persistence"))) and len(set(pair)) == 2:
        found.append(
            f"redisPersistence was {pair[0]!r} and is {pair[1]!r}: all pods are made anew at once, "
            "with other volumes"
        )
    if _release(new.get("version")) < _release(old.get("version")):
        found.append(
            f"redisVersion was {old.get('version')} and is {new.get('version')}: an older Redis "
            "may not read what a newer one saved"
        )
    return found


def impossible(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Changes between two shapes that no consent makes possible, a sentence each."""
    before, after = old.get("topology", NONE), new.get("topology", NONE)
    if NONE in (before, after) or _elsewhere(old, new):
        return []
    if new.get("provider") == AWS:
        return _impossible_at_service(old, new)
    # Others have volumes of their own.
    kept = before == after or {before, after} == {"standalone", "replicated"}
    if (
        not kept
        or NONE in (before, old.get("persistence"), new.get("persistence"))
        or old.get("namespace") != new.get("namespace")
    ):
        return []
    found = []
    if new.get("storage", 0) < old.get("storage", 0):
        found.append(
            f"redisStorage was {old['storage']} and is {new['storage']} GiB: volumes only grow; "
            f"set it to {old['storage']}"
        )
    if old.get("storage_class") != new.get("storage_class"):
        found.append(
            f"redisStorageClass was {old.get('storage_class')!r} and is "
            f"{new.get('storage_class')!r}: a volume keeps its class; set it back, or move to "
            "another redisNamespace by backup and restore"
        )
    return found


def _elsewhere(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What it means that Redis moves in or out of the cluster, or starts from a snapshot."""
    before, after = old.get("provider", CLUSTER), new.get("provider", CLUSTER)
    if before != after:
        return (
            f"redisProvider was {before!r} and is {after!r}: data is not carried over; make a "
            "backup and restore it"
        )
    for key in ("snapshot", "multi_region"):
        if old.get(key, "") != new.get(key, ""):
            return (
                f"{alias(key)} was {old.get(key, '')!r} and is {new.get(key, '')!r}: Redis is made "
                "anew"
            )
    return ""


def _impossible_at_service(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Changes that the service refuses, where Redis stays what it is."""
    if old.get("namespace") != new.get("namespace"):
        return []
    found = []
    if (old.get("engine"), new.get("engine")) == ("valkey", "redis"):
        found.append("redisEngine was 'valkey' and is 'redis': the way back is a new Redis")
    elif old.get("engine") == new.get("engine") and _release(new.get("engine_version")) < _release(
        old.get("engine_version")
    ):
        found.append(
            f"redisEngineVersion was {old.get('engine_version')} and is "
            f"{new.get('engine_version')}: the service does not go back; set it to "
            f"{old.get('engine_version')}"
        )
    return found


def _place(text: str) -> Place:
    name, _, host = text.partition("=")
    if not re.fullmatch(_DNS_LABEL, name) or not re.fullmatch(r"api[-.][a-z0-9.-]*[a-z0-9]", host):
        raise ValueError(f"{text!r} is not of the form name=api-name.example.com")
    return Place(name=name, api=host)


def _client(text: str) -> Client:
    found = _CLIENT.fullmatch(text)
    labels = (found and found["labels"]) or ""
    if not found or (labels and not _LABELS.fullmatch(labels)) or text.endswith("/"):
        raise ValueError(f"{text!r} is not of the form namespace, namespace/label=value, or *")
    pairs = (pair.partition("=") for pair in labels.split(",") if pair)
    return Client(namespace=found["namespace"], labels={key: value for key, _, value in pairs})


def _release(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in str(version).split(".")[:2] if part.isdigit())


def _line(values: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return told(problem)
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        topology = values.get(alias("topology"))
        return f"{name} is set, but redisTopology is {topology!r}, which does not use it; remove it"
    secret = name in map(alias, ("backup_secret_key", "licence", "cluster_password"))
    shown = "a secret" if secret else repr(values.get(name))
    return f"{name} is {shown}: {continued(problem)}"
