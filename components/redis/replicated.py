"""A master and its replicas, Sentinels that replace the master, and a proxy that finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.cluster.base import Cluster
from components.redis import config, images, names, parts
from components.redis.component import Redis
from components.redis.haproxy import PASSWORD_VARIABLE, haproxy_cfg
from components.redis.parts import Object
from components.redis.topology import Replicated as Topology

MASTER_NAME: Final = "redis"
"""By which Sentinels know the master."""
_SCRIPTS: Final = (
    "redis-alive.sh",
    "redis-data.sh",
    "redis-handover.sh",
    "redis-master.sh",
    "redis-node.sh",
    "redis-ready.sh",
)
_SENTINEL_SCRIPTS: Final = (
    "redis-alive.sh",
    "redis-master.sh",
    "sentinel-node.sh",
    "sentinel-ready.sh",
)
_SENTINEL_CONFIG: Final = "redis-sentinel-config"
_SENTINEL_FILES: Final = "redis-sentinel-scripts"
_PROXY_CONFIG: Final = "redis-proxy-config"


class Replicated(Redis):
    """StatefulSets of Redis and of Sentinels, and a Deployment of HAProxy.

    Redis comes first: Sentinels need a master to watch, and the proxy one to find.
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
        self._topology = topology
        namespace = topology.namespace
        self.server = self._servers()
        self.sentinel = self._sentinels(self.server)
        self.ready = self._proxy(self.sentinel)
        self.members = [names.server_hosts(topology.replicas + 1, namespace)]
        for workload in (names.SERVER, names.SENTINEL, names.PROXY):
            self.add(parts.disruption_budget(workload, namespace))
        for service, port in ((names.WRITE, names.REDIS_PORT), (names.READ, names.READ_PORT)):
            self.add(
                parts.service(
                    service,
                    namespace,
                    names.PROXY,
                    {"redis": names.REDIS_PORT},
                    targets={"redis": port},
                )
            )
        self.add(parts.metrics_service(namespace))
        self.finish()

    def _servers(self) -> pulumi.Resource:
        topology, namespace = self._topology, self._topology.namespace
        count = topology.replicas + 1
        files = {"redis.conf": config.redis_conf(topology)}
        scripts = {name: parts.script(name) for name in _SCRIPTS}
        container = parts.redis_container(
            topology,
            parts.run("redis-node.sh"),
            ready=parts.run("redis-ready.sh"),
            before_stop=parts.run("redis-handover.sh"),
            environment=member_environment(topology, names.NODES),
        )
        return self.add(
            parts.redis_set(topology, count, container, self.annotations({**files, **scripts})),
            *self.add_all(parts.claims(topology, count)),
            self.add(
                parts.config_map(names.CONFIG, namespace, {**files, **members_file(topology)})
            ),
            self.add(parts.config_map(names.SCRIPTS, namespace, scripts)),
            self.add(parts.pods_service(namespace)),
            *self.basis,
        )

    def _sentinels(self, server: pulumi.Resource) -> pulumi.Resource:
        topology, namespace = self._topology, self._topology.namespace
        files = {"sentinel.conf": config.sentinel_conf()}
        scripts = {name: parts.script(name) for name in _SENTINEL_SCRIPTS}
        annotations = self.annotations({**files, **scripts})
        return self.add(
            sentinel_set(topology, annotations),
            server,
            self.add(
                parts.config_map(_SENTINEL_CONFIG, namespace, {**files, **members_file(topology)})
            ),
            self.add(parts.config_map(_SENTINEL_FILES, namespace, scripts)),
            self.add(
                parts.service(
                    names.SENTINELS,
                    namespace,
                    names.SENTINEL,
                    {"sentinel": names.SENTINEL_PORT},
                    headless=True,
                )
            ),
            *self.basis,
        )

    def _proxy(self, sentinel: pulumi.Resource) -> pulumi.Resource:
        topology, namespace = self._topology, self._topology.namespace
        files = {
            "haproxy.cfg": haproxy_cfg(
                names.service_host(names.NODES, namespace),
                required_replicas=topology.required_replicas,
                read_lag=topology.read_lag,
            )
        }
        return self.add(
            proxy_deployment(topology, self.annotations(files)),
            sentinel,
            self.add(parts.config_map(_PROXY_CONFIG, namespace, files)),
            *self.basis,
        )


def member_environment(topology: Topology, headless: str) -> list[Object]:
    """What the scripts know of their own pod: see redis-node.sh."""
    host = f"$(POD_NAME).{names.service_host(headless, topology.namespace)}"
    return [
        {"name": "ANNOUNCE_HOST", "value": host},
        {"name": "MASTER_NAME", "value": MASTER_NAME},
    ]


def members_file(topology: Topology) -> dict[str, str]:
    """What the scripts know of all pods, for a ConfigMap: see redis-master.sh.

    They read it each time, so another number of pods is no reason to restart those that run.
    """
    servers = names.server_hosts(topology.replicas + 1, topology.namespace)
    sentinels = names.sentinel_hosts(topology.sentinels, topology.namespace)
    return {"members": f"SERVERS='{' '.join(servers)}'\nSENTINELS='{' '.join(sentinels)}'\n"}


def sentinel_set(topology: Topology, annotations: Mapping[str, Any]) -> Object:
    """The StatefulSet of Sentinels."""
    settings = {
        "REDIS_PORT": str(names.REDIS_PORT),
        "QUORUM": str(topology.majority),
        "DOWN_AFTER": str(topology.down_after),
        "FAILOVER_TIMEOUT": str(max(4 * topology.down_after, 20_000)),
        # As many follow the next master at once as it needs for writes; the others are read.
        "PARALLEL_SYNCS": str(max(topology.required_replicas, 1)),
    }
    container: Object = {
        "name": "sentinel",
        "image": topology.image,
        "imagePullPolicy": "IfNotPresent",
        "command": parts.run("sentinel-node.sh"),
        "env": [
            *parts.pod_environment(),
            *parts.client_environment(),
            *member_environment(topology, names.SENTINELS),
            *({"name": name, "value": value} for name, value in settings.items()),
        ],
        "ports": [{"name": "sentinel", "containerPort": names.SENTINEL_PORT}],
        "resources": parts.resources(64, 0.05),
        # Until it knows a master it runs no server, and has as long for that as it takes.
        "startupProbe": parts.probe(parts.run("sentinel-ready.sh"), period=2, failures=300),
        "livenessProbe": parts.probe(_at_sentinel("redis-alive.sh"), period=10, failures=6),
        "readinessProbe": parts.probe(parts.run("sentinel-ready.sh"), period=5, failures=2),
        "securityContext": parts.container_security(),
        "volumeMounts": [
            *parts.mounts(),
            parts.mount(names.CLAIM, config.DATA_PATH, read_only=False),
        ],
    }
    pod_volumes = parts.volumes(config_name=_SENTINEL_CONFIG, scripts_name=_SENTINEL_FILES)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": names.metadata(names.SENTINEL, topology.namespace, names.SENTINEL),
        "spec": {
            "serviceName": names.SENTINELS,
            "replicas": topology.sentinels,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": names.selector(names.SENTINEL)},
            "template": parts.pod_template(
                names.SENTINEL,
                [container],
                [*pod_volumes, {"name": names.CLAIM, "emptyDir": {}}],
                user=images.REDIS_UID,
                annotations=annotations,
            ),
        },
    }


def _at_sentinel(script: str) -> Sequence[str]:
    return ["/usr/bin/env", f"REDIS_PORT={names.SENTINEL_PORT}", *parts.run(script)]


def proxy_deployment(topology: Topology, annotations: Mapping[str, Any]) -> Object:
    """The Deployment of HAProxy."""

    def check(path: str, **times: int) -> Object:
        return {"httpGet": {"path": path, "port": "status"}, **times}

    path = "/etc/haproxy"
    container: Object = {
        "name": "haproxy",
        "image": images.HAPROXY,
        "imagePullPolicy": "IfNotPresent",
        "command": ["haproxy", "-W", "-db", "-f", f"{path}/haproxy.cfg"],
        "env": [parts.password_variable(PASSWORD_VARIABLE, "health")],
        "ports": [
            {"name": "write", "containerPort": names.REDIS_PORT},
            {"name": "read", "containerPort": names.READ_PORT},
            {"name": "status", "containerPort": names.PROXY_STATUS_PORT},
        ],
        "resources": parts.resources(256, 0.2),
        # Started once it has found the master; from then on a proxy between two masters is ready
        # all the same, for taken out of its Service it would come back late.
        "startupProbe": check("/ready", periodSeconds=1, failureThreshold=300),
        "livenessProbe": check("/alive", periodSeconds=10, failureThreshold=3),
        "readinessProbe": check("/alive", periodSeconds=5, failureThreshold=2),
        # Clients stop coming before it stops taking them.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        "securityContext": parts.container_security(),
        "volumeMounts": [
            parts.mount("config", path),
            parts.mount("tls", config.TLS_PATH),
        ],
    }
    authority = {"secretName": names.TLS, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.PROXY, topology.namespace, names.PROXY),
        "spec": {
            "replicas": topology.proxies,
            "selector": {"matchLabels": names.selector(names.PROXY)},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": parts.pod_template(
                names.PROXY,
                [container],
                [
                    {"name": "config", "configMap": {"name": _PROXY_CONFIG}},
                    {"name": "tls", "secret": authority},
                ],
                user=images.HAPROXY_UID,
                annotations=annotations,
                grace_seconds=40,
                scrape_port=names.PROXY_STATUS_PORT,
            ),
        },
    }
