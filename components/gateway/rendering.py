"""What a renderer of a gateway knows beside the model. Pure.

A renderer is a function `render(gateway: Gateway, target: Target) -> list[dict]`, in `nginx.py` and
`kong.py`: the model in, Kubernetes objects out, in an order that does not depend on the order of
the file where that has no meaning. It raises `features.Lacking` for what the implementation, in
its open-source edition, does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from components.gateway.routes import Access, Cache, Compression, Filter, Limits, Policy

Layer = Literal["all", "balancer", "proxy", "gateway"]
"""The part of a chain that is rendered; `all` for a single box."""


AWAITED: Final = "redis.awaited.invalid"
"""Stands for the host of a Redis that a service has yet to make; the component puts it in."""


def layer_of(policy: Policy, *, authenticated: bool) -> Layer:
    """The part of a chain that a policy belongs to, on a route with or without authentication."""
    if isinstance(policy, Cache):
        # A cache in front of the authentication would answer those who may not come.
        return "gateway" if authenticated else "proxy"
    return "proxy" if isinstance(policy, Access | Compression | Filter | Limits) else "gateway"


@dataclass(frozen=True)
class Pods:
    """The pods behind a port of a Service; both may be outputs."""

    selector: Any
    """Their labels."""
    target_port: Any
    """Their port, by number or name."""


@dataclass(frozen=True)
class Front:
    """A proxy of HTTP that all clients come by: its networks, and how it says who they are."""

    networks: tuple[str, ...]
    header: str
    """It writes this header anew, whatever a client sent."""


@dataclass(frozen=True)
class Target:
    """Where the objects go, and what is already there.

    A chain is rendered once for each layer, each with its own ingress class, and `upstream` the
    Service of the next one.
    """

    namespace: str
    """Of the gateway: its objects, Secrets and Services."""
    ingress_class: str
    layer: Layer = "all"
    upstream: str = ""
    """balancer, proxy: name of the Service of the next layer, in `namespace`."""
    tls_secrets: Mapping[str, str] = field(default_factory=dict)
    """Name of the host to that of its Secret (`kubernetes.io/tls`), for hosts with TLS."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Name of an apiKey, basic or jwt policy to that of the Secret that holds its credentials."""
    redis: str = ""
    """`host:port` of the Redis of shared limits; "" for none. The host may be `AWAITED`."""
    redis_secret: str = ""
    """Secret with its password, under the key `password`."""
    oidc_service: str = "oauth2-proxy/oauth2-proxy"
    """namespace/name of the platform's oauth2-proxy, which Dex stands behind."""
    trusted: tuple[str, ...] = ()
    """CIDRs of proxies in front, whose word for the client's address is taken."""
    client_header: str = "X-Real-IP"
    """In which they say it; each writes it anew, whatever was sent to it."""
    proxy_protocol: bool = False
    """Whether what is in front says the client's address by the PROXY protocol."""
    load_balancers: bool = False
    """Whether the cluster has Services of the type LoadBalancer."""
    name: str = "gateway"
    """Prefix of the names of all objects."""
    pods: Mapping[str, Pods] = field(default_factory=dict)
    """kong: `namespace/name:port` of a backend's Service to its pods. Without them Kong sees the
    Service as one address, and can neither balance nor check its endpoints."""
