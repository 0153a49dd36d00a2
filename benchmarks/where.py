"""Where the time goes, the memory, and the bytes of state: of one `up`, and of what it replaces."""

from __future__ import annotations

import datetime
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from benchmarks import bed, deployment, figures, processes, writes
from benchmarks.bed import Bed
from benchmarks.deployment import Measured, Subject
from benchmarks.processes import Usage
from benchmarks.report import Report, say, show
from benchmarks.writes import Written
from sandbox import audit, parts

FIRST, AGAIN, PREVIEW = "up, empty cluster", "up, no change", "preview, no change"
UPSTREAM, AS_IT_COMES = "upstream's loop", "up, engine as it comes"
_HEAD = """\
Processes are sampled ten times a second: CPU seconds by kind, the largest sum of the resident
memory of all client processes (shared pages counted for each). Bytes written to the state back end
are those of every file that it writes. The sampling itself costs some time, so compare times by
`python -m benchmarks up`."""


@dataclass
class Look:
    """One watched run. `state` is bytes on disk after it; the moments are seconds from its start.

    `requests`, `first_write` and `last_write` are of the user who deploys, None if there were none.
    """

    measured: Measured | None = None
    usage: Usage = field(default_factory=Usage)
    written: Written = field(default_factory=Written)
    state: int = 0
    state_folder: int = 0
    requests: float | None = None
    first_write: float | None = None
    last_write: float | None = None

    @property
    def result(self) -> Measured:
        """What was measured; there once the run has ended."""
        assert self.measured is not None
        return self.measured


def run(subject: Subject, rounds: int, limit: float, plain_limit: float, report: Report) -> None:
    """Watch our verbs and upstream's loop in each round, and once the engine as it comes."""
    report.head(_HEAD)
    say(f"{subject.wanted.count} objects")
    found: dict[str, list[Look]] = {}

    def look(name: str, place: Bed, action: Callable[..., Measured]) -> None:
        result = _look(place, action)
        say(f"  {name}: {result.result.seconds:.1f} s")
        found.setdefault(name, []).append(result)

    for _, record in report.each_round(rounds):
        with bed.fresh(say) as place:
            for name, verb in ((FIRST, "up"), (AGAIN, "up"), (PREVIEW, "preview")):
                look(name, place, partial(deployment.verb, verb, place, subject, limit))
        with bed.fresh(say) as place:
            look(UPSTREAM, place, partial(deployment.upstream, place, subject, limit))
        record.update({name: looks[-1] for name, looks in found.items()})
    if plain_limit:
        with bed.fresh(say) as place:
            plain = partial(deployment.verb, extra=bed.AS_IT_COMES, may_take_longer=True)
            look(AS_IT_COMES, place, partial(plain, "up", place, subject, plain_limit))
    report.results = {name: looks[-1] for name, looks in found.items()}
    show(_cpu_table(found))
    show("")
    show(_size_table(found))
    show("")
    show(_timeline(found))
    report.write()


def _look(place: Bed, action: Callable[..., Measured]) -> Look:
    look = Look()
    since = deployment.audit_size(place)
    started: list[float] = []

    @contextmanager
    def watch(pid: int) -> Iterator[None]:
        started.append(time.time())
        with processes.watched(pid, place.sandbox.data_dir, look.usage):
            yield

    with ExitStack() as stack:
        # Before the command starts: its first write counts too.
        counting: AbstractContextManager[None] = writes.counted(place.state, look.written)
        stack.enter_context(counting)
        look.measured = action(watch=watch)
    look.state_folder = writes.size(place.state / ".pulumi")
    look.state = writes.state(place.state)
    _moments(look, audit.read(place.sandbox.audit_log, since), started[0])
    return look


def _moments(look: Look, events: list[audit.AuditEvent], started: float) -> None:
    own = sorted(
        (event for event in events if event.user == parts.DEPLOYER),
        key=lambda event: event.received,
    )
    written = [event for event in own if event.write]

    def moment(when: datetime.datetime) -> float:
        return when.timestamp() - started

    if own:
        look.requests = moment(own[0].received)
    if written:
        look.first_write = moment(written[0].received)
        look.last_write = moment(max(event.answered for event in written))


def _median(looks: list[Look], value: Callable[[Look], float]) -> float:
    return statistics.median(value(look) for look in looks)


def _cpu_table(found: dict[str, list[Look]]) -> str:
    clients = dict.fromkeys(k for ls in found.values() for look in ls for k in look.usage.clients)
    servers = dict.fromkeys(k for ls in found.values() for look in ls for k in look.usage.servers)
    rows = [["wall", *(f"{_median(ls, lambda x: x.result.seconds):.1f}" for ls in found.values())]]
    for kind in clients:
        rows.append([kind, *(_seconds(ls, _client_cpu(kind)) for ls in found.values())])
    rows.append(["(not sampled)", *(_seconds(ls, _unsampled) for ls in found.values())])
    for name in servers:
        rows.append(
            [f"server: {name}", *(_seconds(ls, _server_cpu(name)) for ls in found.values())]
        )
    return figures.table(["seconds", *found], rows)


def _seconds(looks: list[Look], value: Callable[[Look], float]) -> str:
    found = _median(looks, value)
    return f"{found:.1f}" if found >= 0.05 else ""


def _client_cpu(kind: str) -> Callable[[Look], float]:
    return lambda look: look.usage.clients[kind].cpu if kind in look.usage.clients else 0.0


def _server_cpu(name: str) -> Callable[[Look], float]:
    return lambda look: look.usage.servers.get(name, 0.0)


def _unsampled(look: Look) -> float:
    return max(0.0, look.result.cpu - look.usage.sampled_cpu)


def _size_table(found: dict[str, list[Look]]) -> str:
    rows = []
    for name, looks in found.items():
        last = looks[-1].result
        ended = "" if last.finished else f"not finished after {last.seconds:.0f} s, "
        written = _median(looks, lambda x: x.written.bytes)
        unmeasured = max(look.written.unmeasured for look in looks)
        rows.append(
            [
                name,
                f"{ended}{last.objects} objects",
                figures.megabytes(_median(looks, lambda x: x.usage.peak)),
                figures.megabytes(_median(looks, lambda x: x.state)),
                figures.megabytes(_median(looks, lambda x: x.state_folder)),
                figures.megabytes(written) + (f" (+{unmeasured} files)" if unmeasured else ""),
                f"{_median(looks, lambda x: x.written.files):.0f}",
            ]
        )
    header = ["what", "written", "peak memory", "state", "with history", "state written", "files"]
    return figures.table(header, rows)


def _timeline(found: dict[str, list[Look]]) -> str:
    """When what happened, of the last round."""
    rows = []
    for name, looks in found.items():
        look = looks[-1]
        moments = [(f"{kind} starts", client.first) for kind, client in look.usage.clients.items()]
        moments += [(f"{kind} ends", client.last) for kind, client in look.usage.clients.items()]
        moments += [
            (what, moment)
            for what, moment in (
                ("first request", look.requests),
                ("first write", look.first_write),
                ("last write answered", look.last_write),
            )
            if moment is not None
        ]
        moments.append(("done", look.result.seconds))
        ordered = sorted(moments, key=lambda entry: entry[1])
        rows.append([name, ", ".join(f"{moment:.1f} {what}" for what, moment in ordered)])
    return figures.table(["what", "moments in seconds from the start (last round)"], rows)
