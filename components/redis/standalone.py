"""One Redis, which scales by memory and CPUs."""

from __future__ import annotations

import pulumi

from components.cluster.base import Cluster
from components.redis import config, names, parts
from components.redis.component import Redis
from components.redis.topology import Standalone as Topology

_SCRIPTS = ("redis-alive.sh", "redis-ready.sh", "redis-data.sh", "redis-standalone.sh")


class Standalone(Redis):
    """A StatefulSet of one pod. Both endpoints are its own."""

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
        files = {"redis.conf": config.redis_conf(topology)}
        scripts = {name: parts.script(name) for name in _SCRIPTS}
        container = parts.redis_container(
            topology,
            parts.run("redis-standalone.sh"),
            ready=parts.run("redis-ready.sh"),
        )
        port = {"redis": names.REDIS_PORT}
        self.members = [names.server_hosts(1, namespace)]
        self.ready = self.add(
            parts.redis_set(topology, 1, container, self.annotations({**files, **scripts})),
            *self.add_all(parts.claims(topology, 1)),
            self.add(parts.config_map(names.CONFIG, namespace, files)),
            self.add(parts.config_map(names.SCRIPTS, namespace, scripts)),
            self.add(parts.pods_service(namespace)),
            *self.basis,
        )
        self.add(parts.disruption_budget(names.SERVER, namespace))
        for service in (names.WRITE, names.READ):
            self.add(parts.service(service, namespace, names.SERVER, port))
        self.add(parts.metrics_service(namespace))
        self.finish()
