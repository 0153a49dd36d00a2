"""What the API server holds, as the configuration is made of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .conf import Unsupported

Object = dict[str, Any]
Key = tuple[str, str]
NOBODY = "unix:/var/lib/nginx/nginx-502-server.sock"
"""Who answers for a Service without endpoints: 502."""
SECRETS = "/etc/nginx/secrets"


@dataclass
class Objects:
    """Objects by resource (plural) and by namespace and name, and the secrets that were used.

    Args:
        held: all objects.
        files: contents of the files of secrets, by path, as they are asked for.
        memory: servers of upstreams whose Services are not followed, kept from turn to turn.
    """

    held: Mapping[str, Mapping[Key, Object]]
    files: dict[str, bytes] = field(default_factory=dict)
    memory: dict[tuple[object, ...], list[str]] = field(default_factory=dict)

    def all(self, resource: str) -> list[Object]:
        """All objects of a resource, in the order of their names."""
        return [one for _, one in sorted(self.held.get(resource, {}).items())]

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """An object, None if it is not there."""
        return self.held.get(resource, {}).get((namespace, name))

    def servers(
        self, namespace: str, service: str, port: int, labels: Mapping[str, str] | None = None
    ) -> list[str]:
        """Addresses of the ready pods behind a Service's port; `service` may name a namespace."""
        namespace, service = split_name(service, namespace)
        found = self.find("services", namespace, service)
        if found is None:
            return [NOBODY]
        if labels:
            raise Unsupported(f"{namespace}/{service}: a subselector is unsupported")
        names = [
            one.get("name", "") for one in found["spec"].get("ports", []) if one["port"] == port
        ]
        addresses = {
            f"{address}:{one['port']}"
            for piece in self.all("endpointslices")
            if piece["metadata"]["namespace"] == namespace
            and piece["metadata"].get("labels", {}).get("kubernetes.io/service-name") == service
            for one in piece.get("ports") or []
            if one.get("name", "") in names
            for endpoint in piece.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint["addresses"]
        }
        return sorted(addresses) or [NOBODY]

    def cluster_address(self, namespace: str, service: str, port: int) -> list[str]:
        """A Service's own address."""
        namespace, service = split_name(service, namespace)
        found = self.find("services", namespace, service)
        return [f"{found['spec']['clusterIP']}:{port}"] if found else [NOBODY]

    def secret(self, namespace: str, name: str, kind: str) -> dict[str, bytes]:
        """A secret's data. Raises Unsupported where it is not there, or of another type."""
        found = self.find("secrets", namespace, name)
        if found is None:
            raise Unsupported(f"there is no secret {namespace}/{name}")
        if found.get("type") != kind:
            raise Unsupported(f"secret {namespace}/{name} must be of the type {kind}")
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def secret_file(self, namespace: str, name: str, kind: str, *keys: str) -> str:
        """The path of a file with some values of a secret, one after the other."""
        data = self.secret(namespace, name, kind)
        if lacking := [key for key in keys if key not in data]:
            raise Unsupported(f"secret {namespace}/{name} has no {' and no '.join(lacking)}")
        path = f"{SECRETS}/{namespace}-{name}-{keys[0]}"
        self.files[path] = b"\n".join(data[key] for key in keys) + b"\n"
        return path


def split_name(reference: str, namespace: str) -> Key:
    """`namespace/name`, or a name in a namespace.

    >>> split_name("shop/cart", "team"), split_name("cart", "team")
    (('shop', 'cart'), ('team', 'cart'))
    """
    before, slash, after = reference.rpartition("/")
    return (before, after) if slash else (namespace, after)
