"""What both forms of the report say in the same words."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from review.model import Cost, Field, Operation, Preview

Line = tuple[Literal["+", "-", " "], str]

_CONTEXT: Final = 1
_SHOWN: Final = frozenset("\t\n")


def visible(text: str) -> str:
    r"""The text with control and direction characters, which could disguise it, as `\u202e`."""
    return "".join(
        character if character.isprintable() or character in _SHOWN else ascii(character)[1:-1]
        for character in text
    )


def lines_of(field: Field) -> Sequence[Line]:
    """The lines that differ, for text of several lines; nothing for other values."""
    before, after = visible(field.before or ""), visible(field.after or "")
    if "\n" not in before + after:
        return ()
    found: list[Line] = []
    compared = difflib.unified_diff(
        before.splitlines(), after.splitlines(), n=_CONTEXT, lineterm=""
    )
    for line in list(compared)[2:]:
        if line.startswith("@@"):
            # What is between two places that differ.
            found += [(" ", "⋮")] if found else []
        elif line.startswith("+"):
            found.append(("+", line[1:]))
        elif line.startswith("-"):
            found.append(("-", line[1:]))
        else:
            found.append((" ", line[1:]))
    return found


def counted(number: int, one: str, many: str = "") -> str:
    """`1 field`, `1,234 fields`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def headline(preview: Preview) -> str:
    """What happens, in one sentence."""
    if not preview.finished:
        return "The preview did not finish."
    total: Counter[Operation] = Counter(change.operation for change in preview.changes)
    if not total:
        return f"Nothing changes; {counted(preview.unchanged, 'resource')} as they are."
    parts = [
        f"{total[operation]:,} to {operation.word}" for operation in Operation if total[operation]
    ]
    return f"{', '.join(parts)}; {preview.unchanged:,} as they are."


def cost_text(cost: Cost) -> str:
    """`10.00 USD more each month: from 100.00 to 110.00`."""
    # No dollar sign: between two of them GitHub sets formulas.
    if cost.before is None or cost.after is None:
        known = cost.before if cost.after is None else cost.after
        when = "before" if cost.after is None else "after"
        return "not known" if known is None else f"{known:,.2f} USD each month {when} the change"
    difference = cost.after - cost.before
    if not round(difference, 2):
        return f"{cost.after:,.2f} USD each month, as before"
    word = "more" if difference > 0 else "less"
    amounts = f"from {cost.before:,.2f} to {cost.after:,.2f}"
    return f"{abs(difference):,.2f} USD {word} each month: {amounts}"


def table(preview: Preview) -> Sequence[tuple[str, Mapping[Operation, int]]]:
    """A row for each component: its name, and how many changes of each sort it has."""
    return [(name or "(the stack)", counts) for name, counts in preview.by_component().items()]
