"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from review.model import Operation, Preview
from review.wording import cost_text, counted, headline, lines_of, table, visible


def render(previews: Sequence[Preview]) -> str:
    """The page of some stacks, with every change and every field in full."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("page.html.jinja")
    return page.render(
        previews=previews,
        headline=headline,
        cost_text=cost_text,
        table=table,
        operations=list(Operation),
        counted=counted,
        lines_of=lines_of,
    )


def _visible(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
