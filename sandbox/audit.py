"""Read and sum up the API server's audit log.

Format: audit.k8s.io/v1 Events, one JSON object a line
(https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/).
"""

from __future__ import annotations

import datetime
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, order=True)
class ObjectKey:
    """An object by its API path; `subresource` is "" for the object itself."""

    group: str
    resource: str
    namespace: str
    name: str
    subresource: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        kind = f"{kind}/{self.subresource}" if self.subresource else kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True)
class AuditEvent:
    """One answered request. `key` is None for requests about no resource.

    `received` and `answered` are UTC with microseconds; `code` is the HTTP status.
    """

    audit_id: str
    stage: str
    verb: str
    user: str
    user_agent: str
    uri: str
    code: int
    reason: str
    key: ObjectKey | None
    received: datetime.datetime
    answered: datetime.datetime

    @property
    def dry_run(self) -> bool:
        """Whether the request was not to be persisted."""
        query = urllib.parse.urlsplit(self.uri).query
        return "All" in urllib.parse.parse_qs(query).get("dryRun", ())

    @property
    def write(self) -> bool:
        """Whether the request was to change something that is stored.

        Reviews (SubjectAccessReview and the like) are created, but nothing is stored.
        """
        return (
            self.verb in WRITES
            and self.key is not None
            and not self.key.resource.endswith("reviews")
            and not self.dry_run
        )

    @property
    def failed(self) -> bool:
        """Whether the answer was other than 2xx."""
        return not 200 <= self.code < 300


@dataclass(frozen=True)
class AuditSummary:
    """What one user did.

    `writes` counts all requests to change something, `failed` has those not answered with 2xx and
    `repeated` every successful create, update or patch of an object after the user's first (a
    deletion in between starts afresh). Dry runs are counted apart. `first_write` is when each
    object was first written successfully.
    """

    user: str
    writes: int = 0
    failed: list[AuditEvent] = field(default_factory=list)
    repeated: list[AuditEvent] = field(default_factory=list)
    dry_runs: int = 0
    failed_dry_runs: int = 0
    first_write: dict[ObjectKey, datetime.datetime] = field(default_factory=dict)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def parse(line: bytes) -> AuditEvent:
    """Parse one line of the log.

    Raises ValueError when it is no audit event.
    """
    try:
        event = orjson.loads(line)
        reference = event.get("objectRef")
        status = event.get("responseStatus") or {}
        return AuditEvent(
            audit_id=event["auditID"],
            stage=event["stage"],
            verb=event["verb"],
            user=(event.get("impersonatedUser") or event["user"])["username"],
            user_agent=event.get("userAgent", ""),
            uri=event["requestURI"],
            code=status.get("code", 0),
            reason=status.get("message", "") or status.get("reason", ""),
            key=ObjectKey(
                reference.get("apiGroup", ""),
                reference["resource"],
                reference.get("namespace", ""),
                reference.get("name", ""),
                reference.get("subresource", ""),
            )
            if reference
            else None,
            received=_time(event["requestReceivedTimestamp"]),
            answered=_time(event["stageTimestamp"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an audit event ({error!r}): {line[:200]!r}") from error


def read(path: Path, since: int = 0) -> list[AuditEvent]:
    """All answered requests of a log file from the byte `since` on, in the file's order.

    Lines that were, or are still, being written at either end are left out: a size of the file may
    be taken in the middle of one. Raises FileNotFoundError and ValueError.
    """
    with path.open("rb") as stream:
        if since:
            stream.seek(since - 1)
            stream.readline()
        lines = [line for line in stream if line.endswith(b"\n")]
    events = [parse(line) for line in lines]
    return [event for event in events if event.stage in ("ResponseComplete", "Panic")]


def _goes_with(key: ObjectKey, deleted: ObjectKey) -> bool:
    """Whether an object goes when `deleted` is: itself, or what is in the namespace or the CRD."""
    if deleted.resource == "namespaces":
        return key.namespace == deleted.name or key == deleted
    if deleted.resource == "customresourcedefinitions":
        return f"{key.resource}.{key.group}" == deleted.name or key == deleted
    return key == deleted


def summarise(events: Iterable[AuditEvent], user: str = "deployer") -> AuditSummary:
    """Sum up what `user` wrote, in order of time."""
    writes, dry_runs, failed_dry_runs = 0, 0, 0
    failed: list[AuditEvent] = []
    repeated: list[AuditEvent] = []
    first_write: dict[ObjectKey, datetime.datetime] = {}
    present: set[ObjectKey] = set()
    for event in sorted(events, key=lambda event: event.answered):
        if event.user != user or event.key is None:
            continue
        if event.dry_run:
            dry_runs += 1
            failed_dry_runs += event.failed
        elif event.write:
            writes += 1
            if event.failed:
                failed.append(event)
            elif event.verb.startswith("delete"):
                present = {key for key in present if not _goes_with(key, event.key)}
            elif not event.key.name:
                continue
            elif event.key in present:
                repeated.append(event)
            else:
                present.add(event.key)
                first_write.setdefault(event.key, event.received)
    return AuditSummary(user, writes, failed, repeated, dry_runs, failed_dry_runs, first_write)


def describe(summary: AuditSummary) -> str:
    """The summary in words: a line of counts, then a line for each failed or repeated write."""
    lines = [
        f"{summary.user}: {summary.writes} writes to the API server, {len(summary.failed)} failed, "
        f"{len(summary.repeated)} repeated"
    ]
    lines += [f"  failed: {e.code} {e.verb} {e.key}: {e.reason}" for e in summary.failed]
    lines += [f"  repeated: {e.verb} {e.key}" for e in summary.repeated]
    return "\n".join(lines)
