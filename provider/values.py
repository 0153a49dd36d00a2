"""Property values of the Pulumi wire protocol as plain Python values.

A `google.protobuf.Struct` carries secrets, outputs and unknowns as marked objects and strings; here
they become `Secret`, `UNKNOWN` and ordinary values. Markers: `sdk/go/common/resource/plugin/rpc.go`
of Pulumi.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET_MARK: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a type, not a password
OUTPUT_MARK: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE_MARK: Final = "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_STRINGS: Final = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_UNKNOWN_LENGTH: Final = 36
_EXACT: Final = 2**53  # doubles hold every integer below this
_SHORTEST_SECRET: Final = 4  # shorter ones would blot out ordinary words in an error text


class Unknown:
    """A value that the engine will only know after an update; there is one instance, `UNKNOWN`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class Secret:
    """A value to be kept encrypted in the state. Its representation never shows the value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:  # noqa: ANN401
        self.value = value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(Secret)


def from_struct(struct: Any) -> dict[str, Any]:  # noqa: ANN401
    """Python value of a `google.protobuf.Struct`; whole numbers become `int`."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _from_value(value: Any) -> Any:  # noqa: ANN401
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if len(text) == _UNKNOWN_LENGTH and text in UNKNOWN_STRINGS else text
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields:
            return _from_marked(fields)
        return {key: _from_value(item) for key, item in fields.items()}
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and -_EXACT < number < _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    return None


def _from_marked(fields: Any) -> Any:  # noqa: ANN401
    mark = fields[SIGNATURE].string_value
    if mark == SECRET_MARK:
        inner = _from_value(fields["value"]) if "value" in fields else None
        return inner if isinstance(inner, Secret) else Secret(inner)
    if mark == OUTPUT_MARK:
        inner = _from_value(fields["value"]) if "value" in fields else UNKNOWN
        secret = "secret" in fields and fields["secret"].bool_value
        return Secret(inner) if secret and not isinstance(inner, Secret) else inner
    if mark == RESOURCE_MARK:
        return _from_value(fields["id"]) if "id" in fields else fields["urn"].string_value
    return {key: _from_value(item) for key, item in fields.items()}


def to_struct(values: Mapping[str, Any], struct: Any) -> Any:  # noqa: ANN401
    """Fill `struct` (a `google.protobuf.Struct`) from a Python mapping and return it."""
    fields = struct.fields
    for key, value in values.items():
        _to_value(value, fields[key])
    return struct


def _to_value(value: Any, target: Any) -> None:  # noqa: ANN401
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        fields = target.struct_value.fields
        if not value:
            target.struct_value.SetInParent()
        for key, item in value.items():
            _to_value(item, fields[key])
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, list | tuple):
        items = target.list_value.values
        if not value:
            target.list_value.SetInParent()
        for item in value:
            _to_value(item, items.add())
    elif value is None:
        target.null_value = 0
    elif isinstance(value, Secret):
        fields = target.struct_value.fields
        fields[SIGNATURE].string_value = SECRET_MARK
        _to_value(value.value, fields["value"])
    elif isinstance(value, Unknown):
        target.string_value = UNKNOWN_STRING
    else:
        raise TypeError(f"a property value can't be a {type(value).__name__}")


def plain(value: Any) -> Any:  # noqa: ANN401
    """A copy of `value` without its secret marks; unknowns stay."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return plain(value.value) if isinstance(value, Secret) else value


def _contains(value: Any, kind: type) -> bool:  # noqa: ANN401
    if isinstance(value, kind):
        return True
    if isinstance(value, dict):
        return any(_contains(item, kind) for item in value.values())
    if isinstance(value, list):
        return any(_contains(item, kind) for item in value)
    return isinstance(value, Secret) and _contains(value.value, kind)


def has_unknown(value: Any) -> bool:  # noqa: ANN401
    """Whether any part of `value` is unknown."""
    return _contains(value, Unknown)


def has_secret(value: Any) -> bool:  # noqa: ANN401
    """Whether any part of `value` is secret."""
    return _contains(value, Secret)


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Secret):
        yield from _strings(value.value)


def secret_strings(value: Any) -> set[str]:  # noqa: ANN401
    """Every string that must not be shown: what is marked secret and what a `v1` Secret holds,
    each as it is, in base64, decoded from base64, and as it is quoted in JSON."""
    found: set[str] = set()
    _collect(value, found)
    for text in tuple(found):
        found.add(base64.b64encode(text.encode()).decode())
        found.add(json.dumps(text, ensure_ascii=False)[1:-1])
        try:
            found.add(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
    return {text for text in found if len(text) >= _SHORTEST_SECRET}


def _collect(value: Any, found: set[str]) -> None:  # noqa: ANN401
    if isinstance(value, Secret):
        found.update(_strings(value))
    elif isinstance(value, dict):
        hidden = ("data", "stringData") if value.get("kind") == "Secret" else ()
        for key, item in value.items():
            if key in hidden:
                found.update(_strings(item))
            else:
                _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)


def redact(text: str, *values: Any) -> str:  # noqa: ANN401
    """`text` with every secret string of `values` replaced by `[secret]`."""
    hidden: set[str] = set()
    for value in values:
        hidden |= secret_strings(value)
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text
