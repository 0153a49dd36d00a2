"""A stub that is replaced in the next commit."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 256


def parse(text: str, *, anywhere: bool) -> object:
    """The expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
