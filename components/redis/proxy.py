"""The entry proxy of a Redis Cluster, for clients that know nothing of clusters: Envoy.

Why Envoy, and what it can't do: docs/decisions/redis-proxy.md. Configuration after
https://www.envoyproxy.io/docs/envoy/v1.39.1/configuration/listeners/network_filters/redis_proxy_filter
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from components.redis import config, images, names, parts
from components.redis.topology import Sharded

Object = dict[str, Any]
CONFIG_NAME: Final = "redis-proxy"
"""The ConfigMap of Envoy's configuration."""
CONFIG_FILE: Final = "envoy.json"
ALIVE_PATH: Final = "/alive"
_CONFIG_PATH: Final = "/etc/envoy"
_ADMIN_PORT: Final = 9901
_MEMORY_MIB: Final = 256
_TYPES: Final = "type.googleapis.com/envoy.extensions"
# How old what the proxy knows of nodes may be; a redirection makes it ask at once. It asks nodes
# that it knows, so it must not sleep while all of them get other addresses in turn.
_REFRESH: Final = "1s"
_DRAIN_SECONDS: Final = 5
# Each user's own way in: what a user may do is decided by Redis, which the proxy signs in to as
# that user.
_WAYS: Final = (
    ("write", names.REDIS_PORT, "app", "MASTER"),
    ("read", names.READ_PORT, "reader", "PREFER_REPLICA"),
)


def envoy_config(
    seed: str,
    *,
    tls_path: str = config.TLS_PATH,
    address: str = "0.0.0.0",  # noqa: S104 - a pod's own address
    ports: Mapping[str, int] | None = None,
) -> str:
    """Envoy's bootstrap configuration, JSON; it holds no secret.

    Args:
        seed: a DNS name of nodes of the cluster, any of them.
        tls_path: folder of ca.crt, tls.crt and tls.key.
        address: where it listens.
        ports: those of "write", "read", "status" and "admin", and of "redis" at the nodes, where
            they differ from the usual ones.
    """
    at = {
        **{way: port for way, port, _, _ in _WAYS},
        "status": names.PROXY_STATUS_PORT,
        "admin": _ADMIN_PORT,
        "redis": names.REDIS_PORT,
        **(ports or {}),
    }
    return json.dumps(
        {
            "admin": {"address": _address("127.0.0.1", at["admin"])},
            "static_resources": {
                "listeners": [
                    *(
                        _redis_listener(way, _address(address, at[way]), user, policy, tls_path)
                        for way, _, user, policy in _WAYS
                    ),
                    _status_listener(_address(address, at["status"])),
                ],
                "clusters": [
                    *(_shards(way, seed, at["redis"], user, tls_path) for way, _, user, _ in _WAYS),
                    {
                        "name": "admin",
                        "type": "STATIC",
                        "load_assignment": _endpoints("admin", "127.0.0.1", at["admin"]),
                    },
                ],
            },
        },
        indent=1,
    )


def _address(host: str, port: int) -> Object:
    return {"socket_address": {"address": host, "port_value": port}}


def _endpoints(name: str, host: str, port: int) -> Object:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _from_variable(name: str) -> Object:
    return {"environment_variable": name}


def _variable(user: str) -> str:
    """The environment variable of a user's password."""
    return f"{user.upper()}_PASSWORD"


def _redis_listener(way: str, address: Object, user: str, policy: str, tls_path: str) -> Object:
    proxy = {
        "@type": f"{_TYPES}.filters.network.redis_proxy.v3.RedisProxy",
        "stat_prefix": way,
        "settings": {
            "op_timeout": "10s",
            "enable_hashtagging": True,
            "enable_redirection": True,
            # Names in redirections.
            "dns_cache_config": {"name": "nodes", "dns_lookup_family": "V4_ONLY"},
            "read_policy": policy,
        },
        "prefix_routes": {"catch_all_route": {"cluster": way}},
        "downstream_auth_username": {"inline_string": user},
        "downstream_auth_passwords": [_from_variable(_variable(user))],
    }
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": f"{tls_path}/tls.crt"},
                    "private_key": {"filename": f"{tls_path}/tls.key"},
                }
            ],
        },
    }
    return {
        "name": way,
        "address": address,
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            }
        ],
    }


def _shards(name: str, seed: str, port: int, user: str, tls_path: str) -> Object:
    """The cluster as one user sees it; its nodes are asked for their slots."""
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "validation_context": {"trusted_ca": {"filename": f"{tls_path}/ca.crt"}}
        },
    }
    return {
        "name": name,
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "dns_lookup_family": "V4_ONLY",
        "cluster_type": {
            "name": "envoy.clusters.redis",
            "typed_config": {
                "@type": f"{_TYPES}.clusters.redis.v3.RedisClusterConfig",
                "cluster_refresh_rate": _REFRESH,
                "cluster_refresh_timeout": "2s",
                "redirect_refresh_interval": "0.5s",
                "redirect_refresh_threshold": 1,
                "failure_refresh_threshold": 1,
            },
        },
        "load_assignment": _endpoints(name, seed, port),
        # A connection with TLS, no more: who is alive, for the check of the proxy itself.
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "2s",
                "no_traffic_interval": "2s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "tcp_health_check": {},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.filters.network.redis_proxy": {
                "@type": f"{_TYPES}.filters.network.redis_proxy.v3.RedisProtocolOptions",
                "auth_username": {"inline_string": user},
                "auth_password": _from_variable(_variable(user)),
            }
        },
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }


def _status_listener(address: Object) -> Object:
    """Readiness and metrics of the administration interface, and nothing else of it.

    `ALIVE_PATH` fails while no node is in reach. Envoy resolves the seed once, at its start: when
    all nodes came back with other addresses at once, only a new start finds them.
    """
    routes = [
        {"match": {"path": path}, "route": {"cluster": "admin"}}
        for path in ("/ready", "/stats/prometheus")
    ]
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "status",
        "route_config": {
            "name": "status",
            "virtual_hosts": [{"name": "status", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.health_check",
                "typed_config": {
                    "@type": f"{_TYPES}.filters.http.health_check.v3.HealthCheck",
                    "pass_through_mode": False,
                    "cluster_min_healthy_percentages": {way: {"value": 1} for way, *_ in _WAYS},
                    "headers": [{"name": ":path", "string_match": {"exact": ALIVE_PATH}}],
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
            },
        ],
    }
    return {
        "name": "status",
        "address": address,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def config_map(namespace: str) -> Object:
    """The ConfigMap of Envoy's configuration."""
    seed = names.service_host(names.NODES, namespace)
    return parts.config_map(CONFIG_NAME, namespace, {CONFIG_FILE: envoy_config(seed)})


def deployment(topology: Sharded, annotations: Mapping[str, Any]) -> Object:
    """The proxies; a new one is ready before an old one goes."""
    container: Object = {
        "name": "envoy",
        "image": images.ENVOY,
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy"],
        "args": [
            *("-c", f"{_CONFIG_PATH}/{CONFIG_FILE}"),
            *("--concurrency", str(max(1, int(topology.cpus)))),
            *("--drain-time-s", str(_DRAIN_SECONDS)),
            "--disable-hot-restart",
        ],
        "env": [parts.password_variable(_variable(user), user) for _, _, user, _ in _WAYS],
        "ports": [
            *({"name": way, "containerPort": port} for way, port, _, _ in _WAYS),
            {"name": "status", "containerPort": names.PROXY_STATUS_PORT},
        ],
        "resources": parts.resources(_MEMORY_MIB, 0.1 * topology.cpus),
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "status"},
            "periodSeconds": 2,
            "failureThreshold": 2,
        },
        "startupProbe": {
            "httpGet": {"path": "/ready", "port": "status"},
            "periodSeconds": 2,
            "failureThreshold": 150,
        },
        "livenessProbe": {
            "httpGet": {"path": ALIVE_PATH, "port": "status"},
            "periodSeconds": 5,
            "failureThreshold": 4,
        },
        # No endpoint any more before connections are closed.
        "lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN_SECONDS}}},
        "securityContext": parts.container_security(),
        "volumeMounts": [
            parts.mount("tls", config.TLS_PATH),
            parts.mount("config", _CONFIG_PATH),
        ],
    }
    volumes = [v for v in parts.volumes(config_name=CONFIG_NAME) if v["name"] in ("tls", "config")]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.PROXY, topology.namespace, names.PROXY),
        "spec": {
            "replicas": topology.proxies,
            "selector": {"matchLabels": names.selector(names.PROXY)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": parts.pod_template(
                names.PROXY,
                [container],
                volumes,
                user=images.ENVOY_UID,
                annotations=annotations,
                scrape_port=names.PROXY_STATUS_PORT,
            ),
        },
    }
