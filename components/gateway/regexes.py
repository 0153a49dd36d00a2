"""The regular expressions that routes may hold: a subset that every engine reads alike. Pure.

Characters, `.`, classes, `\\d`, `\\w`, `\\s`, groups, alternatives and greedy repetition; no back
references, no looking around, no flags. An expression is parsed, and printed anew in a form that
PCRE (NGINX, Kong), RE2 (the Gateway API's common ground) and Python read alike, and that holds no
backslash, quote or semicolon, and a `$` at its end alone, so that it can't end a word of a
configuration.

PCRE backtracks. An expression that can match one text in exponentially many ways, or in a number
that grows with the square of its length, is refused by `automata`. What is left takes time that
grows at most with the square of the text's length, which a gateway bounds.
"""

from __future__ import annotations

from typing import Final

from components.gateway.automata import check_time, includes, overlap
from components.gateway.expressions import Expression, Node, Sequence, below, literal, read

LONGEST: Final = 256
"""Characters of an expression."""
__all__ = [
    "LONGEST",
    "Expression",
    "Node",
    "Sequence",
    "below",
    "includes",
    "literal",
    "overlap",
    "parse",
]


def parse(text: str, *, anywhere: bool) -> Expression:
    """An expression that is looked for `anywhere`, or that must match a whole text.

    Raises:
        ValueError: it is none, is not of the subset, or could take too long.
    """
    expression = read(text, anywhere)
    check_time(expression)
    return expression
