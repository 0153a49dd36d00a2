"""Hosts of a gateway as HTTP APIs of Amazon API Gateway, before NGINX or Kong. Pure.

A host is public as a whole: an API of its own with a custom domain. API Gateway asks for tokens,
throttles, answers preflights and logs; then it sends requests on by a VPC link, and the gateway in
the cluster does with them what it always does. Nothing is done twice that would do harm twice:
paths are rewritten and headers changed there alone.

What the gateway behind it must know of a request is told by headers that API Gateway overwrites,
whatever a client sent: the host, the client's address, and which policy a token was checked by.
The gateway believes the latter two of connections from `Public.networks` alone, where nothing else
is than the VPC link.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-parameter-mapping.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from components.gateway import aws_features
from components.gateway.errors import GatewayError
from components.gateway.features import FEATURES
from components.gateway.routes import Cors, Gateway, Jwt, RateLimit, Route, Vouched

Parameters = Mapping[str, str]
NOBODY: Final = "-"
"""Stands for the policy where no token was asked for; no policy has such a name."""
_REST: Final = "$default"
_OPEN: Final = "OPTIONS"
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600}
_LOG: Final = {
    "time": "$context.requestTime",
    "client": "$context.identity.sourceIp",
    "requestId": "$context.requestId",
    "method": "$context.httpMethod",
    "host": "$context.domainName",
    # Without its arguments, which may hold keys.
    "path": "$context.path",
    "route": "$context.routeKey",
    "protocol": "$context.protocol",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "backendStatus": "$context.integrationStatus",
    "backendMilliseconds": "$context.integrationLatency",
    "backendError": "$context.integrationErrorMessage",
    "error": "$context.error.message",
    "userAgent": "$context.identity.userAgent",
}
LOG: Final = json.dumps(_LOG)
"""The format of access logs."""


@dataclass(frozen=True)
class Public:
    """`hosts` are those that API Gateway is before; `networks` (CIDRs) hold its VPC link alone."""

    hosts: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Throttle:
    """Requests in a second, and how many may come at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Way:
    """A route of an HTTP API: its key, and the policy by which tokens are checked, "" for none."""

    key: str
    policy: str = ""
    throttle: Throttle | None = None


@dataclass(frozen=True)
class Authorizer:
    """Who signs tokens, and for whom: https://docs.aws.amazon.com/apigateway/latest/developerguide/
    http-api-jwt-authorizer.html"""

    name: str
    issuer: str
    audiences: tuple[str, ...]


@dataclass(frozen=True)
class Api:
    """The HTTP API of a host."""

    host: str
    ways: tuple[Way, ...]
    authorizers: tuple[Authorizer, ...] = ()
    cors: Mapping[str, Any] | None = None
    """As the resource `aws.apigatewayv2.Api` has it."""
    logs: bool = True
    summary: str = ""
    """What it carries, and what the gateway behind it, in a line."""

    @property
    def policies(self) -> tuple[str, ...]:
        """Of all ways, "" among them where one asks for no token."""
        return tuple(dict.fromkeys(way.policy for way in self.ways))

    def parameters(self, policy: str) -> Parameters:
        """How requests are changed that a policy let through."""
        return {
            "overwrite:header.Host": self.host,
            "overwrite:header.X-Real-IP": "$context.identity.sourceIp",
            f"overwrite:header.{Vouched.HEADER}": policy or NOBODY,
        }


def render(gateway: Gateway, public: Public) -> tuple[Api, ...]:
    """The API of each host.

    Raises:
        GatewayError: a line for all that API Gateway can't do, and for hosts that are none.
    """
    lines = []
    there = [host.name for host in gateway.hosts]
    for host in public.hosts:
        if host not in there:
            named = ", ".join(there) or "none"
            lines.append(
                f"awsApiHosts has {host!r}: gatewayRoutes has no such host; it has {named}"
            )
        elif not gateway.routes_of(host):
            lines.append(f"awsApiHosts has {host!r}, which has no route; give it one")
    known = [host for host in public.hosts if host in there]
    lines += aws_features.refused(gateway, known)
    if lines:
        raise GatewayError("\n".join(lines))
    return tuple(_api(gateway, host) for host in sorted(known))


def behind(gateway: Gateway, public: Public) -> Gateway:
    """What the gateway in the cluster carries: of tokens that are API Gateway's to check, that it
    has done so."""
    checked = {
        policy.name: Vouched(
            type="jwt", name=policy.name, issuer=policy.issuer, networks=public.networks
        )
        for _, policy in aws_features.policies_at(gateway, public.hosts)
        if isinstance(policy, Jwt) and aws_features.is_discovered(policy)
    }
    policies = tuple(checked.get(policy.name, policy) for policy in gateway.policies)
    return gateway.model_copy(update={"policies": policies})


def _api(gateway: Gateway, host: str) -> Api:
    cors = aws_features.shared_cors(gateway, host)
    ways: dict[str, list[Route]] = {}
    for route in gateway.routes_of(host):
        for key in _keys(route):
            ways.setdefault(key, []).append(route)
    found = [_way(gateway, host, key, routes) for key, routes in ways.items()]
    if cors:
        # A browser asks first, without the token.
        keys = dict.fromkeys(key for way in found if way.policy for key in _preflights(way.key))
        found += [Way(key) for key in keys if key not in ways]
    used = {policy.name for _, policy in aws_features.policies_at(gateway, [host])}
    authorizers = tuple(
        Authorizer(one.name, one.issuer, one.audiences)
        for one in sorted(gateway.policies, key=lambda one: one.name)
        if isinstance(one, Jwt) and aws_features.is_discovered(one) and one.name in used
    )
    api = Api(
        host,
        tuple(sorted(found, key=lambda way: way.key)),
        authorizers,
        _cors(cors) if cors else None,
        gateway.observability.access_log == "json",
    )
    return replace(api, summary=_summary(gateway, api))


def _keys(route: Route) -> list[str]:
    """The keys of a route: a prefix is itself, and all below."""
    methods: list[str] = sorted(route.methods) or ["ANY"]
    path = route.path.value.rstrip("/") or "/"
    if route.path.type == "regex":
        # Its expression is the gateway's behind: what nothing else takes may be its own.
        return [_REST]
    if route.path.type == "exact":
        paths = [route.path.value]
    elif path != "/":
        paths = [path, f"{path}/{{proxy+}}"]
    elif route.methods or route.headers:
        paths = ["/", "/{proxy+}"]
    else:
        return [_REST]
    return [f"{method} {one}" for method in methods for one in paths]


def _way(gateway: Gateway, host: str, key: str, routes: Sequence[Route]) -> Way:
    # Where tokens are asked for, routes of one key have one path and no headers: the first decides.
    policy = aws_features.token_policy(gateway, routes[0], host)
    throttles = {_throttle(gateway, route, host) for route in routes}
    return Way(key, policy.name if policy else "", throttles.pop() if len(throttles) == 1 else None)


def _throttle(gateway: Gateway, route: Route, host: str) -> Throttle | None:
    """Of the lowest rate that is counted over all of the route; API Gateway knows no clients."""
    limits = [
        Throttle(
            one.requests / _SECONDS[one.per],
            # In its bucket is the first one, too.
            one.requests if one.burst is None else one.burst + 1,
        )
        for one in gateway.policies_of(route, host)
        if isinstance(one, RateLimit) and one.by == "route"
    ]
    return min(limits, key=lambda one: (one.rate, one.burst), default=None)


def _preflights(key: str) -> list[str]:
    """The ways that a browser asks before it uses one; those of a method have no OPTIONS."""
    if key == _REST:
        return [f"{_OPEN} /", f"{_OPEN} /{{proxy+}}"]
    method, _, path = key.partition(" ")
    return [f"{_OPEN} {path}"] if method == "ANY" else []


def _cors(policy: Cors) -> Mapping[str, Any]:
    return {
        "allow_origins": sorted(set(policy.origins)),
        "allow_methods": sorted(set(policy.methods)),
        **({"allow_headers": sorted(policy.headers)} if policy.headers else {}),
        **({"expose_headers": sorted(policy.expose)} if policy.expose else {}),
        "max_age": policy.max_age // 1000,
        "allow_credentials": policy.credentials,
    }


def _summary(gateway: Gateway, api: Api) -> str:
    """What the host asks for, by who carries it."""
    routes = tuple(route for _, route in aws_features.routes_at(gateway, [api.host]))
    names = {
        *(share.name for route in routes for share in route.backends),
        *(route.canary.backend for route in routes if route.canary),
    }
    part = gateway.model_copy(
        update={
            "listeners": (),
            "hosts": (gateway.host(api.host),),
            "routes": routes,
            "backends": tuple(one for one in gateway.backends if one.name in names),
            "policies": tuple(one for _, one in aws_features.policies_at(gateway, [api.host])),
        }
    )
    # Of these it depends on the policy.
    carried = {"rateLimit": any(way.throttle for way in api.ways), "cors": api.cors is not None}
    here, there = ["TLS", "logs"], list[str]()
    for feature in FEATURES:
        if list(feature.used(part)):
            enforced = isinstance(aws_features.BEFORE[feature.name], aws_features.Enforced)
            both = here if enforced and carried.get(feature.name, True) else there
            both.append(feature.title)
    return (
        f"{api.host} is public by {aws_features.NAME}, which carries {', '.join(here)}; "
        f"the gateway behind it carries {', '.join(there) or 'the rest'}"
    )
