"""haproxy.cfg of the entry proxy of a master and its replicas. Pure.

TLS goes through to Redis untouched; only health checks look inside. They sign in, and read
`INFO replication`: https://docs.haproxy.org/2.6/configuration.html#4-option%20tcp-check
"""

from __future__ import annotations

from components.redis import config, names

PASSWORD_VARIABLE = "HEALTH_PASSWORD"  # noqa: S105 - the name of a variable
_CONNECTIONS = 4000
# The most pods that there may be: a master and 16 replicas.
_SLOTS = 17
# The shortest reply to `INFO replication`, a lone master's, has 355 bytes.
_REPLY_BYTES = 300


def haproxy_cfg(host: str, *, required_replicas: int, read_lag: int) -> str:
    """Two entries: the master, and the replicas.

    `host` is a DNS name of all Redis pods; a new one is found by it. A server gets writes while it
    says that it is the master and has `required_replicas` in reach; it gets reads while it is a
    replica that heard its master at most `read_lag` seconds ago. With no such replica, reads go to
    a master, also one that may take no writes now.
    """
    master = r"role:master\r\nconnected_slaves:\d+\r\n"
    if required_replicas:
        master += rf"min_slaves_good_slaves:{at_least(required_replicas)}\r\n"
    seconds = at_most(read_lag)
    up = rf"up\r\nmaster_last_io_seconds_ago:{seconds}\r\nmaster_sync_in_progress:0\r\n"
    down = (
        r"down\r\nmaster_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:0\r\n"
        r"slave_read_repl_offset:\d+\r\nslave_repl_offset:\d+\r\n"
        rf"master_link_down_since_seconds:{seconds}\r\n"
    )
    replica = (
        r"role:slave\r\nmaster_host:[^\r]*\r\nmaster_port:\d+\r\n"
        rf"master_link_status:(?:{up}|{down})"
    )
    return "\n".join(
        [
            "global",
            "  log stdout format raw local0 notice",
            f"  maxconn {_CONNECTIONS}",
            "  hard-stop-after 20s",
            "",
            "defaults",
            "  mode tcp",
            "  log global",
            "  option dontlognull",
            "  option clitcpka",
            "  option srvtcpka",
            "  option redispatch 1",
            "  timeout connect 2s",
            "  timeout check 1s",
            # Connections of a pool, and subscribers, may be silent for long.
            "  timeout client 12h",
            "  timeout server 12h",
            "",
            # Pods are asked for, not listed: one that comes back has another address, and a new one
            # may be the next master.
            "resolvers cluster",
            "  parse-resolv-conf",
            "  accepted_payload_size 8192",
            "  timeout resolve 500ms",
            "  timeout retry 500ms",
            "  hold valid 500ms",
            "",
            "frontend write",
            f"  bind :{names.REDIS_PORT}",
            "  default_backend master",
            "",
            "frontend read",
            f"  bind :{names.READ_PORT}",
            "  use_backend replicas if { nbsrv(replicas) gt 0 }",
            "  use_backend master if { nbsrv(master) gt 0 }",
            "  default_backend alone",
            "",
            *_backend("master", "first", master, host),
            "",
            *_backend("replicas", "leastconn", replica, host),
            "",
            *_backend("alone", "first", "role:master", host),
            "",
            "frontend status",
            "  mode http",
            "  timeout client 5s",
            f"  bind :{names.PROXY_STATUS_PORT}",
            "  monitor-uri /alive",
            "  acl no_master nbsrv(master) eq 0",
            "  http-request return status 503 if { path /ready } no_master",
            "  http-request return status 200 if { path /ready }",
            "  http-request use-service prometheus-exporter if { path /metrics }",
            "  http-request return status 404",
            "",
        ]
    )


def _backend(name: str, balance: str, expected: str, host: str) -> list[str]:
    return [
        f"backend {name}",
        f"  balance {balance}",
        "  option tcp-check",
        "  tcp-check connect default",
        f'  tcp-check send "AUTH health ${{{PASSWORD_VARIABLE}}}\\r\\n"',
        "  tcp-check expect string +OK",
        '  tcp-check send "INFO replication\\r\\n"',
        # Without a least size, a reply that does not match is waited for until it times out.
        f"  tcp-check expect min-recv {_REPLY_BYTES} rstring '{expected}'",
        "  default-server check check-ssl verify required "
        f"ca-file {config.TLS_PATH}/ca.crt inter 1s fastinter 250ms downinter 500ms fall 2 rise 1 "
        "on-marked-down shutdown-sessions resolvers cluster init-addr none",
        f"  server-template redis- {_SLOTS} {host}:{names.REDIS_PORT}",
    ]


def at_most(bound: int) -> str:
    """A regular expression of the decimal numbers 0 to `bound`."""
    digits = str(bound)
    found = [rf"\d{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        rest = len(digits) - place - 1
        if digit != "0":
            found.append(
                f"{digits[:place]}[0-{int(digit) - 1}]" + (rf"\d{{{rest}}}" if rest else "")
            )
    return f"(?:{'|'.join([*found, digits])})"


def at_least(bound: int) -> str:
    """A regular expression of the decimal numbers from `bound` on; PCRE."""
    return rf"(?!{at_most(bound - 1)}\r)\d+"
