"""A gateway as objects of F5 NGINX Ingress Controller, v5.5.4, open source. Pure.

https://docs.nginx.com/nginx-ingress-controller/configuration/virtualserver-and-virtualserverroute-resources/

The controller runs with `-enable-snippets` and `-global-configuration`. A host is a VirtualServer.
A path is a location of it, or two where a prefix takes itself and what is below. Routes of one path
are its matches, and what they leave goes on to the routes of the next path that takes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from components.gateway import features, nginx_endpoints, nginx_policies, regexes
from components.gateway import nginx_snippets as snippets
from components.gateway.consistency import language
from components.gateway.features import Lacking
from components.gateway.nginx_global import (
    GROUP,
    HTTP_PORT,
    balance,
    config_map,
    global_configuration,
    metadata,
    milliseconds,
    transport_servers,
)
from components.gateway.rendering import Target, layer_of
from components.gateway.routes import (
    Access,
    Backend,
    Gateway,
    Headers,
    Host,
    Limits,
    Oidc,
    Policy,
    Route,
)

Object = dict[str, Any]
_NOT_FOUND: Final = {"return": {"code": 404, "type": "text/plain", "body": "not found"}}
_OWN: Final = ("/internal_location_", "/_external_auth", "/_validate_apikey_njs", "/oauth2")
"""Locations that the controller makes; an expression of a route would take their requests."""
_GUARD: Final = "(?!/(?:internal_location_|_external_auth|_validate_apikey_njs|oauth2(?:/|$)))"
_NEXT: Final = "next"
_GRPC: Final = frozenset({"grpc", "grpcs"})
_TLS: Final = frozenset({"https", "grpcs"})


def render(gateway: Gateway, target: Target) -> list[Object]:
    """The objects of a layer: ConfigMap, listeners, Policies, VirtualServers, TransportServers.

    Raises:
        Lacking: the gateway asks for what this edition does not have; a line for each use.
    """
    lines = features.lacking(gateway, "nginx", target.layer)
    hosts = [] if target.layer == "balancer" else sorted(gateway.hosts, key=lambda one: one.name)
    servers = [_Server(gateway, target, host) for host in hosts]
    lines += [line for server in servers for line in server.problems()]
    if lines:
        raise Lacking("\n".join(dict.fromkeys(lines)))
    policies: dict[str, Object] = {}
    rendered = [server.render(policies) for server in servers]
    watching = [route for server in rendered for route in nginx_endpoints.watch(server)]
    return [
        config_map(gateway, target),
        *global_configuration(gateway, target),
        *(policies[name] for name in sorted(policies)),
        *rendered,
        *watching,
        *transport_servers(gateway, target),
    ]


@dataclass(frozen=True)
class _Place:
    """A location: how it is written, what it takes, and the routes that may take its requests."""

    path: str
    kind: str
    literal: str
    """Of a prefix or exact path."""
    routes: tuple[Route, ...]
    """In the order in which they are tried; the last one may take all that is left."""
    own: tuple[Route, ...]
    """Those of the path itself."""

    @property
    def complete(self) -> bool:
        """Whether a route takes whatever comes."""
        return bool(self.routes) and _takes_all(self.routes[-1])

    @property
    def divided(self) -> bool:
        """Whether there is more than one action."""
        return (
            len(self.routes) > 1
            or not self.complete
            or any(route.canary or len(_shares(route)) > 1 for route in self.routes)
        )

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of all backends that requests may go to."""
        return tuple(sorted({name for route in self.routes for name in _names(route)}))


class _Server:
    """The VirtualServer of a host."""

    def __init__(self, gateway: Gateway, target: Target, host: Host) -> None:
        self.gateway = gateway
        self.target = target
        self.host = host
        self.name = f"{target.name}-{_slug(host.name)}"
        self.places = _places(gateway.routes_of(host.name))

    # --- what can't be ---------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Lines of `Lacking` for what the controller can't say about this host."""
        lines = []
        where = {route.name: index for index, route in enumerate(self.gateway.routes)}
        for place in self.places:
            first = place.own[0]
            named = f"routes[{where[first.name]}].path ({first.name})"
            if place.literal.startswith(_OWN[:3]):
                lines.append(
                    f"{named} is {first.path.value!r}, which NGINX Ingress Controller keeps for "
                    "itself; use another path"
                )
            for other in place.routes[1:]:
                if self._at(other) != self._at(first):
                    lines.append(
                        features.line(
                            features.feature("policiesByMatch"),
                            "nginx",
                            f"routes[{where[other.name]}].policies ({other.name}, beside "
                            f"{first.name})",
                        )
                    )
            if self.target.layer != "proxy":
                lines += self._problems_of_backends(place, named)
        if self.target.layer != "proxy":
            lines += self._problems_of_expressions(where)
            lines += self._problems_of_sign_in(where)
        return lines

    def _problems_of_backends(self, place: _Place, named: str) -> list[str]:
        backends = [self.gateway.backend(name) for name in place.backends]
        lines = []
        if len(backends) > 1 and any(one.backup for one in backends):
            lines.append(
                f"{named} goes to several backends, of which one has a backup: NGINX Ingress "
                "Controller has one backup for a path; use a path of its own, or remove backup"
            )
        if len({one.tls for one in backends}) > 1:
            lines.append(
                f"{named} goes to backends with different tls: NGINX Ingress Controller proves one "
                "certificate for a path; use the same tls, or paths of their own"
            )
        return lines

    def _problems_of_expressions(self, where: dict[str, int]) -> list[str]:
        """What the methods or headers of a route with an expression leave may be another's."""
        lines = []
        expressions = [place for place in self.places if place.kind == "regex"]
        for index, place in enumerate(expressions):
            if place.divided and " " in place.path.removeprefix("~ "):
                name = place.own[0].name
                lines.append(
                    f"routes[{where[name]}].path ({name}) holds a space, and goes to several "
                    "backends or by methods or headers: NGINX Ingress Controller writes such a "
                    "path without quotes; use [^/] for the space"
                )
            if place.complete:
                continue
            mine = language(place.own[0].path)
            others = [*expressions[index + 1 :], *(p for p in self.places if p.kind == "prefix")]
            for other in others:
                if regexes.overlap(mine, language(other.own[0].path)):
                    name = place.own[0].name
                    lines.append(
                        f"routes[{where[name]}].path ({name}) leaves requests to "
                        f"{other.own[0].name} by its methods or headers: NGINX takes the first "
                        "expression that matches and no other; add a route with the same path and "
                        "neither"
                    )
                    break
        return lines

    def _problems_of_sign_in(self, where: dict[str, int]) -> list[str]:
        found = {
            policy.name
            for place in self.places
            for policy in self.policies(place.own[0])
            if isinstance(policy, Oidc)
        }
        lines = []
        if len(found) > 1:
            lines.append(
                f"hosts ({self.host.name}) has the oidc policies {', '.join(sorted(found))}: NGINX "
                "Ingress Controller has one for a host; use the same on all its routes"
            )
        for place in self.places:
            first = place.own[0]
            if found and (place.literal + "/").startswith("/oauth2/"):
                named = f"routes[{where[first.name]}].path ({first.name})"
                lines.append(
                    f"{named} is {first.path.value!r}, where sign-in takes place; use another path"
                )
        return lines

    # --- what is rendered ------------------------------------------------------------------------

    def policies(self, route: Route) -> tuple[Policy, ...]:
        """What applies to a route in this layer."""
        found = self.gateway.policies_of(route, self.host.name)
        if self.target.layer == "all":
            return found
        known = nginx_policies.authenticated(self.gateway, route, self.host.name)
        return tuple(
            one for one in found if layer_of(one, authenticated=known) == self.target.layer
        )

    def _at(self, route: Route) -> tuple[Policy, ...]:
        """What is of a location, and so of all its routes: not headers, which are an action's."""
        found = [
            one
            for one in self.policies(route)
            if not (isinstance(one, Headers) and _is_native(one))
        ]
        return tuple(sorted(found, key=lambda one: one.name))

    def render(self, policies: dict[str, Object]) -> Object:
        """The object; the Policies that it names are put into `policies`."""
        target, host = self.target, self.host
        upstreams: dict[str, Object] = {}
        routes = [self._route(place, policies, upstreams) for place in self.places]
        if target.layer == "proxy" and not any(place.path == "/" for place in self.places):
            routes.append({"path": "/", "action": self._to_next(upstreams)})
        spec: Object = {
            "ingressClassName": target.ingress_class,
            "host": host.name,
            "server-snippets": snippets.text(self._server_lines()),
            "upstreams": [upstreams[name] for name in sorted(upstreams)],
            "routes": routes,
        }
        if host.tls and target.layer in {"all", "proxy"}:
            spec["tls"] = {"secret": target.tls_secrets[host.name]}
            if host.redirect:
                spec["tls"]["redirect"] = {"enable": True, "code": 301}
        used = {policy.name: policy for place in self.places for policy in self._at(place.own[0])}
        if lines := snippets.http(used[name] for name in sorted(used)):
            spec["http-snippets"] = snippets.text(lines)
        return {
            "apiVersion": GROUP,
            "kind": "VirtualServer",
            "metadata": metadata(self.name, target.namespace, target),
            "spec": spec,
        }

    def _server_lines(self) -> list[str]:
        lines = [
            # Of locations that lead on to others; those set their own.
            "client_max_body_size 0;",
            # Before a location rewrites it.
            "set $gateway_decoded_path $uri;",
        ]
        if self.target.layer == "proxy":
            return lines
        for place in self.places:
            if backend := self._backup(place):
                lines += self._backup_lines(place, backend)
        return lines

    def _route(
        self, place: _Place, policies: dict[str, Object], upstreams: dict[str, Object]
    ) -> Object:
        first = place.own[0]
        found = self.policies(first)
        route: Object = {"path": place.path}
        names = self._names_of_policies(place, found, policies)
        if names:
            route["policies"] = [{"name": name} for name in names]
        if lines := self._location_lines(place):
            route["location-snippets"] = snippets.text(lines)
        if self.target.layer == "proxy":
            return {**route, "action": self._to_next(upstreams, _body_limit(found))}
        matches, rest = [], None
        for one in place.routes:
            conditions = _conditions(one)
            if one.canary:
                asked = {
                    **({"header": one.canary.header} if one.canary.header else {}),
                    **({"cookie": one.canary.cookie} if one.canary.cookie else {}),
                    "value": one.canary.value,
                }
                action = self._action(place, one, one.canary.backend, upstreams)
                matches.append({"conditions": [*conditions, asked], "action": action})
            where_to = self._shares(place, one, upstreams)
            if conditions:
                matches.append({"conditions": conditions, **where_to})
            else:
                rest = where_to
        return {
            **route,
            **({"matches": matches} if matches else {}),
            **(rest or {"action": dict(_NOT_FOUND)}),
        }

    def _names_of_policies(
        self, place: _Place, found: tuple[Policy, ...], policies: dict[str, Object]
    ) -> list[str]:
        first = place.own[0]
        names = []
        every = self.gateway.policies_of(first, self.host.name)
        specs = {
            nginx_policies.name(one, first, self.target): nginx_policies.spec(
                one, first, every, self.target
            )
            for one in found
        }
        if self.target.layer != "proxy" and place.backends:
            backend = self.gateway.backend(place.backends[0])
            if backend.tls:
                specs[f"{self.target.name}-{backend.name}-tls"] = nginx_policies.upstream_tls(
                    backend
                )
        for name, spec in sorted(specs.items()):
            if spec is not None:
                names.append(name)
                policies[name] = {
                    "apiVersion": GROUP,
                    "kind": "Policy",
                    "metadata": metadata(name, self.target.namespace, self.target),
                    "spec": {"ingressClassName": self.target.ingress_class, **spec},
                }
        return names

    def _location_lines(self, place: _Place) -> list[str]:
        protocols = {self.gateway.backend(name).protocol for name in place.backends}
        grpc = bool(protocols & _GRPC)
        carried = [
            one
            for one in self._at(place.own[0])
            # The others are Policies.
            if not isinstance(one, Access) or (one.allow and one.deny)
        ]
        lines = snippets.location(
            carried,
            grpc=grpc,
            http=bool(protocols - _GRPC) or not grpc,
            request_id=self.gateway.observability.tracing.request_id,
        )
        if self.target.layer != "proxy" and (backend := self._backup(place)):
            lines.append(f"error_page 502 504 = @{self._backup_name(place, backend)};")
            # Without an endpoint the controller asks a server of its own, which answers 502. For
            # sign-in it writes this itself.
            if not any(isinstance(one, Oidc) for one in carried):
                lines.append(f"{'grpc' if grpc else 'proxy'}_intercept_errors on;")
        return lines

    # --- where requests go -----------------------------------------------------------------------

    def _shares(self, place: _Place, route: Route, upstreams: dict[str, Object]) -> Object:
        shares = _shares(route)
        actions = [
            (share.weight, self._action(place, route, share.name, upstreams)) for share in shares
        ]
        if len(actions) == 1:
            return {"action": actions[0][1]}
        return {"splits": [{"weight": weight, "action": action} for weight, action in actions]}

    def _action(
        self, place: _Place, route: Route, name: str, upstreams: dict[str, Object]
    ) -> Object:
        backend = self.gateway.backend(name)
        upstream = _upstream(backend, _body_limit(self.policies(route)))
        upstreams[upstream["name"]] = upstream
        if backend.backup:
            spare = self._spare(backend)
            upstreams[spare["name"]] = spare
        headers = next((one for one in self.policies(route) if isinstance(one, Headers)), None)
        proxy: Object = {"upstream": upstream["name"]}
        if path := _rewritten(place, route):
            proxy["rewritePath"] = path
        if headers:
            proxy |= _headers(headers)
        if self.target.layer == "gateway":
            # What came over TLS to the layer before is still to be told so.
            known = proxy.setdefault("requestHeaders", {}).setdefault("set", [])
            known.append({"name": "X-Forwarded-Proto", "value": "${http_x_forwarded_proto}"})
        return {"proxy": proxy} if len(proxy) > 1 else {"pass": upstream["name"]}

    def _to_next(self, upstreams: dict[str, Object], body: int = 0) -> Object:
        name = f"{_NEXT}-b{body}" if body else _NEXT
        upstreams[name] = {
            "name": name,
            "service": self.target.upstream,
            "port": HTTP_PORT,
            "lb-method": "least_conn",
            "client-max-body-size": str(body),
            "keepalive": 32,
            "connect-timeout": "1s",
            "read-timeout": "10m",
            "send-timeout": "10m",
        }
        return {"pass": name}

    # --- a backup --------------------------------------------------------------------------------

    def _backup(self, place: _Place) -> Backend | None:
        backends = [self.gateway.backend(name) for name in place.backends]
        return backends[0] if len(backends) == 1 and backends[0].backup else None

    def _backup_name(self, place: _Place, backend: Backend) -> str:
        digest = hashlib.sha256(place.path.encode()).hexdigest()[:12]
        return f"gateway_{backend.name.replace('-', '_')}_{digest}"

    def _backup_lines(self, place: _Place, backend: Backend) -> list[str]:
        upstream = f"vs_{self.target.namespace}_{self.name}_{self._spare(backend)['name']}"
        rewrite = None
        if path := _rewritten(place, place.routes[0]):
            rewrite = (_expression(place), path if place.kind != "prefix" else f"{path}$1")
        kind = "grpc" if backend.protocol in _GRPC else "proxy"
        secure = "s" * (backend.protocol in _TLS)
        scheme = f"{'grpc' if kind == 'grpc' else 'http'}{secure}"
        return snippets.backup(
            self._backup_name(place, backend),
            f"{scheme}://{upstream}",
            rewrite,
            self._backup_headers(place, kind),
        )

    def _backup_headers(self, place: _Place, kind: str) -> list[str]:
        """What the path's own location changes: nothing of it is of another location."""
        proto = "$http_x_forwarded_proto" if self.target.layer == "gateway" else "$scheme"
        lines = [
            f"{kind}_set_header X-Forwarded-Proto {proto};",
            *(
                line
                for line in self._location_lines(place)
                if line.startswith((f"{kind}_set_header ", "add_header "))
            ),
        ]
        for policy in self.policies(place.routes[0]):
            if isinstance(policy, Headers):
                found = _headers(policy)
                response = found.get("responseHeaders", {})
                lines += [
                    f"{kind}_set_header {one['name']} {snippets.quoted(one['value'])};"
                    for one in found.get("requestHeaders", {}).get("set", ())
                ]
                lines += [f"{kind}_hide_header {name};" for name in response.get("hide", ())]
                lines += [
                    f"add_header {one['name']} {snippets.quoted(one['value'])} always;"
                    for one in response.get("add", ())
                ]
        return lines

    @staticmethod
    def _spare(backend: Backend) -> Object:
        if backend.backup is None:
            raise ValueError(f"{backend.name} has no backup")
        whole = _upstream(backend.model_copy(update={"service": backend.backup}), 0)
        return {**whole, "name": f"{backend.name}-backup"}


def _upstream(backend: Backend, body: int) -> Object:
    service, health, retries = backend.service, backend.passive_health, backend.retries
    if service is None:
        raise ValueError(f"{backend.name} is no Service")
    when = [f"http_{one}" if one.isdecimal() else one for one in sorted(set(retries.when))]
    if retries.non_idempotent:
        when.append("non_idempotent")
    upstream: Object = {
        "name": f"{backend.name}-b{body}" if body else backend.name,
        "service": f"{service.namespace}/{service.name}",
        "port": service.port,
        "lb-method": balance(backend, "$binary_remote_addr"),
        "max-fails": health.failures,
        "fail-timeout": milliseconds(health.timeout),
        "max-conns": backend.max_connections,
        "keepalive": backend.keepalive,
        "connect-timeout": milliseconds(backend.timeouts.connect),
        "read-timeout": milliseconds(backend.timeouts.read),
        "send-timeout": milliseconds(backend.timeouts.send),
        "next-upstream": " ".join(when) if retries.attempts > 1 and when else "off",
        "next-upstream-tries": retries.attempts,
        "next-upstream-timeout": milliseconds(retries.timeout),
        "client-max-body-size": str(body),
    }
    if backend.protocol in _GRPC:
        upstream["type"] = "grpc"
    if backend.protocol in _TLS:
        upstream["tls"] = {"enable": True}
    if cookie := backend.session_cookie:
        upstream["sessionCookie"] = {
            "enable": True,
            "name": cookie.name,
            "path": "/",
            "httpOnly": True,
            "samesite": "lax",
            **({"expires": milliseconds(cookie.expires)} if cookie.expires else {}),
        }
    return upstream


def _headers(policy: Headers) -> Object:
    request = [
        {"name": name, "value": value}
        for name, text in sorted(policy.request.set.items())
        if (value := snippets.native(text)) is not None
    ]
    request += [{"name": name, "value": ""} for name in sorted(policy.request.remove)]
    hidden = sorted({*policy.response.remove, *policy.response.set})
    added = [
        {"name": name, "value": value, "always": True}
        for name, text in snippets.response_headers(policy)
        if (value := snippets.native(text)) is not None
    ]
    response = {**({"hide": hidden} if hidden else {}), **({"add": added} if added else {})}
    return {
        **({"requestHeaders": {"set": request}} if request else {}),
        **({"responseHeaders": response} if response else {}),
    }


def _is_native(policy: Headers) -> bool:
    texts = [*policy.request.set.values(), *(text for _, text in snippets.response_headers(policy))]
    return not policy.request.add and all(snippets.native(text) is not None for text in texts)


def _body_limit(policies: Iterable[Policy]) -> int:
    return next((one.body for one in policies if isinstance(one, Limits)), 0)


# --- routes and places ---------------------------------------------------------------------------


def _places(routes: Sequence[Route]) -> list[_Place]:
    """The locations for routes of a host, which come in the order in which they are tried."""
    groups: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        literal = route.path.value
        if route.path.type == "prefix":
            literal = literal.rstrip("/") or "/"
        groups.setdefault((route.path.type, literal), []).append(route)
    exact = {literal for kind, literal in groups if kind == "exact"}
    places = []
    for (kind, literal), own in groups.items():
        if kind == "regex":
            places.append(_regex_place(own))
        elif kind == "exact":
            places.append(_literal_place(groups, own, literal, f"={literal}", "exact"))
        else:
            below = "/" if literal == "/" else f"{literal}/"
            places.append(_literal_place(groups, own, below, below, "prefix"))
            # An expression comes before a prefix, but after an exact location.
            if literal not in exact | {"/"} and not _matching(groups, literal):
                places.append(_literal_place(groups, own, literal, f"={literal}", "exact"))
    # NGINX asks exact paths first, then expressions in this order, then prefixes by length.
    kinds = ("exact", "regex", "prefix")
    return sorted(places, key=lambda one: (kinds.index(one.kind), _rank(one)))


def _rank(place: _Place) -> tuple[int, str]:
    return (0, "") if place.kind == "regex" else (-len(place.path), place.path)


def _regex_place(own: Sequence[Route]) -> _Place:
    # Of a path that is divided the controller writes the expression without quotes.
    expression = regexes.parse(own[0].path.value, anywhere=False).uncounted()
    text = str(expression)
    if any(regexes.overlap(expression.body, _beginning(prefix)) for prefix in _OWN):
        text = f"^{_GUARD}{text.removeprefix('^')}"
    return _Place(f"~ {text}", "regex", "", _until_complete(own), tuple(own))


def _literal_place(
    groups: dict[tuple[str, str], list[Route]],
    own: Sequence[Route],
    literal: str,
    path: str,
    kind: str,
) -> _Place:
    """A place for the routes of a path, and for those of others that take what these leave."""
    following: list[Route] = []
    if kind == "exact":
        following += (route for one in _matching(groups, literal) for route in one)
    for prefix in _prefixes(literal):
        routes = groups.get(("prefix", prefix), [])
        following += routes if routes is not own else []
    tried = _until_complete((*own, *following))
    place = _Place(path, kind, literal, tried, tuple(own))
    if kind == "exact" and place.divided and any(route.rewrite for route in tried):
        # The controller writes no expression for an exact path that is divided and rewritten.
        place = _Place(f"~ {_expression(place)}", kind, literal, tried, tuple(own))
    return place


def _matching(groups: dict[tuple[str, str], list[Route]], literal: str) -> list[list[Route]]:
    """Routes with expressions that take a path, in the order in which they are tried."""
    # They come before prefixes.
    expressions = takewhile(lambda one: one[0][0] != "prefix", groups.items())
    return [
        own
        for (kind, expression), own in expressions
        if kind == "regex" and re.fullmatch(str(regexes.parse(expression, anywhere=False)), literal)
    ]


def _prefixes(path: str) -> Iterator[str]:
    """The prefixes of a path, itself too, from the longest to the root."""
    segments = path.strip("/").split("/")
    for length in range(len(segments), 0, -1):
        yield "/" + "/".join(segments[:length])
    if path != "/":
        yield "/"


def _until_complete(routes: Iterable[Route]) -> tuple[Route, ...]:
    found: list[Route] = []
    for route in routes:
        found.append(route)
        if _takes_all(route):
            break
    return tuple(found)


def _takes_all(route: Route) -> bool:
    return not route.methods and not route.headers


def _beginning(prefix: str) -> regexes.Node:
    anything = regexes.parse(".*", anywhere=False).body
    return regexes.Sequence((regexes.literal(prefix), anything))


def _expression(place: _Place) -> str:
    """What matches a place's path, with what is below a prefix as its group."""
    if place.kind == "regex":
        return place.path.removeprefix("~ ")
    body = str(regexes.Expression(regexes.literal(place.literal), begins=True, ends=True))
    return body if place.kind == "exact" else f"{body.removesuffix('$')}(.*)$"


def _rewritten(place: _Place, route: Route) -> str:
    """What a backend sees instead of the place's path; "" for no rewriting."""
    if route.rewrite is None:
        return ""
    if route.rewrite.prefix is not None:
        taken = route.path.value.rstrip("/")
        return (route.rewrite.prefix.rstrip("/") + place.literal[len(taken) :]) or "/"
    path = route.rewrite.path or ""
    if route.path.type == "regex" and place.kind != "regex":
        # What the groups hold is known, for the path is.
        expression = str(regexes.parse(route.path.value, anywhere=False))
        found = re.fullmatch(expression, place.literal)
        return re.sub(r"\$(\d)", lambda one: (found and found[int(one[1])]) or "", path)
    return path


def _conditions(route: Route) -> list[Object]:
    found: list[Object] = []
    if route.methods:
        methods = sorted(set(route.methods))
        value = methods[0] if len(methods) == 1 else f"~^({'|'.join(methods)})$"
        found.append({"variable": "$request_method", "value": value})
    found += [{"header": one.name, "value": one.value} for one in sorted_headers(route)]
    return found


def sorted_headers(route: Route) -> list[Any]:
    """The headers that a route asks for, by name."""
    return sorted(route.headers, key=lambda one: one.name.lower())


def _shares(route: Route) -> list[Any]:
    """Its backends that get requests, by name."""
    return sorted((one for one in route.backends if one.weight), key=lambda one: one.name)


def _names(route: Route) -> list[str]:
    return [
        *(share.name for share in _shares(route)),
        *([route.canary.backend] if route.canary else []),
    ]


def _slug(host: str) -> str:
    """A part of a name of an object, for a host."""
    digest = hashlib.sha256(host.encode()).hexdigest()[:8]
    return f"{host.replace('*', 'any').replace('.', '-')[:30].rstrip('-')}-{digest}"
