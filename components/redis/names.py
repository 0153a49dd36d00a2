"""Names that the parts of one Redis installation, its certificate and its clients share."""

from __future__ import annotations

from typing import Any, Final

DOMAIN: Final = "cluster.local"
"""The cluster's DNS domain. Full names: HAProxy's resolver knows no search list."""

WRITE, READ = "redis", "redis-read"
"""Services of the endpoints."""
NODES, SENTINELS = "redis-nodes", "redis-sentinels"
"""Headless Services that name pods."""
METRICS: Final = "redis-metrics"
"""Service of the exporters."""
SERVER, SENTINEL, PROXY = "redis", "redis-sentinel", "redis-proxy"
"""StatefulSets of Redis and its Sentinels, Deployment of the entry proxy."""
CLAIM: Final = "data"
"""Volume of a Redis pod; its claim is `data-redis-<ordinal>`."""
SCRIPTS, CONFIG, ACCESS, TLS = "redis-scripts", "redis-config", "redis-access", "redis-tls"
"""ConfigMaps of scripts and of redis.conf; Secrets of ACL files and passwords, and of TLS."""
ACCOUNT: Final = "redis"
"""ServiceAccount of all pods; it may do nothing."""

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
BUS_PORT: Final = 16379
"""Redis Cluster's own protocol."""
READ_PORT: Final = 6380
"""Where the proxy takes reads; the Service `redis-read` has 6379."""
EXPORTER_PORT: Final = 9121
PROXY_STATUS_PORT: Final = 8404

PART_OF: Final = "app.kubernetes.io/part-of"
COMPONENT: Final = "app.kubernetes.io/component"


def labels(component: str = "") -> dict[str, str]:
    """Labels of an object; `component` is the name of the workload that it belongs to."""
    found = {
        "app.kubernetes.io/name": "redis",
        PART_OF: "redis",
        "app.kubernetes.io/managed-by": "ml-platform",
    }
    return {**found, COMPONENT: component} if component else found


def selector(component: str) -> dict[str, str]:
    """Labels by which pods of a workload are found."""
    return {PART_OF: "redis", COMPONENT: component}


def metadata(name: str, namespace: str, component: str = "", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """`metadata` of an object in the installation's namespace."""
    return {"name": name, "namespace": namespace, "labels": labels(component), **more}


def service_host(service: str, namespace: str) -> str:
    """DNS name of a Service."""
    return f"{service}.{namespace}.svc.{DOMAIN}"


def pod_host(workload: str, ordinal: int, headless: str, namespace: str) -> str:
    """DNS name of a StatefulSet's pod."""
    return f"{workload}-{ordinal}.{service_host(headless, namespace)}"


def server_hosts(count: int, namespace: str) -> list[str]:
    """DNS names of the Redis pods."""
    return [pod_host(SERVER, ordinal, NODES, namespace) for ordinal in range(count)]


def sentinel_hosts(count: int, namespace: str) -> list[str]:
    """DNS names of the Sentinels."""
    return [pod_host(SENTINEL, ordinal, SENTINELS, namespace) for ordinal in range(count)]


def certificate_names(namespace: str) -> list[str]:
    """DNS names that the certificate of all servers is for; the same in every topology.

    A wildcard stands for pods, so that scaling needs no other certificate.
    """
    names = ["localhost"]
    for service in (WRITE, READ, NODES, SENTINELS):
        host = service_host(service, namespace)
        short = (service, f"{service}.{namespace}", f"{service}.{namespace}.svc", host)
        names += short
        if service in (NODES, SENTINELS):
            names += [f"*.{name}" for name in short]
    return names
