"""What an update would change in a Kubernetes object. Pure functions.

As in the official Kubernetes provider the last known live object, cut down to the shape of the old
inputs, is compared with the new inputs; fields that can't be changed in place force a replacement.
The table of those fields follows the official provider's `provider/pkg/provider/diff.go`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from provider.rpc import Change
from provider.values import UNKNOWN

Object = dict[str, Any]
Path = tuple[str | int, ...]

AUTONAMED: Final = "pulumi.com/autonamed"
READ_ONLY: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
# A path, the kind of change, and the new value (the old one where it is deleted).
_Step = tuple[Path, str, Any]
_ABSENT: Final = object()
_QUANTITIES: Final = frozenset(
    [
        "limits",
        "requests",
        "capacity",
        "hard",
        "allocatable",
        "overhead",
        "default",
        "defaultRequest",
        "max",
        "min",
    ]
)
_SIZES: Final = frozenset({"sizeLimit", "divisor", "averageValue"})
_SUFFIXES: Final = {
    **{
        s: Decimal(10) ** e
        for s, e in zip(
            ["n", "u", "m", "k", "M", "G", "T", "P", "E"],
            (-9, -6, -3, 3, 6, 9, 12, 15, 18),
            strict=True,
        )
    },
    **{f"{s}i": Decimal(1024) ** e for e, s in enumerate("KMGTPE", start=1)},
    "": Decimal(1),
}
_QUANTITY: Final = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?$")


def built_in(api_version: str) -> bool:
    """Whether an API is Kubernetes' own, whose server normalises what it is given."""
    group = api_version.rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not _project_group(group))


def _project_group(group: str) -> bool:
    # Kubernetes projects have custom resources too: gateway.networking.k8s.io, metrics.k8s.io.
    return group not in {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }


def quantity(value: Any) -> Decimal | None:  # noqa: ANN401
    """A Kubernetes quantity such as `500m`, `1Gi` or 2; None where it isn't one."""
    match = _QUANTITY.match(str(value))
    if match is None or isinstance(value, bool):
        return None
    try:
        return Decimal(match[1]) * _SUFFIXES[match[2] or ""]
    except InvalidOperation:
        return None


def prune(live: Any, shape: Any) -> Any:  # noqa: ANN401
    """`live` without what `shape` doesn't mention; lists are matched by position."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: prune(live[key], shape[key]) for key in live if key in shape}
    if isinstance(live, list) and isinstance(shape, list):
        if live and shape and type(live[0]) is not type(shape[0]):
            return list(live)
        return [prune(item, part) for item, part in zip(live, shape, strict=False)]
    return live


def observed(live: Object, inputs: Object) -> Object:
    """Inputs as a cluster has them: `inputs`, with what somebody else has changed.

    What the server only writes in another way (a quantity, an empty value that it leaves out)
    stays as it was given, so that a refresh without drift changes nothing.
    """
    found: Object = _observed((), live, inputs, built_in(str(inputs.get("apiVersion") or "")))
    return found


def _observed(path: Path, live: Any, given: Any, own: bool) -> Any:  # noqa: ANN401
    if isinstance(live, dict) and isinstance(given, dict):
        return {
            key: _observed((*path, key), live[key], given[key], own) if key in live else given[key]
            for key in given
            if key in live or _dropped(given[key], given[key], own)
        }
    if isinstance(live, list) and isinstance(given, list):
        if live and given and type(live[0]) is not type(given[0]):
            return live
        pairs = enumerate(zip(live, given, strict=False))
        return [_observed((*path, index), item, part, own) for index, (item, part) in pairs]
    if _same(live, given) or (own and _same_quantity(path, live, given)):
        return given
    return live


def normalize(obj: Object) -> Object:
    """A copy of inputs as the API server will show them.

    Without read-only metadata and `stringData`; in Kubernetes' own kinds null is no value.
    """
    own = built_in(str(obj.get("apiVersion") or ""))
    result: Object = _without_nulls(obj) if own else dict(obj)
    metadata = result.get("metadata")
    if isinstance(metadata, dict):
        result["metadata"] = {k: v for k, v in metadata.items() if k not in READ_ONLY}
    if result.get("apiVersion") == "v1" and result.get("kind") == "Secret":
        _normalize_secret(result)
    elif is_definition(result):
        result.pop("status", None)
        spec = result.get("spec")
        if isinstance(spec, dict) and spec.get("preserveUnknownFields") is False:
            result["spec"] = {k: v for k, v in spec.items() if k != "preserveUnknownFields"}
    return result


def _without_nulls(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def is_definition(obj: Mapping[str, Any]) -> bool:
    """Whether the object is a CustomResourceDefinition."""
    version = str(obj.get("apiVersion") or "")
    return (
        version.startswith("apiextensions.k8s.io/")
        and obj.get("kind") == "CustomResourceDefinition"
    )


def _normalize_secret(secret: Object) -> None:
    data = secret.get("data")
    result = dict(data) if isinstance(data, dict) else {}
    for key, value in result.items():
        if isinstance(value, str):
            try:
                result[key] = base64.b64encode(base64.b64decode(value)).decode()
            except (binascii.Error, ValueError):
                continue  # the API server will say what is wrong with it
    clear = secret.get("stringData")
    if isinstance(clear, dict):
        del secret["stringData"]
        for key, value in clear.items():
            encoded = base64.b64encode(value.encode()).decode() if isinstance(value, str) else value
            result[key] = encoded
    if result or isinstance(data, dict):
        secret["data"] = result


def changes(
    live: Object,
    old_inputs: Object,
    new_inputs: Object,
    immutable: Sequence[str] = (),
) -> list[Change]:
    """Every property that differs between what is there and what is wanted.

    Args:
        live: the last known live object.
        old_inputs: what it was made from, normalised.
        new_inputs: what is wanted, normalised; may hold unknowns.
        immutable: paths as `force_new` gives them.
    """
    found: list[Change] = []
    patterns = [_pattern(path) for path in immutable]
    own = built_in(str(new_inputs.get("apiVersion") or ""))
    for path, kind, value in _walk((), prune(live, old_inputs), new_inputs, old_inputs, own):
        replace = any(
            _covers(pattern, path) or _reaches(pattern, path, value) for pattern in patterns
        )
        found.append(Change(format_path(path), kind, replace))
    return found


def _walk(path: Path, live: Any, new: Any, old: Any, own: bool) -> Iterator[_Step]:  # noqa: ANN401
    if isinstance(live, dict) and isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        for key in new:
            there, then = live.get(key, _ABSENT), before.get(key, _ABSENT)
            if there is _ABSENT:
                if not _dropped(new[key], then, own):
                    yield (*path, key), "add", new[key]
            else:
                yield from _walk((*path, key), there, new[key], then, own)
        yield from (((*path, key), "delete", live[key]) for key in live if key not in new)
    elif isinstance(live, list) and isinstance(new, list):
        for index in range(max(len(live), len(new))):
            here = (*path, index)
            if index >= len(live):
                yield here, "add", new[index]
            elif index >= len(new):
                yield here, "delete", live[index]
            else:
                then = old[index] if isinstance(old, list) and index < len(old) else _ABSENT
                yield from _walk(here, live[index], new[index], then, own)
    elif not _same(live, new) and not (own and _same_quantity(path, live, new)):
        yield path, "delete" if new is None else "update", new


def _dropped(new: Any, old: Any, own: bool) -> bool:  # noqa: ANN401
    # The server leaves out empty values that it was given before; null means absent anyway.
    return new is None or (own and not new and new is not UNKNOWN and _same(new, old))


def _same(a: Any, b: Any) -> bool:  # noqa: ANN401
    # The engine's state has null for an empty list, and so has the API server for some fields.
    if (a is None and b == []) or (b is None and a == []):
        return True
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _same_quantity(path: Path, live: Any, new: Any) -> bool:  # noqa: ANN401
    if not (path and path[-1] in _SIZES) and not (len(path) > 1 and path[-2] in _QUANTITIES):
        return False
    value = quantity(live)
    return value is not None and value == quantity(new)


def format_path(path: Path) -> str:
    """A property path as Pulumi writes it: `spec.containers[0].env`, `data["a.b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.search(r'[."\[\]]', part):
            escaped = part.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{part}" if text else part
    return text


_PART: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|\.?([^.\[\]]+)')


def parse_path(text: str) -> Path:
    """Read a property path; `[*]` and `*` become `"*"`."""
    parts: list[str | int] = []
    for quoted, index, name in _PART.findall(text):
        if index:
            parts.append(int(index) if index != "*" else "*")
        else:
            parts.append(name or quoted.replace('\\"', '"'))
    return tuple(parts)


def _pattern(text: str) -> Path:
    return parse_path(text)


def _covers(pattern: Path, path: Path) -> bool:
    return len(pattern) <= len(path) and all(
        want in ("*", part) for want, part in zip(pattern, path, strict=False)
    )


def _reaches(pattern: Path, path: Path, value: Any) -> bool:  # noqa: ANN401
    """Whether `value`, changed as a whole at `path`, holds what `pattern` names further down."""
    if len(path) >= len(pattern) or not _covers(pattern[: len(path)], path):
        return False
    values = [value]
    for part in pattern[len(path) :]:
        found = []
        for item in values:
            if isinstance(item, dict) and part in item:
                found.append(item[part])
            elif isinstance(item, list) and part == "*":
                found.extend(item)
        values = found
    return bool(values)


def without_ignored(found: Sequence[Change], ignored: Sequence[str]) -> list[Change]:
    """The changes that the resource option `ignoreChanges` doesn't cover."""
    patterns = [parse_path(path) for path in ignored]
    return [
        change
        for change in found
        if not any(_covers(pattern, parse_path(change.path)) for pattern in patterns)
    ]


_SELECTOR: Final = ("spec.selector",)
_VOLUME_SOURCES: Final = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker "
    "gcePersistentDisk glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume "
    "quobyte rbd scaleIO storageos vsphereVolume"
)
_POD_FIELDS: Final = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases "
    "hostIPC hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead "
    "preemptionPolicy priority priorityClassName readinessGates restartPolicy runtimeClassName "
    "schedulerName securityContext serviceAccount serviceAccountName shareProcessNamespace "
    "subdomain terminationGracePeriodSeconds volumes"
)
_CONTAINER_FIELDS: Final = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources "
    "securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy tty "
    "volumeDevices volumeMounts workingDir"
)
_FORCE_NEW: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("", "PersistentVolume"): tuple(f"spec.{name}" for name in _VOLUME_SOURCES.split()),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("", "Pod"): (
        *(f"spec.{name}" for name in _POD_FIELDS.split()),
        *(
            f"spec.{section}[*].{name}"
            for section in ("containers", "initContainers")
            for name in _CONTAINER_FIELDS.split()
        ),
    ),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}


def force_new(
    obj: Mapping[str, Any], *, config_map_mutable: bool = False, secret_mutable: bool = False
) -> tuple[str, ...]:
    """Paths whose change needs a new object.

    Args:
        obj: the new inputs.
        config_map_mutable: the provider's `enableConfigMapMutable`; without it, and for immutable
            ones, new contents make a new ConfigMap.
        secret_mutable: the same for Secrets.
    """
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    kind = str(obj.get("kind"))
    identity = ("metadata.name", "metadata.namespace")
    frozen = obj.get("immutable") is True
    if (group, kind) == ("", "Secret") and (frozen or not secret_mutable):
        return (*identity, "type", "stringData", "data")
    if (group, kind) == ("", "ConfigMap") and (frozen or not config_map_mutable):
        return (*identity, "binaryData", "data")
    return (*identity, *_FORCE_NEW.get((group, kind), ()))
