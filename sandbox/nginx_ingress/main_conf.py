"""nginx's main configuration, and who answers where no VirtualServer does."""

from __future__ import annotations

from .conf import Lines, block, snippet
from .objects import Objects
from .servers import listen, real_ip
from .settings import Settings

FOLDER = "/var/lib/nginx"
STATUS_SOCKET = f"{FOLDER}/nginx-status.sock"
VERSION_SOCKET = f"{FOLDER}/nginx-config-version.sock"
_LOG = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" "$http_x_forwarded_for"'
)
_STREAM_LOG = (
    "$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received "
    '$session_time "$ssl_preread_server_name"'
)


def main(settings: Settings, version: int) -> Lines:
    """nginx.conf. `version` is told by a socket, so that one sees when workers have it."""
    made = settings
    lines = [f"worker_processes {made.worker_processes};"]
    for name in ("worker_rlimit_nofile", "worker_shutdown_timeout"):
        if value := getattr(made, name):
            lines.append(f"{name} {value};")
    return [
        *lines,
        "daemon off;",
        f"error_log stderr {made.error_log_level};",
        f"pid {FOLDER}/nginx.pid;",
        # Part of upstream's nginx, and a module of Debian's.
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;",
        *snippet(made.main_snippets),
        *block("events", [f"worker_connections {made.worker_connections};"]),
        *block("http", _http(made, version)),
        *block("stream", _stream(made)),
    ]


def default_server(settings: Settings, objects: Objects) -> Lines:
    """Who answers for a host that there is not."""
    flags = settings.flags
    lines = listen(flags.http_port, settings, "default_server")
    lines += listen(flags.https_port, settings, "ssl", "default_server")
    lines += ["http2 on;"] if settings.http2 else []
    namespace, _, name = flags.default_server_secret.partition("/")
    if name:
        path = objects.secret_file(namespace, name, "kubernetes.io/tls", "tls.crt", "tls.key")
        lines += [f"ssl_certificate {path};", f"ssl_certificate_key {path};"]
    else:
        lines.append("ssl_reject_handshake on;")
    lines += ["server_name _;", f'server_tokens "{settings.server_tokens}";', *real_ip(settings)]
    if flags.health_uri:
        healthy = ["access_log off;", "default_type text/plain;", "return 200;"]
        lines += block(f"location {flags.health_uri}", healthy)
    lines += block("location /", [f"return {settings.default_server_return};"])
    return block("server", lines)


def _http(made: Settings, version: int) -> Lines:
    lines = [
        "include /etc/nginx/mime.types;",
        "default_type application/octet-stream;",
        "map_hash_max_size 2048;",
        "map_hash_bucket_size 256;",
        *_log_format("main", made.log_format, made.log_format_escaping, _LOG),
        f"access_log {made.access_log};",
        "sendfile on;",
        f"keepalive_timeout {made.keepalive_timeout};",
        f"keepalive_requests {made.keepalive_requests};",
        f"server_names_hash_max_size {made.server_names_hash_max_size};",
        f"server_names_hash_bucket_size {made.server_names_hash_bucket_size};",
        f"variables_hash_bucket_size {made.variables_hash_bucket_size};",
        f"variables_hash_max_size {made.variables_hash_max_size};",
        *block("map $request_uri $request_uri_no_args", [r'"~^(?P<path>[^?]*)(\?.*)?$" $path;']),
        *block("map $http_upgrade $connection_upgrade", ["default upgrade;", "'' close;"]),
        *(
            line
            for name in ("default_connection_header", "resource_type", "resource_name")
            for line in block(f"map $http_host ${name}", ['default "";'])
        ),
        *block("map $http_host $resource_namespace", ['default "";']),
        *block("map $http_host $service", ['default "";']),
        *block("map $http_host $apikey_given", ['default "";']),
        *block("map $http_host $apikey_client_name", ['default "";']),
        *block(
            "map $http_upgrade $vs_connection_header",
            ["default upgrade;", "'' $default_connection_header;"],
        ),
    ]
    for name in ("client_body_buffer_size", "ssl_protocols"):
        if value := getattr(made, name):
            lines.append(f"{name} {value};")
    if made.ssl_ciphers:
        lines.append(f'ssl_ciphers "{made.ssl_ciphers}";')
    if made.ssl_prefer_server_ciphers:
        lines.append("ssl_prefer_server_ciphers on;")
    lines += snippet(made.http_snippets)
    status = ["stub_status;"]
    port = made.flags.status_port
    addresses = [f"listen {port};", *([f"listen [::]:{port};"] if made.flags.ipv6 else [])]
    allowed = ["allow 127.0.0.1;", "allow ::1;", "deny all;"]
    lines += block("server", [*addresses, *allowed, *block("location /stub_status", status)])
    lines += _socket_server(STATUS_SOCKET, block("location /stub_status", status))
    lines += _socket_server(VERSION_SOCKET, block("location /", [f'return 200 "{version}";']))
    for code in (502, 418):
        lines += _socket_server(f"{FOLDER}/nginx-{code}-server.sock", [f"return {code};"])
    return [*lines, "include /etc/nginx/conf.d/*.conf;"]


def _socket_server(path: str, lines: Lines) -> Lines:
    return block("server", [f"listen unix:{path};", "access_log off;", *lines])


def _stream(made: Settings) -> Lines:
    return [
        *_log_format(
            "stream-main", made.stream_log_format, made.stream_log_format_escaping, _STREAM_LOG
        ),
        "access_log /dev/stdout stream-main;",
        *snippet(made.stream_snippets),
        "include /etc/nginx/stream-conf.d/*.conf;",
    ]


def _log_format(name: str, given: str, escaping: str, default: str) -> Lines:
    words = [f"escape={escaping}"] if escaping else []
    parts = [line for line in given.splitlines() if line] or [default]
    # One line each, as in the ConfigMap; with a space between them.
    quoted = [("'" if i == 0 else "' ") + part + "'" for i, part in enumerate(parts)]
    return [" ".join(["log_format", name, *words, *quoted]) + ";"]
