"""The regular expressions that routes may hold: a subset that every engine reads alike. Pure.

Characters, `.`, classes, `\\d`, `\\w`, `\\s`, groups, alternatives and greedy repetition; no back
references, no looking around, no flags. An expression is parsed, and printed anew in a form that
PCRE (NGINX, Kong), RE2 (the Gateway API's common ground) and Python read alike, and that holds no
backslash, quote, semicolon or `$`, so that it can't end a word of a configuration.

PCRE backtracks. An expression that can match one text in exponentially many ways, or in a number
that grows with the square of its length, is refused: A. Weber, H. Seidl, "On the degree of
ambiguity of finite automata", 1991, criteria EDA and IDA, on the automaton of positions (Glushkov).
What is left takes time that grows at most with the square of the text's length, which a gateway
bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 256
"""Characters of an expression."""
_POSITIONS, _EDGES, _STEPS = 100, 1500, 100_000
_DEEPEST = 8
_RUNS = 1000

# Printable ASCII, and one symbol for every other byte.
_FIRST, _LAST = 0x20, 0x7E
_OTHER = 1 << (_LAST - _FIRST + 1)
_ALL = (_OTHER << 1) - 1
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


def parse(text: str, *, anywhere: bool) -> Expression:
    """An expression that is looked for `anywhere`, or that must match a whole text.

    Raises:
        ValueError: it is none, is not of the subset, or could take too long.
    """
    expression = _parsed(text, anywhere)
    _check_time(expression)
    return expression


def literal(text: str) -> Node:
    """What matches `text` alone."""
    return Sequence(tuple(Chars(_bit(char)) for char in text))


def below(prefix: str) -> Node:
    """What matches a path and all paths below it."""
    rest = Sequence((Chars(_bit("/")), Repeat(Chars(_ALL), 0, None)))
    if prefix == "/":
        return rest
    return Sequence((literal(prefix.rstrip("/")), Repeat(rest, 0, 1)))


def includes(whole: Node, part: Node) -> bool:
    """Whether every text that `part` matches is one that `whole` matches.

    False also where it takes too long to tell.
    """
    outer, inner = _automaton(whole), _automaton(part)
    symbols = _symbols((*outer.masks, *inner.masks))
    start = (frozenset({0}), frozenset({0}))
    seen, todo = {start}, [start]
    while todo:
        one, other = todo.pop()
        if one & inner.last and not other & outer.last:
            return False
        for symbol in symbols:
            left = inner.step(one, symbol)
            if not left:
                continue
            pair = (left, outer.step(other, symbol))
            if pair not in seen:
                if len(seen) > 4_000:
                    return False
                seen.add(pair)
                todo.append(pair)
    return True


def overlap(one: Node, other: Node) -> bool:
    """Whether there is a text that both match."""
    first, second = _automaton(one), _automaton(other)
    symbols = _symbols((*first.masks, *second.masks))
    start = (frozenset({0}), frozenset({0}))
    seen, todo = {start}, [start]
    while todo:
        left, right = todo.pop()
        if left & first.last and right & second.last:
            return True
        for symbol in symbols:
            pair = (first.step(left, symbol), second.step(right, symbol))
            if all(pair) and pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return False


# --- reading -----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _parsed(text: str, anywhere: bool) -> Expression:
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
            return Chars(_ALL)
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
            return _ALL & ~_mask(_CLASSES[char.lower()])
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
            mask |= bit
        self.take()
        mask = _ALL & ~mask if negated else mask
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
        if low > _POSITIONS or high == 0 or not low <= (high or _POSITIONS) <= _POSITIONS:
            raise ValueError(f"repeats {{{inside}}} times; give 1 to {_POSITIONS}, the less first")
        return low, high


def _bit(char: str) -> int:
    if char in _NEVER:
        raise ValueError(
            f"holds {char!r} as a character, which could end it in a configuration; use . for it"
        )
    if not chr(_FIRST) <= char <= chr(_LAST):
        raise ValueError(f"holds the character {char!r}; give printable ASCII alone")
    return 1 << (ord(char) - _FIRST)


def _mask(chars: str) -> int:
    return sum(1 << (ord(char) - _FIRST) for char in set(chars))


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
    if mask == _ALL:
        return "."
    negated = bool(mask & _OTHER)
    chars = [
        chr(_FIRST + index)
        for index in range(_LAST - _FIRST + 1)
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


# --- the automaton of positions ----------------------------------------------------------------


@dataclass(frozen=True)
class _Automaton:
    """State 0 is before the first character; state n has just read one of `masks[n]`."""

    masks: tuple[int, ...]
    follow: tuple[tuple[int, ...], ...]
    last: frozenset[int]
    twice: frozenset[tuple[int, int]]
    """Steps that may be taken in two ways."""

    def step(self, states: frozenset[int], symbol: int) -> frozenset[int]:
        return frozenset(
            after for state in states for after in self.follow[state] if self.masks[after] & symbol
        )


@lru_cache(maxsize=4096)
def _automaton(node: Node) -> _Automaton:
    builder = _Builder()
    nullable, first, last = builder.add(node)
    for position in first:
        builder.join(0, position)
    return _Automaton(
        tuple(builder.masks),
        tuple(tuple(sorted(after)) for after in builder.follow),
        frozenset(last) | ({0} if nullable else set()),
        frozenset(builder.twice),
    )


class _Builder:
    def __init__(self) -> None:
        self.masks = [0]
        self.follow: list[set[int]] = [set()]
        self.twice: set[tuple[int, int]] = set()
        self.edges = 0

    def join(self, before: int, after: int) -> None:
        if after in self.follow[before]:
            self.twice.add((before, after))
        self.follow[before].add(after)
        self.edges += 1
        if self.edges > _EDGES:
            raise ValueError("is too large with all its repetitions; write it simpler")

    def add(self, node: Node) -> tuple[bool, list[int], list[int]]:
        """Whether it may be empty, and the positions that may begin and end it."""
        match node:
            case Chars(mask):
                if len(self.masks) > _POSITIONS:
                    raise ValueError(
                        f"has more than {_POSITIONS} characters with all its repetitions; write it "
                        "simpler"
                    )
                self.masks.append(mask)
                self.follow.append(set())
                position = [len(self.masks) - 1]
                return False, position, position
            case Group(body):
                return self.add(body)
            case Choice(parts):
                found = [self.add(part) for part in parts]
                return (
                    any(empty for empty, _, _ in found),
                    [position for _, first, _ in found for position in first],
                    [position for _, _, last in found for position in last],
                )
            case Sequence(parts):
                return self.chained(parts)
            case Repeat(body, least, most):
                if most is not None:
                    return self.optional(body, least, most)
                empty, first, last = self.chained([body] * max(least, 1), loop=True)
                return empty or least == 0, first, last

    def looped(self, body: Node) -> tuple[bool, list[int], list[int]]:
        empty, first, last = self.add(body)
        for before in last:
            for after in first:
                self.join(before, after)
        return empty, first, last

    def chained(
        self, parts: Iterable[Node], *, loop: bool = False
    ) -> tuple[bool, list[int], list[int]]:
        nodes = list(parts)
        empty = True
        first: list[int] = []
        last: list[int] = []
        for index, part in enumerate(nodes):
            looping = loop and index == len(nodes) - 1
            found = self.looped(part) if looping else self.add(part)
            empty, first, last = self.linked((empty, first, last), found)
        return empty, first, last

    def optional(self, body: Node, least: int, most: int) -> tuple[bool, list[int], list[int]]:
        """`least` copies, and up to `most`: each further one only after the one before it."""
        empty, first, last = self.chained([body] * least)
        ends = list(last)
        previous_last, previous_empty = last, empty
        for _ in range(most - least):
            part_empty, part_first, part_last = self.add(body)
            for before in previous_last:
                for after in part_first:
                    self.join(before, after)
            if previous_empty:
                first = first + part_first
            ends += part_last
            # Of a copy that may be empty the ones before it may still be the end.
            previous_last = [*previous_last, *part_last] if part_empty else part_last
            previous_empty = previous_empty and part_empty
        return empty or least == 0, first, ends

    def linked(
        self, one: tuple[bool, list[int], list[int]], two: tuple[bool, list[int], list[int]]
    ) -> tuple[bool, list[int], list[int]]:
        for before in one[2]:
            for after in two[1]:
                self.join(before, after)
        return (
            one[0] and two[0],
            [*one[1], *two[1]] if one[0] else one[1],
            [*two[2], *one[2]] if two[0] else two[2],
        )


def _symbols(masks: Iterable[int]) -> list[int]:
    """One symbol of each kind that the masks tell apart."""
    kinds: dict[tuple[bool, ...], int] = {}
    distinct = sorted(set(masks))
    for index in range(_LAST - _FIRST + 2):
        bit = 1 << index
        kinds.setdefault(tuple(bool(mask & bit) for mask in distinct), bit)
    return list(kinds.values())


# --- how long it may take ----------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _check_time(expression: Expression) -> None:
    body = expression.body
    if not expression.begins:
        # It is tried from every character on.
        body = Sequence((Repeat(Chars(_ALL), 0, None), body))
    automaton = _automaton(body)
    loops = _loops(len(automaton.masks), automaton.follow)
    loop_of = {state: index for index, loop in enumerate(loops) for state in loop}
    exponential = any(
        loop_of.get(before, -1) == loop_of.get(after, -2) for before, after in automaton.twice
    )
    if exponential or _is_exponential(automaton):
        raise ValueError(
            "can match one text in exponentially many ways, as (a+)+ and (a|a)* do; let nothing in "
            "a repetition repeat or begin alike"
        )
    if _runs(automaton, loops) > _RUNS:
        raise ValueError(
            f"can match one text in more than {_RUNS} ways, as (a|.){{20}} and a?a?a?a?... do; let "
            "parts that follow each other begin differently"
        )
    if _degree(automaton, loops) > 1:
        raise ValueError(
            "repeats the same characters three times or more in a row, as .*a.*b.*, which takes "
            "time with the cube of a text's length; use [^/]* for .* or leave one out"
        )


def _runs(automaton: _Automaton, loops: list[frozenset[int]]) -> int:
    """In how many ways one text may be read at most, the places where loops end not counted.

    In a loop there is one way, for it is not exponential; so what counts is how it may be left.
    """
    masks, follow = automaton.masks, automaton.follow
    loop_of = {state: loop for loop in loops for state in loop}
    symbols = _symbols(masks)
    known: dict[int, int] = {}

    def ways(state: int) -> int:
        if state in known:
            return known[state]
        if loop := loop_of.get(state):
            leaving = {after for inside in loop for after in follow[inside]} - loop
            found = 1 + sum(map(ways, leaving))
        else:
            found = max(
                sum(ways(after) for after in follow[state] if masks[after] & symbol)
                for symbol in symbols
            )
        known[state] = max(found, 1)
        return known[state]

    return ways(0)


def _loops(size: int, follow: tuple[tuple[int, ...], ...]) -> list[frozenset[int]]:
    """The strongly connected components that hold an edge."""
    reach = [_reached(state, follow) for state in range(size)]
    found: dict[frozenset[int], None] = {}
    for state in range(size):
        if state in reach[state]:
            found.setdefault(
                frozenset(other for other in reach[state] if state in reach[other]), None
            )
    return list(found)


def _reached(start: int, follow: tuple[tuple[int, ...], ...]) -> frozenset[int]:
    """What one or more steps lead to."""
    seen: set[int] = set()
    todo = [start]
    while todo:
        for after in follow[todo.pop()]:
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return frozenset(seen)


def _is_exponential(automaton: _Automaton) -> bool:
    """EDA: from a state two different ways lead back to it over one text."""
    masks, follow = automaton.masks, automaton.follow

    def after(pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        for one in follow[pair[0]]:
            for two in follow[pair[1]]:
                if masks[one] & masks[two]:
                    # The two ways are alike, so that order tells nothing.
                    yield (one, two) if one <= two else (two, one)

    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    todo = [(state, state) for state in range(len(masks))]
    while todo:
        pair = todo.pop()
        if pair not in steps:
            steps[pair] = list(dict.fromkeys(after(pair)))
            todo += steps[pair]
            if len(steps) > _STEPS:
                raise ValueError("is too large to prove harmless; write it simpler")
    back: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for pair, nexts in steps.items():
        for following in nexts:
            back.setdefault(following, []).append(pair)
    # A pair of two states that is reached from a state with itself, and leads back to the same.
    for state in range(len(masks)):
        start = (state, state)
        ahead = _closure(start, steps)
        if start in ahead and any(one != two for one, two in ahead & _closure(start, back)):
            return True
    return False


def _closure(
    start: tuple[int, int], steps: dict[tuple[int, int], list[tuple[int, int]]]
) -> set[tuple[int, int]]:
    seen: set[tuple[int, int]] = set()
    todo = [start]
    while todo:
        for following in steps.get(todo.pop(), ()):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


def _degree(automaton: _Automaton, loops: list[frozenset[int]]) -> int:
    """IDA: in how many loops one after the other the same text may be divided, less one."""
    ordered: dict[int, set[int]] = {index: set() for index in range(len(loops))}
    for one, first in enumerate(loops):
        for two, second in enumerate(loops):
            if one != two and any(
                _divides(automaton, before, after, first, second)
                for before in first
                for after in second
            ):
                ordered[one].add(two)

    def longest(index: int) -> int:
        return max((1 + longest(following) for following in ordered[index]), default=0)

    return max(map(longest, ordered), default=0)


def _divides(
    automaton: _Automaton, p: int, q: int, first: frozenset[int], second: frozenset[int]
) -> bool:
    """Whether one text leads from p to p, from p to q and from q to q."""
    masks, follow = automaton.masks, automaton.follow
    goal = (p, q, q)
    seen: set[tuple[int, int, int]] = set()
    todo = [(p, p, q)]
    while todo:
        one, two, three = todo.pop()
        for a in follow[one]:
            if a not in first:
                continue
            for c in follow[three]:
                if c not in second or not masks[a] & masks[c]:
                    continue
                for b in follow[two]:
                    triple = (a, b, c)
                    if triple in seen or not masks[a] & masks[b] & masks[c]:
                        continue
                    if triple == goal:
                        return True
                    seen.add(triple)
                    todo.append(triple)
        if len(seen) > _STEPS:
            raise ValueError("is too large to prove harmless; write it simpler")
    return False
