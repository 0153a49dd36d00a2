"""What of a gateway Amazon API Gateway carries, as an HTTP API before NGINX or Kong. Pure.

The gateway behind it does all that it does without. So API Gateway carries a feature of `features`
too, or leaves it to the gateway behind it, or has no part in its listeners, or it is refused.
docs/gateway-matrix.md is made of these tables.

What HTTP APIs have, and their quotas:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-vs-rest.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from components.gateway.routes import (
    AcmeTls,
    Backend,
    Cors,
    Gateway,
    HttpsListener,
    Jwt,
    Limits,
    Policy,
    Route,
)

NAME: Final = "Amazon API Gateway"
MOST_BODY: Final = 10 * 1024**2
MOST_TIME: Final = 30_000
HTTPS_PORT: Final = 443


@dataclass(frozen=True)
class Enforced:
    """API Gateway does it: `by` what of it."""

    by: str


@dataclass(frozen=True)
class Behind:
    """The gateway behind it does it, as without API Gateway."""


@dataclass(frozen=True)
class Private:
    """Of listeners that API Gateway has no part in; `instead` is what its clients find."""

    instead: str


@dataclass(frozen=True)
class Refused:
    """It can't be had at hosts of API Gateway: `title`, what to use, and where a model asks for it
    at one of the hosts."""

    title: str
    instead: str
    used: Callable[[Gateway, Collection[str]], Iterable[str]]


Before = Enforced | Behind | Private | Refused


# --- what is at the hosts ------------------------------------------------------------------------


def routes_at(gateway: Gateway, hosts: Collection[str]) -> list[tuple[int, Route]]:
    """The routes of these hosts, with their places in the file."""
    return [(i, one) for i, one in enumerate(gateway.routes) if set(one.hosts) & set(hosts)]


def _backends_at(gateway: Gateway, hosts: Collection[str]) -> list[tuple[int, Backend]]:
    names = {
        name
        for _, route in routes_at(gateway, hosts)
        for name in (
            *(share.name for share in route.backends),
            *([route.canary.backend] if route.canary else []),
        )
    }
    return [(i, one) for i, one in enumerate(gateway.backends) if one.name in names]


def policies_at(gateway: Gateway, hosts: Collection[str]) -> list[tuple[int, Policy]]:
    """The policies that apply at these hosts, with their places in the file."""
    names = {
        policy.name
        for _, route in routes_at(gateway, hosts)
        for host in route.hosts
        if host in hosts
        for policy in gateway.policies_of(route, host)
    }
    return [(i, one) for i, one in enumerate(gateway.policies) if one.name in names]


def is_discovered(policy: Policy) -> bool:
    """Whether tokens are checked by what their issuer tells of itself: API Gateway does that."""
    return isinstance(policy, Jwt) and policy.public_key is None


def token_policy(gateway: Gateway, route: Route, host: str) -> Jwt | None:
    """The policy by which API Gateway checks the tokens of a route."""
    for policy in gateway.policies_of(route, host):
        if isinstance(policy, Jwt) and is_discovered(policy):
            return policy
    return None


def shared_cors(gateway: Gateway, host: str) -> Cors | None:
    """The policy that API Gateway carries out: one that all routes of the host have, without `*.`
    in an origin, which it does not know."""
    found = {
        next((one for one in gateway.policies_of(route, host) if isinstance(one, Cors)), None)
        for route in gateway.routes_of(host)
    }
    if len(found) != 1:
        return None
    [policy] = found
    return policy if policy and not any("*." in one for one in policy.origins) else None


# --- what is refused -----------------------------------------------------------------------------


def _protocols(*names: str) -> Callable[[Gateway, Collection[str]], list[str]]:
    return lambda gateway, hosts: [
        f"backends[{index}].protocol ({one.name})"
        for index, one in _backends_at(gateway, hosts)
        if one.protocol in names
    ]


def _large_bodies(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in policies_at(gateway, hosts):
        if isinstance(one, Limits) and one.body > MOST_BODY:
            yield f"policies[{index}].body ({one.name})"


def _late_answers(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in _backends_at(gateway, hosts):
        # The model's own minute is no wish of anybody.
        asked = "read" in one.timeouts.model_fields_set
        if asked and one.timeouts.read > MOST_TIME:
            yield f"backends[{index}].timeouts.read ({one.name})"


def _wildcards(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in enumerate(gateway.hosts):
        if one.name in hosts and one.name.startswith("*."):
            yield f"hosts[{index}].name ({one.name})"


def _plain_hosts(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in enumerate(gateway.hosts):
        if one.name in hosts and one.tls is None:
            yield f"hosts[{index}].tls ({one.name})"


def _acme_hosts(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in enumerate(gateway.hosts):
        if one.name in hosts and isinstance(one.tls, AcmeTls):
            yield f"hosts[{index}].tls ({one.name})"


def _newest_tls(gateway: Gateway, _: Collection[str]) -> Iterator[str]:
    for index, one in enumerate(gateway.listeners):
        if isinstance(one, HttpsListener) and one.minimum_tls == "1.3":
            yield f"listeners[{index}].minimumTls ({one.name})"


def _other_ports(gateway: Gateway, _: Collection[str]) -> Iterator[str]:
    secure = [one for one in gateway.listeners if isinstance(one, HttpsListener)]
    if not any(one.port == HTTPS_PORT for one in secure):
        yield "listeners"


def _chains(gateway: Gateway, _: Collection[str]) -> Iterator[str]:
    if gateway.topology == "chain":
        yield "topology"


def _tokens(
    gateway: Gateway, hosts: Collection[str], asks: Callable[[Jwt], object]
) -> Iterator[str]:
    for index, one in policies_at(gateway, hosts):
        if isinstance(one, Jwt) and is_discovered(one) and asks(one):
            yield f"policies[{index}].type ({one.name})"


def _without_audience(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    return _tokens(gateway, hosts, lambda one: not one.audiences)


def _plain_issuers(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    return _tokens(gateway, hosts, lambda one: not one.issuer.startswith("https://"))


def _tokens_elsewhere(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    private = {one.name for one in gateway.hosts} - set(hosts)
    known = {one.name for _, one in policies_at(gateway, private)}
    return _tokens(gateway, hosts, lambda one: one.name in known)


def _matches_beside_tokens(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in routes_at(gateway, hosts):
        unknown = "headers" if one.headers else "path" if one.path.type == "regex" else ""
        if unknown and any(
            token_policy(gateway, other, host)
            for host in set(one.hosts) & set(hosts)
            for other in gateway.routes_of(host)
        ):
            yield f"routes[{index}].{unknown} ({one.name})"


def _preflights_with_tokens(gateway: Gateway, hosts: Collection[str]) -> Iterator[str]:
    for index, one in routes_at(gateway, hosts):
        for host in sorted(set(one.hosts) & set(hosts)):
            cors = any(isinstance(p, Cors) for p in gateway.policies_of(one, host))
            if cors and token_policy(gateway, one, host) and not shared_cors(gateway, host):
                yield f"routes[{index}].policies ({one.name} at {host})"


_ELSEWHERE: Final = "a host that is not in awsApiHosts"
_WEB_SOCKET: Final = Refused("WebSocket", _ELSEWHERE, _protocols("websocket"))
_GRPC: Final = Refused("gRPC", _ELSEWHERE, _protocols("grpc", "grpcs"))

LIMITS: Final[tuple[Refused, ...]] = (
    _WEB_SOCKET,
    _GRPC,
    Refused("bodies above 10 MiB", f"a limit of 10Mi or less, or {_ELSEWHERE}", _large_bodies),
    Refused(
        "answers that take more than 30 s",
        f"timeouts.read of 30s or less, or {_ELSEWHERE}",
        _late_answers,
    ),
    Refused("all names below one", "a host for each name", _wildcards),
    Refused("plain HTTP", "tls of type ownCa", _plain_hosts),
    Refused(
        "a certificate by ACME, whose proof comes to port 80",
        "tls of type ownCa: clients see ACM's certificate",
        _acme_hosts,
    ),
    Refused("TLS 1.3 alone", 'minimumTls "1.2"', _newest_tls),
    Refused("a gateway without HTTPS at port 443", "a listener https at 443", _other_ports),
    Refused("a chain, whose first box sees no HTTP", "topology: single", _chains),
    Refused("tokens for any audience", "audiences", _without_audience),
    Refused("an issuer without HTTPS", "an issuer at https://", _plain_issuers),
    Refused(
        "tokens checked at hosts of its own and at others",
        "a jwt policy for hosts of awsApiHosts alone",
        _tokens_elsewhere,
    ),
    Refused(
        "routes by header or by expression beside some whose tokens it checks",
        "a host for each, or paths alone",
        _matches_beside_tokens,
    ),
    Refused(
        "CORS with tokens, where routes of the host differ in it or an origin has *.",
        "one cors policy at the host",
        _preflights_with_tokens,
    ),
)
"""All that is refused, of features or of parts of them."""

_LEFT: Final = (
    "roundRobin leastConnections hashClientAddress hashHeader hashCookie weights canaryHeader "
    "canaryCookie activeHealth passiveHealth retries retryStatuses timeouts maxConnections "
    "slowStart sessionCookie sessionExpires backup backupTcp external regexPaths headerMatch "
    "rewritePrefix rewritePath http2 upstreamTls access bodyLimit headerLimit filter compression "
    "cache cacheStale apiKey basic jwtKey oidc rateHour rateBurst rateRedis rateDivided headers "
    "metrics requestId tracing policiesByMatch listenersHttp2 listenersTls backendRetries "
    "routeCompression grpcSpans jwtKeys requestVariables responseVariables colonValues "
    "unlikeBackends mixedBackends tcpBalance prefixDots prefixVariables rateOverAll rateSeveral"
)
_KEYS: Final = Enforced("routes by method and path, to fail early; the gateway behind it decides")
BEFORE: Final[Mapping[str, Before]] = {
    "http": Private("HTTPS alone: nothing answers at port 80"),
    "tcp": Private("the load balancer alone, in the network"),
    "redirectPort": Private("HTTPS alone: nothing is redirected"),
    "paths": _KEYS,
    "methods": _KEYS,
    "tls": Enforced("custom domain with ACM's certificate, TLS 1.2 and up, AWS's ciphers"),
    "webSocket": _WEB_SOCKET,
    "grpc": _GRPC,
    "jwtDiscovery": Enforced(
        "JWT authorizer; the gateway behind it takes the route from API Gateway alone"
    ),
    "jwtAudiences": Enforced("JWT authorizer, of issuers whose keys are discovered"),
    "rateLimit": Enforced(
        "throttling of a route, where by: route; all of them are counted behind it"
    ),
    "cors": Enforced("CORS of the API, where all routes of a host have the same; else behind it"),
    "accessLog": Enforced("CloudWatch Logs; the gateway behind it writes its own"),
    **dict.fromkeys(_LEFT.split(), Behind()),
}
"""By the name of each feature of `features.FEATURES`."""


def refused(gateway: Gateway, hosts: Collection[str]) -> list[str]:
    """A line for each use of what can't be had at these hosts."""
    return [
        f"{where} asks for {limit.title}, which {NAME} does not have; use {limit.instead} instead"
        for limit in LIMITS
        for where in limit.used(gateway, hosts)
    ]


def cell(feature: str) -> str:
    """What the matrix says of a feature."""
    match BEFORE[feature]:
        case Enforced(by):
            return by
        case Behind():
            return "behind it"
        case Private(instead):
            return f"not there: {instead}"
        case Refused(_, instead):
            return f"**no**. Instead: {instead}"
