"""Gateways for tests: a whole one, any valid one, and what NGINX would read in a snippet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from components.gateway.rendering import Target
from components.gateway.routes import AUTHENTICATION, ApiKey, Basic, Gateway

HOSTS = ("a.example.com", "b.example.com", "*.c.example.com")
BACKENDS = ("app", "canary", "calls", "safe")


def base(**changes: Any) -> dict[str, Any]:
    """The smallest gateway: a host, a backend, a route."""
    return {
        "hosts": [{"name": "a.example.com"}],
        "backends": [{"name": "app", "service": {"name": "app", "namespace": "team", "port": 80}}],
        "routes": [route("app")],
        **changes,
    }


def route(name: str, **changes: Any) -> dict[str, Any]:
    """A route of the first host to the first backend."""
    return {"name": name, "hosts": ["a.example.com"], "backends": [{"name": "app"}], **changes}


def target(gateway: Gateway, **changes: Any) -> Target:
    """A place for everything that the gateway names."""
    asking = [one.name for one in gateway.policies if isinstance(one, ApiKey | Basic)]
    return Target(
        **{
            "namespace": "nginx-ingress",
            "ingress_class": "nginx",
            "tls_secrets": {one.name: f"{one.name}-tls" for one in gateway.hosts},
            "credentials": {name: f"{name}-credentials" for name in asking},
            "upstream": "next",
            "redis": "redis.redis.svc:6379",
            "redis_secret": "redis-access",
            **changes,
        }
    )


def directives(text: str) -> list[tuple[str, ...]]:
    """Directives of a configuration, as `ngx_conf_read_token` of NGINX divides it into words.

    A block's directive ends with "{", and its end is ("}",).

    Raises:
        ValueError: NGINX would not read it.
    """
    found: list[tuple[str, ...]] = []
    words: list[str] = []
    for word, is_text in _words(text):
        if is_text or word not in (";", "{", "}"):
            words.append(word)
            continue
        if word == "}":
            if words:
                raise ValueError(f"{words} is not ended")
            found.append(("}",))
            continue
        if not words:
            raise ValueError(f"nothing before {word}")
        found.append((*words, "{") if word == "{" else tuple(words))
        words = []
    if words:
        raise ValueError(f"{words} is not ended")
    return found


def _words(text: str) -> Iterator[tuple[str, bool]]:
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char in ";{}":
            yield char, False
            at += 1
        elif char in "\"'":
            word, at = "", at + 1
            while text[at] != char:
                if text[at] == "\\":
                    at += 1
                word += text[at]
                at += 1
            at += 1
            # After a quoted word something must come that ends it.
            if text[at] not in " \n;{)":
                raise ValueError(f"unexpected {text[at]!r} after {word!r}")
            yield word, True
            if text[at] == ")":
                yield ")", True
                at += 1
        elif char == "#":
            raise ValueError("a comment")
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in ";{":
                # `${name}` is a word's.
                end = text.index("}", end) + 1 if text[end : end + 2] == "${" else end + 1
            yield text[at:end], False
            at = end


# --- any valid gateway ---------------------------------------------------------------------------

# Few, so that they meet.
literal_paths = st.sampled_from(("/", "/a", "/b", "/ab", "/a/b", "/b/c", "/a/7", "/c/x/y"))
expressions = st.sampled_from(
    (
        "/a/[0-9]+",
        "/(a|b)/c",
        "/b/.*",
        "/x{1,3}",
        "/c/([^/]+)/([a-z]+)",
        "/.*[.]php",
        "/[ab]",
        "/[a-z_]+/.*",
    )
)
paths = st.one_of(
    st.builds(lambda value: {"type": "exact", "value": value}, literal_paths),
    st.builds(lambda value: {"type": "prefix", "value": value}, literal_paths),
    st.builds(lambda value: {"type": "regex", "value": value}, expressions),
)
methods = st.lists(st.sampled_from(("GET", "POST", "PUT")), max_size=2, unique=True)
header_values = st.sampled_from(
    ("plain", "max-age=1; preload", "a ${clientAddress}", "${requestId}", "default-src 'self'")
)
durations = st.sampled_from(("500ms", "5s", "2m"))
_changes = st.builds(
    lambda names, values: {
        "set": {names[0]: values[0]},
        "add": {names[1]: values[1]} if values[1] else {},
        "remove": names[2:],
    },
    st.permutations(("X-One", "X-Two", "X-Three")),
    st.tuples(header_values, st.one_of(st.none(), header_values)),
)
_networks = st.lists(
    st.sampled_from(("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")), min_size=1, max_size=2
)
policy_bodies = st.one_of(
    st.builds(lambda a, d: {"type": "access", "allow": a, "deny": d}, _networks, _networks),
    st.builds(lambda a: {"type": "access", "allow": a}, _networks),
    st.builds(lambda size: {"type": "limits", "body": size}, st.sampled_from(("1Ki", "10Mi"))),
    st.builds(
        lambda m, p: {"type": "filter", "methods": m, "paths": p, "userAgents": ["curl|wget"]},
        methods,
        st.lists(st.sampled_from(("[.]php$", "^/a.*b", "select.*from")), max_size=2),
    ),
    st.just({"type": "compression"}),
    st.builds(lambda one: {"type": "cache", "stale": one}, st.booleans()),
    st.just({"type": "apiKey", "consumers": ["alice"]}),
    st.just({"type": "basic", "consumers": ["bob"]}),
    st.builds(lambda one: {"type": "oidc", "groups": one}, st.sampled_from(([], ["ml"]))),
    st.builds(
        lambda n, per, scope, burst: {
            **{"type": "rateLimit", "requests": n, "per": per, "scope": scope},
            **({} if burst is None else {"burst": burst}),
        },
        st.integers(1, 120),
        st.sampled_from(("second", "minute", "hour")),
        st.sampled_from(("local", "divided", "redis")),
        st.sampled_from((None, 0, 5)),
    ),
    st.builds(lambda a, b: {"type": "headers", "request": a, "response": b}, _changes, _changes),
    st.just({"type": "cors", "origins": ["https://app.example.com", "https://*.example.org"]}),
)
_balances = st.sampled_from(
    (
        {"type": "roundRobin"},
        {"type": "leastConnections"},
        {"type": "hash", "by": "clientAddress"},
        {"type": "hash", "by": "header", "name": "X-User"},
        {"type": "hash", "by": "cookie", "name": "sid"},
    )
)
_common = {
    "timeouts": st.builds(lambda one: {"connect": one}, durations),
    "retries": st.sampled_from(({"attempts": 1}, {"attempts": 3, "nonIdempotent": True})),
}
_rare = {
    "maxConnections": st.integers(0, 10),
    "slowStart": st.sampled_from(("0s", "10s")),
    "activeHealth": st.just({"path": "/healthy"}),
    "sessionCookie": st.just({"name": "route"}),
    "retries": st.sampled_from(({"attempts": 1}, {"when": ["error", "503"]})),
}
_backend = st.fixed_dictionaries({"balance": _balances}, optional=_common)
_any_backend = st.fixed_dictionaries({"balance": _balances}, optional={**_common, **_rare})


@st.composite
def models(draw: st.DrawFn, *, plain: bool = False) -> dict[str, Any]:
    """A gateway whose parts fit together; two of its routes may still shadow each other.

    A `plain` one asks for little that an implementation lacks.
    """
    backends = []
    protocols = dict(zip(BACKENDS, ("http", "websocket", "grpc", "https"), strict=True))
    for name in BACKENDS:
        service = {"name": name, "namespace": draw(st.sampled_from(("team", "other"))), "port": 80}
        tried = draw(_backend if plain else _any_backend)
        if not plain and draw(st.booleans()) and tried["balance"]["type"] != "hash":
            tried["backup"] = {"name": "spare", "namespace": "team", "port": 80}
        backends.append({"name": name, "service": service, "protocol": protocols[name], **tried})
    policies = [
        {**body, "name": f"p{index}"}
        for index, body in enumerate(draw(st.lists(policy_bodies, max_size=5)))
        if not (plain and body.get("scope") == "redis")
        and not (plain and body.get("per") == "hour")
    ]
    shared = _fitting(policies, set(protocols.values())) if plain else None
    routes = [
        draw(_route(f"r{index}", policies, protocols, shared))
        for index in range(draw(st.integers(1, 5)))
    ]
    hosts = [
        {"name": name, **draw(st.sampled_from(({}, {"tls": {"type": "ownCa"}})))} for name in HOSTS
    ]
    return {
        "hosts": hosts,
        "backends": backends,
        "policies": policies,
        "routes": routes,
        "consumers": [{"name": "alice"}, {"name": "bob"}],
    }


@st.composite
def _route(
    draw: st.DrawFn,
    name: str,
    policies: list[dict[str, Any]],
    protocols: dict[str, str],
    shared: list[str] | None,
) -> dict[str, Any]:
    path = draw(paths)
    to = draw(st.lists(st.sampled_from(BACKENDS), min_size=1, max_size=2, unique=True))
    found: dict[str, Any] = {
        "name": name,
        "hosts": draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True)),
        "path": path,
        "methods": draw(methods),
        "backends": [{"name": one, "weight": 100 // len(to)} for one in to],
    }
    if draw(st.integers(0, 2)) == 0:
        found["headers"] = [{"name": "X-Stage", "value": draw(st.sampled_from(("new", "old")))}]
    if draw(st.booleans()):
        new = draw(literal_paths)
        found["rewrite"] = {"prefix": new} if path["type"] == "prefix" else {"path": new}
    if draw(st.integers(0, 4)) == 0:
        found["canary"] = {"backend": "canary", "header": "X-Canary"}
    fitting = _fitting(draw(st.permutations(policies)), {protocols[one] for one in to})
    found["policies"] = fitting if shared is None else shared
    return found


def _fitting(policies: list[dict[str, Any]], protocols: set[str]) -> list[str]:
    """One of each type, one that asks who comes, and what the protocols know."""
    taken: dict[str, str] = {}
    for policy in policies:
        kind = policy["type"]
        if kind == "cache" and "grpc" in protocols:
            continue
        taken.setdefault("who" if kind in AUTHENTICATION else kind, policy["name"])
    return sorted(taken.values())[:3]
