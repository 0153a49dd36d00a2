"""Redis Cluster: shards of a master and its replicas, and an entry proxy.

How it is formed, scaled and kept whole: docs/decisions/redis-sharded.md.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pulumi

from components.cluster.base import Cluster
from components.redis import config, images, names, parts, proxy
from components.redis.component import Redis, digest
from components.redis.topology import Sharded as Topology

Object = dict[str, Any]
SHARD: Final = "ml-platform/shard"
"""Label of a shard's pods: its number."""
LAYOUT: Final = "redis-layout"
"""The Job that brings the cluster to the wanted layout."""
_POD_SCRIPTS: Final = (
    "redis-alive.sh",
    "redis-data.sh",
    "cluster-node.sh",
    "cluster-ready.sh",
    "cluster-handover.sh",
)
_LAYOUT_SCRIPT: Final = "cluster-layout.sh"
# What the script exits with where another try can't help.
_HOPELESS: Final = 3
_TRIES: Final = 6


class Sharded(Redis):
    """A StatefulSet a shard, a Job that gives them their slots, and the proxy.

    The Job comes after every wanted shard. Pulumi deletes what is not wanted any more after it has
    made and changed the rest, and so after the Job: by then such a shard holds nothing.
    """

    cluster_endpoint: str
    """host:port of TLS for clients that speak Redis Cluster: any of its nodes."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: Topology,
        guard: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster, topology, guard, opts)
        # The proxy speaks RESP2 only, and some clients begin with RESP3.
        self.write_uri = pulumi.Output.concat(self.write_uri, "?protocol=2")
        self.read_uri = pulumi.Output.concat(self.read_uri, "?protocol=2")
        namespace = topology.namespace
        files = {"redis.conf": config.redis_conf(topology)}
        scripts = {name: parts.script(name) for name in _POD_SCRIPTS}
        layout_script = {_LAYOUT_SCRIPT: parts.script(_LAYOUT_SCRIPT)}
        port = {"redis": names.REDIS_PORT}
        shared = [
            self.add(parts.config_map(names.CONFIG, namespace, files)),
            self.add(parts.config_map(names.SCRIPTS, namespace, scripts)),
            self.add(parts.pods_service(namespace)),
            *self.basis,
        ]
        annotations = self.annotations({**files, **scripts})
        self.shards = [
            self.add(
                shard_set(topology, shard, annotations),
                *self.add_all(shard_claims(topology, shard)),
                *shared,
            )
            for shard in range(topology.shards)
        ]
        self.add(parts.disruption_budget(names.SERVER, namespace))
        self.layout = self.add(
            layout_job(topology),
            *self.shards,
            self.add(parts.config_map(LAYOUT, namespace, layout_script)),
        )
        proxy_config = proxy.config_map(namespace)
        self.members = shard_hosts(topology)
        self.ready = self.add(
            proxy.deployment(topology, self.annotations(proxy_config["data"])),
            # It is ready once it knows who owns which slot.
            self.layout,
            self.add(proxy_config),
            *self.basis,
        )
        self.add(parts.disruption_budget(names.PROXY, namespace))
        self.add(parts.service(names.WRITE, namespace, names.PROXY, port))
        self.add(
            parts.service(
                names.READ, namespace, names.PROXY, port, targets={"redis": names.READ_PORT}
            )
        )
        self.add(parts.metrics_service(namespace))
        self.cluster_endpoint = f"{names.service_host(names.NODES, namespace)}:{names.REDIS_PORT}"
        self.finish()


def shard_name(shard: int) -> str:
    """Name of a shard's StatefulSet."""
    return f"{names.SERVER}-shard-{shard}"


def shard_hosts(topology: Topology) -> list[list[str]]:
    """DNS names of the pods of each shard."""
    return [
        [
            names.pod_host(shard_name(shard), pod, names.NODES, topology.namespace)
            for pod in range(topology.replicas + 1)
        ]
        for shard in range(topology.shards)
    ]


def shard_claims(topology: Topology, shard: int) -> list[Object]:
    """The volumes of a shard's pods; none without persistence."""
    if topology.persistence == "none":
        return []
    return [
        parts.claim(f"{names.CLAIM}-{shard_name(shard)}-{pod}", topology)
        for pod in range(topology.replicas + 1)
    ]


def shard_set(topology: Topology, shard: int, annotations: dict[str, Any]) -> Object:
    """The StatefulSet of a shard: the parts' one, told apart by its number."""
    container = parts.redis_container(
        topology,
        parts.run("cluster-node.sh"),
        ready=parts.run("cluster-ready.sh"),
        before_stop=parts.run("cluster-handover.sh"),
        environment=[
            {
                "name": "ANNOUNCE_DOMAIN",
                "value": names.service_host(names.NODES, topology.namespace),
            }
        ],
        ports={"redis": names.REDIS_PORT, "bus": names.BUS_PORT},
    )
    body = parts.redis_set(topology, topology.replicas + 1, container, annotations)
    body["metadata"]["name"] = shard_name(shard)
    own = {SHARD: str(shard)}
    spec = body["spec"]
    for labels in (
        body["metadata"]["labels"],
        spec["selector"]["matchLabels"],
        spec["template"]["metadata"]["labels"],
    ):
        labels.update(own)
    spec["template"]["spec"] |= {**parts.spread(names.SERVER, SHARD), **_apart(own)}
    return body


def _apart(shard: Object) -> Object:
    """Copies of the same data on different nodes first, then all pods.

    A majority of masters on one node would leave nobody to promote replicas when it is lost.
    """

    def term(weight: int, **more: str) -> Object:
        labels = {**names.selector(names.SERVER), **more}
        return {
            "weight": weight,
            "podAffinityTerm": {
                "labelSelector": {"matchLabels": labels},
                "topologyKey": "kubernetes.io/hostname",
            },
        }

    terms = [term(100, **shard), term(1)]
    return {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}
    }


def layout_job(topology: Topology) -> Object:
    """The Job that forms the cluster, moves slots and removes nodes, as `topology` wants it.

    One name: a change of the layout replaces it, so that there never are two of them at work. A
    Job that failed is replaced by the next run.
    """
    script = parts.script(_LAYOUT_SCRIPT)
    members = [",".join(hosts) for hosts in shard_hosts(topology)]
    wanted = digest([json.dumps([members, topology.maxmemory_mib, topology.image, script])])
    container: Object = {
        "name": "layout",
        "image": topology.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", f"{config.CONFIG_PATH}/{_LAYOUT_SCRIPT}", *members],
        "env": parts.client_environment(),
        "resources": parts.resources(128, 0.1),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": parts.container_security(),
        "volumeMounts": [
            parts.mount("tls", config.TLS_PATH),
            parts.mount("config", config.CONFIG_PATH),
            parts.mount("tmp", "/tmp", read_only=False),  # noqa: S108 - the pod's own
        ],
    }
    needed = ("tls", "config", "tmp")
    template = parts.pod_template(
        LAYOUT,
        [container],
        [v for v in parts.volumes(config_name=LAYOUT) if v["name"] in needed],
        user=images.REDIS_UID,
        annotations={"ml-platform/layout": wanted},
    )
    template["spec"]["restartPolicy"] = "Never"
    metadata = names.metadata(LAYOUT, topology.namespace, LAYOUT)
    metadata["annotations"] = {"pulumi.com/replaceUnready": "true"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": _TRIES,
            # The next pod starts when the one before is gone for good, not while it may still run.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "layout",
                            "operator": "In",
                            "values": [_HOPELESS],
                        },
                    }
                ]
            },
            "template": template,
        },
    }
