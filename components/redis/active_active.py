"""Redis Enterprise in several places, all of which take writes: its operator's custom resources.

The operator and its definitions must be on the cluster; both are Redis's own, under its licence:
https://redis.io/docs/latest/operate/kubernetes/active-active/. What becomes of writes to the same
key in two places: docs/redis-active-active.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, Final

import pulumi

from components.cluster.base import Cluster
from components.redis import names, parts
from components.redis.component import Redis
from components.redis.topology import ActiveActive as Topology
from components.redis.topology import Persistence, Place

Object = dict[str, Any]
_GROUP: Final = "app.redislabs.com"
DATABASE: Final = names.WRITE
"""The database, and the Service that the operator makes of it."""
ADMIN: Final = "admin@ml-platform.local"
"""User by which the places administer each other."""
_LICENCE: Final = "redis-licence"
_DATABASE_SECRET: Final = "redis-database"  # noqa: S105 - a name
_STORE: Final = "redis-backup-store"
_METRICS_PORT: Final = 8070
_PERSISTENCE: Final[dict[Persistence, str]] = {
    "none": "disabled",
    "rdb": "snapshotEvery1Hour",
    "aof": "aofEverySecond",
}
_DAY: Final = 86_400


class ActiveActive(Redis):
    """A cluster of Redis Enterprise in this place, and one database of all places.

    Every place runs this program. All of them name each other; the one whose name sorts first makes
    the database, and the operators carry it to the others.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: Topology,
        guard: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster, topology, guard, opts)
        namespace = topology.namespace
        password = database_password(topology.cluster_password)
        licence = self.add(parts.secret(_LICENCE, namespace, {"license": topology.licence}))
        admin = {"username": ADMIN, "password": topology.cluster_password}
        signs = {
            place.name: self.add(parts.secret(credentials_name(place), namespace, admin))
            for place in topology.places
        }
        database_secret = self.add(
            parts.secret(_DATABASE_SECRET, namespace, {"password": password})
        )
        # The operator's pods, which it watches and backs up itself.
        self.members = []
        self.ready = self.add(
            enterprise_cluster(topology), licence, signs[topology.here.name], *self.basis
        )
        remotes = [
            self.add(remote_cluster(topology, place), signs[place.name], self.ready)
            for place in topology.places
        ]
        needed = [database_secret, *remotes]
        if backup := topology.backup:
            keys = {
                "AWS_ACCESS_KEY_ID": backup.access_key,
                "AWS_SECRET_ACCESS_KEY": backup.secret_key,
            }
            needed.append(self.add(parts.secret(_STORE, namespace, keys)))
        if leads(topology):
            self.add(database(topology), *needed)

        # One database, every master of which takes writes.
        self.read_endpoint = self.write_endpoint
        self.write_uri = self.read_uri = pulumi.Output.secret(
            f"rediss://:{password}@{self.write_endpoint}/0"
        )
        host = names.service_host(f"{cluster_name(topology.here)}-prom", namespace)
        self.metrics_endpoint = f"https://{host}:{_METRICS_PORT}/v2"
        self.finish()


def leads(topology: Topology) -> bool:
    """Whether this place makes the database for all."""
    return topology.places[0] == topology.here


def cluster_name(place: Place) -> str:
    """Name of a place's RedisEnterpriseCluster."""
    return f"redis-{place.name}"


def credentials_name(place: Place) -> str:
    """Name of the Secret of a place's administrator, which the operator prescribes."""
    return f"redis-enterprise-{place.name}"


def database_password(cluster_password: str) -> str:
    """The database's password: the same in all places, and not the administrators'."""
    made = hmac.digest(cluster_password.encode(), b"redis-database", hashlib.sha256)
    return base64.b32encode(made[:20]).decode().lower()


def enterprise_cluster(topology: Topology) -> Object:
    """The RedisEnterpriseCluster (REC) of this place."""
    here = topology.here
    size = {"memory": f"{topology.memory}Mi", "cpu": f"{int(topology.cpus * 1000)}m"}
    volume: Object = {"enabled": topology.persistence != "none"}
    if volume["enabled"]:
        volume["volumeSize"] = f"{topology.storage}Gi"
        if topology.storage_class:
            volume["storageClassName"] = topology.storage_class
    spec: Object = {
        "nodes": topology.nodes,
        "username": ADMIN,
        "clusterCredentialSecretName": credentials_name(here),
        "licenseSecretName": _LICENCE,
        "persistentSpec": volume,
        "redisEnterpriseNodeResources": {"requests": size, "limits": size},
        "dataInternodeEncryption": True,
        # Clients check databases against the same authority as in every topology.
        "certificates": {"proxyCertificateSecretName": names.TLS},
        "ingressOrRouteSpec": {
            "apiFqdnUrl": here.api,
            "dbFqdnSuffix": here.databases,
            "method": "ingress",
            # TLS ends at Redis Enterprise: https://haproxy-ingress.github.io/docs/configuration/keys/
            "ingressAnnotations": {
                "kubernetes.io/ingress.class": "haproxy",
                "haproxy-ingress.github.io/ssl-passthrough": "true",
            },
        },
    }
    if topology.backup and topology.backup.endpoint:
        spec["backup"] = {"s3": {"url": topology.backup.endpoint}}
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "RedisEnterpriseCluster",
        "metadata": names.metadata(cluster_name(here), topology.namespace),
        "spec": spec,
    }


def remote_cluster(topology: Topology, place: Place) -> Object:
    """The RedisEnterpriseRemoteCluster (RERC) by which a place is known, also the own one."""
    return {
        "apiVersion": f"{_GROUP}/v1alpha1",
        "kind": "RedisEnterpriseRemoteCluster",
        "metadata": names.metadata(place.name, topology.namespace),
        "spec": {
            "recName": cluster_name(place),
            "recNamespace": topology.namespace,
            "apiFqdnUrl": place.api,
            "dbFqdnSuffix": place.databases,
            "secretName": credentials_name(place),
        },
    }


def database_mib(topology: Topology) -> int:
    """Memory of the database in each place: as set, or a quarter of all nodes' memory.

    Each key is held twice, and half of a node is Redis Enterprise's own and headroom.
    """
    return topology.maxmemory or topology.nodes * topology.memory // 4


def database(topology: Topology) -> Object:
    """The RedisEnterpriseActiveActiveDatabase (REAADB) of all places."""
    settings: Object = {
        "memorySize": f"{database_mib(topology)}MB",
        "replication": True,
        "persistence": _PERSISTENCE[topology.persistence],
        "evictionPolicy": topology.eviction_policy,
        "tlsMode": "enabled",
        "databaseSecretName": _DATABASE_SECRET,
        "databaseServicePort": names.REDIS_PORT,
    }
    if backup := topology.backup:
        bucket, _, folder = backup.url.removeprefix("s3://").partition("/")
        settings["backup"] = {
            "interval": _DAY,
            "s3": {
                "awsSecretName": _STORE,
                "bucketName": bucket,
                **({"subdir": folder} if folder else {}),
            },
        }
    return {
        "apiVersion": f"{_GROUP}/v1alpha1",
        "kind": "RedisEnterpriseActiveActiveDatabase",
        "metadata": names.metadata(DATABASE, topology.namespace),
        "spec": {
            "redisEnterpriseCluster": {"name": cluster_name(topology.here)},
            "participatingClusters": [{"name": place.name} for place in topology.places],
            "globalConfigurations": settings,
        },
    }
