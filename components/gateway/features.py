"""What a gateway may be asked for, and which implementation carries it. Pure.

docs/gateway-matrix.md is made of this table: `python -m components.gateway.features`.

Editions, by the documentation and source of what `images.py` pins. NGINX: nginx/kubernetes-ingress
v5.5.4, `pkg/apis/configuration/validation` (`rejectPlusResourcesInOSS`, `policyFields`), the
templates of `internal/configs/version2`, and nginx.org/en/docs. Kong:
developer.konghq.com/plugins/, where a page with a tier is not of the open-source edition, and
developer.konghq.com/gateway/traffic-control/load-balancing/; sticky sessions came with 3.11 and
failover of targets with 3.12, of which there is no open-source edition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from components.gateway import aws_features, kong_limits
from components.gateway import routes as model
from components.gateway.rendering import Layer
from components.gateway.routes import Gateway

Implementation = Literal["nginx", "kong"]
IMPLEMENTATIONS: Final[Mapping[Implementation, str]] = {
    "nginx": "NGINX (open source)",
    "kong": "Kong (open source)",
}


class Lacking(ValueError):
    """Features that an implementation's open-source edition does not have, a line for each: the
    feature, where it is used, the edition that has it, and what to use instead."""


@dataclass(frozen=True)
class Carried:
    """An implementation has it: `by` what."""

    by: str


@dataclass(frozen=True)
class Missing:
    """An implementation's open-source edition has it not: which `edition` has, and what to use."""

    edition: str
    instead: str


@dataclass(frozen=True)
class Feature:
    """Something to ask for.

    `layer` is the part of a chain that carries it; `portable` whether the Gateway API's standard
    channel has it; `used` tells where a model asks for it.
    """

    name: str
    title: str
    layer: Layer
    nginx: Carried | Missing
    kong: Carried | Missing
    used: Callable[[Gateway], Iterable[str]]
    portable: bool = False

    def support(self, implementation: Implementation) -> Carried | Missing:
        """How an implementation has it."""
        return self.nginx if implementation == "nginx" else self.kong


def lacking(gateway: Gateway, implementation: Implementation, layer: Layer = "all") -> list[str]:
    """A line for each use of a feature that the implementation lacks in that layer."""
    lines = []
    for feature in FEATURES:
        support = feature.support(implementation)
        if isinstance(support, Missing) and layer in {"all", feature.layer}:
            lines += [line(feature, implementation, where) for where in feature.used(gateway)]
    return lines


def line(feature: Feature, implementation: Implementation, where: str) -> str:
    """What is told of a feature that is missing.

    Raises:
        TypeError: the implementation has it.
    """
    support = feature.support(implementation)
    if not isinstance(support, Missing):
        raise TypeError(f"{feature.name} is not missing in {implementation}")
    return (
        f"{where} asks for {feature.title}, which {IMPLEMENTATIONS[implementation]} does not have; "
        f"{support.edition}; use {support.instead} instead"
    )


def check(gateway: Gateway, implementation: Implementation, layer: Layer = "all") -> None:
    """See that the implementation carries all that is asked for.

    Raises:
        Lacking: it does not.
    """
    if lines := lacking(gateway, implementation, layer):
        raise Lacking("\n".join(lines))


def feature(name: str) -> Feature:
    """The feature of that name."""
    return next(one for one in FEATURES if one.name == name)


# --- where a model asks for something ------------------------------------------------------------


def _backends(key: str, asks: Callable[[model.Backend], object]) -> Callable[[Gateway], list[str]]:
    return lambda gateway: [
        f"backends[{index}].{key} ({backend.name})"
        for index, backend in enumerate(gateway.backends)
        if asks(backend)
    ]


def _routes(key: str, asks: Callable[[model.Route], object]) -> Callable[[Gateway], list[str]]:
    return lambda gateway: [
        f"routes[{index}].{key} ({route.name})"
        for index, route in enumerate(gateway.routes)
        if asks(route)
    ]


def _policies(
    kind: type[model.Model], key: str = "type", asks: Callable[[object], object] = lambda _: True
) -> Callable[[Gateway], list[str]]:
    """`asks` is given a policy of that kind."""
    return lambda gateway: [
        f"policies[{index}].{key} ({policy.name})"
        for index, policy in enumerate(gateway.policies)
        if isinstance(policy, kind) and asks(policy)
    ]


def _listeners(kind: type[model.Model]) -> Callable[[Gateway], list[str]]:
    return lambda gateway: [
        f"listeners[{index}] ({listener.name})"
        for index, listener in enumerate(gateway.listeners)
        if isinstance(listener, kind)
    ]


def _redirects_elsewhere(gateway: Gateway) -> Iterator[str]:
    """Hosts that redirect from HTTP, while HTTPS listens at a port that is not 443."""
    ports = {one.port for one in gateway.listeners if isinstance(one, model.HttpsListener)}
    if ports and ports != {443}:
        for index, host in enumerate(gateway.hosts):
            if host.tls and host.redirect:
                yield f"hosts[{index}].redirect ({host.name})"


def _always(_: Gateway) -> list[str]:
    return []


def _hash(by: str) -> Callable[[model.Backend], bool]:
    return lambda one: isinstance(one.balance, model.ConsistentHash) and one.balance.by == by


def _backup_at_random(backend: model.Backend) -> bool:
    return backend.backup is not None and backend.protocol == "tcp"


_UPSTREAM: Final = Carried("upstreams of VirtualServer")
_SNIPPET: Final = "a generated snippet"
_POLICY: Final = "Policy"
_KONG_UPSTREAM: Final = Carried("KongUpstreamPolicy")
_PLUS: Final = "NGINX Plus has it"
_KONG_ENTERPRISE: Final = "Kong Enterprise has it"
_NOBODY: Final = "no edition has it"
_API_HOST: Final = "on AWS a host of awsApiHosts"

FEATURES: Final[tuple[Feature, ...]] = (
    # Load balancing.
    Feature(
        "http",
        "HTTP listeners",
        "balancer",
        Carried("VirtualServer"),
        Carried("HTTPRoute"),
        _listeners(model.HttpListener),
        portable=True,
    ),
    Feature(
        "tcp",
        "TCP listeners",
        "balancer",
        Carried("TransportServer and GlobalConfiguration"),
        Carried("TCPRoute, of the Gateway API's experimental channel"),
        _listeners(model.TcpListener),
    ),
    Feature("roundRobin", "round robin", "gateway", _UPSTREAM, _KONG_UPSTREAM, _always),
    Feature(
        "leastConnections",
        "least connections",
        "gateway",
        _UPSTREAM,
        _KONG_UPSTREAM,
        _backends("balance", lambda one: isinstance(one.balance, model.LeastConnections)),
    ),
    Feature(
        "hashClientAddress",
        "consistent hash by client address",
        "gateway",
        _UPSTREAM,
        _KONG_UPSTREAM,
        _backends("balance", _hash("clientAddress")),
    ),
    Feature(
        "hashHeader",
        "consistent hash by header",
        "gateway",
        _UPSTREAM,
        _KONG_UPSTREAM,
        _backends("balance", _hash("header")),
    ),
    Feature(
        "hashCookie",
        "consistent hash by cookie",
        "gateway",
        _UPSTREAM,
        _KONG_UPSTREAM,
        _backends("balance", _hash("cookie")),
    ),
    Feature(
        "weights",
        "weights",
        "gateway",
        Carried("splits of VirtualServer"),
        Carried("HTTPRoute"),
        _routes("backends", lambda one: len(one.backends) > 1),
        portable=True,
    ),
    Feature(
        "canaryHeader",
        "a canary by header",
        "gateway",
        Carried("matches of VirtualServer"),
        Carried("HTTPRoute"),
        _routes("canary", lambda one: one.canary and one.canary.header),
        portable=True,
    ),
    Feature(
        "canaryCookie",
        "a canary by cookie",
        "gateway",
        Carried("matches of VirtualServer"),
        Carried("HTTPRoute, by an expression for the header Cookie"),
        _routes("canary", lambda one: one.canary and one.canary.cookie),
    ),
    Feature(
        "activeHealth",
        "active health checks",
        "gateway",
        Missing(_PLUS, "passiveHealth and readiness probes, which take pods out of the Service"),
        _KONG_UPSTREAM,
        _backends("activeHealth", lambda one: one.active_health),
    ),
    Feature(
        "passiveHealth",
        "passive health checks",
        "gateway",
        _UPSTREAM,
        Carried("KongUpstreamPolicy; of TCP, readiness probes alone"),
        _always,
    ),
    Feature(
        "retries",
        "retries at another endpoint",
        "gateway",
        _UPSTREAM,
        Carried("annotation of the Service"),
        _always,
    ),
    Feature(
        "retryStatuses",
        "retries by status",
        "gateway",
        _UPSTREAM,
        Missing(_NOBODY, "when: [error, timeout]"),
        _backends("retries.when", lambda one: set(one.retries.when) - {"error", "timeout"}),
    ),
    Feature(
        "timeouts",
        "timeouts",
        "gateway",
        _UPSTREAM,
        Carried("annotations of the Service"),
        _always,
    ),
    Feature(
        "maxConnections",
        "connection limits",
        "gateway",
        _UPSTREAM,
        Missing(_NOBODY, "a rateLimit policy"),
        _backends("maxConnections", lambda one: one.max_connections),
    ),
    Feature(
        "slowStart",
        "slow start",
        "gateway",
        Missing(_PLUS, "readiness probes that wait for a warm pod"),
        Missing(_NOBODY, "readiness probes that wait for a warm pod"),
        _backends("slowStart", lambda one: one.slow_start),
    ),
    Feature(
        "sessionCookie",
        "a cookie that keeps a session at its endpoint",
        "gateway",
        _UPSTREAM,
        Carried("KongUpstreamPolicy: a hash by the cookie, which Kong sets where it is missing"),
        _backends("sessionCookie", lambda one: one.session_cookie),
    ),
    Feature(
        "sessionExpires",
        "a session's cookie that outlives the browser's session",
        "gateway",
        _UPSTREAM,
        Missing(_NOBODY, "a cookie of the session: remove expires"),
        _backends(
            "sessionCookie.expires",
            lambda one: one.session_cookie and one.session_cookie.expires is not None,
        ),
    ),
    Feature(
        "backup",
        "a backup for when no endpoint is left",
        "gateway",
        Carried(_SNIPPET),
        Missing(_KONG_ENTERPRISE, "endpoints of both behind one Service"),
        _backends("backup", lambda one: one.backup and one.protocol != "tcp"),
    ),
    Feature(
        "backupTcp",
        "a backup of a TCP backend",
        "gateway",
        Missing(_PLUS, "endpoints of both behind one Service"),
        Missing(_KONG_ENTERPRISE, "endpoints of both behind one Service"),
        _backends("backup", _backup_at_random),
    ),
    Feature(
        "external",
        "a host outside as a backend",
        "gateway",
        Missing(_PLUS, "a Service without selector and an EndpointSlice with the addresses"),
        Carried("Service of type ExternalName"),
        _backends("external", lambda one: one.external),
    ),
    # Reverse proxy.
    Feature(
        "paths",
        "exact paths and prefixes",
        "gateway",
        Carried("VirtualServer"),
        Carried("HTTPRoute"),
        _always,
        portable=True,
    ),
    Feature(
        "regexPaths",
        "paths by regular expression",
        "gateway",
        Carried("VirtualServer"),
        Carried("HTTPRoute, where it is implementation-specific"),
        _routes("path", lambda one: one.path.type == "regex"),
    ),
    Feature(
        "methods",
        "routing by method",
        "gateway",
        Carried("matches of VirtualServer"),
        Carried("HTTPRoute"),
        _routes("methods", lambda one: one.methods),
        portable=True,
    ),
    Feature(
        "headerMatch",
        "routing by header",
        "gateway",
        Carried("matches of VirtualServer"),
        Carried("HTTPRoute"),
        _routes("headers", lambda one: one.headers),
        portable=True,
    ),
    Feature(
        "rewritePrefix",
        "rewriting a prefix",
        "gateway",
        Carried("action of VirtualServer"),
        Carried("HTTPRoute"),
        _routes("rewrite.prefix", lambda one: one.rewrite and one.rewrite.prefix),
        portable=True,
    ),
    Feature(
        "rewritePath",
        "rewriting a path",
        "gateway",
        Carried("action of VirtualServer"),
        Carried("HTTPRoute; with groups plugin request-transformer"),
        _routes("rewrite.path", lambda one: one.rewrite and one.rewrite.path),
        portable=True,
    ),
    Feature(
        "tls",
        "TLS termination, its lowest version and ciphers",
        "proxy",
        Carried("VirtualServer and ConfigMap"),
        Carried("Gateway and settings of the proxy"),
        _listeners(model.HttpsListener),
        portable=True,
    ),
    Feature(
        "redirectPort",
        "a redirect to an HTTPS port that is not 443",
        "proxy",
        Missing(_NOBODY, "port 443, or redirect: false"),
        Missing(_NOBODY, "port 443, or redirect: false"),
        _redirects_elsewhere,
        portable=True,
    ),
    Feature(
        "http2",
        "HTTP/2",
        "proxy",
        Carried("ConfigMap"),
        Carried("settings of the proxy"),
        _always,
    ),
    Feature(
        "upstreamTls",
        "proof of a backend's certificate",
        "gateway",
        Carried(_POLICY),
        Missing(
            "Kong has it for authorities that are entities of its own, with an id",
            "gateway nginx",
        ),
        _backends("tls", lambda one: one.tls),
    ),
    Feature(
        "webSocket",
        "WebSocket",
        "gateway",
        Carried("VirtualServer"),
        Carried("HTTPRoute"),
        _backends("protocol", lambda one: one.protocol == "websocket"),
    ),
    Feature(
        "grpc",
        "gRPC",
        "gateway",
        Carried("upstreams of VirtualServer"),
        Carried("HTTPRoute and annotations: of a GRPCRoute its controller reads no balancing"),
        _backends("protocol", lambda one: one.protocol in {"grpc", "grpcs"}),
        portable=True,
    ),
    Feature(
        "access",
        "allow and deny lists by network",
        "proxy",
        Carried(f"{_POLICY}; allow and deny together, and TCP, {_SNIPPET}"),
        Carried("plugin ip-restriction"),
        _policies(model.Access),
    ),
    Feature(
        "bodyLimit",
        "limits of bodies",
        "proxy",
        Carried(_SNIPPET),
        Carried("plugin request-size-limiting"),
        _policies(model.Limits),
    ),
    Feature(
        "headerLimit",
        "a limit of headers",
        "proxy",
        Carried("ConfigMap"),
        Carried("settings of the proxy"),
        _always,
    ),
    Feature(
        "filter",
        "request filtering",
        "proxy",
        Carried(_SNIPPET),
        Carried("plugin pre-function, with generated code"),
        _policies(model.Filter),
    ),
    Feature(
        "compression",
        "compression",
        "proxy",
        Carried(_SNIPPET),
        Carried("settings of the proxy, for the whole gateway"),
        _policies(model.Compression),
    ),
    Feature(
        "cache",
        "response caching",
        "proxy",
        Carried(_POLICY),
        Carried("plugin proxy-cache, in memory"),
        _policies(model.Cache),
    ),
    Feature(
        "cacheStale",
        "old responses from a cache while a backend fails",
        "proxy",
        Carried(_POLICY),
        Missing(_NOBODY, "stale: false"),
        _policies(model.Cache, "stale", lambda one: isinstance(one, model.Cache) and one.stale),
    ),
    # API gateway.
    Feature(
        "apiKey",
        "API keys",
        "gateway",
        Carried(_POLICY),
        Carried("plugins key-auth and acl"),
        _policies(model.ApiKey),
    ),
    Feature(
        "basic",
        "passwords",
        "gateway",
        Carried(_POLICY),
        Carried("plugins basic-auth and acl"),
        _policies(model.Basic),
    ),
    Feature(
        "jwtDiscovery",
        "tokens of an issuer whose keys are discovered",
        "gateway",
        Missing(_PLUS, f"a policy of type oidc or apiKey, or {_API_HOST},"),
        Missing(_KONG_ENTERPRISE, f"publicKey, which names the issuer's key, or {_API_HOST},"),
        _policies(
            model.Jwt,
            "issuer",
            lambda one: (
                isinstance(one, model.Jwt)
                and not one.public_key
                and not isinstance(one, model.Vouched)
            ),
        ),
    ),
    Feature(
        "jwtKey",
        "tokens of an issuer whose key is given",
        "gateway",
        Missing(_PLUS, "a policy of type oidc or apiKey, or gateway kong"),
        Carried("plugin jwt"),
        _policies(
            model.Jwt, "publicKey", lambda one: isinstance(one, model.Jwt) and one.public_key
        ),
    ),
    Feature(
        "oidc",
        "sign-in through Dex",
        "gateway",
        Carried(f"{_POLICY} (external authentication) and the platform's oauth2-proxy"),
        Missing(
            _KONG_ENTERPRISE,
            "gateway nginx, or a route to istio-ingressgateway, where the platform's oauth2-proxy "
            "has everybody sign in (not jwt: Dex changes its keys every six hours)",
        ),
        _policies(model.Oidc),
    ),
    Feature(
        "rateLimit",
        "rate limits",
        "gateway",
        Carried(_POLICY),
        Carried("plugin rate-limiting"),
        _policies(model.RateLimit),
    ),
    Feature(
        "rateHour",
        "a rate in an hour that is none of whole minutes",
        "gateway",
        Missing(_NOBODY, "a multiple of 60 requests, or per: minute"),
        Carried("plugin rate-limiting"),
        _policies(
            model.RateLimit,
            "requests",
            lambda one: (
                isinstance(one, model.RateLimit) and one.per == "hour" and one.requests % 60
            ),
        ),
    ),
    Feature(
        "rateBurst",
        "a burst of a rate limit",
        "gateway",
        Carried(_POLICY),
        Missing(_NOBODY, "the rate alone: what it holds may come at once"),
        _policies(
            model.RateLimit,
            "burst",
            lambda one: isinstance(one, model.RateLimit) and one.burst is not None,
        ),
    ),
    Feature(
        "rateRedis",
        "rate limits shared in Redis",
        "gateway",
        Missing(
            "NGINX Plus shares them between its pods",
            "scope: divided, by which each pod takes its part of the rate",
        ),
        Carried("plugin rate-limiting"),
        _policies(
            model.RateLimit,
            "scope",
            lambda one: isinstance(one, model.RateLimit) and one.scope == "redis",
        ),
    ),
    Feature(
        "rateDivided",
        "rate limits divided among pods",
        "gateway",
        Carried(_POLICY),
        Missing(_NOBODY, "scope: redis"),
        _policies(
            model.RateLimit,
            "scope",
            lambda one: isinstance(one, model.RateLimit) and one.scope == "divided",
        ),
    ),
    Feature(
        "headers",
        "header transformation",
        "gateway",
        Carried(f"action of VirtualServer; a header beside another, {_SNIPPET}"),
        Carried("HTTPRoute; with variables plugin request-transformer"),
        _policies(model.Headers),
        portable=True,
    ),
    Feature(
        "cors",
        "CORS",
        "gateway",
        Carried(_POLICY),
        Carried("plugin cors"),
        _policies(model.Cors),
    ),
    Feature(
        "accessLog",
        "access logs as JSON",
        "gateway",
        Carried("ConfigMap"),
        Carried("settings of the proxy"),
        _always,
    ),
    Feature(
        "metrics",
        "Prometheus metrics",
        "gateway",
        Carried("the controller: of NGINX as a whole"),
        Carried("plugin prometheus: of each route and consumer"),
        _always,
    ),
    Feature(
        "requestId",
        "request ids",
        "gateway",
        Carried(_SNIPPET),
        Carried("plugin correlation-id"),
        _always,
    ),
    Feature(
        "tracing",
        "spans to a collector",
        "gateway",
        Carried("ConfigMap"),
        Carried("plugin opentelemetry"),
        lambda gateway: (
            ["observability.tracing.endpoint"] if gateway.observability.tracing.endpoint else []
        ),
    ),
    Feature(
        "policiesByMatch",
        "different policies for routes of one path that differ by method or header",
        "gateway",
        Missing("Kong has it", "another path, or the same policies"),
        Carried("plugins of each route"),
        _always,
    ),
    # What Kong, or its controller, has for the whole gateway alone, or in another way.
    Feature(
        "listenersHttp2",
        "HTTP/2 of some listeners",
        "proxy",
        Carried("ConfigMap"),
        Missing(_NOBODY, "one http2 of all listeners"),
        kong_limits.http2_of_listeners,
    ),
    Feature(
        "listenersTls",
        "TLS versions and ciphers of some listeners",
        "proxy",
        Carried("ConfigMap"),
        Missing(_NOBODY, "one minimumTls and ciphers of all listeners"),
        kong_limits.tls_of_listeners,
    ),
    Feature(
        "backendRetries",
        "conditions and time of retries of some backends",
        "gateway",
        _UPSTREAM,
        Missing(_NOBODY, "one retries.when, timeout and nonIdempotent of all backends"),
        kong_limits.retries_of_backends,
    ),
    Feature(
        "routeCompression",
        "compression of some routes",
        "proxy",
        Carried(_SNIPPET),
        Missing(_NOBODY, "one policy of the type compression at every host"),
        kong_limits.compression_of_routes,
    ),
    Feature(
        "grpcSpans",
        "spans to a collector by gRPC, at port 4317",
        "gateway",
        Carried("ConfigMap"),
        Missing(_NOBODY, "the collector's port for OTLP over HTTP, by default 4318,"),
        kong_limits.spans_by_grpc,
    ),
    Feature(
        "jwtAudiences",
        "audiences of tokens",
        "gateway",
        Missing(_PLUS, f"a policy of type oidc or apiKey, or {_API_HOST},"),
        Missing(_KONG_ENTERPRISE, f"the backend to look at the claim aud, or {_API_HOST},"),
        kong_limits.audiences,
    ),
    Feature(
        "jwtKeys",
        "several keys of an issuer, or a key on a rare curve",
        "gateway",
        Missing(_PLUS, "a policy of type oidc or apiKey"),
        Missing(_KONG_ENTERPRISE, "one key of an issuer, RSA or on P-256, P-384 or P-521,"),
        kong_limits.keys_of_one_issuer,
    ),
    Feature(
        "requestVariables",
        "variables of requests' headers but host, and requestId with its tracing",
        "gateway",
        Carried("action of VirtualServer"),
        Missing(_NOBODY, "X-Real-IP, X-Forwarded-Proto, -Host and -Path, which Kong always sends,"),
        kong_limits.variables_of_requests,
    ),
    Feature(
        "responseVariables",
        "variables of responses' headers",
        "gateway",
        Carried("action of VirtualServer"),
        Missing(_NOBODY, "plain values"),
        kong_limits.variables_of_responses,
    ),
    Feature(
        "colonValues",
        "values of headers that begin with a colon",
        "gateway",
        Carried("action of VirtualServer"),
        Missing(_NOBODY, "values that begin otherwise"),
        kong_limits.values_with_colons,
    ),
    Feature(
        "unlikeBackends",
        "weights of backends that differ in protocol, balance, health, retries or timeouts",
        "gateway",
        Carried("splits of VirtualServer"),
        Missing(_NOBODY, "the same of all backends of the route"),
        kong_limits.unlike_backends,
    ),
    Feature(
        "mixedBackends",
        "a canary of gRPC for a backend of HTTP",
        "gateway",
        Carried("matches of VirtualServer"),
        Missing(_NOBODY, "a route of each"),
        kong_limits.mixed_backends,
    ),
    Feature(
        "tcpBalance",
        "balance and health checks of a TCP backend",
        "gateway",
        Carried("TransportServer"),
        Missing("Kong has it, but not its controller", "round robin, and readiness probes"),
        kong_limits.connections_balanced,
    ),
    Feature(
        "prefixDots",
        "rewriting a prefix with a dot or a plus",
        "gateway",
        Carried("action of VirtualServer"),
        Missing(_NOBODY, "a path of type regex, and rewrite.path with $1"),
        kong_limits.prefixes_with_dots,
    ),
    Feature(
        "prefixVariables",
        "rewriting a prefix beside variables of requests' headers",
        "gateway",
        Carried("action of VirtualServer"),
        Missing(_NOBODY, "a path of type regex, and rewrite.path with $1"),
        kong_limits.prefixes_and_variables,
    ),
    Feature(
        "rateOverAll",
        "one rate limit over several hosts or methods, or a canary",
        "gateway",
        Carried(_POLICY),
        Missing(_NOBODY, "a route of each, with its share of the rate"),
        kong_limits.rates_counted_apart,
    ),
    Feature(
        "rateSeveral",
        "several rate limits that differ in more than their time",
        "gateway",
        Carried(_POLICY),
        Missing(_KONG_ENTERPRISE, "limits with the same by and scope, and another per,"),
        kong_limits.several_rates,
    ),
)


def matrix() -> str:
    """The table as Markdown."""
    rows = [
        f"| {one.title} | {'yes' if one.portable else ''} | {_cell(one.nginx)} "
        f"| {_cell(one.kong)} | {aws_features.cell(one.name)} |"
        for one in FEATURES
    ]
    limits = [f"| {one.title} | {one.instead} |" for one in aws_features.LIMITS]
    return "\n".join(
        (
            "# What carries which feature of the gateway",
            "",
            "Made from `components/gateway/features.py` by `python -m components.gateway.features >"
            " docs/gateway-matrix.md`; a test holds it current. What says **no** is an error at",
            "preview that names the feature, where it is used, and what to use instead.",
            "",
            "Portable: the Gateway API's standard channel has it. Snippets are generated from the"
            " model;",
            "nobody can write their own.",
            "",
            f"The last column is of hosts of `awsApiHosts`, which {aws_features.NAME} is before:",
            "[API Gateway](gateway-aws.md). `behind it` is what the gateway in the cluster does"
            " there",
            "as everywhere.",
            "",
            f"| feature | portable | {IMPLEMENTATIONS['nginx']} | {IMPLEMENTATIONS['kong']} "
            f"| {aws_features.NAME} |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"## What is refused at hosts of {aws_features.NAME}",
            "",
            "| asked for | instead |",
            "| --- | --- |",
            *limits,
            "",
        )
    )


def _cell(support: Carried | Missing) -> str:
    if isinstance(support, Carried):
        return support.by
    return f"**no**: {support.edition}. Instead: {support.instead}"


if __name__ == "__main__":
    sys.stdout.write(matrix())
