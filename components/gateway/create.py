"""The gateway that the settings ask for: the routes of a file, the dashboard, and Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.gateway import aws, routes, tls
from components.gateway.component import GatewayArgs
from components.gateway.errors import GatewayError
from components.gateway.install import InstallArgs
from components.gateway.rendering import AWAITED, Front, Pods
from components.gateway.workloads import NAMES
from components.kubeflow.objects import CRD_KIND, Object
from components.redis import names as redis_names

_DASHBOARD: Final = "dashboard"
_REDIS: Final = "redis"
_ONE_SERVER: Final = ("standalone", "replicated")
"""Topologies whose writes go to one server, also at a service."""
_INGRESS: Final = ("istio-system", "istio-ingressgateway")
"""The Service behind which oauth2-proxy and Dex ask who comes: nothing goes around them."""


@dataclass(frozen=True)
class Wishes:
    """What the settings say of the gateway, by their names without the first word.

    `routes` is the content of the file, `redis` the `namespace` of Redis in the cluster, "" without
    one; `redis_service` the topology of Redis at a service, "" without one, `front` the
    proxy that clients come by, if there is one.
    """

    install: InstallArgs
    routes: Mapping[str, Any]
    host: str
    tls_secret: str = ""
    acme_email: str = ""
    redis_port: int = 0
    redis: str = ""
    redis_service: str = ""
    replicas: int = 2
    monitors: tuple[str, ...] = ()
    front: Front | None = None
    timeout_minutes: int = 30
    sign_in_host: str = ""
    """The one host at which a provider has people sign in; "" where Dex does, at any."""
    public: aws.Public | None = None
    """What Amazon API Gateway is before; None without it."""

    @property
    def uses_redis(self) -> bool:
        """Whether the gateway's pods connect to Redis."""
        return bool(self.redis_port or self.counted_in_redis)

    @property
    def counted_in_redis(self) -> list[str]:
        """Names of the limits that all pods share."""
        policies = self.routes.get("policies") or ()
        return [one["name"] for one in policies if one.get("scope") == "redis"]

    @property
    def client(self) -> str:
        """The gateway's pods, as a setting `redisClients` names them."""
        names = NAMES[self.install.implementation]
        labels = ",".join(f"{key}={value}" for key, value in names.labels.items())
        return f"{names.namespace}/{labels}"


def read(file: Path) -> dict[str, Any]:
    """The content of a file of routes.

    Raises:
        components.gateway.routes.RoutesError: it can't be read, is not YAML, or can't be used.
    """
    try:
        text = file.read_text()
    except OSError as error:
        raise routes.RoutesError(
            f"gatewayRoutes is {file}, which cannot be read ({error.strerror}); name a YAML file"
        ) from error
    found: Any = routes.load(text, file.name)
    routes.parse(found, file.name)
    return dict(found)


def arguments(wishes: Wishes, others: Sequence[Object]) -> GatewayArgs:
    """What is installed and routed beside `others`, the objects of the platform.

    Raises:
        GatewayError: the routes can't be used, or not as public ones.
    """
    values = {
        key: list(value) if isinstance(value, list) else value
        for key, value in wishes.routes.items()
    }
    dashboard = _routes_dashboard(wishes, values, others)
    if dashboard:
        _add_dashboard(values, wishes, others)
    if wishes.redis_port:
        _add_redis(values, wishes)
    if wishes.counted_in_redis and wishes.install.implementation == "kong":
        _check_counts(wishes)
    try:
        model = routes.parse(values, "gatewayRoutes")
    except routes.RoutesError as error:
        raise GatewayError(str(error)) from error
    if wishes.sign_in_host and (elsewhere := _sign_in_hosts(model) - {wishes.sign_in_host}):
        raise GatewayError(
            f"gatewayRoutes has a policy oidc at {', '.join(sorted(elsewhere))}, but the provider "
            f"sends people back to {wishes.sign_in_host}: route there what they sign in to"
        )
    if not model.routes and not wishes.redis_port:
        raise GatewayError(
            f"gateway is {wishes.install.implementation!r}, but there is nothing to route: name a "
            "file by gatewayRoutes, or add istio-ingressgateway to kubeflowComponents"
        )
    if wishes.front:
        _check_front(model)
    public = wishes.public
    apis = aws.render(model, public) if public else ()
    return GatewayArgs(
        install=wishes.install,
        routes=aws.behind(model, public) if public else model,
        host=wishes.host if dashboard else "",
        replicas=wishes.replicas,
        monitors=wishes.monitors,
        redis=_endpoint(wishes),
        pods=_pods(model, others),
        front=wishes.front,
        timeout_minutes=wishes.timeout_minutes,
        trusted=public.networks if public else (),
        apis=apis,
    )


def _sign_in_hosts(model: routes.Gateway) -> set[str]:
    """Hosts with a route that has people sign in."""
    return {
        host
        for route in model.routes
        for host in route.hosts
        if any(isinstance(policy, routes.Oidc) for policy in model.policies_of(route, host))
    }


def _check_front(model: routes.Gateway) -> None:
    """What is in front speaks HTTP over TLS, with one layer of the gateway.

    Raises:
        GatewayError: a line for everything that it can't lead to.
    """
    front = "awsEdge is set, and CloudFront leads to the gateway by HTTPS alone"
    problems = [
        f"{front}: nothing reaches the listener {one.name!r} of TCP at {one.port}; remove it, or "
        "set awsEdge to none"
        for one in model.listeners
        if isinstance(one, routes.TcpListener)
    ]
    problems += [
        f"{front}: Let's Encrypt can't prove {host.name}; let its tls be of the type ownCa, and "
        "leave gatewayAcmeEmail empty: clients see the certificate of CloudFront"
        for host in model.hosts
        if host.tls and host.tls.type == "acme"
    ]
    if not any(isinstance(one, routes.HttpsListener) for one in model.listeners):
        problems.append(f"{front}: add a listener of the protocol https")
    if model.topology != "single":
        problems.append(
            f"topology is {model.topology!r}: its balancer passes on connections, and can't tell "
            "who comes by CloudFront; set it to single, or awsEdge to none"
        )
    if problems:
        raise GatewayError("\n".join(problems))


def _routes_dashboard(wishes: Wishes, values: Mapping[str, Any], others: Sequence[Object]) -> bool:
    """Whether the dashboard is there, and the file says nothing of its host."""
    named = {host.get("name") for host in values.get("hosts") or ()}
    return (
        bool(wishes.host)
        and wishes.host not in named
        and any(
            body["kind"] == "Service"
            and (body["metadata"].get("namespace"), body["metadata"]["name"]) == _INGRESS
            for body in others
        )
    )


def _add_dashboard(values: dict[str, Any], wishes: Wishes, others: Sequence[Object]) -> None:
    namespace, service = _INGRESS
    # Notebooks speak WebSocket, are given files, and may be silent for long.
    backend = {
        "name": _DASHBOARD,
        "service": {"name": service, "namespace": namespace, "port": 80},
        "protocol": "websocket",
        "timeouts": {"read": "1h", "send": "1h"},
    }
    limits = {"type": "limits", "name": _DASHBOARD, "body": "1Gi"}
    host = {"name": wishes.host, "tls": _tls(wishes, others), "policies": [_DASHBOARD]}
    route = {
        "name": _DASHBOARD,
        "hosts": [wishes.host],
        "backends": [{"name": _DASHBOARD}],
    }
    for part, entry in (
        ("hosts", host),
        ("backends", backend),
        ("routes", route),
        ("policies", limits),
    ):
        values[part] = [*(values.get(part) or ()), entry]


def _tls(wishes: Wishes, others: Sequence[Object]) -> dict[str, str]:
    """The dashboard's certificate: as set, or by cert-manager where Kubeflow brings it."""
    if wishes.tls_secret:
        return {"type": "secret", "name": wishes.tls_secret}
    if wishes.acme_email:
        return {"type": "acme", "email": wishes.acme_email}
    defined = {body["metadata"]["name"] for body in others if body["kind"] == CRD_KIND}
    if "certificates.cert-manager.io" in defined:
        return {"type": "issuer", "kind": "Issuer", "name": tls.AUTHORITY}
    return {"type": "ownCa"}


def _add_redis(values: dict[str, Any], wishes: Wishes) -> None:
    """Connections are passed on as they are: TLS is Redis's own, from end to end."""
    if not wishes.redis:
        raise GatewayError(
            f"gatewayRedisPort is {wishes.redis_port}, but redisTopology is 'none': set it, or "
            "gatewayRedisPort to 0"
        )
    backend = {
        "name": _REDIS,
        "service": {
            "name": redis_names.WRITE,
            "namespace": wishes.redis,
            "port": redis_names.REDIS_PORT,
        },
        "protocol": "tcp",
    }
    listeners = values.get("listeners") or [
        {"protocol": protocol, "name": protocol} for protocol in ("http", "https")
    ]
    listener = {
        "protocol": "tcp",
        "name": _REDIS,
        "port": wishes.redis_port,
        "backend": _REDIS,
    }
    values["listeners"] = [*listeners, listener]
    values["backends"] = [*(values.get("backends") or ()), backend]


def _check_counts(wishes: Wishes) -> None:
    """Kong's open-source edition counts in one server of Redis; it knows no Redis Cluster.

    https://developer.konghq.com/plugins/rate-limiting/
    """
    limits = ", ".join(wishes.counted_in_redis)
    if not wishes.redis and not wishes.redis_service:
        raise GatewayError(
            f"the policies {limits} have scope 'redis', but redisTopology is 'none': set it, or "
            "scope to local"
        )
    if wishes.redis_service not in ("", *_ONE_SERVER):
        raise GatewayError(
            f"the policies {limits} have scope 'redis', but redisTopology is "
            f"{wishes.redis_service!r} at redisProvider 'aws', whose clients must know Redis "
            f"Cluster, which Kong's open-source edition does not: set redisTopology to "
            f"{' or '.join(_ONE_SERVER)}, redisProvider to cluster, or scope to local"
        )


def _endpoint(wishes: Wishes) -> str:
    """Where limits are shared: in the cluster by a name that is known, at a service not yet."""
    if wishes.redis_service:
        return f"{AWAITED}:{redis_names.REDIS_PORT}"
    if not wishes.redis:
        return ""
    host = redis_names.service_host(redis_names.WRITE, wishes.redis)
    return f"{host}:{redis_names.REDIS_PORT}"


def _pods(model: routes.Gateway, others: Sequence[Object]) -> dict[str, Pods]:
    """The pods behind backends that are Services of the platform."""
    services = {
        (body["metadata"].get("namespace"), body["metadata"]["name"]): body["spec"]
        for body in others
        if body["kind"] == "Service" and (body.get("spec") or {}).get("selector")
    }
    found = {}
    for backend in model.backends:
        place = backend.service
        spec = services.get((place.namespace, place.name)) if place else None
        for port in (spec or {}).get("ports") or ():
            if place and spec and port["port"] == place.port:
                key = f"{place.namespace}/{place.name}:{place.port}"
                found[key] = Pods(dict(spec["selector"]), port.get("targetPort", port["port"]))
    return found
