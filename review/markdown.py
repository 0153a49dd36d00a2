"""The report as Markdown for a comment: bounded, and inert whatever it quotes.

Every quoted text is in `<code>` with its punctuation as character references, which Markdown
does not take for structure (CommonMark, Entity and numeric character references), and in which
GitHub and GitLab look for no mention, issue or address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from review.model import Change, Field, Message, Operation, Preview, Violation
from review.wording import cost_text, counted, headline, lines_of, table, visible

LIMIT: Final = 65_536
"""The most characters of a comment on GitHub; counted here in bytes, which are no fewer."""
_VALUE: Final = 160
_LINES: Final = 16
_FIELDS: Final = 12
_MESSAGE: Final = 600
_HARMLESS: Final = re.compile(r"[^A-Za-z0-9 /,.()+=;-]|www(?=\.)", re.IGNORECASE)
_GONE: Final = (Operation.REPLACE, Operation.DELETE)


class LimitError(ValueError):
    """Not even the summary fits; the message says what it takes."""


@dataclass(frozen=True)
class Block:
    """A part that is shown whole or not at all; `short` may stand for a `text` that is too long."""

    text: str
    short: str = ""


@dataclass(frozen=True)
class Section:
    """Blocks of one sort, the most important first. `what` they are: one, and many."""

    what: tuple[str, str]
    start: str
    blocks: Sequence[Block] = field(default_factory=list)
    end: str = ""


MARKER: Final = "<!-- ml-platform preview -->"
"""The line by which the comment is found again."""


def render_all(previews: Sequence[Preview], link: str = "", limit: int = LIMIT) -> str:
    """One comment about all stacks that a change touches; each has the same share of the room.

    Raises:
        LimitError: not even the summaries fit.
    """
    start, end = f"{MARKER}\n", _foot(link)
    if not previews:
        return f"{start}This change touches no stack.\n"
    share = (limit - _size(start) - _size(end)) // len(previews)
    return "".join([start, *(render(preview, share) for preview in previews), end])


def render(preview: Preview, limit: int = LIMIT) -> str:
    """The part about one stack, of at most `limit` bytes.

    What does not fit is left out, the least important first, and counted.

    Raises:
        LimitError: not even the summary fits.
    """
    head, sections = _head(preview), list(_sections(preview))
    budget = limit - _size(head) - _size(_left_out([(s, len(s.blocks)) for s in sections]))
    if budget < 0:
        raise LimitError(f"the summary takes {limit - budget:,} bytes; the limit is {limit:,}")
    parts, left = [head], []
    full = False
    for section in sections:
        shown: list[str] = []
        used = _size(section.start) + _size(section.end)
        for block in section.blocks:
            text = next(
                (
                    form
                    for form in (block.text, block.short)
                    if form and used + _size(form) <= budget
                ),
                None,
            )
            full = full or text is None
            if full or text is None:
                break
            shown.append(text)
            used += _size(text)
        if shown:
            parts += [section.start, *shown, section.end]
            budget -= used
        if len(shown) < len(section.blocks):
            left.append((section, len(section.blocks) - len(shown)))
    return "".join([*parts, _left_out(left)])


def code(text: str, most: int = _VALUE) -> str:
    """Text as inert inline code, shortened to `most` characters."""
    return f"<code>{_inert(_shortened(visible(text), most))}</code>"


def _inert(text: str) -> str:
    def reference(match: re.Match[str]) -> str:
        if match[0] == "\n":
            return "↵"
        if match[0].isalpha():
            return f"&#{ord(match[0][0])};{match[0][1:]}" if len(match[0]) > 1 else match[0]
        return f"&#{ord(match[0])};"

    return _HARMLESS.sub(reference, text)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _size(text: str) -> int:
    return len(text.encode())


# --- the parts --------------------------------------------------------------------------------


def _head(preview: Preview) -> str:
    lines = [
        f"### Preview of the stack {code(preview.stack)}",
        "",
        headline(preview),
        "",
    ]
    if preview.cost:
        lines += [f"**Cost:** {cost_text(preview.cost)}.", ""]
    rows = table(preview)
    if rows:
        verbs = [
            operation for operation in Operation if any(counts.get(operation) for _, counts in rows)
        ]
        lines += [
            "| Component | " + " | ".join(verb.word for verb in verbs) + " |",
            "| --- |" + " ---: |" * len(verbs),
            *(
                f"| {code(name)} | "
                + " | ".join(str(counts.get(verb, 0) or "") for verb in verbs)
                + " |"
                for name, counts in rows
            ),
            "",
        ]
    return "\n".join(lines) + "\n"


def _foot(link: str) -> str:
    return f"[The whole report](<{_address(link)}>)\n" if link else ""


def _address(link: str) -> str:
    return re.sub(
        r"[<>\s\\]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), link
    )


def _left_out(left: Sequence[tuple[Section, int]]) -> str:
    if not left:
        return ""
    counts = ", ".join(counted(number, *section.what) for section, number in left)
    return f"\n**Left out, as a comment has no more room:** {counts}.\n\n"


def _sections(preview: Preview) -> Iterator[Section]:
    losses = [Block(_loss(change)) for change in preview.losses]
    if losses:
        start = "**Data is lost, unless it is saved first:**\n\n"
        yield Section(("loss of data", "losses of data"), start, losses, "\n")
    if errors := preview.errors:
        yield Section(("error", "errors"), "**Errors**\n\n", [*map(_message, errors)], "\n")
    if preview.violations:
        blocks = [_violation(violation) for violation in preview.violations]
        yield Section(("violation", "violations"), "**Policies**\n\n", blocks, "\n")
    for title, one, operations in (
        ("Replaced and deleted", "replacement or deletion", _GONE),
        ("Updated", "update", (Operation.UPDATE,)),
    ):
        changes = [change for change in preview.changes if change.operation in operations]
        if changes:
            many = one.replace("replacement or deletion", "replacements and deletions")
            what = (one, many if many != one else f"{one}s")
            yield Section(what, f"**{title}**\n\n", [*map(_change, changes)], "\n")
    if preview.drift:
        title = "**Changed by others than Pulumi**\n\n"
        yield Section(("drift", "drifts"), title, [*map(_change, preview.drift)], "\n")
    made = [c for c in preview.changes if c.operation in (Operation.CREATE, Operation.IMPORT)]
    if made:
        start = f"<details><summary>Created: {len(made):,}</summary>\n\n"
        blocks = [Block(f"- {_named(change)}\n") for change in made]
        yield Section(("creation", "creations"), start, blocks, "\n</details>\n\n")
    warnings = [message for message in preview.messages if message.severity == "warning"]
    if warnings:
        start = f"<details><summary>Warnings: {len(warnings):,}</summary>\n\n"
        blocks = [_message(message) for message in warnings]
        yield Section(("warning", "warnings"), start, blocks, "\n</details>\n\n")


def _named(change: Change) -> str:
    return f"{change.operation.word} {code(change.type.rpartition(':')[2])} {code(change.name)}"


def _loss(change: Change) -> str:
    protected = "; it is protected, so the change would fail" if change.protected else ""
    return f"- **{_named(change)}: {code(change.lost)}{protected}**\n"


def _message(message: Message) -> Block:
    where = f"{code(message.resource)}: " if message.resource else ""
    return Block(f"- {where}{code(message.text, _MESSAGE)}\n", f"- {where}{code(message.text)}\n")


def _violation(violation: Violation) -> Block:
    level = "**mandatory**" if violation.mandatory else "advisory"
    text = f"- {level} {code(violation.policy)} {code(violation.resource)}: "
    return Block(
        f"{text}{code(violation.message, _MESSAGE)}\n", f"{text}{code(violation.message)}\n"
    )


def _change(change: Change) -> Block:
    if not change.fields:
        return Block(f"- {_named(change)}\n")
    title = f"{_named(change)}: {counted(len(change.fields), 'field')}"
    ordered = sorted(change.fields, key=lambda found: not found.replaces)
    rows = [_row(found) for found in ordered[:_FIELDS]]
    if more := len(change.fields) - len(rows):
        rows.append(f"| … and {counted(more, 'more field')} | | |")
    return Block(
        f"<details><summary>{title}</summary>\n\n| Field | Before | After |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n\n</details>\n\n",
        f"- {title}\n",
    )


def _row(found: Field) -> str:
    name = code(found.path) + (" **replaces**" if found.replaces else "")
    if found.in_secret:
        return f"| {name} | {_value(found.before)} | (changes in a secret) |"
    if lines := lines_of(found):
        shown = [code(sign + text) for sign, text in lines[:_LINES]]
        if more := len(lines) - len(shown):
            shown.append(f"… and {counted(more, 'more line')}")
        return f"| {name} | | {'<br>'.join(shown)} |"
    return f"| {name} | {_value(found.before)} | {_value(found.after)} |"


def _value(text: str | None) -> str:
    return code(text) if text else ""
