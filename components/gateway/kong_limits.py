"""Where a gateway asks for what Kong's open-source edition, or its controller, does not have. Pure.

Each function tells the places in the file, for the table in `features`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from components.gateway import kong_settings, kong_upstreams
from components.gateway.routes import (
    Backend,
    Compression,
    Filter,
    Gateway,
    Headers,
    HttpsListener,
    Jwt,
    Policy,
    RateLimit,
    Route,
)

# By the curve: the algorithms that the plugin jwt knows (RFC 7518, 3.4).
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_NO_EXPRESSION: Final = frozenset("/-_~@:=,")
_VARIABLES: Final = ("${host}", "${requestId}")
"""What request-transformer can tell."""


# --- the whole box -------------------------------------------------------------------------------


def tls_of_listeners(gateway: Gateway) -> list[str]:
    """Listeners with TLS settings of their own."""
    return _unlike(gateway, kong_settings.ciphers(gateway), "minimumTls")


def http2_of_listeners(gateway: Gateway) -> list[str]:
    """Listeners of which some have HTTP/2."""
    found = {one.http2 for one in gateway.listeners if isinstance(one, HttpsListener)}
    return _unlike(gateway, found, "http2")


def _unlike(gateway: Gateway, settings: Iterable[object], key: str) -> list[str]:
    if len(set(settings)) < 2:
        return []
    return [
        f"listeners[{index}].{key} ({one.name})"
        for index, one in enumerate(gateway.listeners)
        if isinstance(one, HttpsListener)
    ]


def connections_balanced(gateway: Gateway) -> list[str]:
    """Backends of plain TCP with more than endpoints in turn."""
    usual = Backend.model_fields
    return [
        f"backends[{index}].{key} ({one.name})"
        for index, one in enumerate(gateway.backends)
        if one.protocol == "tcp"
        for name, key in (
            ("balance", "balance"),
            ("active_health", "activeHealth"),
            ("passive_health", "passiveHealth"),
        )
        if getattr(one, name) != usual[name].default
    ]


def retries_of_backends(gateway: Gateway) -> list[str]:
    """Backends with retries under conditions of their own."""
    if len(kong_settings.tries(gateway.backends)) < 2:
        return []
    return [f"backends[{index}].retries ({one.name})" for index, one in enumerate(gateway.backends)]


def compression_of_routes(gateway: Gateway) -> list[str]:
    """Policies of compression that are not those of every route."""
    found: set[str | None] = set()
    for host in gateway.hosts:
        for route in gateway.routes_of(host.name):
            names = [
                one.name
                for one in gateway.policies_of(route, host.name)
                if isinstance(one, Compression)
            ]
            found.add(names[0] if names else None)
    return _policies(gateway, Compression, "type") if len(found) > 1 else []


def spans_by_grpc(gateway: Gateway) -> list[str]:
    """A collector at the port that is for gRPC."""
    endpoint = gateway.observability.tracing.endpoint or ""
    return ["observability.tracing.endpoint"] if endpoint.endswith(":4317") else []


# --- policies ------------------------------------------------------------------------------------


def audiences(gateway: Gateway) -> list[str]:
    """Tokens whose audience matters."""
    return _policies(
        gateway, Jwt, "audiences", lambda one: isinstance(one, Jwt) and bool(one.audiences)
    )


def keys_of_one_issuer(gateway: Gateway) -> list[str]:
    """Issuers with several keys, or with one that no algorithm is for."""
    first: dict[str, str] = {}

    def asks(policy: Policy) -> bool:
        if not isinstance(policy, Jwt) or policy.public_key is None:
            return False
        known = first.setdefault(policy.issuer, policy.public_key)
        return known != policy.public_key or not algorithm(policy.public_key)

    return _policies(gateway, Jwt, "publicKey", asks)


def algorithm(pem: str) -> str:
    """By which tokens of a public key are signed (RFC 7518); "" where Kong knows none."""
    key = load_pem_public_key(pem.encode())
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, "")
    return "RS256"


def variables_of_requests(gateway: Gateway) -> list[str]:
    """Headers of requests with variables that no plugin knows."""
    traced = gateway.observability.tracing.request_id
    known = _VARIABLES if traced else _VARIABLES[:1]

    def asks(policy: Policy) -> bool:
        if not isinstance(policy, Headers):
            return False
        text = " ".join((*policy.request.set.values(), *policy.request.add.values()))
        for variable in known:
            text = text.replace(variable, "")
        return "${" in text

    return _policies(gateway, Headers, "request", asks)


def variables_of_responses(gateway: Gateway) -> list[str]:
    """Headers of responses with variables."""

    def asks(policy: Policy) -> bool:
        if not isinstance(policy, Headers):
            return False
        return "${" in " ".join((*policy.response.set.values(), *policy.response.add.values()))

    return _policies(gateway, Headers, "response", asks)


def values_with_colons(gateway: Gateway) -> list[str]:
    """Headers whose values begin with a colon, which the plugins drop."""

    def asks(policy: Policy) -> bool:
        if not isinstance(policy, Headers):
            return False
        changes = (policy.request, policy.response)
        values = [v for one in changes for v in (*one.set.values(), *one.add.values())]
        return any(value.startswith(":") for value in values)

    return _policies(gateway, Headers, "type", asks)


def _policies(
    gateway: Gateway,
    kind: type[Compression | Filter | Headers | Jwt],
    key: str,
    asks: Callable[[Policy], bool] = lambda _: True,
) -> list[str]:
    return [
        f"policies[{index}].{key} ({policy.name})"
        for index, policy in enumerate(gateway.policies)
        if isinstance(policy, kind) and asks(policy)
    ]


# --- routes --------------------------------------------------------------------------------------


def unlike_backends(gateway: Gateway) -> list[str]:
    """Routes with shares of backends that differ in more than where they are."""
    return _routes(
        gateway,
        "backends",
        lambda one: not kong_upstreams.alike([gateway.backend(part.name) for part in one.backends]),
    )


def mixed_backends(gateway: Gateway) -> list[str]:
    """Routes and their canaries of which one speaks gRPC and the other does not."""
    return _routes(
        gateway,
        "canary",
        lambda one: len({_is_grpc(backend) for backend in _backends(one, gateway)}) > 1,
    )


def prefixes_with_dots(gateway: Gateway) -> list[str]:
    """Rewritten prefixes which the controller takes for expressions: it escapes nothing."""
    return _routes(
        gateway,
        "rewrite.prefix",
        lambda one: (
            one.rewrite is not None
            and one.rewrite.prefix is not None
            and not all(char.isalnum() or char in _NO_EXPRESSION for char in one.path.value)
        ),
    )


def prefixes_and_variables(gateway: Gateway) -> list[str]:
    """Rewritten prefixes of routes whose headers have variables: both need one plugin."""

    def asks(route: Route) -> bool:
        if route.rewrite is None or route.rewrite.prefix is None:
            return False
        return any(
            isinstance(policy, Headers)
            and "${" in " ".join((*policy.request.set.values(), *policy.request.add.values()))
            for host in route.hosts
            for policy in gateway.policies_of(route, host)
        )

    return _routes(gateway, "rewrite.prefix", asks)


def rates_counted_apart(gateway: Gateway) -> list[str]:
    """Routes with a rate limit that are several to Kong, which counts each of them."""
    return _routes(
        gateway,
        "policies",
        lambda one: (
            any(_rates(one, gateway))
            and (len(one.hosts) > 1 or len(one.methods) > 1 or one.canary is not None)
        ),
    )


def several_rates(gateway: Gateway) -> list[str]:
    """Routes with rate limits that differ in more than their time."""

    def differ(rates: Sequence[RateLimit]) -> bool:
        times = [one.per for one in rates]
        return len({(one.by, one.header, one.scope) for one in rates}) > 1 or len(set(times)) < len(
            times
        )

    return _routes(gateway, "policies", lambda one: any(map(differ, _rates(one, gateway))))


def _rates(route: Route, gateway: Gateway) -> Iterator[list[RateLimit]]:
    """The rate limits of a route at each host that has some."""
    for host in route.hosts:
        policies = gateway.policies_of(route, host)
        if found := [policy for policy in policies if isinstance(policy, RateLimit)]:
            yield found


def _routes(gateway: Gateway, key: str, asks: Callable[[Route], bool]) -> list[str]:
    return [
        f"routes[{index}].{key} ({route.name})"
        for index, route in enumerate(gateway.routes)
        if asks(route)
    ]


def _backends(route: Route, gateway: Gateway) -> list[Backend]:
    names = [one.name for one in route.backends]
    return [
        gateway.backend(name)
        for name in (*names, *([route.canary.backend] if route.canary else []))
    ]


def _is_grpc(backend: Backend) -> bool:
    return backend.protocol in ("grpc", "grpcs")
