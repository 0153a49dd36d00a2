"""Policies as directives of a server or a location.

https://docs.nginx.com/nginx-ingress-controller/configuration/policy-resource/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .conf import Fields, Lines, Unsupported, block, quoted, snake, snippet
from .objects import Objects

API_KEY_LOCATION = "/_validate_apikey_njs"
"""As the controller calls it, though no njs is here."""


@dataclass(frozen=True)
class ExternalAuth:
    """Who is asked whether a request may pass: nginx's auth_request."""

    uri: str
    service: str
    port: int
    sign_in: str
    base: str
    lines: tuple[str, ...]

    @property
    def location(self) -> str:
        """The location that passes the question on."""
        return f"/_external_auth{self.uri}"


@dataclass
class Effect:
    """What the policies of one place come to.

    Args:
        lines: directives that a server and a location take.
        server_lines: directives that only a server takes.
        outside: blocks and zones outside of servers, by their name.
        cors: headers of a response.
        proof: directives about a backend's certificate, without `proxy_` or `grpc_`.
        external: who is asked about requests.
        api_key: whether a key is asked for.
    """

    lines: Lines = field(default_factory=list)
    server_lines: Lines = field(default_factory=list)
    outside: dict[str, Lines] = field(default_factory=dict)
    cors: list[tuple[str, str]] = field(default_factory=list)
    proof: list[tuple[str, str]] = field(default_factory=list)
    external: ExternalAuth | None = None
    api_key: bool = False


def effect(
    references: Sequence[dict[str, Any]], namespace: str, owner: tuple[str, str], objects: Objects
) -> Effect:
    """The effect of policies.

    Args:
        references: names and namespaces, as a VirtualServer or a route has them.
        namespace: what a reference without one means.
        owner: namespace and name of the VirtualServer.
        objects: all objects.

    Raises:
        Unsupported: a policy is not there, or has a field that the stand-in does not know.
    """
    found = Effect()
    allowed: list[str] = []
    denied: list[str] = []
    for reference in references:
        key = (reference.get("namespace") or namespace, reference["name"])
        policy = objects.find("policies", *key)
        if policy is None:
            raise Unsupported(f"there is no policy {key[0]}/{key[1]}")
        spec = Fields(policy["spec"], f"policy {key[0]}/{key[1]}")
        spec.take("ingressClassName")
        if access := spec.inner("accessControl"):
            allowed += access.take("allow", [])
            denied += access.take("deny", [])
            access.end()
        if limit := spec.inner("rateLimit"):
            _rate_limit(found, limit, key, owner)
        if basic := spec.inner("basicAuth"):
            path = objects.secret_file(
                key[0], basic.text("secret"), "nginx.org/htpasswd", "htpasswd"
            )
            found.lines += [
                f"auth_basic {quoted(basic.text('realm'))};",
                f"auth_basic_user_file {path};",
            ]
            basic.end()
        if api_key := spec.inner("apiKey"):
            _api_key(found, api_key, key, owner, objects)
        if cors := spec.inner("cors"):
            _cors(found, cors, key, owner)
        if cache := spec.inner("cache"):
            _cache(found, cache, owner)
        if external := spec.inner("externalAuth"):
            _external(found, external)
        if egress := spec.inner("egressMTLS"):
            found.proof += _egress(egress, key[0], objects)
        if mutual := spec.inner("ingressMTLS"):
            path = objects.secret_file(
                key[0], mutual.text("clientCertSecret"), "nginx.org/ca", "ca.crt"
            )
            found.server_lines += [
                f"ssl_client_certificate {path};",
                f"ssl_verify_client {mutual.text('verifyClient', 'on')};",
                f"ssl_verify_depth {mutual.take('verifyDepth', 1)};",
            ]
            mutual.end()
        spec.end()
    if allowed:
        found.lines += [*(f"allow {one};" for one in allowed), "deny all;"]
    elif denied:
        found.lines += [*(f"deny {one};" for one in denied), "allow all;"]
    return found


def _rate_limit(
    found: Effect, limit: Fields, policy: tuple[str, str], owner: tuple[str, str]
) -> None:
    zone = snake("_".join(("pol_rl", *policy, *owner)))
    rate, key, size = limit.text("rate"), limit.text("key"), limit.text("zoneSize")
    if not re.search(r"[km]$", size, re.IGNORECASE):
        size += "k"
    if limit.take("scale", False):
        raise Unsupported(f"{limit.where}.scale: unsupported")
    found.outside[zone] = [f"limit_req_zone {key} zone={zone}:{size} rate={rate};"]
    line = f"limit_req zone={zone}"
    if burst := limit.take("burst", 0):
        line += f" burst={burst}"
    delay, at_once = limit.take("delay", 0), limit.take("noDelay", False)
    if at_once:
        line += " nodelay"
    elif delay:
        line += f" delay={delay}"
    if not any(one.startswith("limit_req_status") for one in found.lines):
        if limit.take("dryRun", False):
            found.lines.append("limit_req_dry_run on;")
        found.lines.append(f"limit_req_log_level {limit.text('logLevel', 'error')};")
        found.lines.append(f"limit_req_status {limit.take('rejectCode', 503)};")
    for name in ("dryRun", "logLevel", "rejectCode"):
        limit.take(name)
    found.lines.append(f"{line};")
    limit.end()


def _api_key(
    found: Effect,
    given: Fields,
    policy: tuple[str, str],
    owner: tuple[str, str],
    objects: Objects,
) -> None:
    clients = objects.secret(policy[0], given.text("clientSecret"), "nginx.org/apikey")
    supplied = given.inner("suppliedIn")
    if supplied is None:
        raise Unsupported(f"{given.where}: suppliedIn is needed")
    sources = [f"${{http_{snake(name).lower()}}}" for name in supplied.take("header", [])]
    sources += [f"${{arg_{name}}}" for name in supplied.take("query", [])]
    supplied.end()
    variable = snake("_".join(("$apikey_client", *owner, policy[1])))
    found.outside[variable] = block(
        f"map $apikey_given {variable}",
        [
            'default "";',
            *(f"{quoted(key.decode())} {quoted(name)};" for name, key in sorted(clients.items())),
        ],
    )
    found.api_key = True
    found.lines += [
        f"set $apikey_given {quoted(''.join(sources))};",
        f"set $apikey_client_name {variable};",
        f"auth_request {API_KEY_LOCATION};",
    ]
    given.end()


def api_key_location() -> Lines:
    """Who answers whether a key is one: 401 without a key, 403 with an unknown one."""
    return block(
        f"location = {API_KEY_LOCATION}",
        [
            "internal;",
            'if ($apikey_given = "") { return 401; }',
            'if ($apikey_client_name = "") { return 403; }',
            "return 204;",
        ],
    )


def _cors(found: Effect, cors: Fields, policy: tuple[str, str], owner: tuple[str, str]) -> None:
    origins: list[str] = cors.take("allowOrigin", [])
    if origins and origins != ["*"]:
        found.cors.append(("Vary", "Origin"))
    if len(origins) == 1 and "*." not in origins[0]:
        found.cors.append(("Access-Control-Allow-Origin", origins[0]))
    elif origins:
        variable = snake("_".join(("$cors_origin", *owner, *policy)))
        found.outside[variable] = block(
            f"map $http_origin {variable}",
            ['default "";', *(f"{_origin(one)} $http_origin;" for one in origins)],
        )
        found.cors.append(("Access-Control-Allow-Origin", variable))
    for name, header in (
        ("allowMethods", "Access-Control-Allow-Methods"),
        ("allowHeaders", "Access-Control-Allow-Headers"),
    ):
        if listed := cors.take(name):
            found.cors.append((header, ", ".join(listed)))
    credentials = cors.take("allowCredentials")
    if credentials is not None:
        found.cors.append(("Access-Control-Allow-Credentials", str(credentials).lower()))
    if listed := cors.take("exposeHeaders"):
        found.cors.append(("Access-Control-Expose-Headers", ", ".join(listed)))
    age = cors.take("maxAge")
    if age is not None:
        found.cors.append(("Access-Control-Max-Age", str(age)))
    cors.end()


def _origin(origin: str) -> str:
    scheme, _, host = origin.partition("://")
    if not host.startswith("*."):
        return quoted(origin)
    return f"~^{scheme}://[^.]+\\.{re.escape(host[2:])}$"


def _cache(found: Effect, cache: Fields, owner: tuple[str, str]) -> None:
    zone = "_".join((*owner, "vs", cache.text("cacheZoneName")))
    line = f"proxy_cache_path /var/cache/nginx/{zone}"
    if levels := cache.text("levels"):
        line += f" levels={levels}"
    line += f" keys_zone={zone}:{cache.text('cacheZoneSize', '10m')}"
    for name, option in (
        ("inactive", "inactive"),
        ("maxSize", "max_size"),
        ("minFree", "min_free"),
    ):
        if value := cache.text(name):
            line += f" {option}={value}"
    if not cache.take("useTempPath", False):
        line += " use_temp_path=off"
    found.outside[zone] = [f"{line};"]
    key = cache.text("cacheKey", "$scheme$proxy_host$request_uri")
    found.lines += [f"proxy_cache {zone};", f"proxy_cache_key {key};"]
    if cache.take("overrideUpstreamCache", False):
        ignored = "Cache-Control Expires Set-Cookie Vary X-Accel-Expires"
        found.lines.append(f"proxy_ignore_headers {ignored};")
    time, codes = cache.text("time"), cache.take("allowedCodes", [])
    if time and not codes:
        found.lines.append(f"proxy_cache_valid {time};")
    found.lines += [f"proxy_cache_valid {code} {time};" for code in codes]
    for name, directive in (
        ("allowedMethods", "proxy_cache_methods"),
        ("cacheUseStale", "proxy_cache_use_stale"),
    ):
        if listed := cache.take(name):
            found.lines.append(f"{directive} {' '.join(listed)};")
    for name, directive in (
        ("cacheRevalidate", "proxy_cache_revalidate"),
        ("cacheBackgroundUpdate", "proxy_cache_background_update"),
    ):
        if cache.take(name, False):
            found.lines.append(f"{directive} on;")
    if uses := cache.take("cacheMinUses"):
        found.lines.append(f"proxy_cache_min_uses {uses};")
    if lock := cache.inner("lock"):
        if lock.take("enable", False):
            found.lines.append("proxy_cache_lock on;")
        for name in ("timeout", "age"):
            if value := lock.text(name):
                found.lines.append(f"proxy_cache_lock_{name} {value};")
        lock.end()
    if conditions := cache.inner("conditions"):
        for name, directive in (("noCache", "proxy_no_cache"), ("bypass", "proxy_cache_bypass")):
            if listed := conditions.take(name):
                found.lines.append(f"{directive} {' '.join(listed)};")
        conditions.end()
    cache.end()


def _egress(given: Fields, namespace: str, objects: Objects) -> list[tuple[str, str]]:
    found = []
    if name := given.text("trustedCertSecret"):
        path = objects.secret_file(namespace, name, "nginx.org/ca", "ca.crt")
        found.append(("ssl_trusted_certificate", path))
    verified = given.take("verifyServer", False)
    found += [
        ("ssl_verify", "on" if verified else "off"),
        ("ssl_verify_depth", given.text("verifyDepth", "1")),
        ("ssl_protocols", given.text("protocols", "TLSv1 TLSv1.1 TLSv1.2")),
        ("ssl_server_name", "on" if given.take("serverName", False) else "off"),
        ("ssl_name", given.text("sslName", "$proxy_host")),
    ]
    given.end()
    return found


def _external(found: Effect, given: Fields) -> None:
    ports = given.take("authServicePorts", [])
    found.external = ExternalAuth(
        given.text("authURI"),
        given.text("authServiceName"),
        int(ports[0]) if ports else 80,
        given.text("authSigninURI"),
        given.text("authSigninRedirectBasePath", "/oauth2"),
        tuple(snippet(given.text("authSnippets"))),
    )
    if given.take("sslEnabled", False):
        raise Unsupported(f"{given.where}.sslEnabled: unsupported")
    for name in ("sslVerify", "sslVerifyDepth"):
        given.take(name)
    given.end()
    found.lines.append(f"auth_request {found.external.location};")
