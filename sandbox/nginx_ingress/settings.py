"""The controller's command line and its ConfigMap.

https://docs.nginx.com/nginx-ingress-controller/configuration/global-configuration/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .conf import Fields, Unsupported

# What the stand-in has no use for: what it would do is done by nobody.
_IGNORED = {
    "enable-custom-resources",
    "enable-dynamic-ssl-reload",
    "enable-leader-election",
    "enable-telemetry-reporting",
    "external-service",
    "leader-election-lock-name",
    "log-format",
    "log-level",
    "nginx-reload-timeout",
    "ready-status",
    "report-ingress-status",
}


@dataclass(frozen=True)
class Flags:
    """The command line, as far as it says what to do."""

    ingress_class: str = "nginx"
    config_map: str = ""
    global_configuration: str = ""
    default_server_secret: str = ""
    wildcard_secret: str = ""
    namespaces: tuple[str, ...] = ("",)
    metrics: bool = False
    metrics_port: int = 9113
    ready_port: int = 8081
    status_port: int = 8080
    http_port: int = 80
    https_port: int = 443
    ipv6: bool = True
    snippets: bool = False
    health_uri: str = ""


def flags(words: Sequence[str]) -> Flags:
    """Read a command line in Go's form. Raises Unsupported for a flag that it does not know.

    >>> flags(["-enable-prometheus-metrics", "-nginx-configmaps=a/b"]).config_map
    'a/b'
    """
    given = {}
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        given[name] = value or "true"
    for name in _IGNORED:
        given.pop(name, None)
    left = Fields(given, "command line")
    health = left.text("health-status", "false") == "true"
    uri = left.text("health-status-uri", "/nginx-health")
    read = Flags(
        ingress_class=left.text("ingress-class", "nginx"),
        config_map=left.text("nginx-configmaps"),
        global_configuration=left.text("global-configuration"),
        default_server_secret=left.text("default-server-tls-secret"),
        wildcard_secret=left.text("wildcard-tls-secret"),
        namespaces=tuple(left.text("watch-namespace").split(",")),
        metrics=left.text("enable-prometheus-metrics", "false") == "true",
        metrics_port=int(left.text("prometheus-metrics-listen-port", "9113")),
        ready_port=int(left.text("ready-status-port", "8081")),
        status_port=int(left.text("nginx-status-port", "8080")),
        http_port=int(left.text("default-http-listener-port", "80")),
        https_port=int(left.text("default-https-listener-port", "443")),
        ipv6=left.text("disable-ipv6", "false") != "true",
        snippets=left.text("enable-snippets", "false") == "true",
        health_uri=uri if health else "",
    )
    left.end()
    return read


@dataclass(frozen=True)
class Settings:
    """The ConfigMap, and the defaults of what it leaves out."""

    flags: Flags = field(default_factory=Flags)
    access_log: str = "/dev/stdout main"
    client_body_buffer_size: str = ""
    client_max_body_size: str = "1m"
    default_server_return: str = "404"
    error_log_level: str = "notice"
    fail_timeout: str = "10s"
    http2: bool = False
    http_snippets: str = ""
    keepalive: int = 0
    keepalive_requests: str = "1000"
    keepalive_timeout: str = "75s"
    lb_method: str = "random two least_conn"
    location_snippets: str = ""
    log_format: str = ""
    log_format_escaping: str = ""
    main_snippets: str = ""
    max_fails: int = 1
    proxy_buffer_size: str = ""
    proxy_buffering: bool = True
    proxy_buffers: str = ""
    proxy_busy_buffers_size: str = ""
    proxy_connect_timeout: str = "60s"
    proxy_protocol: bool = False
    proxy_read_timeout: str = "60s"
    proxy_send_timeout: str = "60s"
    real_ip_header: str = ""
    real_ip_recursive: bool = False
    server_names_hash_bucket_size: str = "256"
    server_names_hash_max_size: str = "1024"
    server_snippets: str = ""
    server_tokens: str = "on"
    set_real_ip_from: tuple[str, ...] = ()
    ssl_ciphers: str = ""
    ssl_prefer_server_ciphers: bool = False
    ssl_protocols: str = ""
    stream_log_format: str = ""
    stream_log_format_escaping: str = ""
    stream_snippets: str = ""
    upstream_zone_size: str = "256k"
    variables_hash_bucket_size: str = "256"
    variables_hash_max_size: str = "1024"
    worker_connections: str = "1024"
    worker_processes: str = "auto"
    worker_rlimit_nofile: str = ""
    worker_shutdown_timeout: str = ""


def settings(flags: Flags, data: Mapping[str, str]) -> Settings:
    """Read the ConfigMap's data. Raises Unsupported for a key that it does not know."""
    values: dict[str, object] = {"flags": flags}
    unknown = []
    for key, value in data.items():
        name = key.replace("-", "_")
        default = getattr(Settings, name, None)
        if key == "access-log-off":
            if value.lower() == "true":
                values["access_log"] = "off"
        elif name == "flags" or default is None:
            unknown.append(key)
        elif isinstance(default, bool):
            values[name] = value.lower() in ("true", "yes", "on", "1")
        elif isinstance(default, int):
            values[name] = int(value)
        elif isinstance(default, tuple):
            values[name] = tuple(part.strip() for part in value.split(","))
        elif name == "server_tokens":
            values[name] = {"true": "on", "false": "off"}.get(value.lower(), value)
        else:
            values[name] = value
    if unknown:
        raise Unsupported(f"ConfigMap: unsupported: {', '.join(sorted(unknown))}")
    return Settings(**values)  # type: ignore[arg-type]
