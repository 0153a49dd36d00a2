"""Medians, ratios, growth and tables. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """The same thing measured some times, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value, which one bad round does not move."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    def over(self, base: Series) -> Series:
        """The ratio to `base` round by round: what slows a whole round down cancels out."""
        return Series(tuple(a / b for a, b in zip(self.values, base.values, strict=True)))


def seconds(series: Series) -> str:
    """Median and spread: "12.3 s (11.9 to 13.0)"."""
    return f"{series.median:.1f} s ({series.low:.1f} to {series.high:.1f})"


def ratio(series: Series) -> str:
    """Median and spread of ratios: "0.48 (0.45 to 0.51)"."""
    return f"{series.median:.2f} ({series.low:.2f} to {series.high:.2f})"


def megabytes(count: float) -> str:
    """Bytes in MB of a million."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e6:.2f} MB"


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The k of `time = c * size**k` that fits best: the slope in logarithms, least squares.

    1 is linear, 2 quadratic. Raises statistics.StatisticsError for fewer than two sizes.
    """
    return statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(time) for time in times]
    ).slope


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned to be read as text too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
