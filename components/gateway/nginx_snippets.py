"""The snippets of NGINX that carry what the controller's own resources have no word for. Pure.

They are generated, from a model whose every text has passed `hostile`; nobody writes their own. A
text stands in double quotes, by `quoted`, which takes none that could end them.

https://docs.nginx.com/nginx-ingress-controller/configuration/ingress-resources/advanced-configuration-with-snippets/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from components.gateway import regexes
from components.gateway.routes import (
    Access,
    ApiKey,
    Basic,
    Compression,
    Filter,
    Headers,
    Jwt,
    Oidc,
    Policy,
    Vouched,
)

SIGN_IN: Final = "/oauth2/start"
_VARIABLES: Final = {
    "${clientAddress}": "$remote_addr",
    "${host}": "$host",
    "${method}": "$request_method",
    "${requestId}": "$gateway_request_id",
    "${requestUri}": "$request_uri",
    "${scheme}": "$scheme",
}
_NATIVE: Final = {
    "${clientAddress}": "${remote_addr}",
    "${host}": "${host}",
    "${method}": "${request_method}",
    "${requestUri}": "${request_uri}",
    "${scheme}": "${scheme}",
}
_CONSUMER: Final = "X-Consumer-Username"

HTTP: Final = (
    # An id that comes with a request is kept if it is one.
    "map $http_x_request_id $gateway_request_id {",
    "    default $request_id;",
    '    "~^[A-Za-z0-9-]+$" $http_x_request_id;',
    "}",
    # A path without its arguments, which may hold keys.
    "map $request_uri $gateway_path {",
    '    "~^(?P<gateway_raw_path>[^?]*)" $gateway_raw_path;',
    "}",
)
"""Of the whole NGINX."""


def quoted(text: str) -> str:
    """`text` in double quotes.

    Raises:
        ValueError: it could end them.
    """
    if '"' in text or "\\" in text or not text.isprintable():
        raise ValueError(f"{text!r} can't stand in a configuration of NGINX")
    return f'"{text}"'


def value(text: str) -> str:
    """A header's value with NGINX's variables."""
    for name, variable in _VARIABLES.items():
        text = text.replace(name, variable)
    return text


def native(text: str) -> str | None:
    """A header's value for a VirtualServer, which has not all variables; None where it can't."""
    if "${requestId}" in text:
        return None
    for name, variable in _NATIVE.items():
        text = text.replace(name, variable)
    return text


def location(policies: Iterable[Policy], *, grpc: bool, http: bool, request_id: bool) -> list[str]:
    """Lines of a location with these policies, through which gRPC, HTTP or both go."""
    kinds = ["grpc"] * grpc + ["proxy"] * http
    lines: list[str] = []
    username, user, groups = '""', "", ""
    for policy in policies:
        match policy:
            case Access():
                lines += access(policy)
            case Filter():
                lines += _filter(policy)
            case Compression():
                lines += _compression(policy)
            case Headers():
                lines += [
                    f"{kind}_set_header {name} {text};"
                    for name, text in _request_headers(policy)
                    for kind in kinds
                ]
                lines += [
                    f"add_header {name} {quoted(value(text))} always;"
                    for name, text in response_headers(policy)
                    if native(text) is None
                ]
            case ApiKey():
                username = "$apikey_client_name"
            case Basic():
                username = "$remote_user"
            case Oidc():
                lines += [
                    f"error_page 401 = {SIGN_IN};",
                    "auth_request_set $gateway_user $upstream_http_x_auth_request_email;",
                    "auth_request_set $gateway_groups $upstream_http_x_auth_request_groups;",
                ]
                user, groups = "$gateway_user", "$gateway_groups"
            case Vouched():
                lines += _vouched(policy)
            case Jwt() | _:
                pass
    headers = {_CONSUMER: username}
    if user:
        headers |= {"X-Auth-Request-Email": user, "X-Auth-Request-Groups": groups}
    if request_id:
        headers["X-Request-ID"] = "$gateway_request_id"
    changed = {
        name.lower()
        for policy in policies
        if isinstance(policy, Headers)
        for name in (*policy.request.set, *policy.request.add, *policy.request.remove)
    }
    lines += [
        f"{kind}_set_header {name} {text};"
        for name, text in headers.items()
        if name.lower() not in changed
        for kind in kinds
    ]
    return lines


def http(policies: Iterable[Policy]) -> list[str]:
    """Lines of the whole NGINX that `location` of these policies needs."""
    lines = []
    for policy in policies:
        if isinstance(policy, Headers):
            for name, text in sorted(policy.request.add.items()):
                source = f"$http_{name.lower().replace('-', '_')}"
                lines += [
                    f"map {source} {_added(policy, name)} {{",
                    f"    default {quoted(f'{source}, {value(text)}')};",
                    f'    "" {quoted(value(text))};',
                    "}",
                ]
        if isinstance(policy, Vouched):
            lines += [
                # Of the connection, whatever a header says of the client.
                f"geo $realip_remote_addr {_fronted(policy)} {{",
                "    default 0;",
                *(f"    {network} 1;" for network in policy.networks),
                "}",
            ]
    return lines


def response_headers(policy: Headers) -> list[tuple[str, str]]:
    """What is added to a response; what is set has been removed before."""
    return [*sorted(policy.response.set.items()), *sorted(policy.response.add.items())]


def access(policy: Access) -> list[str]:
    """Lines for networks that are denied, and others that are allowed, in that order."""
    rest = "deny all;" if policy.allow else "allow all;"
    return [
        *(f"deny {network};" for network in policy.deny),
        *(f"allow {network};" for network in policy.allow),
        rest,
    ]


def backup(
    name: str, upstream: str, rewrite: tuple[str, str] | None, headers: Sequence[str]
) -> list[str]:
    """A named location that sends what it is given to another upstream, by its URL.

    `rewrite` is an expression, and the path for what it matches; `headers` are directives for
    those that are changed.
    """
    kind = "grpc" if upstream.startswith("grpc") else "proxy"
    lines = [
        f"{kind}_set_header Host $host;",
        f"{kind}_set_header X-Real-IP $remote_addr;",
        f"{kind}_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        *headers,
    ]
    if kind == "proxy":
        lines = ["proxy_http_version 1.1;", 'proxy_set_header Connection "";', *lines]
    if rewrite:
        lines += [
            "rewrite ^ $request_uri_no_args;",
            f"rewrite {quoted(rewrite[0])} {quoted(rewrite[1])} break;",
        ]
    elif kind == "grpc":
        lines.append("rewrite ^ $request_uri break;")
    target = upstream if rewrite or kind == "grpc" else f"{upstream}$request_uri"
    return [
        f"location @{name} {{",
        *(f"    {line}" for line in lines),
        f"    {kind}_pass {target};",
        "}",
    ]


def text(lines: Sequence[str]) -> str:
    """The lines as one text."""
    return "\n".join(lines) + "\n"


def _filter(policy: Filter) -> list[str]:
    tests = []
    if policy.methods:
        tests.append(("$request_method", f"^({'|'.join(sorted(policy.methods))})$"))
    for variable, expressions in (
        # Of the path as it was decoded, before anything was rewritten.
        ("$gateway_decoded_path", policy.paths),
        ("$args", policy.queries),
        ("$http_user_agent", policy.user_agents),
    ):
        tests += [(variable, str(regexes.parse(one, anywhere=True))) for one in expressions]
    return [
        f"if ({variable} ~ {quoted(expression)}) {{ return 403; }}"
        for variable, expression in tests
    ]


def _vouched(policy: Vouched) -> list[str]:
    header = f"$http_{policy.HEADER.lower().replace('-', '_')}"
    return [
        f"if ({_fronted(policy)} = 0) {{ return 401; }}",
        f"if ({header} != {quoted(policy.name)}) {{ return 401; }}",
    ]


def _fronted(policy: Vouched) -> str:
    return f"$gateway_fronted_{policy.name.replace('-', '_')}"


def _compression(policy: Compression) -> list[str]:
    return [
        "gzip on;",
        "gzip_proxied any;",
        "gzip_vary on;",
        f"gzip_types {' '.join(sorted(set(policy.types) - {'text/html'}))};",
        f"gzip_min_length {policy.min_length};",
        f"gzip_comp_level {policy.level};",
    ]


def _request_headers(policy: Headers) -> list[tuple[str, str]]:
    """What a VirtualServer can't say: variables that it does not know, and what is added."""
    known = [
        (name, quoted(value(text)))
        for name, text in sorted(policy.request.set.items())
        if native(text) is None
    ]
    return known + [(name, _added(policy, name)) for name in sorted(policy.request.add)]


def _added(policy: Headers, name: str) -> str:
    digest = hashlib.sha256(f"{policy.name} {name.lower()}".encode()).hexdigest()[:12]
    return f"$gateway_added_{digest}"
