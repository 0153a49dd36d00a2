"""Reads and writes the engine's event log: one JSON object a line.

The same log comes from `PULUMI_DEBUG_COMMANDS=true pulumi preview --event-log FILE`, from the
events of the Automation API, and from `pulumi preview --json` with
PULUMI_ENABLE_STREAMING_JSON_PREVIEW. It is `apitype.EngineEvent` of Pulumi's SDK for Go. Unlike the
document of `preview --json` it holds policy violations and drift, and unlike a saved plan the
values before a change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from provider.values import OUTPUT_MARK, SECRET_MARK, SIGNATURE, UNKNOWN_STRINGS
from review.model import UNKNOWN, Change, Cost, Field, Message, Operation, Preview, Violation
from review.paths import ABSENT, look_up, parse
from review.secrets import HIDDEN, Redactor
from review.stateful import what_is_lost

Event = Mapping[str, Any]

_STACK: Final = "pulumi:pulumi:Stack"
_COST: Final = "monthlyCost"
_OPERATIONS: Final = {
    "create": Operation.CREATE,
    "update": Operation.UPDATE,
    "delete": Operation.DELETE,
    "replace": Operation.REPLACE,
    "create-replacement": Operation.REPLACE,
    "delete-replaced": Operation.REPLACE,
    "import": Operation.IMPORT,
    "import-replacement": Operation.REPLACE,
}
# Of a replacement's steps the one that says most.
_TELLING: Final = ("replace", "create-replacement", "import-replacement", "delete-replaced")
# `at least 1,234.50 USD a month, list prices of ...`
_AMOUNT: Final = re.compile(r"(?:at least )?(\d[\d,]*(?:\.\d+)?)(?: USD\b.*)?$", re.DOTALL)
_COLOUR: Final = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")


class EventLogError(ValueError):
    """The log is none, or not of one preview; the message says what it is."""


def lines(events: Iterable[Any]) -> Iterator[str]:
    """Events of the Automation API (`pulumi.automation.EngineEvent`) as lines of an event log."""
    for event in events:
        yield json.dumps(_json(event), separators=(",", ":"))


def _json(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_json(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if hasattr(value, "__dict__"):
        return {
            re.sub(r"_(\w)", lambda match: match[1].upper(), name): _json(item)
            for name, item in vars(value).items()
            if item is not None
        }
    return value


def read(log: Iterable[str]) -> list[Event]:
    """The events of a log.

    Raises:
        EventLogError: a line is no event.
    """
    events: list[Event] = []
    for number, line in enumerate(log, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise EventLogError(f"line {number} is not JSON: {error}") from None
        if not isinstance(event, dict) or "sequence" not in event:
            raise EventLogError(
                f"line {number} is no event of Pulumi's engine; make the log with "
                "`python -m sandbox preview --events FILE`, or with "
                "`PULUMI_DEBUG_COMMANDS=true pulumi preview --event-log FILE`"
            )
        events.append(event)
    if not events:
        raise EventLogError("the event log is empty: the preview did not get to its start")
    return events


def preview_of(events: Iterable[Event], stack: str = "", cost: Cost | None = None) -> Preview:
    """What a log tells, without secrets.

    Args:
        events: those of one run, in their order.
        stack: its name, for a log without any resource.
        cost: what is known of it elsewhere; otherwise the stack's output `monthlyCost` tells.
    """
    return _Reading(list(events)).preview(stack, cost)


class _Reading:
    """One log on its way to being a preview."""

    def __init__(self, events: list[Event]) -> None:
        self._events = [_plain(event) for event in events]
        steps = [step for event in self._events if (step := _step(event))]
        self._redactor = Redactor(_names(steps))
        for step in steps:
            for side in ("old", "new"):
                for properties in ("inputs", "outputs"):
                    self._redactor.learn(_object(step.get(side), properties))

    def preview(self, stack: str, cost: Cost | None) -> Preview:
        changes: dict[str, tuple[str, dict[str, Any]]] = {}
        unchanged = 0
        for event in self._events:
            step = (event.get("resourcePreEvent") or {}).get("metadata")
            if not step:
                continue
            stack = step["urn"].split("::")[0].removeprefix("urn:pulumi:") or stack
            if step["op"] == "same" and step["type"] != _STACK:
                unchanged += 1
            if step["op"] not in _OPERATIONS or step["type"] == _STACK:
                continue
            known = changes.get(step["urn"])
            if known is None or _rank(step["op"]) < _rank(known[0]):
                changes[step["urn"]] = (step["op"], step)
        found = [self._change(step, _OPERATIONS[op]) for op, step in changes.values()]
        return Preview(
            stack=stack,
            changes=tuple(sorted(found, key=lambda change: change.order)),
            drift=tuple(sorted(self._drift(), key=lambda change: change.order)),
            violations=self._violations(),
            messages=self._messages(),
            cost=cost or self._cost(),
            unchanged=unchanged,
            finished=any("summaryEvent" in event for event in self._events),
        )

    def _drift(self) -> Iterator[Change]:
        refreshed = {
            event["resourcePreEvent"]["metadata"]["urn"]
            for event in self._events
            if (event.get("resourcePreEvent") or {}).get("metadata", {}).get("op") == "refresh"
        }
        seen = set()
        for event in self._events:
            step = (event.get("resOutputsEvent") or {}).get("metadata") or {}
            urn = step.get("urn")
            # The first report of a resource is the refresh's, a later one that of its own step.
            if urn not in refreshed or urn in seen:
                continue
            seen.add(urn)
            if step["op"] in ("update", "delete"):
                yield self._change(step, _OPERATIONS[step["op"]])

    def _change(self, step: Mapping[str, Any], operation: Operation) -> Change:
        urn: str = step["urn"]
        chain, name = urn.split("::", 3)[2:]
        state = step.get("old") or step.get("new") or {}
        fields: tuple[Field, ...] = ()
        if operation in (Operation.UPDATE, Operation.REPLACE):
            fields = tuple(self._fields(step))
        return Change(
            operation,
            step["type"],
            self._redactor.text(name),
            _component(chain),
            what_is_lost(step["type"], chain, name),
            bool(state.get("retainOnDelete")),
            bool(state.get("protect")),
            fields,
        )

    def _fields(self, step: Mapping[str, Any]) -> Iterator[Field]:
        old, new = step.get("old") or {}, step.get("new") or {}
        shown = {
            (side, properties): self._redactor.hide(_object(state, properties))
            for side, state in (("old", old), ("new", new))
            for properties in ("inputs", "outputs")
        }
        detailed = step.get("detailedDiff") or {
            key: {"diffKind": "update", "inputDiff": True} for key in step.get("diffs") or ()
        }
        keys = frozenset(step.get("keys") or ())
        refreshed = not step.get("detailedDiff") or step.get("op") == "refresh"
        for path, difference in sorted(detailed.items()):
            parts = parse(path)
            by_input = difference.get("inputDiff") or refreshed
            before = look_up(shown["old", "inputs" if by_input else "outputs"], parts)
            after = look_up(shown["new", "inputs"], parts)
            kind = str(difference.get("diffKind", ""))
            replaces = kind.endswith("-replace") or str(parts[0]) in keys
            yield Field(self._redactor.copies(path), _text(before), _text(after), replaces)

    def _violations(self) -> tuple[Violation, ...]:
        found = {
            Violation(
                event["policyEvent"].get("policyName", ""),
                self._said(event["policyEvent"].get("message", "")),
                _short(event["policyEvent"].get("resourceUrn", "")),
                event["policyEvent"].get("enforcementLevel") == "mandatory",
            )
            for event in self._events
            if event.get("policyEvent")
        }
        return tuple(
            sorted(found, key=lambda v: (not v.mandatory, v.policy, v.resource, v.message))
        )

    def _messages(self) -> tuple[Message, ...]:
        found: dict[Message, None] = {}
        for event in self._events:
            diagnostic = event.get("diagnosticEvent") or {}
            severity, text = diagnostic.get("severity"), self._said(diagnostic.get("message", ""))
            if severity in ("error", "warning") and text and not diagnostic.get("ephemeral"):
                found[Message(severity, text, _short(diagnostic.get("urn", "")))] = None
        return tuple(sorted(found, key=lambda message: message.severity))

    def _said(self, text: str) -> str:
        return self._redactor.text(_COLOUR.sub("", text)).strip()

    def _cost(self) -> Cost | None:
        for event in reversed(self._events):
            step = (event.get("resOutputsEvent") or {}).get("metadata") or {}
            if step.get("type") == _STACK:
                before = _dollars(_object(step.get("old"), "outputs").get(_COST))
                after = _dollars(_object(step.get("new"), "outputs").get(_COST))
                return None if before is None and after is None else Cost(before, after)
        return None


def _plain(value: Any) -> Any:  # noqa: ANN401
    """JSON without Pulumi's marks: secrets and unknown values are words."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET_MARK:
            return HIDDEN
        if value.get(SIGNATURE) == OUTPUT_MARK:
            return HIDDEN if value.get("secret") else _plain(value.get("value", UNKNOWN))
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return UNKNOWN if isinstance(value, str) and value in UNKNOWN_STRINGS else value


def _text(value: Any) -> str | None:  # noqa: ANN401
    if value is ABSENT:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _step(event: Event) -> dict[str, Any]:
    for kind in ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"):
        if kind in event:
            return (event[kind] or {}).get("metadata") or {}
    return {}


def _names(steps: Iterable[Mapping[str, Any]]) -> set[str]:
    names: set[str] = set()
    for step in steps:
        name = str(step.get("urn", "")).rpartition("::")[2]
        names |= {name, *name.split("/")}
    return names


def _object(state: Any, properties: str) -> dict[str, Any]:  # noqa: ANN401
    return (state or {}).get(properties) or {}


def _rank(op: str) -> int:
    return _TELLING.index(op) if op in _TELLING else len(_TELLING)


def _component(chain: str) -> str:
    """`Redis` of `mlplatform:redis:Redis$kubernetes:apps/v1:StatefulSet`."""
    outermost, inside, _ = chain.partition("$")
    return outermost.rpartition(":")[2] if inside else ""


def _short(urn: str) -> str:
    """`StatefulSet redis/redis` of a URN; nothing for the stack."""
    if not urn or "::" not in urn:
        return ""
    type_, _, name = urn.split("::", 2)[2].rpartition("$")[2].partition("::")
    return "" if type_ == _STACK else f"{type_.rpartition(':')[2]} {name}"


def _dollars(value: Any) -> float | None:  # noqa: ANN401
    """A number; an object of numbers, which are added; or a sentence that begins with one."""
    if isinstance(value, dict):
        numbers = [number for item in value.values() if (number := _dollars(item)) is not None]
        return sum(numbers) if numbers else None
    if isinstance(value, str):
        match = _AMOUNT.match(value)
        return float(match[1].replace(",", "")) if match else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
