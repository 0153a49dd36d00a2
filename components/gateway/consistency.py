"""What parts of a gateway say that do not go together: names that nobody bears, routes that nothing
reaches. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from components.gateway import regexes
from components.gateway.routes import (
    AUTHENTICATION,
    SEVERAL,
    Access,
    ApiKey,
    Basic,
    Cache,
    ConsistentHash,
    Gateway,
    Host,
    HttpListener,
    HttpsListener,
    PathMatch,
    RateLimit,
    Route,
    TcpListener,
)


def problems(gateway: Gateway) -> list[str]:
    """A line for each: path in the file, value, and what mends it."""
    lines = [*_names(gateway), *_references(gateway)]
    # What follows takes names as known.
    if lines:
        return lines
    return [
        *_listeners(gateway),
        *_backends(gateway),
        *_policies(gateway),
        *_routes(gateway),
        *_shadows(gateway),
    ]


def _names(gateway: Gateway) -> Iterator[str]:
    for key in ("listeners", "hosts", "backends", "routes", "policies", "consumers"):
        names = [one.name for one in getattr(gateway, key)]
        for name, times in Counter(names).items():
            if times > 1:
                index = len(names) - 1 - names[::-1].index(name)
                first = names.index(name)
                yield f"{key}[{index}].name is {name!r}, as {key}[{first}].name is; rename one"


def _references(gateway: Gateway) -> Iterator[str]:
    hosts = {one.name for one in gateway.hosts}
    backends = {one.name for one in gateway.backends}
    policies = {one.name for one in gateway.policies}
    consumers = {one.name for one in gateway.consumers}

    def missing(where: str, names: Iterable[str], known: set[str], what: str) -> Iterator[str]:
        for name in names:
            if name not in known:
                there = ", ".join(sorted(known)) or "none"
                yield f"{where} is {name!r}: no {what} has that name; there are {there}"

    for index, listener in enumerate(gateway.listeners):
        if isinstance(listener, TcpListener):
            where = f"listeners[{index}]"
            yield from missing(f"{where}.backend", [listener.backend], backends, "backend")
            yield from missing(f"{where}.policies", listener.policies, policies, "policy")
    for index, host in enumerate(gateway.hosts):
        yield from missing(f"hosts[{index}].policies", host.policies, policies, "policy")
    for index, policy in enumerate(gateway.policies):
        if isinstance(policy, ApiKey | Basic):
            where = f"policies[{index}].consumers"
            yield from missing(where, policy.consumers, consumers, "consumer")
    for index, route in enumerate(gateway.routes):
        where = f"routes[{index}]"
        yield from missing(f"{where}.hosts", route.hosts, hosts, "host")
        names = [one.name for one in route.backends]
        yield from missing(f"{where}.backends", names, backends, "backend")
        if route.canary:
            yield from missing(
                f"{where}.canary.backend", [route.canary.backend], backends, "backend"
            )
        yield from missing(f"{where}.policies", route.policies, policies, "policy")


def _listeners(gateway: Gateway) -> Iterator[str]:
    ports: dict[int, int] = {}
    for index, listener in enumerate(gateway.listeners):
        where = f"listeners[{index}]"
        if listener.port in ports:
            yield (
                f"{where}.port is {listener.port}, as listeners[{ports[listener.port]}].port is; "
                "give it another one"
            )
        ports.setdefault(listener.port, index)
        if isinstance(listener, TcpListener):
            if gateway.backend(listener.backend).protocol != "tcp":
                yield (
                    f"{where}.backend is {listener.backend!r}, whose protocol is "
                    f"{gateway.backend(listener.backend).protocol!r}; make that tcp"
                )
            for name in listener.policies:
                if not isinstance(gateway.policy(name), Access):
                    yield (
                        f"{where}.policies is {name!r}, of the type "
                        f"{gateway.policy(name).type!r}: connections know access alone; remove it"
                    )
    secure = [one for one in gateway.listeners if isinstance(one, HttpsListener)]
    plain = any(isinstance(one, HttpListener) for one in gateway.listeners)
    # A port's first host tells, and hosts are of all ports.
    if len({(one.minimum_tls, one.ciphers, one.http2) for one in secure}) > 1:
        yield (
            "listeners of https differ in minimumTls, ciphers or http2: a host is served at all of "
            "them; give all the same"
        )
    for index, host in enumerate(gateway.hosts):
        if host.tls and not secure:
            yield f"hosts[{index}].tls is set, but no listener is https; add one, or remove tls"
        if not host.tls and not plain:
            yield f"hosts[{index}].tls is missing, and no listener is http; add one, or give tls"


def _backends(gateway: Gateway) -> Iterator[str]:
    for index, backend in enumerate(gateway.backends):
        where = f"backends[{index}]"
        if backend.protocol == "tcp":
            if backend.session_cookie:
                yield f"{where}.sessionCookie is of HTTP, but protocol is 'tcp'; remove it"
            if backend.active_health:
                yield f"{where}.activeHealth is of HTTP, but protocol is 'tcp'; remove it"
            if isinstance(backend.balance, ConsistentHash) and backend.balance.name:
                yield f"{where}.balance is of HTTP, but protocol is 'tcp'; remove it"
        if backend.backup and isinstance(backend.balance, ConsistentHash):
            yield (
                f"{where}.backup is set, but balance is hash, which has no endpoint to spare; use "
                "another balance, or remove backup"
            )


def _policies(gateway: Gateway) -> Iterator[str]:
    owners: dict[str, Sequence[Host | Route]] = {"hosts": gateway.hosts, "routes": gateway.routes}
    for key, every_owner in owners.items():
        for index, owner in enumerate(every_owner):
            own = [gateway.policy(name) for name in owner.policies]
            where = f"{key}[{index}].policies"
            for name, times in Counter(owner.policies).items():
                if times > 1:
                    yield f"{where} holds {name!r} twice; remove one"
            kinds = Counter(one.type for one in own if one.type not in SEVERAL)
            for kind, times in kinds.items():
                if times > 1:
                    names = ", ".join(one.name for one in own if one.type == kind)
                    yield f"{where} holds several of the type {kind} ({names}); keep one"
            asking = [one.name for one in own if one.type in AUTHENTICATION]
            if len(asking) > 1:
                yield f"{where} asks in several ways who comes ({', '.join(asking)}); keep one"
    for index, route in enumerate(gateway.routes):
        where = f"routes[{index}]"
        for host in route.hosts:
            every = gateway.policies_of(route, host)
            known = any(one.type in AUTHENTICATION for one in every)
            for policy in every:
                if isinstance(policy, RateLimit) and policy.by == "consumer" and not known:
                    yield (
                        f"{where}.policies: {policy.name!r} counts by consumer, but nothing at "
                        f"{host} asks who comes; add a policy of {', '.join(AUTHENTICATION)}"
                    )
                if isinstance(policy, Cache) and _protocols(gateway, route) & {"grpc", "grpcs"}:
                    yield (
                        f"{where}.policies: {policy.name!r} keeps responses, but a backend is of "
                        "gRPC, whose responses nobody may keep; remove it"
                    )


def _routes(gateway: Gateway) -> Iterator[str]:
    for index, route in enumerate(gateway.routes):
        where = f"routes[{index}]"
        for key in ("hosts", "methods"):
            for one, times in Counter(getattr(route, key)).items():
                if times > 1:
                    yield f"{where}.{key} holds {one!r} twice; remove one"
        headers = Counter(one.name.lower() for one in route.headers)
        for name, times in headers.items():
            if times > 1:
                yield f"{where}.headers asks twice for {name!r}; keep one"
        names = Counter(one.name for one in route.backends)
        for name, times in names.items():
            if times > 1:
                yield f"{where}.backends holds {name!r} twice; keep one"
        total = sum(one.weight for one in route.backends)
        if total != 100:
            yield f"{where}.backends has weights that sum up to {total}; make them 100"
        for protocol in sorted(_protocols(gateway, route) & {"tcp"}):
            yield f"{where}.backends holds one of the protocol {protocol!r}; use a listener of tcp"
        yield from _rewrite(route, where)


def _rewrite(route: Route, where: str) -> Iterator[str]:
    rewrite, kind = route.rewrite, route.path.type
    if rewrite is None:
        return
    if rewrite.prefix is not None and kind != "prefix":
        yield f"{where}.rewrite.prefix is set, but path is {kind}; use rewrite.path"
    if rewrite.path is not None and kind == "prefix":
        yield (
            f"{where}.rewrite.path is set, but path is a prefix; use rewrite.prefix, or a path of "
            "the type regex"
        )
    asked = {int(one) for one in re.findall(r"\$(\d)", rewrite.path or "")}
    groups = regexes.parse(route.path.value, anywhere=False).groups if kind == "regex" else 0
    if asked and max(asked) > groups:
        yield (
            f"{where}.rewrite.path is {rewrite.path!r}, but the path has {groups} groups; give "
            "lower numbers, or put parentheses into the path"
        )


def _protocols(gateway: Gateway, route: Route) -> set[str]:
    names = {one.name for one in route.backends} | (
        {route.canary.backend} if route.canary else set()
    )
    return {gateway.backend(name).protocol for name in names}


# --- shadows -------------------------------------------------------------------------------------


def _shadows(gateway: Gateway) -> Iterator[str]:
    """Routes that another one leaves nothing."""
    where = {route.name: index for index, route in enumerate(gateway.routes)}
    for host in gateway.hosts:
        for first, second in _shadowed(gateway.routes_of(host.name)):
            hidden = f"routes[{where[second.name]}] ({second.name})"
            yield (
                f"{hidden} can never be reached at {host.name}: "
                f"routes[{where[first.name]}] ({first.name}) takes all of its requests; change "
                "the path, methods or headers of one of them, or their order"
            )


def _shadowed(routes: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Pairs of a route and a later one that it hides, in the order in which they are tried.

    Of literal paths only equal ones hide each other, for the longest is taken; they are told apart
    without looking at each pair, of which there are many.
    """
    expressions = [route for route in routes if route.path.type == "regex"]
    literal: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        if route.path.type != "regex":
            value = route.path.value.rstrip("/") or "/"
            taken = value if route.path.type == "prefix" else route.path.value
            literal.setdefault((route.path.type, taken), []).append(route)
    for group in literal.values():
        yield from _hidden_alike(group)
    seen: set[str] = set()
    for first, second in combinations(expressions, 2):
        if second.name not in seen and _covers(first, second):
            seen.add(second.name)
            yield first, second
    for first in expressions:
        for route in routes:
            if route.path.type == "prefix" and route.name not in seen and _covers(first, route):
                seen.add(route.name)
                yield first, route


def _hidden_alike(group: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Of routes of one path: a later one whose methods and headers earlier ones take together."""
    for index, route in enumerate(group):
        earlier = [one for one in group[:index] if _headers(one) <= _headers(route)]
        if whole := next((one for one in earlier if _asks_less(one, route)), None):
            yield whole, route
        elif route.methods and set(route.methods) <= {m for one in earlier for m in one.methods}:
            yield earlier[-1], route


def _covers(first: Route, second: Route) -> bool:
    return _asks_less(first, second) and regexes.includes(
        language(first.path), language(second.path)
    )


def _asks_less(first: Route, second: Route) -> bool:
    """Whether what the second asks for, beside the path, is all that the first asks for."""
    methods = not first.methods or (
        bool(second.methods) and set(second.methods) <= set(first.methods)
    )
    return methods and _headers(first) <= _headers(second)


def _headers(route: Route) -> set[tuple[str, str]]:
    return {(one.name.lower(), one.value) for one in route.headers}


def language(path: PathMatch) -> regexes.Node:
    """The paths that are taken."""
    if path.type == "regex":
        return regexes.parse(path.value, anywhere=False).body
    return regexes.literal(path.value) if path.type == "exact" else regexes.below(path.value)
