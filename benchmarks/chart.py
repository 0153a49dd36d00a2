"""A line chart as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 20, 50
_COLORS = ("#2563eb", "#d97706", "#059669", "#7c3aed")


def svg(lines: Mapping[str, Points], dashed: Mapping[str, Points], x: str, y: str) -> str:
    """A chart from (0, 0) to the largest values; `x` and `y` name the axes.

    `lines` are measured, with a dot for each point; `dashed` are for comparison.
    """
    every = [point for points in (*lines.values(), *dashed.values()) for point in points]
    right, top = _ceiling(max(p[0] for p in every)), _ceiling(max(p[1] for p in every))

    def place(point: tuple[float, float]) -> str:
        across = _LEFT + point[0] / right * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - point[1] / top * (_HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for step in range(6):
        value_x, value_y = right * step / 5, top * step / 5
        left, bottom = place((0, value_y)), place((value_x, 0))
        end = place((right, value_y))
        parts.append(f'<polyline points="{left} {end}" stroke="#ddd" fill="none"/>')
        parts.append(_text(left, f"{value_y:g}", -6, 4, "end"))
        parts.append(_text(bottom, f"{value_x:g}", 0, 16, "middle"))
    parts.append(_text(place((right / 2, 0)), x, 0, 36, "middle"))
    parts.append(
        f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y)}</text>"
    )
    names = [*((n, p, True) for n, p in lines.items()), *((n, p, False) for n, p in dashed.items())]
    for number, (name, points, solid) in enumerate(names):
        color = _COLORS[number % len(_COLORS)] if solid else "#6b7280"
        dash = "" if solid else ' stroke-dasharray="5 4"'
        path = " ".join(place(point) for point in points)
        parts.append(
            f'<polyline points="{path}" stroke="{color}" stroke-width="2" fill="none"{dash}/>'
        )
        for point in points if solid else ():
            across, _, down = place(point).partition(",")
            parts.append(f'<circle cx="{across}" cy="{down}" r="3.5" fill="{color}"/>')
        parts.append(
            f'<text x="{_LEFT + 12}" y="{_TOP + 16 + 17 * number}" fill="{color}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _text(at: str, text: str, right: int, down: int, anchor: str) -> str:
    across, _, below = at.partition(",")
    return (
        f'<text x="{float(across) + right:.1f}" y="{float(below) + down:.1f}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _ceiling(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if value <= step * power)
