"""What a preview found, as a report needs it: ordered, plain, and without secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

FORMAT: Final[Literal["ml-platform/preview/1"]] = "ml-platform/preview/1"
"""What a document of `to_json` begins with."""
Severity = Literal["error", "warning"]


class Operation(IntEnum):
    """What happens to a resource; the order is that of importance."""

    REPLACE = 0
    DELETE = 1
    UPDATE = 2
    IMPORT = 3
    CREATE = 4

    @property
    def word(self) -> str:
        """As a verb."""
        return self.name.lower()


UNKNOWN: Final = "(known after the change)"


@dataclass(frozen=True)
class Field:
    """One changed field. `before` and `after` are text, None where there was nothing.

    `replaces`: the resource is replaced because of it.
    """

    path: str
    before: str | None
    after: str | None
    replaces: bool = False

    @property
    def in_secret(self) -> bool:
        """Whether the values differ only in what is not shown."""
        return self.before is not None and self.before == self.after


@dataclass(frozen=True)
class Change:
    """One resource that is not left as it is.

    `type` is its token; `component` the outermost component that it belongs to; `lost` what cannot
    be made again and goes with it, empty for nothing.
    """

    operation: Operation
    type: str
    name: str
    component: str
    lost: str = ""
    retained: bool = False
    protected: bool = False
    fields: tuple[Field, ...] = ()

    @property
    def loses_data(self) -> bool:
        """Whether something goes that cannot be made again."""
        gone = self.operation in (Operation.REPLACE, Operation.DELETE)
        return gone and bool(self.lost) and not self.retained

    @property
    def order(self) -> tuple[bool, int, str, str, str]:
        """What is most important comes first."""
        return (not self.loses_data, int(self.operation), self.component, self.type, self.name)


@dataclass(frozen=True)
class Violation:
    """A policy that a resource does not keep to; one that is not `mandatory` only advises."""

    policy: str
    message: str
    resource: str
    mandatory: bool


@dataclass(frozen=True)
class Message:
    """An error or a warning of the run."""

    severity: Severity
    text: str
    resource: str = ""


@dataclass(frozen=True)
class Cost:
    """What the stack costs each month, in US dollars; None where it is not known."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class Preview:
    """What a change would do to a stack.

    `drift` is what a refresh found otherwise than the state; `unchanged` a number of resources.
    """

    stack: str
    changes: tuple[Change, ...] = ()
    drift: tuple[Change, ...] = ()
    violations: tuple[Violation, ...] = ()
    messages: tuple[Message, ...] = ()
    cost: Cost | None = None
    unchanged: int = 0
    finished: bool = True

    @property
    def losses(self) -> list[Change]:
        """The changes that lose data."""
        return [change for change in self.changes if change.loses_data]

    @property
    def errors(self) -> list[Message]:
        """What went wrong."""
        return [message for message in self.messages if message.severity == "error"]

    def by_component(self) -> Mapping[str, Counter[Operation]]:
        """How many changes of each sort a component has."""
        found: dict[str, Counter[Operation]] = {}
        for change in self.changes:
            found.setdefault(change.component, Counter())[change.operation] += 1
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Document:
    format: Literal["ml-platform/preview/1"]
    preview: Preview


_DOCUMENT: Final = TypeAdapter(_Document)


class DocumentError(ValueError):
    """A document that is no preview; the message says where it is wrong."""


def to_json(preview: Preview) -> str:
    """The preview as a document, for whoever renders it elsewhere."""
    return _DOCUMENT.dump_json(_Document(FORMAT, preview)).decode()


def from_json(text: str) -> Preview:
    """The preview of a document, which may come from anybody.

    Raises:
        DocumentError: it is not one of `to_json`.
    """
    try:
        return _DOCUMENT.validate_json(text).preview
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise DocumentError(f"{where}: {first['msg']}") from None
