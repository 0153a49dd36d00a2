"""Asks a cluster for what the doctor looks at. Only GET requests are made."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from components.redis import names
from doctor.model import Container, Object, Snapshot, Usage, name_of
from doctor.pods import ended
from provider.client import ApiError, Client
from provider.kubeconfig import connect
from provider.rpc import PluginError

Get = Callable[[str], bytes]
"""The body of an answer; raises Refused."""

_PAGE: Final = 500
_TIMEOUT: Final = 30.0  # seconds
_LINES: Final = 5
_LETTERS: Final = 600
_AT_ONCE: Final = 8
_LISTS: Final = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "events": "/api/v1/events?fieldSelector=type%3DWarning",
    "claims": "/api/v1/persistentvolumeclaims",
    "services": "/api/v1/services",
    "endpoint_slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "stateful_sets": "/apis/apps/v1/statefulsets",
    "deployments": "/apis/apps/v1/deployments",
    "storage_classes": "/apis/storage.k8s.io/v1/storageclasses",
    "validating": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "mutating": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "certificates": "/apis/cert-manager.io/v1/certificates",
    "redis_configs": f"/api/v1/configmaps?labelSelector={names.PART_OF}%3Dredis",
    "tls_secrets": "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls",
}
_OPTIONAL: Final = frozenset({"certificates"})
_WEBHOOKS: Final = {
    "validating": "ValidatingWebhookConfiguration",
    "mutating": "MutatingWebhookConfiguration",
}


class Unreachable(RuntimeError):
    """The cluster can't be asked; the message says why."""


class Refused(RuntimeError):
    """One question was answered with an error; `code` is its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def connection(kubeconfig: Path | None, context: str) -> Get:
    """How a kubeconfig's cluster is asked; of None that of $KUBECONFIG or ~/.kube/config.

    Raises:
        Unreachable: there is no such kubeconfig or context.
    """
    try:
        client = Client(
            connect(str(kubeconfig or ""), context), "ml-platform-doctor", threading.Event()
        )
    except PluginError as error:
        raise Unreachable(str(error)) from None

    def get(path: str) -> bytes:
        try:
            return client.raw("GET", path, timeout=_TIMEOUT)
        except ApiError as error:
            raise Refused(error.code, error.message) from None
        except PluginError as error:
            raise Unreachable(str(error)) from None

    return get


def ask(get: Get, now: datetime | None = None) -> Snapshot:
    """The platform as it is.

    Raises:
        Unreachable: the cluster does not answer.
    """
    unread: list[tuple[str, str]] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        lists = dict(
            zip(_LISTS, pool.map(lambda name: _list(get, name, unread), _LISTS), strict=True)
        )
        ends = ended(tuple(lists["pods"]))
        words = dict(pool.map(lambda one: (one[0], _log(get, *one)), ends))
        stats = pool.map(lambda node: _stats(get, name_of(node), unread), lists["nodes"])
        usage = {key: value for found in stats for key, value in found.items()}
    hooks = [{**body, "kind": kind} for name, kind in _WEBHOOKS.items() for body in lists.pop(name)]
    return Snapshot(
        now=now or datetime.now(UTC),
        webhooks=hooks,
        words=words,
        usage=usage,
        unread=sorted(unread),
        **lists,
    )


def _list(get: Get, name: str, unread: list[tuple[str, str]]) -> list[Object]:
    path, more = _LISTS[name], ""
    found: list[Object] = []
    while True:
        joint = "&" if "?" in path else "?"
        try:
            answer = json.loads(get(f"{path}{joint}limit={_PAGE}{more}"))
        except Refused as error:
            if not (error.code == 404 and name in _OPTIONAL):
                unread.append((name.replace("_", " "), str(error)))
            return found
        found += answer.get("items") or []
        if not (token := (answer.get("metadata") or {}).get("continue")):
            return found
        more = f"&continue={urllib.parse.quote(token)}"


def _log(get: Get, container: Container, before: bool) -> str:
    namespace, pod, name = (urllib.parse.quote(part) for part in container)
    query = f"container={name}&tailLines={_LINES}{'&previous=true' if before else ''}"
    try:
        text = get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{query}")
    except Refused:
        return ""  # the kubelet has none any more; the pod's status may tell
    return text.decode(errors="replace")[-_LETTERS:]


def _stats(get: Get, node: str, unread: list[tuple[str, str]]) -> Mapping[tuple[str, str], Usage]:
    """What the kubelet of a node says of the volumes there: its Summary API."""
    try:
        answer = json.loads(get(f"/api/v1/nodes/{urllib.parse.quote(node)}/proxy/stats/summary"))
    except (Refused, ValueError) as error:
        unread.append((f"volumes of the node {node}", str(error)))
        return {}
    return dict(_volumes(answer.get("pods") or ()))


def _volumes(pods: Iterable[Any]) -> Iterable[tuple[tuple[str, str], Usage]]:
    for pod in pods:
        for volume in pod.get("volume") or ():
            claim = volume.get("pvcRef")
            if claim and volume.get("capacityBytes"):
                yield (
                    (claim["namespace"], claim["name"]),
                    Usage(
                        volume.get("usedBytes", 0),
                        volume["capacityBytes"],
                        volume.get("inodesUsed", 0),
                        volume.get("inodes", 0),
                    ),
                )
