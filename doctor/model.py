"""What the doctor looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

Object = Mapping[str, Any]
Severity = Literal["error", "warning"]
Container = tuple[str, str, str]
"""Namespace, pod and container."""

STARTING: Final = timedelta(minutes=2)
"""How long something may take to start before it counts as not ready."""


@dataclass(frozen=True)
class Usage:
    """What a volume has and what of it is used: bytes, and files."""

    used: int
    capacity: int
    files_used: int = 0
    files: int = 0

    @property
    def share(self) -> float:
        """The fuller of the two, from 0 to 1."""
        shares = [
            part / whole
            for part, whole in ((self.used, self.capacity), (self.files_used, self.files))
            if whole
        ]
        return max(shares, default=0.0)


@dataclass(frozen=True)
class Snapshot:
    """A platform at one moment: its objects as the API server gives them.

    `words` are the last log lines of containers that ended, `usage` what volumes hold by namespace
    and claim, `unread` what could not be read, with the reason.
    """

    now: datetime
    pods: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    events: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    services: Sequence[Object] = ()
    endpoint_slices: Sequence[Object] = ()
    stateful_sets: Sequence[Object] = ()
    deployments: Sequence[Object] = ()
    storage_classes: Sequence[Object] = ()
    webhooks: Sequence[Object] = ()
    certificates: Sequence[Object] = ()
    tls_secrets: Sequence[Object] = ()
    words: Mapping[Container, str] = field(default_factory=dict)
    usage: Mapping[tuple[str, str], Usage] = field(default_factory=dict)
    redis_configs: Sequence[Object] = ()
    unread: Sequence[tuple[str, str]] = ()

    def events_of(self, kind: str, namespace: str, name: str) -> list[Object]:
        """The warnings about an object, the newest last."""
        found = [
            event
            for event in self.events
            if event.get("type") == "Warning"
            and (event.get("involvedObject") or {}).get("kind") == kind
            and (event.get("involvedObject") or {}).get("namespace", "") == namespace
            and (event.get("involvedObject") or {}).get("name") == name
        ]
        return sorted(found, key=lambda event: str(seen(event)))


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong: where, what, and what mends it.

    `code` names the sort of problem, for scripts.
    """

    severity: Severity
    code: str
    where: str
    problem: str
    remedy: str


def name_of(body: Object) -> str:
    """The object's name."""
    return str((body.get("metadata") or {}).get("name", ""))


def namespace_of(body: Object) -> str:
    """The object's namespace, "" for none."""
    return str((body.get("metadata") or {}).get("namespace", ""))


def place(kind: str, body: Object) -> str:
    """How a person and kubectl call it: `Pod kubeflow/katib-mysql-0`."""
    return f"{kind} {'/'.join(part for part in (namespace_of(body), name_of(body)) if part)}"


def instant(text: Any) -> datetime | None:  # noqa: ANN401
    """A time of the Kubernetes API (RFC 3339), None for anything else."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seen(event: Object) -> datetime:
    """When an event was seen last."""
    series = event.get("series") or {}
    for value in (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        (event.get("metadata") or {}).get("creationTimestamp"),
    ):
        if found := instant(value):
            return found
    return datetime.min.replace(tzinfo=UTC)


def condition(body: Object, type_: str) -> Object:
    """A condition of the object's status, {} if it has none of that type."""
    for found in (body.get("status") or {}).get("conditions") or ():
        if found.get("type") == type_:
            return dict(found)
    return {}
