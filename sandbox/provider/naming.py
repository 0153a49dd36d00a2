"""Type tokens, names and ids as the official Kubernetes provider has them."""

from __future__ import annotations

import random
import secrets
from typing import Any

from provider.rpc import Call, PluginError

AUTONAMED = "pulumi.com/autonamed"
_HEX = "0123456789abcdef"


def group_version_kind(token: str) -> tuple[str, str]:
    """`apiVersion` and `kind` of a type token such as `kubernetes:apps/v1:Deployment`.

    Raises:
        PluginError: not a token of a single Kubernetes object.
    """
    package, _, rest = token.partition(":")
    module, _, kind = rest.rpartition(":")
    group, _, version = module.partition("/")
    if package != "kubernetes" or not group or not version or not kind:
        raise PluginError(f"{token}: expected a type token kubernetes:<group>/<version>:<Kind>")
    if group in {"helm.sh", "kustomize", "yaml"}:
        raise PluginError(f"{token}: this provider handles single Kubernetes objects only")
    if kind.endswith("List"):
        raise PluginError(
            f"{token}: list resources exist for compatibility with YAML manifests and Helm charts, "
            "and cannot be created directly. Use the underlying resource type instead"
        )
    if kind.endswith("Patch"):
        raise PluginError(f"{token}: Patch resources are not supported by this provider")
    return (version if group == "core" else f"{group}/{version}"), kind


def unique_hex(seed: bytes) -> str:
    """Eight hexadecimal digits, the same for the same seed."""
    if not seed:
        return secrets.token_hex(4)
    return "".join(random.Random(seed).choices(_HEX, k=8))  # noqa: S311  not for security


def assign_name(obj: dict[str, Any], call: Call) -> None:
    """Give a nameless object the resource's name and a random ending, and mark it as named so.

    Raises:
        PluginError: automatic naming is off.
    """
    if not call.autonaming:
        raise PluginError(
            "autonaming is disabled, resource requires the .metadata.name field to be set"
        )
    metadata = obj.setdefault("metadata", {})
    metadata["name"] = call.proposed_name or f"{call.name}-{unique_hex(call.seed)}"
    metadata.setdefault("annotations", {})[AUTONAMED] = "true"


def field_manager() -> str:
    """A new field manager's name, one per resource."""
    return f"pulumi-kubernetes-{unique_hex(b'')}"


def identifier(obj: dict[str, Any]) -> str:
    """Pulumi's id of an object: `namespace/name`, or `name` alone."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def parse_identifier(text: str) -> tuple[str, str]:
    """Namespace (empty for none) and name of an id."""
    namespace, _, name = text.rpartition("/")
    return namespace, name
