"""What pydantic says of a value, in the words of this project's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told(problem: Mapping[str, Any]) -> str:
    """The message of one of `ValidationError.errors()`: a validator's own is as it wrote it."""
    return str(problem["msg"]).removeprefix("Value error, ")


def continued(problem: Mapping[str, Any]) -> str:
    """The same, to follow what it is about and a colon."""
    message = told(problem)
    return f"{message[:1].lower()}{message[1:]}"
