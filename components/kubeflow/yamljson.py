"""Reads YAML into the values that Kubernetes would read, and writes what it reads as they are.

PyYAML's own loaders follow YAML 1.1 where Kubernetes does not: `1e+06` is text to them, a date
becomes an object, `=` an error. Here the C parser's events are turned into values by the rules of
`sigs.k8s.io/yaml` (its `goyaml.v2/resolve.go`), which kubectl, kustomize and the API server share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import yaml
from yaml import events
from yaml.cyaml import CParser  # type: ignore[attr-defined]

_BOOLEANS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO"), False),
    **dict.fromkeys(("false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_FINITE = frozenset(
    sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
) | {".nan", ".NaN", ".NAN"}
_FIRST = frozenset("+-.0123456789~yYnNtTfFoO")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_INT_MIN, _UINT_MAX = -(2**63), 2**64 - 1


class YamlError(ValueError):
    """Text that is no YAML, or that has no meaning as JSON; the message gives line and column."""


@lru_cache(maxsize=65536)
def scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar.

    Raises:
        YamlError: a number that JSON cannot hold, `.inf` or `.nan`.
    """
    if text in _NULLS:
        return None
    if text[0] not in _FIRST:
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _NOT_FINITE:
        raise YamlError(f"JSON has no number {text}")
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        number = (
            int(hexadecimal, 16)
            if hexadecimal
            else int(binary, 2)
            if binary
            else int(octal, 8)
            if octal
            else int(decimal)
        )
        number = -number if sign == "-" else number
        if _INT_MIN <= number <= _UINT_MAX:
            return number
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return value if math.isfinite(value) else text
    return text


def load_all(text: bytes | str) -> list[Any]:
    """The values of every document in `text`; documents without content are left out.

    Raises:
        YamlError: `text` is not YAML, has a tag that JSON has no value for, or merges (`<<`).
    """
    try:
        return _build(CParser(text))
    except yaml.YAMLError as error:
        raise YamlError(str(error)) from error


def dump(value: object) -> str:
    """`value` as one YAML document, in block style and in the order that it has.

    Text that Kubernetes would read as something else (`y`, `0o7`, `1e3`, which PyYAML leaves
    plain) is quoted, as a value and as a key.

    Raises:
        yaml.representer.RepresenterError: `value` holds what JSON cannot.
    """
    written: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False)
    return written


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with text quoted by the rules of `scalar`."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    try:
        plain = scalar(text) == text
    except YamlError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _text)


def _build(parser: CParser) -> list[Any]:
    """Values from parser events.

    One loop over open containers: a third of the time of PyYAML's nodes and constructors.
    """
    documents: list[Any] = []
    anchors: dict[str, Any] = {}
    outer: list[Any] = []
    target: Any = documents
    # The key of the innermost mapping that waits for its value.
    key: str | None = None
    in_mapping = False
    read: Callable[[], Any] = parser.get_event
    value: Any
    scalar_event, mapping_start, sequence_start = (
        events.ScalarEvent,
        events.MappingStartEvent,
        events.SequenceStartEvent,
    )
    ends = (events.MappingEndEvent, events.SequenceEndEvent)
    while (event := read()) is not None:
        kind = type(event)
        if kind is scalar_event:
            if in_mapping and key is None:
                key = _key(event)
                continue
            value = (
                scalar(event.value) if event.implicit[0] and event.tag is None else _tagged(event)
            )
        elif kind is mapping_start:
            value = {}
        elif kind is sequence_start:
            value = []
        elif kind in ends:
            target, key = outer.pop(), None
            in_mapping = type(target) is dict
            continue
        elif kind is events.AliasEvent:
            if event.anchor not in anchors:
                raise YamlError(f"nothing is anchored as {event.anchor!r}{_where(event)}")
            value = anchors[event.anchor]
        elif kind is events.StreamEndEvent:
            break
        else:
            continue
        if in_mapping:
            if key is None:
                raise YamlError(f"a key that is no scalar{_where(event)}")
            if key in target:
                raise YamlError(f"key {key!r} is given twice{_where(event)}")
            target[key] = value
            key = None
        else:
            target.append(value)
        if kind is mapping_start or kind is sequence_start:
            outer.append(target)
            target, in_mapping = value, kind is mapping_start
        anchor = getattr(event, "anchor", None)
        if anchor and kind is not events.AliasEvent:
            anchors[anchor] = value
    return [document for document in documents if document is not None]


def _key(event: events.ScalarEvent) -> str:
    if event.value == "<<" and event.implicit[0]:
        raise YamlError(f"merge keys are not read here{_where(event)}")
    return str(event.value)


def _tagged(event: events.ScalarEvent) -> str:
    """The value of a scalar that is quoted or carries a tag."""
    tag = event.tag
    if tag is None or tag in ("!", "tag:yaml.org,2002:str"):
        return str(event.value)
    raise YamlError(f"tag {tag} has no meaning here{_where(event)}")


def _where(event: events.Event) -> str:
    mark = event.start_mark
    return "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
