"""Settings of Kong's proxy and controller that a gateway needs: what no object of its API holds.

Environment variables of the containers `proxy` (`KONG_<setting>`, kong.conf.default, and directives
of NGINX that Kong passes on: https://developer.konghq.com/gateway/nginx-directives/) and
`ingress-controller` (`CONTROLLER_<flag>`). They are those of the whole gateway. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from components.gateway.kong_plugins import CACHE_DICTIONARY, REDIS_PASSWORD
from components.gateway.rendering import Target
from components.gateway.routes import (
    Backend,
    Cache,
    Compression,
    Gateway,
    HttpListener,
    HttpsListener,
    RateLimit,
    TcpListener,
)

_LOG: Final = {
    "time": "$time_iso8601",
    "client": "$remote_addr",
    "requestId": "$http_x_request_id",
    "method": "$request_method",
    "scheme": "$scheme",
    "host": "$host",
    # Without its arguments, which may hold keys.
    "path": "$uri",
    "protocol": "$server_protocol",
    "status": "$status",
    "bytes": "$body_bytes_sent",
    "seconds": "$request_time",
    "backend": "$upstream_addr",
    "backendStatus": "$upstream_status",
    "backendSeconds": "$upstream_response_time",
    "userAgent": "$http_user_agent",
}


def proxy(gateway: Gateway, target: Target, *, http: int, https: int) -> dict[str, str]:
    """Environment of the proxy. `http` and `https` are the ports at which its pods listen."""
    return {
        **_listening(gateway, target, http, https),
        **_tls(gateway),
        **_headers(gateway),
        **_compression(gateway),
        **_cache(gateway),
        **_tries(gateway.backends),
        **_log(gateway),
        **_tracing(gateway),
        # The language that the controller writes routes in.
        "KONG_ROUTER_FLAVOR": "expressions",
    }


def proxy_secrets(gateway: Gateway, target: Target) -> list[dict[str, Any]]:
    """Environment of the proxy that comes from Secrets: entries of a container's `env`."""
    if not any(isinstance(one, RateLimit) and one.scope == "redis" for one in gateway.policies):
        return []
    source = {"secretKeyRef": {"name": target.redis_secret, "key": "password"}}
    return [{"name": REDIS_PASSWORD, "valueFrom": source}]


def controller(gateway: Gateway, target: Target) -> dict[str, str]:
    """Environment of the controller."""
    streams = any(isinstance(one, TcpListener) for one in gateway.listeners)
    return {
        "CONTROLLER_INGRESS_CLASS": target.ingress_class,
        "CONTROLLER_GATEWAY_API_CONTROLLER_NAME": controller_name(target),
        # TCPRoute, which is of the Gateway API's experimental channel.
        **(
            {"CONTROLLER_FEATURE_GATES": "GatewayAlpha=true"}
            if streams or target.layer == "balancer"
            else {}
        ),
    }


def controller_name(target: Target) -> str:
    """What a GatewayClass calls the controller: each layer of a chain has its own."""
    name = "kic-gateway-controller" if target.layer == "all" else target.ingress_class
    return f"konghq.com/{name}"


def ciphers(gateway: Gateway) -> set[tuple[str, tuple[str, ...]]]:
    """The least version of TLS and the ciphers of each listener; one Kong has one of them."""
    return {
        (one.minimum_tls, one.ciphers)
        for one in gateway.listeners
        if isinstance(one, HttpsListener)
    }


def tries(backends: Sequence[Backend]) -> set[tuple[tuple[str, ...], bool, int]]:
    """When each backend is tried again, which one Kong has once for all."""
    return {
        (tuple(sorted(one.retries.when)), one.retries.non_idempotent, one.retries.timeout)
        for one in backends
        if one.protocol != "tcp"
    }


def _listening(gateway: Gateway, target: Target, http: int, https: int) -> dict[str, str]:
    if target.layer == "balancer":
        # Connections alone; the next layer is told whose they are.
        return {"KONG_PROXY_LISTEN": "off", "KONG_NGINX_SPROXY_PROXY_PROTOCOL": "on"}
    behind = " proxy_protocol" if target.proxy_protocol else ""
    kinds = {type(one) for one in gateway.listeners}
    http2 = all(one.http2 for one in gateway.listeners if isinstance(one, HttpsListener))
    listens = []
    if HttpListener in kinds:
        listens.append(f"0.0.0.0:{http} reuseport backlog=16384{behind}")
    if HttpsListener in kinds and target.layer in ("all", "proxy"):
        listens.append(
            f"0.0.0.0:{https}{' http2' if http2 else ''} ssl reuseport backlog=16384{behind}"
        )
    found = {"KONG_PROXY_LISTEN": ", ".join(listens) or "off"}
    streams = [one.port for one in gateway.listeners if isinstance(one, TcpListener)]
    if streams and behind:
        found["KONG_STREAM_LISTEN"] = ", ".join(f"0.0.0.0:{port}{behind}" for port in streams)
    if target.trusted:
        found["KONG_TRUSTED_IPS"] = ",".join(target.trusted)
        # Not X-Forwarded-For, which begins with what the client made up.
        header = "proxy_protocol" if target.proxy_protocol else target.client_header
        found["KONG_REAL_IP_HEADER"] = header
    return found


def _tls(gateway: Gateway) -> dict[str, str]:
    settings = ciphers(gateway)
    if not settings:
        return {}
    least, names = min(settings)
    versions = "TLSv1.3" if least == "1.3" else "TLSv1.2 TLSv1.3"
    if not names:
        return {"KONG_SSL_CIPHER_SUITE": "intermediate", "KONG_SSL_PROTOCOLS": versions}
    return {
        "KONG_SSL_CIPHER_SUITE": "custom",
        "KONG_SSL_CIPHERS": ":".join(names),
        "KONG_SSL_PROTOCOLS": versions,
    }


def _headers(gateway: Gateway) -> dict[str, str]:
    quarter = max(gateway.header_size // 4, 1024)
    return {"KONG_NGINX_HTTP_LARGE_CLIENT_HEADER_BUFFERS": f"4 {quarter}"}


def _compression(gateway: Gateway) -> dict[str, str]:
    for policy in gateway.policies:
        if isinstance(policy, Compression):
            directives = {
                "GZIP": "on",
                "GZIP_TYPES": " ".join(policy.types),
                "GZIP_MIN_LENGTH": str(policy.min_length),
                "GZIP_COMP_LEVEL": str(policy.level),
                "GZIP_PROXIED": "any",
                "GZIP_VARY": "on",
            }
            return {f"KONG_NGINX_PROXY_{name}": value for name, value in directives.items()}
    return {}


def _cache(gateway: Gateway) -> dict[str, str]:
    size = sum(policy.size for policy in gateway.policies if isinstance(policy, Cache))
    if not size:
        return {}
    return {"KONG_NGINX_HTTP_LUA_SHARED_DICT": f"{CACHE_DICTIONARY} {-(-size // 1024)}k"}


def _tries(backends: Sequence[Backend]) -> dict[str, str]:
    settings = tries(backends)
    if not settings:
        return {}
    on, non_idempotent, timeout = min(settings)
    words = [f"http_{code}" if code.isdecimal() else code for code in on]
    keepalive = max(backend.keepalive for backend in backends)
    return {
        "KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM": " ".join(
            [*words, *(["non_idempotent"] if non_idempotent else [])]
        ),
        "KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM_TIMEOUT": f"{timeout}ms",
        "KONG_UPSTREAM_KEEPALIVE_POOL_SIZE": str(keepalive),
    }


def _log(gateway: Gateway) -> dict[str, str]:
    if gateway.observability.access_log == "off":
        return {"KONG_PROXY_ACCESS_LOG": "off"}
    line = json.dumps(_LOG, separators=(",", ":"))
    return {
        "KONG_NGINX_HTTP_LOG_FORMAT": f"gateway escape=json '{line}'",
        "KONG_PROXY_ACCESS_LOG": "/dev/stdout gateway",
    }


def _tracing(gateway: Gateway) -> Mapping[str, str]:
    if gateway.observability.tracing.endpoint is None:
        return {}
    return {"KONG_TRACING_INSTRUMENTATIONS": "all", "KONG_TRACING_SAMPLING_RATE": "1.0"}
