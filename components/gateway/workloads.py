"""What is changed in upstream's manifests, and what is put beside them. Pure.

Every pod passes the restricted Pod Security Standard, with a root file system that is read only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from components.gateway import images
from components.gateway.nginx_global import CONFIG_MAP, GLOBAL_CONFIGURATION, container_port
from components.gateway.rendering import Layer

Object = dict[str, Any]
_PART_OF: Final = {"app.kubernetes.io/part-of": "gateway"}
_SECURITY: Final = "pod-security.kubernetes.io/enforce"
_PRIVILEGED: Final = 1024
"""Ports below need a right to listen at them."""


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

    def of(self, layer: Layer) -> Names:
        """The names in a layer of a chain, each of which is an installation of its own."""
        if layer == "all":
            return self
        return replace(
            self,
            ingress_class=f"{self.ingress_class}-{layer}",
            deployment=f"{self.deployment}-{layer}",
            service=f"{self.service}-{layer}",
            labels={key: f"{value}-{layer}" for key, value in self.labels.items()},
        )


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
    `environment` is what Kong's containers are told for the routes, by container. `layer` is the
    part of a chain, and `before` the layer that connects to it ("" for clients).
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
    layer: Layer = "all"
    before: Layer | Literal[""] = ""

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
    names = NAMES["nginx"].of(shape.layer)
    settings = settings_name(CONFIG_MAP, shape.layer)
    listeners = settings_name(GLOBAL_CONFIGURATION, shape.layer)
    arguments = [
        f"-nginx-configmaps=$(POD_NAMESPACE)/{settings}",
        f"-ingress-class={names.ingress_class}",
        "-report-ingress-status",
        f"-external-service={names.service}",
        f"-default-server-tls-secret=$(POD_NAMESPACE)/{shape.certificate}",
        f"-leader-election-lock-name={names.deployment}-leader-election",
        *([f"-global-configuration=$(POD_NAMESPACE)/{listeners}"] if shape.streams else []),
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
        "ports": _stream_ports(shape),
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
    return [*_common("nginx", shape), _deployment("nginx", shape, pod)]


# --- Kong ----------------------------------------------------------------------------------------


def kong(shape: Shape) -> list[Object]:
    """Patches of Kong/kubernetes-ingress-controller: `config/base`, a pod of both."""
    names = NAMES["kong"].of(shape.layer)
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
        "ports": _stream_ports(shape),
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
                "CONTROLLER_ELECTION_ID": f"{names.deployment}.konghq.com",
                "CONTROLLER_PUBLISH_SERVICE": f"{names.namespace}/{names.service}",
            },
            shape.environment.get("ingress-controller", ()),
        ),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": security,
    }
    pod: Object = {
        "containers": [proxy, controller],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in folders),
            *({"name": name, "secret": {"secretName": secret}} for name, secret in secrets.items()),
        ],
    }
    if any(port.target < _PRIVILEGED for port in shape.streams):
        # The restricted standard allows it, and no capability.
        pod["securityContext"] = {
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
        }
    return [*_common("kong", shape), _deployment("kong", shape, pod)]


def gateway_api(shape: Shape) -> list[str]:
    """The Gateway API's definitions, at the release that the controller is built with; routes of
    TCP are in the experimental channel, which holds the standard one's too."""
    channel = "/experimental" if shape.streams else ""
    return [f"https://github.com/kubernetes-sigs/gateway-api/config/crd{channel}?ref=v1.3.0"]


# --- both ----------------------------------------------------------------------------------------


def beside(implementation: str, shape: Shape) -> list[Object]:
    """What upstream has not: who may connect, and how many pods may be away at once."""
    base, names = NAMES[implementation], NAMES[implementation].of(shape.layer)
    pods = {"matchLabels": dict(names.labels)}
    metadata = {"namespace": names.namespace, "labels": dict(_PART_OF)}
    targets = sorted({port.target for port in shape.ports})
    rules: list[Object] = [{"ports": [{"port": port, "protocol": "TCP"} for port in targets]}]
    if shape.before:
        # Their word for the client's address is taken.
        peer = {"matchLabels": dict(base.of(shape.before).labels)}
        rules[0]["from"] = [{"podSelector": peer}]
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
        "metadata": {"name": settings_name("gateway", shape.layer), **metadata},
        "spec": {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": rules},
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": names.deployment, **metadata},
        "spec": {"maxUnavailable": 1, "selector": pods},
    }
    return [policy, budget] if shape.replicas > 1 else [policy]


def settings_name(name: str, layer: Layer) -> str:
    """The name in a layer of what there is one of in each."""
    return name if layer == "all" else f"{name}-{layer}"


def placed(bodies: Sequence[Object], implementation: str, layer: Layer) -> list[Object]:
    """Objects of an installation, or of its routes, under their names in a layer."""
    if layer == "all":
        return list(bodies)
    base = NAMES[implementation]
    names = base.of(layer)
    renamed = {
        ("Deployment", base.deployment): names.deployment,
        ("Service", base.service): names.service,
        ("IngressClass", base.ingress_class): names.ingress_class,
        ("ConfigMap", CONFIG_MAP): settings_name(CONFIG_MAP, layer),
        ("GlobalConfiguration", GLOBAL_CONFIGURATION): settings_name(GLOBAL_CONFIGURATION, layer),
    }
    found = []
    for body in bodies:
        key = (body["kind"], body["metadata"]["name"])
        copy = deepcopy(body) if key in renamed else body
        copy["metadata"]["name"] = renamed.get(key, key[1])
        if copy is not body and key[0] == "Service":
            copy["spec"]["selector"] |= names.labels
        elif key[0] == "Deployment":
            copy["spec"]["selector"]["matchLabels"] |= names.labels
            copy["spec"]["template"]["metadata"]["labels"] |= names.labels
        found.append(copy)
    return found


def _common(implementation: str, shape: Shape) -> list[Object]:
    """The namespace takes only restricted pods; the Service has the listeners' ports."""
    names = NAMES[implementation]
    ports: list[Object] = [
        {"name": port.name, "port": port.number, "targetPort": port.target, "protocol": "TCP"}
        for port in shape.ports
    ]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.service, "namespace": names.namespace},
        "spec": {
            "type": "ClusterIP" if shape.before else "NodePort",
            "ports": [{"$patch": "replace"}, *ports],
        },
    }
    if shape.load_balancer and not shape.before:
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


def _deployment(implementation: str, shape: Shape, pod: Object) -> Object:
    base, names = NAMES[implementation], NAMES[implementation].of(shape.layer)
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(names.labels)},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": base.deployment, "namespace": names.namespace},
        "spec": {
            "replicas": shape.replicas,
            # None of those that serve goes before another one is ready.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 60,
                    "topologySpreadConstraints": [spread],
                    **pod,
                    "securityContext": security | pod.get("securityContext", {}),
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


def _stream_ports(shape: Shape) -> list[Object]:
    # Without names, which would have to be short and other ones than upstream's.
    return [{"containerPort": port.target, "protocol": "TCP"} for port in shape.streams]


def environment(values: Mapping[str, str]) -> list[Object]:
    """Entries of a container's `env`."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _environment(values: Mapping[str, str], more: Sequence[Object]) -> list[Object]:
    """`more` on top of `values`."""
    entries = {entry["name"]: entry for entry in [*environment(values), *more]}
    return list(entries.values())
