"""Objects of the Gateway API (gateway.networking.k8s.io), which several implementations read. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/. What an implementation has beside it goes into
`annotations`, or is named by a filter `ExtensionRef`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from components.gateway import regexes
from components.gateway.routes import HeaderChange, HeaderMatch, PathMatch

Object = dict[str, Any]

GROUP: Final = "gateway.networking.k8s.io"
MOST_LISTENERS: Final = 64
"""Of one Gateway."""
MOST_HOSTNAMES: Final = 16
"""Of one route."""
MOST_PARENTS: Final = 32
"""Of one route."""
MOST_RULES: Final = 16
"""Of one HTTPRoute."""
LONGEST_PATH: Final = 1024
"""Characters of a path or an expression."""
FINEST: Final = 100
"""What a hundredth of a weight is written as: implementations share a weight among the endpoints
of a Service in whole numbers."""

_PATH_TYPES: Final = {"exact": "Exact", "prefix": "PathPrefix", "regex": "RegularExpression"}
_LABELS: Final = {"app.kubernetes.io/part-of": "gateway"}


def metadata(
    name: str, namespace: str = "", annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Metadata of an object; "" for the namespace of one that has none."""
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": dict(_LABELS),
        **({"annotations": dict(annotations)} if annotations else {}),
    }


# --- classes, Gateways and grants ----------------------------------------------------------------


def gateway_class(name: str, controller: str, annotations: Mapping[str, str]) -> Object:
    """Which controller carries out the Gateways that name this class."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "GatewayClass",
        "metadata": metadata(name, annotations=annotations),
        "spec": {"controllerName": controller},
    }


def gateway(name: str, namespace: str, class_name: str, listeners: Sequence[Object]) -> Object:
    """A Gateway; routes of its own namespace may attach to it."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": metadata(name, namespace),
        "spec": {"gatewayClassName": class_name, "listeners": list(listeners)},
    }


def listener(
    name: str, protocol: str, port: int, *, hostname: str = "", secret: str = ""
) -> Object:
    """A listener. `secret` holds the certificate of HTTPS (`kubernetes.io/tls`)."""
    return {
        "name": name,
        "protocol": protocol,
        "port": port,
        **({"hostname": hostname} if hostname else {}),
        **({"tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]}} if secret else {}),
    }


def reference_grant(name: str, namespace: str, kinds: Iterable[str], routes: str) -> Object:
    """Lets routes of some kinds in the namespace `routes` name the Services of `namespace`."""
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": metadata(name, namespace),
        "spec": {
            "from": [{"group": GROUP, "kind": kind, "namespace": routes} for kind in sorted(kinds)],
            "to": [{"group": "", "kind": "Service"}],
        },
    }


# --- routes --------------------------------------------------------------------------------------


def parent(name: str, section: str) -> Object:
    """A listener that a route attaches to."""
    return {"name": name, "sectionName": section}


def route(
    kind: str,
    name: str,
    namespace: str,
    parents: Sequence[Object],
    rules: Sequence[Object],
    *,
    hostnames: Sequence[str] = (),
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """An HTTPRoute (v1), or a TCPRoute (v1alpha2, of the experimental channel)."""
    return {
        "apiVersion": f"{GROUP}/{'v1alpha2' if kind == 'TCPRoute' else 'v1'}",
        "kind": kind,
        "metadata": metadata(name, namespace, annotations),
        "spec": {
            "parentRefs": list(parents),
            **({"hostnames": list(hostnames)} if hostnames else {}),
            "rules": list(rules),
        },
    }


def backend(name: str, namespace: str, port: int, weight: int | None = None) -> Object:
    """A Service that a rule sends to. `weight` in hundredths; None for the only one."""
    return {
        "name": name,
        "namespace": namespace,
        "port": port,
        **({} if weight is None else {"weight": weight * FINEST}),
    }


def path_match(path: PathMatch, anchors: int = 0) -> Object:
    """Which paths. `anchors` more at the end of an expression mean nothing, and make it longer."""
    value = path.value
    if path.type == "regex":
        value = f"{regexes.parse(value, anywhere=False)}{'$' * anchors}"
    return {"type": _PATH_TYPES[path.type], "value": value}


def header_matches(headers: Iterable[HeaderMatch]) -> list[Object]:
    """Headers with exactly these values."""
    return [{"type": "Exact", "name": header.name, "value": header.value} for header in headers]


def cookie_match(name: str, value: str) -> Object:
    """A cookie with exactly this value, as an expression for the header that holds all of them."""
    literal = regexes.Expression(regexes.literal(f"{name}={value}"), begins=False, ends=False)
    return {
        "type": "RegularExpression",
        "name": "Cookie",
        "value": f"(^|[;] *){literal}([;]|$)",
    }


# --- filters -------------------------------------------------------------------------------------


def header_filters(kind: str, change: HeaderChange) -> list[Object]:
    """A filter RequestHeaderModifier or ResponseHeaderModifier; none where nothing changes."""
    if not (change.set or change.add or change.remove):
        return []
    parts = {
        "set": [{"name": name, "value": value} for name, value in change.set.items()],
        "add": [{"name": name, "value": value} for name, value in change.add.items()],
        "remove": list(change.remove),
    }
    field = f"{kind[0].lower()}{kind[1:]}"
    return [{"type": kind, field: {key: value for key, value in parts.items() if value}}]


def rewrite_filter(*, prefix: str | None = None, path: str | None = None) -> Object:
    """A filter URLRewrite: another prefix, or another path."""
    change: Object = (
        {"type": "ReplaceFullPath", "replaceFullPath": path}
        if prefix is None
        else {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}
    )
    return {"type": "URLRewrite", "urlRewrite": {"path": change}}


def extension(group: str, kind: str, name: str) -> Object:
    """A filter of the implementation's own, an object in the route's namespace."""
    return {
        "type": "ExtensionRef",
        "extensionRef": {"group": group, "kind": kind, "name": name},
    }
