"""Kubernetes objects that the topologies share. Pure: dictionaries as the API server takes them.

Every pod passes the restricted Pod Security Standard, with a root file system that is read only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from components.redis import config, images, names
from components.redis.topology import Client, RedisTopology

Object = dict[str, Any]
_SCRIPTS: Final = Path(__file__).parent / "scripts"
ADMIN: Final = "admin"
GRACE_SECONDS: Final = 90
"""How long a Redis pod may take to hand over, save and stop."""


# --- the installation ----------------------------------------------------------------------------


def namespace(name: str, pod_security: str) -> Object:
    """The namespace, which takes only pods of that Pod Security Standard."""
    standard = {"pod-security.kubernetes.io/enforce": pod_security}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**names.labels(), **standard}},
    }


def service_account(namespace: str) -> Object:
    """The account of all pods: it has no rights, and its token is not mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.ACCOUNT, namespace),
        "automountServiceAccountToken": False,
    }


def config_map(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    """Plain files."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(name, namespace),
        "data": dict(data),
    }


def secret(name: str, namespace: str, data: Mapping[str, Any]) -> Object:
    """Secret files; values may be outputs."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(name, namespace),
        "type": "Opaque",
        "stringData": dict(data),
    }


def script(name: str) -> str:
    """A script of scripts/ by its file name."""
    return (_SCRIPTS / name).read_text()


def service(
    name: str,
    namespace: str,
    component: str,
    ports: Mapping[str, int],
    *,
    targets: Mapping[str, int] | None = None,
    headless: bool = False,
) -> Object:
    """A Service of a workload's pods. `ports` by name; `targets` are pods' ports that differ.

    A headless one names pods before they are ready too: they find each other to become so.
    """
    spec: Object = {
        "selector": names.selector(component),
        "ports": [
            {"name": port, "port": number, "targetPort": (targets or {}).get(port, number)}
            for port, number in ports.items()
        ],
    }
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(name, namespace, component),
        "spec": spec,
    }


def pods_service(namespace: str) -> Object:
    """The Service that names the pods of Redis."""
    port = {"redis": names.REDIS_PORT}
    return service(names.NODES, namespace, names.SERVER, port, headless=True)


def metrics_service(namespace: str) -> Object:
    """The Service of the exporters, one beside each Redis."""
    return service(names.METRICS, namespace, names.SERVER, {"metrics": names.EXPORTER_PORT})


def disruption_budget(component: str, namespace: str) -> Object:
    """At most one pod of the workload is evicted at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(component, namespace, component),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.selector(component)}},
    }


def claim(name: str, topology: RedisTopology) -> Object:
    """The volume of one Redis pod, under the name that its StatefulSet looks for.

    It is made apart from the StatefulSet, whose templates can't be changed: so it grows in place.
    """
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{topology.storage}Gi"}},
    }
    if topology.storage_class:
        spec["storageClassName"] = topology.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": names.metadata(name, topology.namespace, names.SERVER),
        "spec": spec,
    }


# --- who may connect -----------------------------------------------------------------------------


def network_policies(topology: RedisTopology) -> list[Object]:
    """Pods of the installation among themselves; the clients; those who read metrics."""
    own = {"podSelector": {"matchLabels": {names.PART_OF: "redis"}}}
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    ports = (names.REDIS_PORT, names.READ_PORT, names.SENTINEL_PORT)
    inside: Object = {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [own]}],
        "egress": [{"to": [own]}, {"ports": dns}],
    }
    policies = {
        "redis-inside": inside,
        "redis-clients": _admission(topology.admitted, ports),
        "redis-monitors": _admission(
            topology.watching, (names.EXPORTER_PORT, names.PROXY_STATUS_PORT)
        ),
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": names.metadata(name, topology.namespace),
            "spec": {"podSelector": {"matchLabels": {names.PART_OF: "redis"}}, **spec},
        }
        for name, spec in policies.items()
    ]


def _admission(clients: Iterable[Client], ports: Iterable[int]) -> Object:
    """Ingress from clients to ports. No client: a rule for nobody, not for everybody."""
    peers = [_peer(client) for client in clients]
    rules = [{"from": peers, "ports": [{"port": port} for port in ports]}] if peers else []
    return {"policyTypes": ["Ingress"], "ingress": rules}


def _peer(client: Client) -> Object:
    known = {} if client.namespace == "*" else {"kubernetes.io/metadata.name": client.namespace}
    peer: Object = {"namespaceSelector": {"matchLabels": known} if known else {}}
    if client.labels:
        peer["podSelector"] = {"matchLabels": dict(client.labels)}
    return peer


# --- pods ----------------------------------------------------------------------------------------


def pod_security(user: int) -> Object:
    """`securityContext` of a pod whose processes and volumes are of one user and group."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """`securityContext` of a container: no capability, no way to gain one, nothing to write on."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def resources(memory_mib: int, cpus: float, *, limit_cpus: float = 0) -> Object:
    """Requests, and the limit of memory at the same size, so that it is never overcommitted.

    `limit_cpus` 0 is no limit of CPUs.
    """
    memory = f"{memory_mib}Mi"
    limits = {"memory": memory, **({"cpu": f"{int(limit_cpus * 1000)}m"} if limit_cpus else {})}
    return {"requests": {"memory": memory, "cpu": f"{int(cpus * 1000)}m"}, "limits": limits}


def spread(component: str, *more: str) -> Object:
    """Pods of a workload on different nodes and zones, as far as there are some.

    `more` are label keys whose values are spread apart from each other: pods that share one.
    """
    selector = {
        "labelSelector": {"matchLabels": names.selector(component)},
        **({"matchLabelKeys": list(more)} if more else {}),
    }
    constraints = [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", **selector}
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    term = {
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": {"matchLabels": names.selector(component)},
            "topologyKey": "kubernetes.io/hostname",
        },
    }
    affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {"topologySpreadConstraints": constraints, "affinity": affinity}


def mount(name: str, path: str, *, read_only: bool = True) -> Object:
    """A volume's place in a container."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def volumes(*, config_name: str = names.CONFIG, scripts_name: str = names.SCRIPTS) -> list[Object]:
    """Volumes of TLS, access, configuration and scripts, and room for temporary files."""
    return [
        {"name": "tls", "secret": {"secretName": names.TLS, "defaultMode": 0o440}},
        {"name": "access", "secret": {"secretName": names.ACCESS, "defaultMode": 0o440}},
        {"name": "config", "configMap": {"name": config_name}},
        {"name": "scripts", "configMap": {"name": scripts_name, "defaultMode": 0o555}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]


def mounts() -> list[Object]:
    """Where `volumes` are in a container of the Redis image."""
    return [
        mount("tls", config.TLS_PATH),
        mount("access", config.ACCESS_PATH),
        mount("config", config.CONFIG_PATH),
        mount("scripts", config.SCRIPTS_PATH),
        mount("tmp", "/tmp", read_only=False),  # noqa: S108 - a volume of the pod's own
    ]


def password_variable(name: str, user: str) -> Object:
    """An environment variable with a user's password."""
    return {
        "name": name,
        "valueFrom": {"secretKeyRef": {"name": names.ACCESS, "key": user}},
    }


def client_environment(user: str = ADMIN) -> list[Object]:
    """What the scripts' redis-cli signs in with: $REDIS_USER, $REDISCLI_AUTH, $REDIS_TLS_ARGS."""
    return [
        {"name": "REDIS_USER", "value": user},
        password_variable("REDISCLI_AUTH", user),
        {"name": "REDIS_TLS_ARGS", "value": f"--tls --cacert {config.TLS_PATH}/ca.crt"},
    ]


def pod_environment() -> list[Object]:
    """$POD_NAME and $POD_IP."""
    fields = {"POD_NAME": "metadata.name", "POD_IP": "status.podIP"}
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def run(script_name: str, *arguments: str) -> list[str]:
    """A command that runs one of the mounted scripts."""
    return ["/bin/sh", f"{config.SCRIPTS_PATH}/{script_name}", *arguments]


def probe(command: Sequence[str], *, period: int, failures: int, timeout: int = 5) -> Object:
    """A probe by a command; times in seconds."""
    return {
        "exec": {"command": list(command)},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def redis_container(
    topology: RedisTopology,
    command: Sequence[str],
    *,
    ready: Sequence[str],
    before_stop: Sequence[str] = (),
    environment: Sequence[Object] = (),
    ports: Mapping[str, int] | None = None,
) -> Object:
    """A Redis server.

    It is alive while it answers, also that it is loading or busy; it is ready once `ready`
    succeeds; `before_stop` runs before it is told to stop.
    """
    container: Object = {
        "name": "redis",
        "image": topology.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [*pod_environment(), *client_environment(), *environment],
        "ports": [
            {"name": name, "containerPort": port}
            for name, port in (ports or {"redis": names.REDIS_PORT}).items()
        ],
        # A quarter is kept for it, for it is rarely busy; one CPU more is for a child that saves.
        "resources": resources(topology.memory, topology.cpus / 4, limit_cpus=topology.cpus + 1),
        "livenessProbe": probe(run("redis-alive.sh"), period=10, failures=6),
        "readinessProbe": probe(ready, period=2, failures=2),
        "securityContext": container_security(),
        "volumeMounts": [*mounts(), mount(names.CLAIM, config.DATA_PATH, read_only=False)],
    }
    if before_stop:
        container["lifecycle"] = {"preStop": {"exec": {"command": list(before_stop)}}}
    return container


def exporter_container() -> Object:
    """redis_exporter beside a Redis: https://github.com/oliver006/redis_exporter."""
    variables = {
        "REDIS_ADDR": f"rediss://localhost:{names.REDIS_PORT}",
        "REDIS_USER": "exporter",
        "REDIS_EXPORTER_TLS_CA_CERT_FILE": f"{config.TLS_PATH}/ca.crt",
        # `CONFIG GET` would tell the exporter the replicas' password.
        "REDIS_EXPORTER_CONFIG_COMMAND": "-",
        "REDIS_EXPORTER_INCL_SYSTEM_METRICS": "true",
        "REDIS_EXPORTER_WEB_LISTEN_ADDRESS": f"0.0.0.0:{names.EXPORTER_PORT}",
    }
    return {
        "name": "exporter",
        "image": images.REDIS_EXPORTER,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            *({"name": name, "value": value} for name, value in variables.items()),
            password_variable("REDIS_PASSWORD", "exporter"),
        ],
        "ports": [{"name": "metrics", "containerPort": names.EXPORTER_PORT}],
        "resources": resources(64, 0.02),
        "readinessProbe": {
            "httpGet": {"path": "/health", "port": "metrics"},
            "periodSeconds": 10,
        },
        "securityContext": container_security(),
        "volumeMounts": [mount("tls", config.TLS_PATH)],
    }


def pod_template(
    component: str,
    containers: Sequence[Object],
    pod_volumes: Sequence[Object],
    *,
    user: int,
    annotations: Mapping[str, Any],
    grace_seconds: int = 30,
    scrape_port: int = 0,
    placement: Object | None = None,
) -> Object:
    """The template of a workload's pods.

    `annotations` carry digests of what pods read at their start, so that a change restarts them.
    `placement` is `spread` unless given.
    """
    scrape = (
        {"prometheus.io/scrape": "true", "prometheus.io/port": str(scrape_port)}
        if scrape_port
        else {}
    )
    return {
        "metadata": {
            "labels": names.labels(component),
            "annotations": {**scrape, **annotations},
        },
        "spec": {
            "serviceAccountName": names.ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(user),
            "terminationGracePeriodSeconds": grace_seconds,
            **(placement or spread(component)),
            "containers": list(containers),
            "volumes": list(pod_volumes),
        },
    }


def redis_set(
    topology: RedisTopology, count: int, container: Object, annotations: Mapping[str, Any]
) -> Object:
    """The StatefulSet of Redis servers, each with an exporter and a volume of its own.

    Its pods start together: a lost one must not keep others from coming back. They are changed
    one by one, each waited for until it is ready.
    """
    pod_volumes = volumes()
    templates: list[Object] = []
    if topology.persistence == "none":
        pod_volumes.append({"name": names.CLAIM, "emptyDir": {}})
    else:
        # Only a form: `claim` makes the claims, of the size that the settings ask for.
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **({"storageClassName": topology.storage_class} if topology.storage_class else {}),
        }
        templates = [{"metadata": {"name": names.CLAIM}, "spec": spec}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": names.metadata(names.SERVER, topology.namespace, names.SERVER),
        "spec": {
            "serviceName": names.NODES,
            "replicas": count,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": names.selector(names.SERVER)},
            "template": pod_template(
                names.SERVER,
                [container, exporter_container()],
                pod_volumes,
                user=images.REDIS_UID,
                annotations=annotations,
                grace_seconds=GRACE_SECONDS,
                scrape_port=names.EXPORTER_PORT,
            ),
            **({"volumeClaimTemplates": templates} if templates else {}),
        },
    }


def claims(topology: RedisTopology, count: int) -> list[Object]:
    """The volumes of `count` Redis pods; none without persistence."""
    if topology.persistence == "none":
        return []
    return [claim(f"{names.CLAIM}-{names.SERVER}-{n}", topology) for n in range(count)]
