"""What the logs of `redis_load` prove of one fault. Pure."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.redis_load import CONFIRMED, FIELDS, READ, WRITE, taken


@dataclass(frozen=True)
class Attempt:
    """A line of a log; times are seconds since 1970."""

    kind: str
    worker: str
    number: int
    sent: float
    done: float
    ok: bool
    reign: str
    error: str


@dataclass(frozen=True)
class Overlap:
    """Two masters of the same keys at once: each certainly took a write after the other had."""

    keys: str
    reigns: tuple[str, str]
    seconds: float


@dataclass(frozen=True)
class Evidence:
    """What one fault did to clients.

    Args:
        fault: what was done.
        acknowledged: writes that the master answered with OK.
        lost: those of them that were not there afterwards.
        confirmed: writes that `WAIT` said were on a replica.
        confirmed_lost: those of them that were not there afterwards.
        writes_down: seconds, the longest without a successful write to some keys.
        reads_down: seconds, the longest without a successful read of some keys.
        masters: how many reigns took writes, one after the other.
        overlaps: reigns that took writes at the same time; none is as it must be.
        lost_seconds: how long before the end of a reign its oldest lost write was acknowledged.
        errors: what failed attempts said, and how many did.
    """

    fault: str
    acknowledged: int
    lost: int
    confirmed: int
    confirmed_lost: int
    writes_down: float
    reads_down: float
    masters: int
    overlaps: tuple[Overlap, ...]
    lost_seconds: float
    errors: Mapping[str, int]


def read_logs(folder: Path) -> list[Attempt]:
    """All attempts of a folder of logs, in the order in which they ended."""
    found = [
        Attempt(**dict(zip(FIELDS, json.loads(line), strict=True)))
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
        # The last line of a killed client may be cut short.
        if line.endswith("]")
    ]
    return sorted(found, key=lambda attempt: attempt.done)


def keys_of(attempt: Attempt) -> str:
    """Which keys an attempt was about: those with one hash tag, which are always together."""
    return attempt.worker.rpartition("-")[2]


def longest_gap(attempts: Iterable[Attempt], since: float, until: float) -> float:
    """Seconds, the longest in a span of time without a success of one worker.

    An attempt that succeeds late has been waiting: a success counts from when it was sent.
    """
    worst = 0.0
    for _, theirs in _by(attempts, lambda attempt: attempt.worker):
        done = since
        for attempt in theirs:
            if attempt.ok and since <= attempt.done <= until:
                worst = max(worst, attempt.done - done)
                done = max(done, attempt.done)
        worst = max(worst, until - done)
    return worst


def overlaps(attempts: Iterable[Attempt]) -> list[Overlap]:
    """Pairs of reigns that took writes to the same keys at the same time.

    A write is made between `sent` and `done`. Reign A was there before some write of B for sure
    when a write of A was done before one of B was sent; if the reverse holds for other writes as
    well, neither came first.
    """
    found = []
    writes = [a for a in attempts if a.kind != READ and a.reign and taken(a.ok, a.error)]
    for keys, theirs in _by(writes, keys_of):
        spans = {
            reign: (min(a.done for a in group), max(a.sent for a in group))
            for reign, group in _by(theirs, lambda attempt: attempt.reign)
        }
        for one, other in itertools.combinations(sorted(spans, key=lambda r: spans[r]), 2):
            if one.partition("/")[0] == other.partition("/")[0]:
                # One process: its id changes when its first replica comes, too.
                continue
            (first_done, last_sent), (other_first_done, other_last_sent) = spans[one], spans[other]
            if last_sent > other_first_done and other_last_sent > first_done:
                seconds = min(last_sent, other_last_sent) - max(first_done, other_first_done)
                found.append(Overlap(keys, (one, other), round(seconds, 3)))
    return found


def judge(
    fault: str,
    attempts: Sequence[Attempt],
    missing: Mapping[str, Sequence[int]],
    since: float,
    until: float,
) -> Evidence:
    """Sum up one fault.

    Args:
        fault: what was done.
        attempts: the logs.
        missing: for each writer, the numbers of acknowledged writes that were not there after.
        since: when the fault began.
        until: when all was well again; gaps are looked for in between.
    """
    gone = {(worker, number) for worker, numbers in missing.items() for number in numbers}
    accepted = [a for a in attempts if a.kind != READ and taken(a.ok, a.error)]
    lost = [a for a in accepted if (a.worker, a.number) in gone]
    confirmed = [a for a in accepted if a.kind == CONFIRMED and a.ok]
    reigns = {(keys_of(a), a.reign) for a in accepted if a.reign}
    by_keys = Counter(keys for keys, _ in reigns)
    ends = {reign: max(a.done for a in group) for reign, group in _by(accepted, lambda a: a.reign)}
    return Evidence(
        fault=fault,
        acknowledged=len(accepted),
        lost=len(lost),
        confirmed=len(confirmed),
        confirmed_lost=sum((a.worker, a.number) in gone for a in confirmed),
        writes_down=round(longest_gap((a for a in attempts if a.kind == WRITE), since, until), 2),
        reads_down=round(longest_gap((a for a in attempts if a.kind == READ), since, until), 2),
        masters=max(by_keys.values(), default=0),
        overlaps=tuple(overlaps(attempts)),
        lost_seconds=round(max((ends[a.reign] - a.done for a in lost), default=0.0), 3),
        errors=dict(Counter(_sort(a.error) for a in attempts if a.error).most_common()),
    )


def table(found: Iterable[Evidence]) -> str:
    """The evidence as a table in Markdown."""
    lines = [
        "| fault | acknowledged | lost | confirmed | lost | writes down | reads down | masters "
        "| at once |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {e.fault} | {e.acknowledged} | {e.lost} | {e.confirmed} | {e.confirmed_lost} "
        f"| {e.writes_down:.1f} s | {e.reads_down:.1f} s | {e.masters} "
        f"| {'no' if not e.overlaps else f'{len(e.overlaps)} times'} |"
        for e in found
    ]
    return "\n".join(lines) + "\n"


def as_json(found: Iterable[Evidence]) -> str:
    """The evidence with all its details."""
    return json.dumps([asdict(e) for e in found], indent=1) + "\n"


def _sort(error: str) -> str:
    """The sort of an error: its type, and Redis's own word where redis-py has none."""
    kind, _, text = error.partition(": ")
    return f"{kind} {text.split(maxsplit=1)[0]}" if kind == "ResponseError" and text else kind


def _by(attempts: Iterable[Attempt], key: Any) -> list[tuple[str, list[Attempt]]]:
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(key(attempt), []).append(attempt)
    return list(groups.items())
