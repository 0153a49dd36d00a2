"""What of NGINX is not of one host: its settings, its listeners, and plain TCP. Pure.

https://docs.nginx.com/nginx-ingress-controller/configuration/global-configuration/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from components.gateway import nginx_snippets as snippets
from components.gateway.rendering import Target
from components.gateway.routes import (
    Access,
    Backend,
    ConsistentHash,
    Gateway,
    HttpListener,
    HttpsListener,
    LeastConnections,
    TcpListener,
)

Object = dict[str, Any]
GROUP: Final = "k8s.nginx.org/v1"
CONFIG_MAP: Final = "nginx-config"
GLOBAL_CONFIGURATION: Final = "nginx-configuration"
"""As the controller's own manifests call them."""
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
_FORBIDDEN: Final = frozenset({HTTP_PORT, HTTPS_PORT, 8080, 8081, 9113, 9114})
"""Ports that the controller keeps for itself, or for HTTP."""
_BEFORE: Final = 20_000
_IDLE: Final = 600_000
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)
"""Mozilla's intermediate list: https://wiki.mozilla.org/Security/Server_Side_TLS, 5.7."""
_LOG: Final = {
    "time": "$time_iso8601",
    "client": "$remote_addr",
    "requestId": "$gateway_request_id",
    "method": "$request_method",
    "scheme": "$scheme",
    "host": "$host",
    "path": "$gateway_path",
    "protocol": "$server_protocol",
    "status": "$status",
    "bytes": "$body_bytes_sent",
    "seconds": "$request_time",
    "backend": "$upstream_addr",
    "backendStatus": "$upstream_status",
    "backendSeconds": "$upstream_response_time",
    "cache": "$upstream_cache_status",
    "traceParent": "$http_traceparent",
    "userAgent": "$http_user_agent",
}


def container_port(port: int) -> int:
    """Where NGINX listens for a TCP listener at a port of its Service."""
    return port + _BEFORE if port in _FORBIDDEN else port


def metadata(name: str, namespace: str, target: Target) -> Object:
    """Of an object of the gateway."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/part-of": target.name},
    }


def config_map(gateway: Gateway, target: Target) -> Object:
    """Settings of the whole NGINX."""
    listeners = [one for one in gateway.listeners if isinstance(one, HttpsListener)]
    # NGINX takes the versions and ciphers of a port's first server, so there is one answer.
    newest = all(one.minimum_tls == "1.3" for one in listeners) and bool(listeners)
    ciphers = next((one.ciphers for one in listeners if one.ciphers), _CIPHERS)
    tracing = gateway.observability.tracing
    headers = gateway.header_size // 4 // 1024
    lines = [
        *snippets.HTTP,
        f"large_client_header_buffers 4 {headers}k;",
    ]
    data = {
        "http2": str(all(one.http2 for one in listeners)),
        "http-snippets": snippets.text(lines),
        "lb-method": "round_robin",
        "log-format-escaping": "json",
        "log-format": json.dumps(_LOG),
        "server-tokens": "False",
        "ssl-ciphers": ":".join(ciphers),
        "ssl-protocols": "TLSv1.3" if newest else "TLSv1.2 TLSv1.3",
    }
    if gateway.observability.access_log == "off":
        data["access-log-off"] = "True"
    if tracing.endpoint:
        data |= {
            "otel-exporter-endpoint": tracing.endpoint,
            "otel-service-name": target.name,
            "otel-trace-in-http": "True",
        }
    if target.proxy_protocol:
        data |= {"proxy-protocol": "True", "real-ip-header": "proxy_protocol"}
    elif target.trusted:
        # Not X-Forwarded-For, which begins with what the client made up.
        data["real-ip-header"] = target.client_header
    if target.trusted:
        data["set-real-ip-from"] = ",".join(sorted(target.trusted))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(CONFIG_MAP, target.namespace, target),
        "data": data,
    }


def global_configuration(gateway: Gateway, target: Target) -> list[Object]:
    """Listeners of plain TCP; nothing without any."""
    ports = {one.name: container_port(one.port) for one in _streams(gateway, target)}
    if not ports:
        return []
    listeners = [
        {"name": name, "port": port, "protocol": "TCP"} for name, port in sorted(ports.items())
    ]
    return [
        {
            "apiVersion": GROUP,
            "kind": "GlobalConfiguration",
            "metadata": metadata(GLOBAL_CONFIGURATION, target.namespace, target),
            "spec": {"listeners": listeners},
        }
    ]


def transport_servers(gateway: Gateway, target: Target) -> list[Object]:
    """Where connections go. Each is in the namespace of its Service, which the controller asks."""
    found = []
    for listener in _streams(gateway, target):
        if isinstance(listener, TcpListener):
            found.append(_to_backend(gateway, listener, target))
        else:
            found.append(_to_next(listener, target))
    return sorted(found, key=lambda one: one["metadata"]["name"])


def balance(backend: Backend, address: str) -> str:
    """The method of load balancing; `address` is the variable of the client's."""
    match backend.balance:
        case LeastConnections():
            return "least_conn"
        case ConsistentHash(by="clientAddress"):
            return f"hash {address} consistent"
        case ConsistentHash(by="header", name=name):
            return f"hash $http_{(name or '').lower().replace('-', '_')} consistent"
        case ConsistentHash(name=name):
            return f"hash $cookie_{name} consistent"
        case _:
            return "round_robin"


def milliseconds(value: int) -> str:
    """A time as NGINX writes it."""
    return f"{value // 1000}s" if value % 1000 == 0 else f"{value}ms"


def _streams(
    gateway: Gateway, target: Target
) -> Sequence[TcpListener | HttpListener | HttpsListener]:
    """The listeners that pass connections on as they are: of a balancer all."""
    if target.layer == "balancer":
        return gateway.listeners
    if target.layer == "all":
        return [one for one in gateway.listeners if isinstance(one, TcpListener)]
    return []


def _to_backend(gateway: Gateway, listener: TcpListener, target: Target) -> Object:
    backend = gateway.backend(listener.backend)
    service = backend.service
    if service is None:
        raise ValueError(f"{backend.name} is no Service")
    lines = [
        line
        for name in listener.policies
        if isinstance(policy := gateway.policy(name), Access)
        for line in snippets.access(policy)
    ]
    upstream = {
        "name": backend.name,
        "service": service.name,
        "port": service.port,
        "loadBalancingMethod": balance(backend, "${remote_addr}"),
        "maxFails": backend.passive_health.failures,
        "failTimeout": milliseconds(backend.passive_health.timeout),
        **({"maxConns": backend.max_connections} if backend.max_connections else {}),
    }
    return _transport_server(
        listener.name,
        service.namespace,
        target,
        upstream,
        lines,
        connect=backend.timeouts.connect,
        # A connection may be idle, unless somebody said for how long.
        idle=backend.timeouts.read if "timeouts" in backend.model_fields_set else _IDLE,
        retries=(backend.retries.attempts, backend.retries.timeout),
    )


def _to_next(listener: HttpListener | HttpsListener, target: Target) -> Object:
    upstream = {
        "name": listener.name,
        "service": target.upstream,
        "port": HTTPS_PORT if isinstance(listener, HttpsListener) else HTTP_PORT,
        "loadBalancingMethod": "least_conn",
    }
    return _transport_server(
        listener.name,
        target.namespace,
        target,
        upstream,
        # The next layer reads the client's address from it.
        ["proxy_protocol on;"],
        connect=1_000,
        idle=_IDLE,
        retries=(3, 10_000),
    )


def _transport_server(
    name: str,
    namespace: str,
    target: Target,
    upstream: Object,
    lines: Sequence[str],
    *,
    connect: int,
    idle: int,
    retries: tuple[int, int],
) -> Object:
    attempts, within = retries
    return {
        "apiVersion": GROUP,
        "kind": "TransportServer",
        "metadata": metadata(f"{target.name}-{name}", namespace, target),
        "spec": {
            "ingressClassName": target.ingress_class,
            "listener": {"name": name, "protocol": "TCP"},
            "upstreams": [upstream],
            "upstreamParameters": {
                "connectTimeout": milliseconds(connect),
                "nextUpstream": attempts > 1,
                "nextUpstreamTimeout": milliseconds(within),
                "nextUpstreamTries": attempts,
            },
            "sessionParameters": {"timeout": milliseconds(idle)},
            "action": {"pass": upstream["name"]},
            **({"serverSnippets": snippets.text(lines)} if lines else {}),
        },
    }
