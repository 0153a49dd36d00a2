"""Policies as plugins of Kong Gateway, open source: names, configuration, which policy is which.

https://developer.konghq.com/plugins/, each by its page. All of these are in the open-source edition
(no `tier` on the plugin's page); what is not is refused in `kong_refusals`. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.gateway import regexes
from components.gateway.portable import Object, metadata
from components.gateway.rendering import Target
from components.gateway.routes import (
    Access,
    ApiKey,
    Basic,
    Cache,
    Cors,
    Filter,
    HeaderChange,
    Jwt,
    Limits,
    Policy,
    RateLimit,
    Vouched,
)

GROUP: Final = "configuration.konghq.com"
CLASS: Final = "kubernetes.io/ingress.class"
HTTP: Final = ("grpc", "grpcs", "http", "https")
TCP: Final = ("tcp", "tls")
CACHE_DICTIONARY: Final = "gateway_cache"
"""The memory that responses are kept in, `kong_settings` makes it."""
REDIS_USER: Final = "app"
REDIS_PASSWORD: Final = "GATEWAY_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
"""Environment variable of the proxy with the password of the Redis of shared limits."""
REQUEST_ID: Final = "X-Request-ID"

_TEMPLATES: Final[Mapping[str, str]] = {
    "${host}": "$(headers['host'])",
    "${requestId}": f"$(headers['{REQUEST_ID.lower()}'])",
}
"""Variables of headers' values in the language of request-transformer."""


@dataclass(frozen=True)
class Plugin:
    """A plugin with its configuration, by the name of the object that holds it."""

    name: str
    plugin: str
    config: Mapping[str, Any]
    protocols: Sequence[str] = HTTP

    def object(self, target: Target) -> Object:
        """As a KongPlugin, in the gateway's namespace."""
        return self._body(
            "KongPlugin", metadata(self.name, target.namespace, {CLASS: target.ingress_class})
        )

    def everywhere(self, target: Target) -> Object:
        """As a KongClusterPlugin of all requests."""
        whole = metadata(self.name, annotations={CLASS: target.ingress_class})
        whole["labels"]["global"] = "true"
        return self._body("KongClusterPlugin", whole)

    def _body(self, kind: str, whole: Object) -> Object:
        return {
            "apiVersion": f"{GROUP}/v1",
            "kind": kind,
            "metadata": whole,
            "plugin": self.plugin,
            "config": dict(self.config),
            "protocols": list(self.protocols),
        }


def named(target: Target, what: str, plugin: str, config: Mapping[str, Any]) -> Plugin:
    """A plugin whose object is named by what it is for, and by its kind, which can't be changed."""
    return Plugin(f"{target.name}-{what}-{plugin}", plugin, config)


# --- policies ------------------------------------------------------------------------------------


def of_route(policies: Sequence[Policy], target: Target) -> list[Plugin]:
    """The plugins of a route's policies, but for headers, which may be filters of its rules."""
    rates = [policy for policy in policies if isinstance(policy, RateLimit)]
    private = any(isinstance(policy, Jwt) for policy in policies)
    plugins: list[Plugin] = []
    # A route has one plugin of a kind.
    code = {
        policy.name: _filter(policy) if isinstance(policy, Filter) else _vouched(policy)
        for policy in policies
        if isinstance(policy, Filter | Vouched)
    }
    for policy in policies:
        match policy:
            case Access():
                plugins.append(named(target, policy.name, "ip-restriction", _access(policy)))
            case Limits():
                size = {"allowed_payload_size": policy.body, "size_unit": "bytes"}
                plugins.append(named(target, policy.name, "request-size-limiting", size))
            case Filter() | Vouched():
                if policy.name == next(iter(code)):
                    together = {"access": list(code.values())}
                    plugins.append(named(target, "-".join(code), "pre-function", together))
            case Cache():
                plugins.append(_cache(policy, target, private=private))
            case ApiKey():
                plugins += [
                    named(target, policy.name, "key-auth", _api_key(policy)),
                    _group(policy.name, target),
                ]
            case Basic():
                config = {"realm": policy.realm, "hide_credentials": True}
                plugins += [
                    named(target, policy.name, "basic-auth", config),
                    _group(policy.name, target),
                ]
            case Jwt():
                plugins += [named(target, policy.name, "jwt", _JWT), _group(policy.name, target)]
            case Cors():
                plugins.append(named(target, policy.name, "cors", _cors(policy)))
    if rates:
        what = "-".join(policy.name for policy in rates)
        plugins.append(named(target, what, "rate-limiting", _rates(rates, target)))
    return plugins


def of_connections(policy: Access, target: Target) -> Plugin:
    """The plugin of a listener of plain TCP."""
    name = f"{target.name}-{policy.name}-tcp-ip-restriction"
    return Plugin(name, "ip-restriction", _access(policy), TCP)


def refusal(target: Target, status: int) -> Plugin:
    """What answers in the backend's place."""
    return named(target, f"refuse-{status}", "request-termination", {"status_code": status})


def _access(policy: Access) -> Object:
    lists = {"allow": list(policy.allow), "deny": list(policy.deny)}
    return {"status": 403, **{name: networks for name, networks in lists.items() if networks}}


def _filter(policy: Filter) -> str:
    """Lua that answers 403 to what is refused; expressions are printed anew by `regexes`."""
    methods = ", ".join(f"{method} = true" for method in policy.methods)
    places = {
        "kong.request.get_path()": policy.paths,
        "kong.request.get_raw_query()": policy.queries,
        'kong.request.get_header("User-Agent") or ""': policy.user_agents,
    }
    conditions = [
        *([f"({{ {methods} }})[kong.request.get_method()]"] if methods else []),
        *(
            f'ngx.re.find({place}, {_lua(str(regexes.parse(value, anywhere=True)))}, "jo")'
            for place, values in places.items()
            for value in values
        ),
    ]
    asked = "\n  or ".join(conditions)
    return f"if {asked} then\n  return kong.response.exit(403)\nend\n"


def _vouched(policy: Vouched) -> str:
    """Lua that answers 401 to what no proxy of the networks has let through."""
    networks = [ipaddress.IPv4Network(one) for one in policy.networks]
    inside = " or ".join(
        f"(number >= {int(one.network_address)} and number <= {int(one.broadcast_address)})"
        for one in networks
    )
    return (
        # Of the connection, whatever a header says of the client.
        'local a, b, c, d = kong.client.get_ip():match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")\n'
        "local number = a and ((a * 256 + b) * 256 + c) * 256 + d or -1\n"
        f"if not ({inside})\n"
        f'  or kong.request.get_header("{policy.HEADER}") ~= {_lua(policy.name)} then\n'
        "  return kong.response.exit(401)\n"
        "end\n"
    )


def _lua(text: str) -> str:
    """A string of Lua that reads nothing in `text`: in long brackets that it does not hold."""
    level = ""
    while f"]{level}]" in f"{text}]":
        level += "="
    return f"[{level}[{text}]{level}]"


def _api_key(policy: ApiKey) -> Object:
    places = [place for place in (policy.header, policy.query) if place]
    return {
        "key_names": places,
        "key_in_header": policy.header is not None,
        "key_in_query": policy.query is not None,
        "key_in_body": False,
        "hide_credentials": True,
    }


_JWT: Final[Object] = {
    "key_claim_name": "iss",
    "claims_to_verify": ["exp"],
    "header_names": ["authorization"],
    # A token in a URL ends in logs.
    "uri_param_names": [],
    "cookie_names": [],
}


def _group(policy: str, target: Target) -> Plugin:
    # Kong knows consumers for all routes: whose they are is told by a group.
    return named(target, policy, "acl", {"allow": [policy], "hide_groups_header": True})


def _cache(policy: Cache, target: Target, *, private: bool) -> Plugin:
    # Kong keeps responses of each consumer apart. All who come with tokens of one issuer are one
    # consumer, so that their tokens must tell them apart.
    vary = [*policy.vary, *(["Authorization"] if private else [])]
    config: Object = {
        "strategy": "memory",
        "memory": {"dictionary_name": CACHE_DICTIONARY},
        "cache_ttl": max(policy.time // 1000, 1),
        "cache_control": True,
        # A parameter of the type must be told too.
        "content_type": ["*/*", "*/*; charset=utf-8", "*/*; charset=UTF-8"],
        "request_method": list(policy.methods),
        "response_code": list(policy.statuses),
        **({"vary_headers": vary} if vary else {}),
    }
    name = f"{policy.name}-by-token" if private else policy.name
    return named(target, name, "proxy-cache", config)


_LIMIT_BY: Final = {"client": "ip", "consumer": "consumer", "header": "header", "route": "service"}


def _rates(policies: Sequence[RateLimit], target: Target) -> Object:
    first = policies[0]
    config: Object = {
        **{policy.per: policy.requests for policy in policies},
        "limit_by": _LIMIT_BY[first.by],
        "policy": "local",
        "error_code": 429,
        "fault_tolerant": True,
    }
    if first.header:
        config["header_name"] = first.header
    if first.scope == "redis":
        host, _, port = target.redis.rpartition(":")
        variable = REDIS_PASSWORD.lower().replace("_", "-")
        config |= {
            "policy": "redis",
            "redis": {
                "host": host,
                "port": int(port),
                "username": REDIS_USER,
                "password": f"{{vault://env/{variable}}}",
                "ssl": True,
                "ssl_verify": True,
                "server_name": host,
            },
        }
    return config


def _cors(policy: Cors) -> Object:
    return {
        "origins": list(policy.origins),
        "methods": list(policy.methods),
        **({"headers": list(policy.headers)} if policy.headers else {}),
        **({"exposed_headers": list(policy.expose)} if policy.expose else {}),
        "max_age": policy.max_age // 1000,
        "credentials": policy.credentials,
        "preflight_continue": False,
    }


# --- headers and paths ---------------------------------------------------------------------------


def has_template(change: HeaderChange) -> bool:
    """Whether a value holds a variable, so that only a plugin can set it."""
    return any("${" in value for value in (*change.set.values(), *change.add.values()))


def transformer(
    what: str, target: Target, kind: str, change: HeaderChange, *, uri: str = ""
) -> Plugin:
    """request-transformer or response-transformer, as the controller makes it of filters.

    `uri` is the path that the backend sees, with `$1` for the first group of the route's
    expression.
    """
    placed = [f"{name}:{_templated(value)}" for name, value in change.set.items()]
    replace: Object = {
        **({"headers": placed} if placed else {}),
        **({"uri": _captured(uri)} if uri else {}),
    }
    parts: Object = {
        "remove": {"headers": list(change.remove)} if change.remove else {},
        "replace": replace,
        "add": {"headers": placed} if placed else {},
        "append": {"headers": [f"{name}:{_templated(value)}" for name, value in change.add.items()]}
        if change.add
        else {},
    }
    return named(target, what, kind, {name: part for name, part in parts.items() if part})


def _templated(value: str) -> str:
    for variable, template in _TEMPLATES.items():
        value = value.replace(variable, template)
    return value


def _captured(uri: str) -> str:
    for number in range(1, 10):
        # A group that took no part is nil.
        uri = uri.replace(f"${number}", f"$(uri_captures[{number}] or '')")
    return uri


# --- everywhere ----------------------------------------------------------------------------------

PROMETHEUS: Final[Mapping[str, Any]] = {
    "status_code_metrics": True,
    "latency_metrics": True,
    "bandwidth_metrics": True,
    "upstream_health_metrics": True,
    "per_consumer": False,
}
CORRELATION: Final[Mapping[str, Any]] = {
    "header_name": REQUEST_ID,
    "generator": "uuid",
    "echo_downstream": True,
}


def tracing(endpoint: str) -> Object:
    """opentelemetry, by OTLP over HTTP; trace contexts are W3C's."""
    return {
        "traces_endpoint": f"http://{endpoint}/v1/traces",
        "propagation": {"default_format": "w3c", "extract": ["w3c"], "inject": ["w3c"]},
    }
