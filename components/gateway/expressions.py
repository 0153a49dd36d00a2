"""The syntax of regular expressions that routes may hold: read, and printed anew. Pure.

See `regexes`, which everybody uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MOST_CHARACTERS: Final = 100
"""That an expression may have with all its repetitions."""
_DEEPEST = 8

FIRST: Final = 0x20
LAST: Final = 0x7E
"""Printable ASCII; one symbol more stands for every other byte."""
OTHER: Final = 1 << (LAST - FIRST + 1)
ALL: Final = (OTHER << 1) - 1
"""Every symbol."""
_SYNTAX = frozenset(".*+?()[]{}|^$\\")
# What would end a word of a configuration, or has no form without a backslash.
_NEVER = frozenset("\"'`;{}[]$^\\#")
_CLASSES = {
    "d": "0123456789",
    "w": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
    "s": " ",
}


@dataclass(frozen=True)
class Chars:
    """One character of a set, a mask of bits."""

    mask: int


@dataclass(frozen=True)
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of them."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """So many times; `most` None for without end."""

    body: Node
    least: int
    most: int | None


@dataclass(frozen=True)
class Group:
    """What `$1` stands for."""

    body: Node


Node = Chars | Sequence | Choice | Repeat | Group


@dataclass(frozen=True)
class Expression:
    """A parsed expression, and whether it is bound to the begin and the end of a text."""

    body: Node
    begins: bool
    ends: bool

    @property
    def groups(self) -> int:
        """How many groups it has."""
        return _groups(self.body)

    def __str__(self) -> str:
        # An alternative binds weaker than what holds it to begin and end.
        held = isinstance(self.body, Choice) and (self.begins or self.ends)
        body = f"(?:{_printed(self.body)})" if held else _printed(self.body)
        return f"{'^' * self.begins}{body}{'$' * self.ends}"

    def uncounted(self) -> Expression:
        """The same without counts in braces, which could end a word that is not quoted."""
        return Expression(_uncounted(self.body), self.begins, self.ends)


def literal(text: str) -> Node:
    """What matches `text` alone."""
    return Sequence(tuple(Chars(_bit(char)) for char in text))


def below(prefix: str) -> Node:
    """What matches a path and all paths below it."""
    rest = Sequence((Chars(_bit("/")), Repeat(Chars(ALL), 0, None)))
    if prefix == "/":
        return rest
    return Sequence((literal(prefix.rstrip("/")), Repeat(rest, 0, 1)))


# --- reading -----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def read(text: str, anywhere: bool) -> Expression:
    """An expression that is looked for `anywhere`, or that must match a whole text.

    Raises:
        ValueError: it is none, or is not of the subset.
    """
    begins = text.startswith("^")
    ends = text.endswith("$") and not text.endswith("\\$")
    inner = text[begins : len(text) - ends]
    if not inner:
        raise ValueError("matches nothing but emptiness; give an expression")
    reader = _Reader(inner)
    body = reader.choice(0)
    if reader.at < len(inner):
        raise ValueError("has a ')' too many")
    if isinstance(body, Choice) and (begins or ends):
        raise ValueError("binds one alternative to ^ or $; put alternatives in parentheses")
    return Expression(body, begins or not anywhere, ends or not anywhere)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def choice(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise ValueError(f"is nested more than {_DEEPEST} deep; write it simpler")
        parts = [self.sequence(depth)]
        while self.peek() == "|":
            self.take()
            parts.append(self.sequence(depth))
        if sum(map(_nullable, parts)) > 1:
            raise ValueError("has two alternatives that may be empty; leave one of them out")
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while (char := self.peek()) and char not in "|)":
            parts.append(self.repeated(self.atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def atom(self, depth: int) -> Node:
        char = self.take()
        if char == "(":
            capturing = self.peek() != "?"
            if not capturing and self.text[self.at : self.at + 2] != "?:":
                raise ValueError(
                    "looks around or sets a flag, with '(?'; use (...) and (?:...) alone"
                )
            self.at += 0 if capturing else 2
            body = self.choice(depth + 1)
            if self.take() != ")":
                raise ValueError("has a ')' too few")
            return Group(body) if capturing else body
        if char == ".":
            return Chars(ALL)
        if char == "[":
            return self.set()
        if char == "\\":
            return Chars(self.escape())
        if char in "*+?{":
            raise ValueError(f"repeats nothing, with {char!r}")
        if char in "^$":
            raise ValueError(f"holds {char!r} inside; it may begin with ^ and end with $ alone")
        return Chars(_bit(char))

    def escape(self) -> int:
        char = self.take()
        if char in _CLASSES:
            return _mask(_CLASSES[char])
        if char.lower() in _CLASSES and char:
            return ALL & ~_mask(_CLASSES[char.lower()])
        if char.isdigit():
            raise ValueError(f"refers back, with \\{char}; write it without")
        if char.isalpha() or not char:
            raise ValueError(f"holds \\{char}, which engines read differently; write it without")
        return _bit(char)

    def set(self) -> Node:
        negated = self.peek() == "^"
        self.at += negated
        mask = 0
        first = True
        while first or self.peek() != "]":
            first = False
            low = self.take()
            if not low:
                raise ValueError("has a '[' that nothing closes")
            if low == "\\":
                mask |= self.escape()
                continue
            bit = _bit(low)
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.take()
                high = self.take()
                if high == "\\" or _bit(high) < bit:
                    raise ValueError(f"has the range {low}-{high}, which is none")
                bit = (_bit(high) << 1) - bit
                if bit & _mask("".join(_NEVER)):
                    raise ValueError(
                        f"has the range {low}-{high}, which holds what could end it in a "
                        "configuration; give ranges of letters or digits"
                    )
            mask |= bit
        self.take()
        mask = ALL & ~mask if negated else mask
        if not mask:
            raise ValueError("has a class of no character")
        return Chars(mask)

    def repeated(self, body: Node) -> Node:
        char = self.peek()
        if not char or char not in "*+?{":
            return body
        self.take()
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char) or self.counts()
        if (follows := self.peek()) and follows in "*+?{":
            raise ValueError(
                f"repeats a repetition, with {char}{follows}; repetition is greedy, and given once"
            )
        if _nullable(body):
            raise ValueError("repeats what may be empty; make it hold a character")
        return Repeat(body, least, most)

    def counts(self) -> tuple[int, int | None]:
        inside, closed, _ = self.text[self.at :].partition("}")
        least, comma, most = inside.partition(",")
        if not closed or not least.isdecimal() or (most and not most.isdecimal()):
            raise ValueError("holds a '{' that counts nothing; give {2}, {2,} or {2,4}")
        self.at += len(inside) + 1
        low = int(least)
        high = int(most) if most else None if comma else low
        largest = MOST_CHARACTERS if high is None else high
        if not largest or not low <= largest <= MOST_CHARACTERS:
            raise ValueError(
                f"repeats {{{inside}}} times; give 1 to {MOST_CHARACTERS}, the less first"
            )
        return low, high


def _bit(char: str) -> int:
    if char in _NEVER:
        raise ValueError(
            f"holds {char!r} as a character, which could end it in a configuration; use . for it"
        )
    if not chr(FIRST) <= char <= chr(LAST):
        raise ValueError(f"holds the character {char!r}; give printable ASCII alone")
    return 1 << (ord(char) - FIRST)


def _mask(chars: str) -> int:
    return sum(1 << (ord(char) - FIRST) for char in set(chars))


def _uncounted(node: Node) -> Node:
    match node:
        case Sequence(parts):
            return Sequence(tuple(map(_uncounted, parts)))
        case Choice(parts):
            return Choice(tuple(map(_uncounted, parts)))
        case Group(body):
            return Group(_uncounted(body))
        case Repeat(body, least, most) if _printed_counts(least, most).startswith("{"):
            last = _uncounted(body)
            # A group holds what its last repetition matched.
            other = _ungrouped(last)
            if most is None:
                rest: tuple[Node, ...] = (Repeat(other, 0, None),)
            else:
                rest = ()
                for _ in range(most - max(least, 1)):
                    rest = (Repeat(Sequence((other, *rest)), 0, 1),)
            found = Sequence((*[other] * (least - 1), *rest, last))
            return found if least else Repeat(found, 0, 1)
        case Repeat(body, least, most):
            return Repeat(_uncounted(body), least, most)
        case _:
            return node


def _ungrouped(node: Node) -> Node:
    match node:
        case Sequence(parts):
            return Sequence(tuple(map(_ungrouped, parts)))
        case Choice(parts):
            return Choice(tuple(map(_ungrouped, parts)))
        case Repeat(body, least, most):
            return Repeat(_ungrouped(body), least, most)
        case Group(body):
            return _ungrouped(body)
        case _:
            return node


def _nullable(node: Node) -> bool:
    match node:
        case Chars():
            return False
        case Sequence(parts):
            return all(map(_nullable, parts))
        case Choice(parts):
            return any(map(_nullable, parts))
        case Repeat(body, least, _):
            return least == 0 or _nullable(body)
        case Group(body):
            return _nullable(body)


def _groups(node: Node) -> int:
    match node:
        case Chars():
            return 0
        case Sequence(parts) | Choice(parts):
            return sum(map(_groups, parts))
        case Repeat(body, _, _):
            return _groups(body)
        case Group(body):
            return 1 + _groups(body)


# --- printing ----------------------------------------------------------------------------------


def _printed(node: Node) -> str:
    match node:
        case Chars(mask):
            return _printed_set(mask)
        case Sequence(parts):
            return "".join(
                f"(?:{_printed(part)})" if isinstance(part, Choice) else _printed(part)
                for part in parts
            )
        case Choice(parts):
            return "|".join(map(_printed, parts))
        case Repeat(body, least, most):
            single = isinstance(body, Chars | Group)
            inner = _printed(body) if single else f"(?:{_printed(body)})"
            return inner + _printed_counts(least, most)
        case Group(body):
            return f"({_printed(body)})"


def _printed_counts(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
    if short:
        return short
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"


def _printed_set(mask: int) -> str:
    if mask == ALL:
        return "."
    negated = bool(mask & OTHER)
    chars = [
        chr(FIRST + index)
        for index in range(LAST - FIRST + 1)
        if bool(mask >> index & 1) != negated
    ]
    if not negated and len(chars) == 1:
        return f"[{chars[0]}]" if chars[0] in _SYNTAX else chars[0]
    hyphen = "-" in chars
    text = "".join(_ranges([char for char in chars if char != "-"]))
    return f"[{'^' * negated}{text}{'-' * hyphen}]"


def _ranges(chars: list[str]) -> Iterator[str]:
    start = 0
    for index in range(1, len(chars) + 1):
        if index < len(chars) and ord(chars[index]) == ord(chars[index - 1]) + 1:
            continue
        run = chars[start:index]
        # Two are as short, and a range of marks reads badly.
        if len(run) > 2 and run[0].isalnum() and run[-1].isalnum():
            yield f"{run[0]}-{run[-1]}"
        else:
            yield "".join(run)
        start = index
