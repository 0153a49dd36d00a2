"""A gateway as objects for Kong: Kong Ingress Controller 3.5, Kong Gateway 3.9 open source. Pure.

Routes are the Gateway API's (`portable`), attached to a Gateway of an unmanaged class. KongPlugin,
KongClusterPlugin, KongUpstreamPolicy and KongConsumer carry what the Gateway API has no words for:
https://developer.konghq.com/kubernetes-ingress-controller/reference/custom-resources/.

The controller turns each match of each rule into a route of the router `expressions`, and ranks
them: exact paths before expressions before prefixes, then by the path's length, a method, the
number of headers; what is equal by the order in one HTTPRoute. So routes of one path are rules of
one HTTPRoute, in the order of the model, and two of its ranks are evened out: an expression that
comes first is made the longest, and beside a route that names methods others name all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.gateway import kong_limits, kong_plugins, kong_settings, kong_upstreams, portable
from components.gateway.access import key_field, password_field
from components.gateway.features import Lacking, check
from components.gateway.kong_plugins import CLASS, GROUP, Plugin
from components.gateway.kong_upstreams import Upstream
from components.gateway.portable import Object
from components.gateway.rendering import Target, layer_of
from components.gateway.routes import (
    AUTHENTICATION,
    ApiKey,
    Basic,
    Cors,
    Gateway,
    HeaderChange,
    Headers,
    Host,
    HttpListener,
    HttpsListener,
    Jwt,
    Policy,
    RoundRobin,
    Route,
    TcpListener,
    Vouched,
)

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def render(gateway: Gateway, target: Target) -> list[Object]:
    """The objects of a gateway, or of one layer of a chain, in an order that is always the same.

    Raises:
        Lacking: it asks for what Kong's open-source edition does not have; a line for each.
    """
    check(gateway, "kong", target.layer)
    _check_endpoints(gateway, target)
    return _Rendering(_ordered(gateway, target), target).objects()


def _ordered(gateway: Gateway, target: Target) -> Gateway:
    """The gateway with all in one order whose order has no meaning: all but routes.

    The last layer of a chain is always asked by plain HTTP.
    """
    listeners = list(gateway.listeners)
    if target.layer == "gateway" and not any(isinstance(one, HttpListener) for one in listeners):
        listeners.append(HttpListener(protocol="http", name="http"))

    def by_name(parts: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(sorted(parts, key=lambda one: one.name))

    routes = tuple(
        route.model_copy(
            update={
                "hosts": tuple(sorted(route.hosts)),
                "methods": tuple(sorted(route.methods)),
                "backends": by_name(route.backends),
                "policies": tuple(sorted(route.policies)),
            }
        )
        for route in gateway.routes
    )
    return gateway.model_copy(
        update={
            "listeners": by_name(listeners),
            "hosts": by_name(gateway.hosts),
            "backends": by_name(gateway.backends),
            "policies": by_name(gateway.policies),
            "routes": routes,
        }
    )


def _check_endpoints(gateway: Gateway, target: Target) -> None:
    """See that what needs the endpoints of a Service has them."""
    lines = []
    for index, backend in enumerate(gateway.backends):
        asked = {
            "balance": not isinstance(backend.balance, RoundRobin),
            "activeHealth": backend.active_health is not None,
            "sessionCookie": backend.session_cookie is not None,
        }
        if not kong_upstreams.has_endpoints(backend, target):
            lines += [
                f"backends[{index}].{name} ({backend.name}) asks for the endpoints of a Service "
                "that has no selector or is not among the platform's: Kong sees one address; "
                f"use NGINX, or remove {name}"
                for name, is_asked in asked.items()
                if is_asked
            ]
    if lines:
        raise Lacking("\n".join(lines))


@dataclass(frozen=True)
class _Placed:
    """A route at one of its hosts: what applies to it there."""

    route: Route
    policies: tuple[Policy, ...]


@dataclass(frozen=True)
class _Group:
    """Routes of one path that are the same at several hosts: one HTTPRoute.

    Also those of gRPC: of a GRPCRoute's backends the controller reads no KongUpstreamPolicy.
    """

    scheme: str
    placed: tuple[_Placed, ...]
    tls: bool
    redirect: bool

    @property
    def key(self) -> tuple[object, ...]:
        """What two groups have in common that are the same."""
        names = tuple(
            (one.route.name, *(policy.name for policy in one.policies)) for one in self.placed
        )
        return self.scheme, self.tls, self.redirect, names


class _Rendering:
    def __init__(self, gateway: Gateway, target: Target) -> None:
        self.gateway, self.target = gateway, target
        self.upstreams = kong_upstreams.upstreams(gateway, target)
        self.plugins: dict[str, Plugin] = {}
        self.anchors = _anchors(gateway)
        self.names: set[str] = set()

    def objects(self) -> list[Object]:
        target = self.target
        routes = [*self._streams(), *self._routes()]
        found = [
            portable.gateway_class(
                target.ingress_class,
                kong_settings.controller_name(target),
                {"konghq.com/gatewayclass-unmanaged": "true"},
            ),
            *self._gateways(),
        ]
        if target.layer in ("all", "gateway"):
            found += [
                *self._grants(),
                *kong_upstreams.objects(self.gateway.backends, target),
                *self._consumers(),
            ]
        found += [plugin.object(target) for plugin in self.plugins.values()]
        if target.layer != "balancer":
            found += [plugin.everywhere(target) for plugin in self._everywhere()]
        return [*found, *routes]

    # --- Gateways --------------------------------------------------------------------------------

    def _sections(self) -> dict[str, Object]:
        """The listeners of all Gateways, by name."""
        found: dict[str, Object] = {}
        for one in self.gateway.listeners:
            if isinstance(one, TcpListener) or self.target.layer == "balancer":
                found[one.name] = portable.listener(one.name, "TCP", one.port)
            elif isinstance(one, HttpListener):
                found[one.name] = portable.listener(one.name, "HTTP", one.port)
            else:
                for host in self.gateway.hosts:
                    if self._has_tls(host):
                        name = _section(one, host)
                        found[name] = portable.listener(
                            name,
                            "HTTPS",
                            one.port,
                            hostname=host.name,
                            secret=self.target.tls_secrets[host.name],
                        )
        return found

    def _gateways(self) -> list[Object]:
        sections = list(self._sections().values())
        size = portable.MOST_LISTENERS
        return [
            portable.gateway(
                _numbered(self.target.name, number),
                self.target.namespace,
                self.target.ingress_class,
                sections[number * size : (number + 1) * size],
            )
            for number in range(-(-len(sections) // size))
        ]

    def _parents(self, names: Sequence[str]) -> list[Object]:
        places = {
            name: number // portable.MOST_LISTENERS for number, name in enumerate(self._sections())
        }
        return [portable.parent(_numbered(self.target.name, places[name]), name) for name in names]

    def _has_tls(self, host: Host) -> bool:
        return host.tls is not None and self.target.layer in ("all", "proxy")

    def _grants(self) -> list[Object]:
        kinds: dict[str, set[str]] = {}
        for backend in self.gateway.backends:
            namespace = self.upstreams[backend.name].namespace
            if namespace != self.target.namespace:
                kinds.setdefault(namespace, set()).update(("HTTPRoute", "TCPRoute"))
        return [
            portable.reference_grant(self.target.name, namespace, names, self.target.namespace)
            for namespace, names in sorted(kinds.items())
        ]

    # --- plain TCP -------------------------------------------------------------------------------

    def _streams(self) -> list[Object]:
        return [
            portable.route(
                "TCPRoute",
                self._name(one.name),
                self.target.namespace,
                self._parents([one.name]),
                [{"backendRefs": [_backend(self._stream_upstream(one))]}],
                annotations=self._stream_plugins(one),
            )
            for one in self.gateway.listeners
            if isinstance(one, TcpListener) or self.target.layer == "balancer"
        ]

    def _stream_upstream(self, one: HttpListener | HttpsListener | TcpListener) -> Upstream:
        if isinstance(one, TcpListener) and self.target.layer in ("all", "gateway"):
            return self.upstreams[one.backend]
        return kong_upstreams.layer(self.target, one.port)

    def _stream_plugins(self, one: HttpListener | HttpsListener | TcpListener) -> dict[str, str]:
        # Behind the first layer a connection is that layer's.
        first = self.target.layer in ("all", "balancer")
        policies = one.policies if isinstance(one, TcpListener) and first else ()
        found = [
            self._keep(kong_plugins.of_connections(policy, self.target))
            for policy in map(self.gateway.policy, policies)
            if policy.type == "access"
        ]
        return {"konghq.com/plugins": ",".join(found)} if found else {}

    # --- routes ----------------------------------------------------------------------------------

    def _routes(self) -> Iterator[Object]:
        if self.target.layer == "balancer":
            return
        hosts: dict[tuple[object, ...], tuple[_Group, list[Host]]] = {}
        for host in self.gateway.hosts:
            for group in self._groups(host):
                hosts.setdefault(group.key, (group, []))[1].append(host)
        listeners = sum(isinstance(one, HttpsListener) for one in self.gateway.listeners) + sum(
            isinstance(one, HttpListener) for one in self.gateway.listeners
        )
        most = max(min(portable.MOST_HOSTNAMES, portable.MOST_PARENTS // max(listeners, 1)), 1)
        for group, found in hosts.values():
            for start in range(0, len(found), most):
                yield self._route(group, found[start : start + most])

    def _groups(self, host: Host) -> Iterator[_Group]:
        """The routes of a host, those of one path together."""
        paths: dict[tuple[str, str, str], list[_Placed]] = {}
        for route in self.gateway.routes_of(host.name):
            policies = tuple(self._policies(route, host))
            key = (self._scheme(route), route.path.type, route.path.value)
            paths.setdefault(key, []).append(_Placed(route, policies))
        tls = self._has_tls(host)
        for (scheme, _, _), placed in paths.items():
            yield _Group(scheme, tuple(placed), tls, tls and host.redirect)

    def _policies(self, route: Route, host: Host) -> Iterator[Policy]:
        """The policies that the layer carries out."""
        found = self.gateway.policies_of(route, host.name)
        if self.target.layer == "all":
            yield from found
            return
        authenticated = any(policy.type in AUTHENTICATION for policy in found)
        for policy in found:
            if layer_of(policy, authenticated=authenticated) == self.target.layer:
                yield policy

    def _scheme(self, route: Route) -> str:
        """As which Kong takes requests: it passes gRPC on as nothing else."""
        protocol = self.gateway.backend(route.backends[0].name).protocol
        inside = self.target.layer != "proxy"
        return "grpc" if inside and protocol in ("grpc", "grpcs") else "http"

    def _route(self, group: _Group, hosts: Sequence[Host]) -> Object:
        rules = [rule for placed in group.placed for rule in self._rules_of(placed, group)]
        first = group.placed[0]
        if len(rules) > portable.MOST_RULES:
            raise Lacking(
                f"routes of the path {first.route.path.value!r} ({first.route.name} and others) "
                f"are {len(rules)} rules, of which the Gateway API has {portable.MOST_RULES}; use "
                "fewer routes, methods or canaries of this path"
            )
        annotations = {"konghq.com/protocols": _protocols(group)}
        if group.redirect:
            # The filter RequestRedirect would lose the scheme in Kong's controller.
            annotations["konghq.com/https-redirect-status-code"] = "301"
        if self._is_outside(first.route):
            annotations["konghq.com/preserve-host"] = "false"
        return portable.route(
            "HTTPRoute",
            self._name(first.route.name),
            self.target.namespace,
            self._parents([name for host in hosts for name in self._attached(group, host)]),
            rules,
            hostnames=[host.name for host in hosts],
            annotations=annotations,
        )

    def _attached(self, group: _Group, host: Host) -> list[str]:
        secure, plain = [], []
        for one in self.gateway.listeners:
            if isinstance(one, HttpsListener) and group.tls:
                secure.append(_section(one, host))
            elif isinstance(one, HttpListener):
                plain.append(one.name)
        return secure if group.redirect else [*plain, *secure]

    def _is_outside(self, route: Route) -> bool:
        return self.target.layer in ("all", "gateway") and any(
            self.gateway.backend(one.name).external for one in route.backends
        )

    # --- rules -----------------------------------------------------------------------------------

    def _rules_of(self, placed: _Placed, group: _Group) -> Iterator[Object]:
        route = placed.route
        filters = self._filters(placed)
        matches = self._matches(route, group)
        if route.canary and self.target.layer != "proxy":
            header = _asked(route)
            asked = [{**match, "headers": [*match.get("headers", ()), header]} for match in matches]
            refs = [_backend(self._upstream(route.canary.backend))]
            yield from _rules(asked, filters, refs)
        yield from _rules(matches, filters, self._refs(route))
        cors = [policy for policy in placed.policies if isinstance(policy, Cors)]
        if cors and route.methods and "OPTIONS" not in route.methods:
            # What a browser asks before is of no method that the route names.
            plugins = kong_plugins.of_route(cors, self.target)
            plugins.append(kong_plugins.refusal(self.target, 405))
            yield {
                "matches": [{**self._match(route), "method": "OPTIONS"}],
                "filters": [self._extension(plugin) for plugin in plugins],
                "backendRefs": self._refs(route),
            }

    def _match(self, route: Route) -> Object:
        path = portable.path_match(route.path, self.anchors.get(route.name, 0))
        headers = portable.header_matches(route.headers)
        return {"path": path, **({"headers": headers} if headers else {})}

    def _matches(self, route: Route, group: _Group) -> list[Object]:
        match = self._match(route)
        methods: tuple[str, ...] = route.methods
        beside = [one.route for one in group.placed if one.route.methods]
        outranked = any(len(one.headers) < len(route.headers) for one in beside)
        found = [{**match, "method": method} for method in methods]
        if not methods:
            found = [{**match, "method": method} for method in _METHODS] if outranked else []
            found.append(match)
        return found

    def _filters(self, placed: _Placed) -> list[Object]:
        """Filters of the Gateway API, and plugins as filters of Kong's own."""
        route = placed.route
        changes = [policy for policy in placed.policies if isinstance(policy, Headers)]
        request = changes[0].request if changes else HeaderChange()
        response = changes[0].response if changes else HeaderChange()
        rewrite = route.rewrite if self.target.layer != "proxy" else None
        plugins = kong_plugins.of_route(placed.policies, self.target)
        filters: list[Object] = []
        if kong_plugins.has_template(request) or (rewrite and "$" in (rewrite.path or "")):
            # One route has one request-transformer, which the controller makes of filters too.
            uri = (rewrite.path or "") if rewrite else ""
            what = "-".join((route.name, *(policy.name for policy in changes)))
            plugins.append(
                kong_plugins.transformer(what, self.target, "request-transformer", request, uri=uri)
            )
        else:
            filters += portable.header_filters("RequestHeaderModifier", request)
            if rewrite:
                filters.append(portable.rewrite_filter(prefix=rewrite.prefix, path=rewrite.path))
        filters += portable.header_filters("ResponseHeaderModifier", response)
        return [*filters, *map(self._extension, plugins)]

    def _refs(self, route: Route) -> list[Object]:
        if self.target.layer == "proxy":
            return [_backend(self._upstream(""))]
        if len(route.backends) == 1:
            return [_backend(self._upstream(route.backends[0].name))]
        return [_backend(self._upstream(one.name), one.weight) for one in route.backends]

    def _upstream(self, backend: str) -> Upstream:
        if self.target.layer == "proxy":
            ports = [one.port for one in self.gateway.listeners if isinstance(one, HttpListener)]
            return kong_upstreams.layer(self.target, ports[0] if ports else 80)
        return self.upstreams[backend]

    # --- plugins ---------------------------------------------------------------------------------

    def _extension(self, plugin: Plugin) -> Object:
        return portable.extension(GROUP, "KongPlugin", self._keep(plugin))

    def _keep(self, plugin: Plugin) -> str:
        self.plugins[plugin.name] = plugin
        return plugin.name

    def _everywhere(self) -> Iterator[Plugin]:
        told, name = self.gateway.observability, self.target.name
        if told.metrics:
            yield Plugin(f"{name}-prometheus", "prometheus", kong_plugins.PROMETHEUS)
        if told.tracing.request_id:
            yield Plugin(f"{name}-correlation-id", "correlation-id", kong_plugins.CORRELATION)
        if told.tracing.endpoint:
            spans = kong_plugins.tracing(told.tracing.endpoint)
            yield Plugin(f"{name}-opentelemetry", "opentelemetry", spans)

    # --- consumers -------------------------------------------------------------------------------

    def _consumers(self) -> list[Object]:
        """Who comes with a key, a password or a token, and the groups of the policies."""
        credentials: dict[str, list[str]] = {}
        groups: list[Object] = []
        for policy in self.gateway.policies:
            if not isinstance(policy, ApiKey | Basic | Jwt) or isinstance(policy, Vouched):
                continue
            group = self._credential(f"{policy.name}-group", "acl", {"group": policy.name})
            groups.append(group)
            if isinstance(policy, Jwt):
                if policy.issuer not in credentials:
                    groups.append(self._issuer(policy))
                    credentials[policy.issuer] = [groups[-1]["metadata"]["name"]]
                credentials[policy.issuer].append(group["metadata"]["name"])
                continue
            field = key_field if isinstance(policy, ApiKey) else password_field
            for consumer in policy.consumers:
                own = self.target.credentials.get(
                    field(consumer), f"{self.target.name}-{field(consumer)}"
                )
                credentials.setdefault(consumer, []).extend((own, group["metadata"]["name"]))
        return [
            *groups,
            *(
                self._consumer(username, list(dict.fromkeys(names)))
                for username, names in credentials.items()
            ),
        ]

    def _issuer(self, policy: Jwt) -> Object:
        key = policy.public_key or ""
        return self._credential(
            f"{policy.name}-issuer",
            "jwt",
            {
                "key": policy.issuer,
                "algorithm": kong_limits.algorithm(key),
                "rsa_public_key": key,
            },
        )

    def _credential(self, what: str, kind: str, data: dict[str, str]) -> Object:
        """A Secret of what is none, as the controller wants it."""
        metadata = portable.metadata(f"{self.target.name}-{what}", self.target.namespace)
        metadata["labels"]["konghq.com/credential"] = kind
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "stringData": data,
        }

    def _consumer(self, username: str, credentials: list[str]) -> Object:
        # An issuer is a consumer by its URL, which is no name of an object.
        policies = {policy.issuer: policy.name for policy in reversed(self._jwts())}
        what = f"{policies[username]}-issuer" if username in policies else username
        return {
            "apiVersion": f"{GROUP}/v1",
            "kind": "KongConsumer",
            "metadata": portable.metadata(
                f"{self.target.name}-{what}",
                self.target.namespace,
                {CLASS: self.target.ingress_class},
            ),
            "username": username,
            "credentials": credentials,
        }

    def _jwts(self) -> list[Jwt]:
        return [
            policy
            for policy in self.gateway.policies
            if isinstance(policy, Jwt) and not isinstance(policy, Vouched)
        ]

    # --- names -----------------------------------------------------------------------------------

    def _name(self, what: str) -> str:
        """A name that no other route has."""
        number = 0
        while (name := _numbered(f"{self.target.name}-{what}", number)) in self.names:
            number += 1
        self.names.add(name)
        return name


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number + 1}" if number else name


def _section(one: HttpsListener, host: Host) -> str:
    """The name of a listener's part for one host."""
    if host.name.startswith("*."):
        return f"wildcard.{one.name}-{host.name[2:]}"
    return f"{one.name}-{host.name}"


def _protocols(group: _Group) -> str:
    if group.redirect:
        return f"{group.scheme}s"
    return f"{group.scheme},{group.scheme}s" if group.tls else group.scheme


def _backend(upstream: Upstream, weight: int | None = None) -> Object:
    return portable.backend(upstream.name, upstream.namespace, upstream.port, weight)


def _rules(
    matches: Sequence[Object], filters: Sequence[Object], refs: Sequence[Object]
) -> Iterator[Object]:
    """A rule, or one for each match where the prefix of a path is replaced."""
    replaces = any(
        one.get("urlRewrite", {}).get("path", {}).get("type") == "ReplacePrefixMatch"
        for one in filters
    )
    for part in [[match] for match in matches] if replaces else [matches]:
        yield {
            "matches": list(part),
            **({"filters": list(filters)} if filters else {}),
            "backendRefs": list(refs),
        }


def _asked(route: Route) -> Any:  # noqa: ANN401
    canary = route.canary
    if canary is None:
        raise AssertionError(route.name)
    if canary.header:
        return {"type": "Exact", "name": canary.header, "value": canary.value}
    return portable.cookie_match(canary.cookie or "", canary.value)


def _anchors(gateway: Gateway) -> dict[str, int]:
    """How many anchors each route's expression needs more, so that the first of a host is the
    longest.
    """
    # The order of `Gateway.routes_of`.
    order = sorted(
        (route for route in gateway.routes if route.path.type == "regex"),
        key=lambda route: (-len(route.headers), not route.methods),
    )
    found: dict[str, int] = {}
    longest: dict[str, int] = {}
    for route in reversed(order):
        length = len(portable.path_match(route.path)["value"])
        needed = max(length, *(longest.get(host, 0) + 1 for host in route.hosts))
        if needed > portable.LONGEST_PATH:
            raise Lacking(
                f"routes of {', '.join(route.hosts)} have more expressions than Kong's controller "
                "can rank; use prefixes, or hosts of their own"
            )
        longest |= dict.fromkeys(route.hosts, needed)
        found[route.name] = needed - length
    return found
