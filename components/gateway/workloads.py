"""What is changed in upstream's manifests, and what is put beside them. Pure.

Every pod passes the restricted Pod Security Standard, with a root file system that is read only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.gateway import images
from components.gateway.nginx_global import container_port

Object = dict[str, Any]
_PART_OF: Final = {"app.kubernetes.io/part-of": "gateway"}
_SECURITY: Final = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Port:
    """A port of the gateway's Service: at `number` clients come, at `target` pods listen.

    `stream` is for plain TCP, whose ports only some installations have.
    """

    name: str
    number: int
    target: int
    stream: bool = False


@dataclass(frozen=True)
class Names:
    """What upstream's manifests call the things that others name."""

    namespace: str
    ingress_class: str
    deployment: str
    service: str
    labels: Mapping[str, str]
    """Of the pods."""
    http: int
    https: int
    """Ports of the pods."""
    metrics: tuple[int, ...]
    stream: Callable[[int], int]
    """Where pods listen for a port of TCP of the Service."""


NAMES: Final[Mapping[str, Names]] = {
    "nginx": Names(
        "nginx-ingress",
        "nginx",
        "nginx-ingress",
        "nginx-ingress",
        {"app": "nginx-ingress"},
        80,
        443,
        (9113,),
        container_port,
    ),
    "kong": Names(
        "kong",
        "kong",
        "ingress-kong",
        "kong-proxy",
        {"app": "ingress-kong"},
        8000,
        8443,
        (8100, 10255),
        # Kong knows a route by the port at which it came.
        lambda port: port,
    ),
}


@dataclass(frozen=True)
class Shape:
    """What of an installation is asked for.

    `monitors` are namespaces whose pods may read metrics. `certificate` is the Secret of the
    gateway's own certificate, shown to those who ask for no known host. `acme` is whether
    challenges of cert-manager are answered. `watched` are namespaces that routes lead to, and
    `environment` is what Kong's containers are told for the routes, by container.
    """

    ports: tuple[Port, ...]
    replicas: int
    load_balancer: bool
    certificate: str
    monitors: tuple[str, ...] = ()
    acme: bool = False
    redis_secret: str = ""
    """Of the Redis where rates are counted; "" for none."""
    watched: tuple[str, ...] = ()
    environment: Mapping[str, Sequence[Object]] = field(default_factory=dict)

    @property
    def streams(self) -> tuple[Port, ...]:
        """The ports of plain TCP."""
        return tuple(port for port in self.ports if port.stream)


def image(name: str, reference: str) -> dict[str, str]:
    """An entry of kustomize's `images`: what upstream calls `name` is `reference`."""
    repository, _, digest = reference.partition("@")
    repository, _, tag = repository.partition(":")
    # kustomize writes a digest instead of a tag; the tag stays readable in `images`.
    return {
        "name": name,
        "newName": repository,
        **({"digest": digest} if digest else {"newTag": tag}),
    }


# --- F5 NGINX Ingress Controller -----------------------------------------------------------------

_NGINX_FOLDERS: Final = {
    "nginx-etc": "/etc/nginx",
    "nginx-cache": "/var/cache/nginx",
    "nginx-lib": "/var/lib/nginx",
    "nginx-lib-state": "/var/lib/nginx/state",
    "nginx-log": "/var/log/nginx",
}


def nginx(shape: Shape) -> list[Object]:
    """Patches of nginx/kubernetes-ingress: `deployments/`."""
    names = NAMES["nginx"]
    arguments = [
        "-nginx-configmaps=$(POD_NAMESPACE)/nginx-config",
        f"-ingress-class={names.ingress_class}",
        "-report-ingress-status",
        f"-external-service={names.service}",
        f"-default-server-tls-secret=$(POD_NAMESPACE)/{shape.certificate}",
        *(["-global-configuration=$(POD_NAMESPACE)/nginx-configuration"] if shape.streams else []),
        "-enable-prometheus-metrics",
        "-enable-telemetry-reporting=false",
        "-log-format=json",
        *(["-enable-cert-manager"] if shape.acme else []),
        # They are generated of the model; where others may write them is not watched.
        "-enable-snippets",
        f"-watch-namespace={','.join(sorted({names.namespace, *shape.watched}))}",
    ]
    security = _container_security(images.NGINX_UID)
    bind = {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}
    # Upstream's way to a file system that is read only: the image's files are copied once.
    copy = {
        "name": "init-nginx-ingress",
        "image": images.NGINX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cp", "-vdR", "/etc/nginx/.", "/mnt/etc"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": security,
        "volumeMounts": [{"name": "nginx-etc", "mountPath": "/mnt/etc"}],
    }
    container = {
        "name": "nginx-ingress",
        "args": arguments,
        "ports": [
            {"name": port.name, "containerPort": port.target, "protocol": "TCP"}
            for port in shape.streams
        ],
        "resources": {"limits": {"memory": "1Gi"}},
        "securityContext": {**security, **bind},
        "volumeMounts": [
            {"name": name, "mountPath": path} for name, path in _NGINX_FOLDERS.items()
        ],
    }
    pod = {
        "initContainers": [copy],
        "containers": [container],
        "volumes": [{"name": name, "emptyDir": {}} for name in _NGINX_FOLDERS],
    }
    return [*_common(names, shape), _deployment(names, shape, pod)]


# --- Kong ----------------------------------------------------------------------------------------


def kong(shape: Shape) -> list[Object]:
    """Patches of Kong/kubernetes-ingress-controller: `config/base`, a pod of both."""
    names = NAMES["kong"]
    security = _container_security(images.KONG_UID)
    proxy_environment = {
        "KONG_PREFIX": "/kong-prefix",
        "KONG_ANONYMOUS_REPORTS": "off",
        # Who knows no host sees the gateway's own certificate.
        "KONG_SSL_CERT": "/tls/tls.crt",
        "KONG_SSL_CERT_KEY": "/tls/tls.key",
        "KONG_STREAM_LISTEN": ", ".join(f"0.0.0.0:{p.target}" for p in shape.streams) or "off",
    }
    folders = {"kong-prefix": "/kong-prefix", "kong-tmp": "/tmp"}  # noqa: S108 - in the pod
    secrets = {"tls": shape.certificate}
    if shape.redis_secret:
        secrets["redis"] = shape.redis_secret
        proxy_environment["KONG_LUA_SSL_TRUSTED_CERTIFICATE"] = "system,/redis/ca.crt"
    proxy = {
        "name": "proxy",
        "env": _environment(proxy_environment, shape.environment.get("proxy", ())),
        "ports": [
            {"name": port.name, "containerPort": port.target, "protocol": "TCP"}
            for port in shape.streams
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": security,
        "volumeMounts": [
            *({"name": name, "mountPath": path} for name, path in folders.items()),
            *({"name": name, "mountPath": f"/{name}", "readOnly": True} for name in secrets),
        ],
    }
    controller = {
        "name": "ingress-controller",
        "env": _environment(
            {
                "CONTROLLER_INGRESS_CLASS": names.ingress_class,
                "CONTROLLER_ANONYMOUS_REPORTS": "false",
                "CONTROLLER_LOG_FORMAT": "json",
            },
            shape.environment.get("ingress-controller", ()),
        ),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": security,
    }
    pod = {
        "containers": [proxy, controller],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in folders),
            *({"name": name, "secret": {"secretName": secret}} for name, secret in secrets.items()),
        ],
    }
    return [*_common(names, shape), _deployment(names, shape, pod)]


def gateway_api(shape: Shape) -> list[str]:
    """The Gateway API's definitions, at the release that the controller is built with; routes of
    TCP are in the experimental channel, which holds the standard one's too."""
    channel = "/experimental" if shape.streams else ""
    return [f"https://github.com/kubernetes-sigs/gateway-api/config/crd{channel}?ref=v1.3.0"]


# --- both ----------------------------------------------------------------------------------------


def beside(implementation: str, shape: Shape) -> list[Object]:
    """What upstream has not: who may connect, and how many pods may be away at once."""
    names = NAMES[implementation]
    pods = {"matchLabels": dict(names.labels)}
    metadata = {"namespace": names.namespace, "labels": dict(_PART_OF)}
    targets = sorted({port.target for port in shape.ports})
    rules: list[Object] = [{"ports": [{"port": port, "protocol": "TCP"} for port in targets]}]
    if shape.monitors:
        peers = [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
            for name in shape.monitors
        ]
        ports = [{"port": port, "protocol": "TCP"} for port in names.metrics]
        rules.append({"from": peers, "ports": ports})
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "gateway", **metadata},
        "spec": {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": rules},
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": names.deployment, **metadata},
        "spec": {"maxUnavailable": 1, "selector": pods},
    }
    return [policy, budget] if shape.replicas > 1 else [policy]


def _common(names: Names, shape: Shape) -> list[Object]:
    """The namespace takes only restricted pods; the Service has the listeners' ports."""
    ports: list[Object] = [
        {"name": port.name, "port": port.number, "targetPort": port.target, "protocol": "TCP"}
        for port in shape.ports
    ]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.service, "namespace": names.namespace},
        "spec": {"type": "NodePort", "ports": [{"$patch": "replace"}, *ports]},
    }
    if shape.load_balancer:
        # With Local, pods see the client's address, and no node passes connections to another.
        service["spec"] |= {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
        # Its address is an output, so it is waited for.
        service["metadata"]["annotations"] = {
            "pulumi.com/skipAwait": "false",
            "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
        }
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": names.namespace, "labels": {**_PART_OF, _SECURITY: "restricted"}},
    }
    return [namespace, service]


def _deployment(names: Names, shape: Shape, pod: Object) -> Object:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(names.labels)},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.deployment, "namespace": names.namespace},
        "spec": {
            "replicas": shape.replicas,
            # None of those that serve goes before another one is ready.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": 60,
                    "topologySpreadConstraints": [spread],
                    **pod,
                }
            },
        },
    }


def _container_security(user: int) -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": user,
    }


def environment(values: Mapping[str, str]) -> list[Object]:
    """Entries of a container's `env`."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _environment(values: Mapping[str, str], more: Sequence[Object]) -> list[Object]:
    """`more` on top of `values`."""
    entries = {entry["name"]: entry for entry in [*environment(values), *more]}
    return list(entries.values())
