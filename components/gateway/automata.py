"""The automaton of positions (Glushkov) of a regular expression: what it matches, and how long that
may take an engine that backtracks. Pure.

See `regexes`, which everybody uses. A. Weber, H. Seidl, "On the degree of ambiguity of finite
automata", 1991: criteria EDA and IDA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from components.gateway.expressions import (
    ALL,
    FIRST,
    LAST,
    MOST_CHARACTERS,
    Chars,
    Choice,
    Expression,
    Group,
    Node,
    Repeat,
    Sequence,
)

_EDGES: Final = 1500
_STEPS: Final = 100_000
_RUNS: Final = 1000


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
                if len(self.masks) > MOST_CHARACTERS:
                    raise ValueError(
                        f"has more than {MOST_CHARACTERS} characters with all its repetitions; "
                        "write it simpler"
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
    for index in range(LAST - FIRST + 2):
        bit = 1 << index
        kinds.setdefault(tuple(bool(mask & bit) for mask in distinct), bit)
    return list(kinds.values())


# --- how long it may take ----------------------------------------------------------------------


@lru_cache(maxsize=4096)
def check_time(expression: Expression) -> None:
    """See that no text takes an engine that backtracks longer than the square of its length.

    Raises:
        ValueError: one may, or it is too large to tell.
    """
    body = expression.body
    if not expression.begins:
        # It is tried from every character on.
        body = Sequence((Repeat(Chars(ALL), 0, None), body))
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
