"""Backends for Kong: a Service of the gateway's own for each, and how it is balanced. Pure.

Kong's controller takes timeouts, tries, protocol and balancing from annotations of the Service that
a route names. A backend's Service belongs to somebody else, and may be one of several backends; so
each backend has a Service of its own with the same pods, as the controller's authors advise:
https://github.com/Kong/kubernetes-ingress-controller/blob/main/FEATURE_GATES.md. Where the pods are
not told (`Target.pods`) it is an alias of the Service's name, a single address to Kong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.gateway.kong_plugins import GROUP
from components.gateway.portable import Object, metadata
from components.gateway.rendering import Pods, Target
from components.gateway.routes import (
    Backend,
    ConsistentHash,
    Gateway,
    LeastConnections,
    RoundRobin,
    Service,
)

_PROTOCOLS: Final = {"websocket": "http"}
# Of the statuses from 200 to 399, those that servers answer with; Kong takes them one by one.
_HEALTHY: Final = (200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308)
_UNHEALTHY: Final = (400, 401, 403, 404, 405, 408, 410, 429, 500, 501, 502, 503, 504, 505)


@dataclass(frozen=True)
class Upstream:
    """A backend as routes name it: the gateway's own Service of it."""

    name: str
    namespace: str
    port: int


def upstreams(gateway: Gateway, target: Target) -> dict[str, Upstream]:
    """The Services of the backends, by the names of the backends."""
    return {
        backend.name: Upstream(
            f"{target.name}-{backend.name}", _namespace(backend, target), _port(backend)
        )
        for backend in gateway.backends
    }


def layer(target: Target, port: int) -> Upstream:
    """The next layer of a chain."""
    return Upstream(target.upstream, target.namespace, port)


def pods_of(service: Service, target: Target) -> Pods | None:
    """The pods behind a Service's port, if they are told."""
    return target.pods.get(f"{service.namespace}/{service.name}:{service.port}")


def has_endpoints(backend: Backend, target: Target) -> bool:
    """Whether Kong sees the endpoints of a backend, or no more than one address."""
    return backend.service is None or pods_of(backend.service, target) is not None


def objects(backends: Iterable[Backend], target: Target) -> list[Object]:
    """The Services of backends and their KongUpstreamPolicies.

    Backends with the same balancing share a policy, for the controller wants one of all backends
    that a route has weights of.
    """
    services: list[Object] = []
    policies: dict[str, Object] = {}
    shared: dict[str, str] = {}
    for backend in backends:
        annotations = _annotations(backend)
        # The controller reads no policy of a TCPRoute's backends, and no KongIngress.
        told = has_endpoints(backend, target) and backend.protocol != "tcp"
        if told:
            spec = _policy(backend)
            name = shared.setdefault(repr(spec), f"{target.name}-{backend.name}")
            namespace = _namespace(backend, target)
            policies.setdefault(f"{namespace}/{name}", _policy_object(name, namespace, spec))
            annotations["konghq.com/upstream-policy"] = name
        services.append(_service(backend, target, annotations))
    return [*policies.values(), *services]


def alike(backends: Sequence[Backend]) -> bool:
    """Whether backends differ in nothing but where they are, so that a route may share them out."""
    return len({(repr(_annotations(one)), repr(_policy(one))) for one in backends}) < 2


# --- Services ------------------------------------------------------------------------------------


def _annotations(backend: Backend) -> dict[str, str]:
    protocol = _PROTOCOLS.get(backend.protocol, backend.protocol)
    return {
        **({} if protocol in ("http", "tcp") else {"konghq.com/protocol": protocol}),
        "konghq.com/connect-timeout": str(backend.timeouts.connect),
        "konghq.com/read-timeout": str(backend.timeouts.read),
        "konghq.com/write-timeout": str(backend.timeouts.send),
        "konghq.com/retries": str(backend.retries.attempts - 1),
    }


def _service(backend: Backend, target: Target, annotations: dict[str, str]) -> Object:
    spec: Object
    pods = pods_of(backend.service, target) if backend.service else None
    if pods:
        port = {"name": "backend", "port": _port(backend), "targetPort": pods.target_port}
        spec = {"selector": pods.selector, "ports": [port]}
    elif backend.service:
        host = f"{backend.service.name}.{backend.service.namespace}.svc.cluster.local"
        spec = {"type": "ExternalName", "externalName": host}
    else:
        spec = {"type": "ExternalName", "externalName": _external(backend)}
        annotations = {**annotations, "konghq.com/host-header": _external(backend)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            f"{target.name}-{backend.name}", _namespace(backend, target), annotations
        ),
        "spec": spec,
    }


def _namespace(backend: Backend, target: Target) -> str:
    # A Service selects pods of its own namespace.
    if backend.service and pods_of(backend.service, target):
        return backend.service.namespace
    return target.namespace


def _port(backend: Backend) -> int:
    place = backend.service or backend.external
    return place.port if place else 0


def _external(backend: Backend) -> str:
    return backend.external.host if backend.external else ""


# --- balancing -----------------------------------------------------------------------------------


def _policy_object(name: str, namespace: str, spec: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "KongUpstreamPolicy",
        "metadata": metadata(name, namespace),
        "spec": spec,
    }


def _policy(backend: Backend) -> Object:
    checks = _health(backend)
    return {**_balance(backend), **({"healthchecks": checks} if checks else {})}


def _balance(backend: Backend) -> Object:
    if backend.session_cookie:
        # Kong sets the cookie where it is missing.
        return _hash({"cookie": backend.session_cookie.name, "cookiePath": "/"})
    match backend.balance:
        case LeastConnections():
            return {"algorithm": "least-connections"}
        case ConsistentHash(by="clientAddress"):
            return _hash({"input": "ip"})
        case ConsistentHash(by="header", name=name):
            return _hash({"header": name})
        case ConsistentHash(by="cookie", name=name):
            return _hash({"cookie": name, "cookiePath": "/"})
        case RoundRobin():
            return {"algorithm": "round-robin"}
    raise AssertionError(backend.balance)


def _hash(on: dict[str, Any]) -> Object:
    return {"algorithm": "consistent-hashing", "hashOn": on}


def _health(backend: Backend) -> Object:
    """Passive checks, and active ones.

    Kong never takes back by itself what a passive check left out: an active check asks the
    endpoints that are out, and no others, after the time for which they are to be left out.
    """
    passive, active = backend.passive_health, backend.active_health
    kind = _PROTOCOLS.get(backend.protocol, backend.protocol)
    statuses = sorted(int(code) for code in backend.retries.when if code.isdecimal())
    unhealthy: Object = {"tcpFailures": passive.failures, "timeouts": passive.failures}
    if statuses:
        unhealthy |= {"httpFailures": passive.failures, "httpStatuses": statuses}
    checks: Object = {"passive": {"type": kind, "unhealthy": unhealthy}}
    if active:
        checks["active"] = {
            "type": kind,
            "httpPath": active.path,
            "timeout": _seconds(active.timeout),
            "healthy": {
                "interval": _seconds(active.interval),
                "successes": active.healthy,
                "httpStatuses": list(_HEALTHY),
            },
            "unhealthy": {
                "interval": _seconds(active.interval),
                "httpFailures": active.unhealthy,
                "tcpFailures": active.unhealthy,
                "timeouts": active.unhealthy,
                "httpStatuses": list(_UNHEALTHY),
            },
        }
    else:
        checks["active"] = {
            "type": "tcp",
            "timeout": _seconds(backend.timeouts.connect),
            "healthy": {"interval": 0, "successes": 1},
            "unhealthy": {"interval": _seconds(passive.timeout)},
        }
    return checks


def _seconds(milliseconds: int) -> int:
    """Kong's controller takes whole seconds: what is asked for, or a part of one more."""
    return max(-(-milliseconds // 1000), 1)
