"""Property paths, as Pulumi writes them: `spec.containers[0].image`, `metadata.labels["a.b/c"]`.

The grammar is that of `resource.ParsePropertyPath` in Pulumi's SDK for Go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

Key = str | int
_STEP: Final = re.compile(
    r'\["(?P<quoted>(?:[^"\\]|\\.)*)"\]|\[(?P<index>\d+)\]|\.?(?P<name>[^.\[]+)'
)


class Absent:
    """There is no value at a path."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


def parse(path: str) -> tuple[Key, ...]:
    """The keys of a path; text that is no path is one key."""
    keys: list[Key] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return (path,)
        if match["quoted"] is not None:
            keys.append(re.sub(r"\\(.)", r"\1", match["quoted"]))
        else:
            keys.append(int(match["index"]) if match["index"] else match["name"])
        position = match.end()
    return tuple(keys)


def look_up(value: Any, keys: Sequence[Key]) -> Any:  # noqa: ANN401
    """What is at a path; ABSENT if nothing is."""
    for key in keys:
        listed = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not listed and not (isinstance(value, dict) and key in value):
            return ABSENT
        value = value[key]
    return value
