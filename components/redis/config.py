"""redis.conf of a topology. Pure.

Secrets are not in it: it names the ACL file, and includes what a replica signs in with. After the
redis.conf that ships with Redis 7.2; what stands there by default is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from components.redis import names
from components.redis.topology import RedisTopology, Replicated, Sharded

TLS_PATH: Final = "/etc/redis/tls"
ACCESS_PATH: Final = "/etc/redis/access"
CONFIG_PATH: Final = "/etc/redis/config"
SCRIPTS_PATH: Final = "/etc/redis/scripts"
DATA_PATH: Final = "/data"
USERS_FILE, SENTINEL_USERS_FILE, REPLICA_FILE = "users.acl", "sentinel-users.acl", "replica.conf"
"""Keys of the Secret `redis-access`, besides the password of each user by its name."""

TLS: Final = (
    f"tls-cert-file {TLS_PATH}/tls.crt",
    f"tls-key-file {TLS_PATH}/tls.key",
    f"tls-ca-cert-file {TLS_PATH}/ca.crt",
    # Users sign in with passwords; a client certificate is checked where one is shown.
    "tls-auth-clients optional",
    'tls-protocols "TLSv1.2 TLSv1.3"',
    "tls-replication yes",
)


def redis_conf(topology: RedisTopology) -> str:
    """Configuration of every Redis of the topology, which a start script may add to."""
    lines = [
        "port 0",
        f"tls-port {names.REDIS_PORT}",
        *TLS,
        f"aclfile {ACCESS_PATH}/{USERS_FILE}",
        f"include {ACCESS_PATH}/{REPLICA_FILE}",
        f"dir {DATA_PATH}",
        f"maxmemory {topology.maxmemory_mib}mb",
        f"maxmemory-policy {topology.eviction_policy}",
        # Clients that don't read their replies are cut off before they take the data's place.
        "maxmemory-clients 10%",
        f"io-threads {topology.io_threads}",
        *_persistence(topology),
        *_replication(topology),
    ]
    if isinstance(topology, Sharded):
        lines += _cluster(topology)
    return "\n".join(lines) + "\n"


def sentinel_conf() -> str:
    """What every Sentinel has in common; its start script adds the rest.

    Names, not addresses: a pod that comes back has another address.
    """
    lines = [
        "port 0",
        f"tls-port {names.SENTINEL_PORT}",
        *TLS,
        f"aclfile {ACCESS_PATH}/{SENTINEL_USERS_FILE}",
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        "sentinel deny-scripts-reconfig yes",
    ]
    return "\n".join(lines) + "\n"


def _persistence(topology: RedisTopology) -> Sequence[str]:
    if topology.persistence == "none":
        return ('save ""', "appendonly no", "shutdown-on-sigterm nosave")
    if topology.persistence == "rdb":
        return ("save 300 1 60 1000", "appendonly no", "shutdown-on-sigterm save")
    # A snapshot at the end as well: without it a change to `rdb` would start from nothing.
    return ('save ""', "appendonly yes", "appendfsync everysec", "shutdown-on-sigterm save")


def _replication(topology: RedisTopology) -> Sequence[str]:
    if not topology.replicas_of_a_master:
        return ()
    lines = [
        f"repl-backlog-size {topology.backlog_mib}mb",
        f"client-output-buffer-limit replica {topology.replica_buffer_mib}mb "
        f"{topology.replica_buffer_mib // 2}mb 60",
        # A replica's lag is told in seconds since the last sign of its master.
        "repl-ping-replica-period 1",
        "repl-timeout 15",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 1",
    ]
    if isinstance(topology, Replicated | Sharded):
        lines += [
            f"min-replicas-to-write {topology.required_replicas}",
            f"min-replicas-max-lag {topology.max_lag}",
        ]
    return lines


def _cluster(topology: Sharded) -> Sequence[str]:
    return (
        "cluster-enabled yes",
        f"cluster-config-file {DATA_PATH}/nodes.conf",
        f"cluster-node-timeout {topology.node_timeout}",
        "cluster-preferred-endpoint-type hostname",
        # A shard that is lost takes its own slots down, not everybody's.
        "cluster-require-full-coverage no",
        # A shard is a StatefulSet: its pods stay together, also when it has no slots any more.
        "cluster-allow-replica-migration no",
        "tls-cluster yes",
    )
