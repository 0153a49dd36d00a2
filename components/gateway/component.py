"""The gateway on a cluster: from upstream's manifests and the model of routes to Pulumi's graph.

Everything up to the plan is pure or only reads files.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pulumi

from components.cluster.base import Backend, Balanced, Cluster
from components.gateway import access, credentials, install, tls
from components.gateway.aws import Api
from components.gateway.errors import GatewayError
from components.gateway.features import Implementation, Lacking
from components.gateway.nginx_global import CONFIG_MAP
from components.gateway.rendering import AWAITED, Front, Layer, Pods, Target
from components.gateway.routes import Gateway as Routes
from components.gateway.routes import HttpListener, HttpsListener, TcpListener
from components.gateway.workloads import (
    NAMES,
    Names,
    Port,
    Shape,
    environment,
    placed,
    settings_name,
)
from components.kubeflow.manifests import Manifests, ManifestsArgs
from components.kubeflow.objects import CRD_KIND, Kinds, Object, Ref
from components.kubeflow.plan import Plan, plan
from components.kubeflow.rules import Edge, Rule
from components.platform_provider import GatewayAccess
from components.redis import parts
from components.redis.component import Installation, Redis, digest

Progress = Callable[[str], None]
_LOCAL_PORT: Final = 8443
_MARK: Final = "ml-platform/certificate"
"""Annotation of pods: a digest of the certificate that they were started with."""


@dataclass(frozen=True)
class GatewayArgs:
    """What is installed, and what it routes.

    `host` is the one that `url` names, "" for the first of the routes. `monitors` are namespaces
    whose pods may read metrics. `redis`, `pods` and `trusted` are those of `Target`; `apis` are
    before the gateway. `front` is the proxy that clients come by, None if they come by themselves.
    `timeout_minutes` is how long one object may take to become ready.
    """

    install: install.InstallArgs
    routes: Routes
    host: str = ""
    replicas: int = 2
    monitors: tuple[str, ...] = ()
    redis: str = ""
    pods: Mapping[str, Pods] = field(default_factory=dict)
    front: Front | None = None
    timeout_minutes: int = 30
    trusted: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The installations, from the clients to the backends."""
        return ("all",) if self.routes.topology == "single" else ("balancer", "proxy", "gateway")

    @property
    def names(self) -> Names:
        """What the installation that clients come to calls things."""
        return self.names_of(self.layers[0])

    def names_of(self, layer: Layer) -> Names:
        """What an installation calls things."""
        return NAMES[self.install.implementation].of(layer)

    def replicas_of(self, layer: Layer) -> int:
        """The pods of an installation: of a chain, the routes' file says it for each."""
        chain = self.routes.chain
        counts = {"balancer": chain.balancers, "proxy": chain.proxies, "gateway": chain.gateways}
        return counts.get(layer, self.replicas)


def checked(
    args: GatewayArgs, others: Sequence[Object], progress: Progress = lambda _: None
) -> None:
    """See that the gateway can be planned beside `others`, the rest of the platform.

    Raises:
        GatewayError, SourceError, RenderError, PlanError: whatever is wrong, before anything is
            made.
    """
    defined = {body["metadata"]["name"] for body in others if body["kind"] == CRD_KIND}
    hosts = tls.asks_cert_manager(args.routes)
    if hosts and "certificates.cert-manager.io" not in defined:
        raise GatewayError(
            f"the certificate of {', '.join(hosts)} is cert-manager's, which kubeflowComponents "
            "leaves out; add cert-manager to it, or give the host tls of type ownCa or secret"
        )
    values = dict.fromkeys(access.wanted(args.routes), "")
    secrets = [
        credentials.certificate(args.names.namespace, "", ""),
        *credentials.objects(
            args.routes, args.install.implementation, args.names.namespace, values
        ),
    ]
    try:
        bodies = objects(args, load_balancer=False, progress=progress)
    except Lacking as error:
        raise GatewayError(str(error)) from error
    _plan(args, [*others, *bodies, *secrets])


def objects(
    args: GatewayArgs, *, load_balancer: bool, progress: Progress = lambda _: None
) -> list[dict[str, Any]]:
    """The gateway's objects without its Secrets: the installation, certificates, and the routes.

    Raises:
        Lacking, SourceError, RenderError: as the steps do.
    """
    bodies: list[dict[str, Any]] = []
    lacking: list[str] = []
    for layer in args.layers:
        try:
            bodies += _installation(args, layer, load_balancer, progress)
        except Lacking as error:
            lacking += str(error).splitlines()
    if lacking:
        raise Lacking("\n".join(dict.fromkeys(lacking)))
    # Certificates are shown, and proven by ACME, where TLS ends.
    ends = args.names_of("all" if args.layers == ("all",) else "proxy")
    bodies += tls.objects(args.routes, ends.namespace, ends.ingress_class)
    # What is rendered takes the place of upstream's, like an empty ConfigMap of settings.
    kinds = Kinds(bodies)
    return list({kinds.ref(body): body for body in bodies}.values())


def _installation(
    args: GatewayArgs, layer: Layer, load_balancer: bool, progress: Progress
) -> list[dict[str, Any]]:
    """The objects of a layer: what is installed, and what it is told of the routes."""
    names, routes, implementation = args.names_of(layer), args.routes, args.install.implementation
    order = args.layers
    place = order.index(layer)
    before = order[place - 1] if place else ""
    target = Target(
        namespace=names.namespace,
        ingress_class=names.ingress_class,
        layer=layer,
        upstream=args.names_of(order[place + 1]).service if place + 1 < len(order) else "",
        tls_secrets=tls.secret_names(routes),
        credentials=credentials.names(routes, implementation),
        redis=args.redis,
        redis_secret=credentials.REDIS,
        **_trust(args, before),
        proxy_protocol=before == "balancer",
        load_balancers=load_balancer,
        name=settings_name("gateway", layer),
        pods=args.pods,
    )
    # First: it tells what the implementation lacks.
    rendered = _renderer(implementation)(routes, target)
    counts = access.shares(routes) and layer in ("all", "gateway")
    shape = Shape(
        ports=_ports(args, layer),
        replicas=args.replicas_of(layer),
        load_balancer=load_balancer,
        certificate=tls.OWN_SECRET,
        monitors=args.monitors,
        acme=tls.asks_acme(routes) and layer in ("all", "proxy"),
        redis_secret=credentials.REDIS if counts else "",
        watched=_watched(routes, target),
        environment=_environment(args, target) if implementation == "kong" else {},
        layer=layer,
        before=before,
    )
    return [
        *install.objects(args.install, shape, progress),
        *placed(rendered, implementation, layer),
    ]


def _trust(args: GatewayArgs, before: Layer | Literal[""]) -> dict[str, Any]:
    """Whose word a layer takes for the client's address: of the layer before, or of the front."""
    if before:
        # Nobody but the layer before may connect.
        return {"trusted": ("0.0.0.0/0", "::/0")}
    if args.front:
        return {"trusted": args.front.networks, "client_header": args.front.header}
    return {"trusted": args.trusted}


class Gateway(pulumi.ComponentResource):
    """The gateway: every object a resource of its own, in the order that the API server needs.

    `others` are the objects of the platform, `made` their resources: what of the gateway lives in
    their namespaces, or is of their kinds, comes after them. `redis` is where limits are shared.
    """

    url: str
    """Of `GatewayArgs.host`: at once where it has an address, else while `port_forward` runs."""
    address: pulumi.Output[str]
    """Host name or IP address that the cluster's load balancer gave; "" without one."""
    service: Balanced
    """What clients come to."""
    backend: Backend | None
    """Where clients' TLS arrives; None if the routes listen to none."""
    port_forward: str
    """The command that brings the gateway to this machine, at the port of `url`."""
    ca_certificate: pulumi.Output[str]
    """PEM of the gateway's own authority; no secret."""
    credentials: pulumi.Output[dict[str, str]]
    """Keys and passwords of consumers, by `key-<consumer>` and `password-<consumer>`; a secret."""
    resources: Mapping[Ref, pulumi.Resource]
    """A resource for each object and each gate, those of the others too."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        args: GatewayArgs,
        others: Sequence[Object] = (),
        made: Mapping[Ref, pulumi.Resource] | None = None,
        redis: Installation | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlplatform:gateway:Gateway", name, None, opts)
        names, implementation = args.names, args.install.implementation
        balanced = cluster.capabilities.load_balancer and not args.front
        wanted = access.wanted(args.routes)
        generated = GatewayAccess(
            f"{name}-access",
            installation=names.namespace,
            names=tls.own_names(args.routes, f"{names.service}.{names.namespace}.svc"),
            credentials=wanted,
            opts=pulumi.ResourceOptions(
                parent=self, provider=cluster.platform, deleted_with=cluster.deleted_with
            ),
        )
        values = {field: _hidden(generated.credential(field)) for field in wanted}
        chain, key = _hidden(generated.certificate), _hidden(generated.key)
        secrets = [
            credentials.certificate(names.namespace, chain, key),
            *credentials.objects(args.routes, implementation, names.namespace, values, _joined),
        ]
        made = dict(made or {})
        if isinstance(redis, Redis):
            # What is routed to Redis may live beside it.
            namespace = redis.topology.namespace
            others = [*others, parts.namespace(namespace, redis.topology.pod_security)]
            made[Ref("Namespace", "", "", namespace)] = redis.account
        if redis and access.shares(args.routes):
            password, authority = redis.access.app_password, redis.ca_certificate
            secrets.append(credentials.redis(names.namespace, _hidden(password), authority))
        bodies = objects(args, load_balancer=balanced)
        if redis and args.redis.startswith(AWAITED):
            bodies = [_told(body, redis.write_endpoint) for body in bodies]
        if implementation == "kong":
            # Kong reads its own certificate when it starts; NGINX's controller watches the Secret.
            mark = pulumi.Output.unsecret(generated.certificate.apply(lambda pem: digest([pem])))
            bodies = [_marked(body, mark) for body in bodies]
        manifests = Manifests(
            name,
            ManifestsArgs(
                _plan(args, [*others, *bodies, *secrets]),
                cluster,
                args.install.cache_dir / "definitions",
                f"{args.timeout_minutes}m",
                made,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.resources = manifests.resources
        self.ca_certificate = pulumi.Output.unsecret(generated.ca_certificate)
        self.credentials = pulumi.Output.secret(pulumi.Output.all(**values))
        service: Any = self.resources[Ref("Service", "", names.namespace, names.service)]
        self.service = Balanced(names.namespace, names.service, service)
        self.address = pulumi.Output.from_input("")
        if balanced:
            self.address = service.status.apply(_address)
        self.backend = _backend(args, service)
        self.url = _url(args, balanced or bool(args.front))
        self._apis = [f"https://{api.host}" for api in args.apis]
        self.port_forward = port_forward_command(names)
        self.register_outputs(self.outputs)

    @property
    def outputs(self) -> dict[str, pulumi.Input[Any]]:
        """What a stack exports; the credentials are a secret."""
        return {
            "gatewayUrl": self.url,
            "gatewayAddress": self.address,
            "gatewayPortForward": self.port_forward,
            "gatewayCaCertificate": self.ca_certificate,
            "gatewayCredentials": self.credentials,
            **({"gatewayApis": self._apis} if self._apis else {}),
        }


def _environment(args: GatewayArgs, target: Target) -> dict[str, list[dict[str, Any]]]:
    """What Kong's containers are told for these routes."""
    from components.gateway import kong_settings

    names = args.names_of(target.layer)
    proxy = kong_settings.proxy(args.routes, target, http=names.http, https=names.https)
    return {
        "proxy": [*environment(proxy), *kong_settings.proxy_secrets(args.routes, target)],
        "ingress-controller": environment(kong_settings.controller(args.routes, target)),
    }


def _watched(routes: Routes, target: Target) -> tuple[str, ...]:
    """The namespaces of everything that is routed to."""
    services = [s for backend in routes.backends for s in (backend.service, backend.backup) if s]
    found = {service.namespace for service in services}
    if any(policy.type == "oidc" for policy in routes.policies):
        found.add(target.oidc_service.partition("/")[0])
    return tuple(sorted(found))


def _renderer(
    implementation: Implementation,
) -> Callable[[Routes, Target], list[dict[str, Any]]]:
    render: Callable[[Routes, Target], list[dict[str, Any]]] = importlib.import_module(
        f"components.gateway.{implementation}"
    ).render
    return render


def port_forward_command(names: Names, port: int = _LOCAL_PORT) -> str:
    """The command that brings the gateway's TLS to a local port until it is stopped."""
    return f"kubectl port-forward --namespace {names.namespace} service/{names.service} {port}:443"


def _told(body: dict[str, Any], endpoint: pulumi.Input[str]) -> dict[str, Any]:
    """The same with the host of Redis, `host:port`, where it was awaited."""

    def told(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return {key: told(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [told(entry) for entry in value]
        return host if value == AWAITED else value

    host = pulumi.Output.from_input(endpoint).apply(lambda text: text.rpartition(":")[0])
    found: dict[str, Any] = told(body)
    return found


def _marked(body: dict[str, Any], mark: pulumi.Output[str]) -> dict[str, Any]:
    """A workload whose pods are made anew when `mark` is another one."""
    if body["kind"] != "Deployment":
        return body
    marked = deepcopy(body)
    metadata = marked["spec"]["template"]["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _MARK: mark}
    return marked


def _plan(args: GatewayArgs, bodies: Sequence[Object]) -> Plan:
    """The plan of the gateway and the rest of the platform, which needs nothing of the gateway."""
    kinds = Kinds(bodies)
    there = {kinds.ref(body) for body in bodies}
    edges = []
    for layer in args.layers:
        names = args.names_of(layer)
        workload = Ref("Deployment", "apps", names.namespace, names.deployment)
        # The controller ends at its start without what its arguments name.
        for ref in (
            Ref("ConfigMap", "", names.namespace, settings_name(CONFIG_MAP, layer)),
            Ref("IngressClass", "networking.k8s.io", "", names.ingress_class),
            Ref("Secret", "", names.namespace, tls.OWN_SECRET),
        ):
            if ref in there:
                edges.append(Edge(workload, ref, Rule.POD, "is started with"))
    return plan(bodies, edges)


def _ports(args: GatewayArgs, layer: Layer) -> tuple[Port, ...]:
    """The ports of the Service: a pod has one for HTTP, one for TLS, and one for each of TCP.

    A balancer passes on all of them as TCP; NGINX's to backends itself, Kong's from layer to layer.
    Behind it, NGINX's routes know 80 and 443 only.
    """
    names = args.names_of(layer)
    kong = args.install.implementation == "kong"
    fixed = not kong and layer != "all"
    found = []
    for listener in args.routes.listeners:
        name, number = listener.name, listener.port
        if isinstance(listener, TcpListener) or layer == "balancer":
            if kong or layer in ("all", "balancer"):
                found.append(Port(name, number, names.stream(number), stream=True))
        elif isinstance(listener, HttpListener):
            found.append(Port(name, 80 if fixed else number, names.http))
        elif layer != "gateway":
            found.append(Port(name, 443 if fixed else number, names.https))
    if layer in ("proxy", "gateway") and not any(port.target == names.http for port in found):
        found.append(Port("http", 80, names.http))
    return tuple({port.number: port for port in found}.values())


def _backend(args: GatewayArgs, service: pulumi.Resource) -> Backend | None:
    names = args.names
    for listener in args.routes.listeners:
        if isinstance(listener, HttpsListener):
            return Backend(names.namespace, names.service, listener.port, names.https, service)
    return None


def _url(args: GatewayArgs, balanced: bool) -> str:
    hosts = [host.name for host in args.routes.hosts if "*" not in host.name]
    return url_of(args.host or next(iter(hosts), "localhost"), balanced)


def url_of(host: str, balanced: bool) -> str:
    """Where browsers reach a host of the gateway: of itself, or while `port_forward` runs."""
    return f"https://{host}" if balanced else f"https://{host}:{_LOCAL_PORT}"


def _address(status: Mapping[str, Any] | None) -> str:
    """What a load balancer gave; "" in a preview or a refresh that knows none yet."""
    given = ((status or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return str(given[0].get("hostname") or given[0].get("ip") or "")


def _hidden(value: pulumi.Output[str]) -> pulumi.Output[str]:
    found: pulumi.Output[str] = pulumi.Output.secret(value)
    return found


def _joined(
    values: Mapping[str, Any], make: Callable[[Mapping[str, str]], str]
) -> pulumi.Output[str]:
    def known(values: Mapping[str, str]) -> str:
        # A refresh that runs the program has no values for what isn't in the state yet.
        return "" if None in values.values() else make(values)

    return pulumi.Output.all(**values).apply(known)
