"""nginx's configuration as lines of text, and objects whose every field must be understood."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Lines = list[str]


class Unsupported(Exception):
    """An object uses a field that the stand-in does not know, or names what is not there."""


class Fields:
    """The fields of an object, each taken once; what nobody takes is an error at the end."""

    def __init__(self, given: Mapping[str, Any] | None, where: str) -> None:
        self._left = dict(given or {})
        self.where = where

    def take(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """A field's value, or the default where it is not there or null."""
        found = self._left.pop(name, None)
        return default if found is None else found

    def has(self, name: str) -> bool:
        """Whether a field is there that nobody took."""
        return self._left.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """A field as text."""
        return str(self.take(name, default))

    def inner(self, name: str) -> Fields | None:
        """An object in a field."""
        found = self.take(name)
        return None if found is None else Fields(found, f"{self.where}.{name}")

    def each(self, name: str) -> list[Fields]:
        """The objects of a list."""
        found = self.take(name, [])
        return [Fields(one, f"{self.where}.{name}[{i}]") for i, one in enumerate(found)]

    def end(self) -> None:
        """Raise Unsupported where a field is left."""
        if self._left:
            raise Unsupported(f"{self.where}: unsupported: {', '.join(sorted(self._left))}")


def block(head: str, lines: Iterable[str]) -> Lines:
    """A block of directives."""
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def quoted(value: str) -> str:
    r"""A value as one word, whatever is in it; variables in it stay variables.

    >>> quoted('a "b" $c')
    '"a \\"b\\" $c"'
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def snake(name: str) -> str:
    """A Kubernetes name as part of a variable's.

    >>> snake("my-team")
    'my_team'
    """
    return name.replace("-", "_").replace(".", "_")


def say(message: str) -> None:
    """A line of the log, in JSON, as access logs may be."""
    print(json.dumps({"level": "INFO", "msg": message}), flush=True)


def snippet(text: str) -> Lines:
    """Lines of configuration that an object brings along."""
    return [line for line in text.splitlines() if line.strip()]
