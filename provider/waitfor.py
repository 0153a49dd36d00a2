"""The annotation `pulumi.com/waitFor`: conditions and JSONPath expressions to wait for.

Forms: `condition=Ready`, `condition=Ready=False`, `jsonpath={.status.phase}=Running`,
`jsonpath={.status.loadBalancer.ingress[0].ip}`, or a JSON array of them.
Paths follow RFC 9535: names, `['name']`, indexes, `[*]` and filters such as `[?@.type == 'Ready']`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

_BRACES: Final = re.compile(r"\{\s*(.*?)\s*\}")
_STEP: Final = re.compile(
    r"""\.(?P<name>[\w-]+|\*)            # .name or .*
      | \[\s*'(?P<quoted>[^']*)'\s*\]    # ['name']
      | \[\s*(?P<index>-?\d+|\*)\s*\]    # [0] or [*]
      | \[\s*\?\s*(?P<filter>[^\]]*)\]   # [?@.type == 'Ready']
    """,
    re.VERBOSE,
)
_TEST: Final = re.compile(r"^\s*@(?P<path>[^=!\s]*)\s*(?:(?P<op>==|!=)\s*(?P<value>.+?)\s*)?$")


@dataclass(frozen=True, slots=True)
class Expression:
    """One thing to wait for. `path` is empty for a condition; then `wanted` is its status."""

    text: str
    path: str
    condition: str
    wanted: str

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether the live object satisfies it; a status older than the spec doesn't."""
        status = obj.get("status") or {}
        generation = obj.get("metadata", {}).get("generation", 0)
        if self.condition:
            return self._has_condition(status, generation)
        if status.get("observedGeneration", generation) < generation:
            return False
        found = next(select(obj, self.path), _NOTHING)
        if found is _NOTHING:
            return False
        return not self.wanted or _text(found) == self.wanted

    def _has_condition(self, status: Mapping[str, Any], generation: int) -> bool:
        for condition in status.get("conditions") or ():
            if str(condition.get("type", "")).lower() != self.condition.lower():
                continue
            observed = condition.get("observedGeneration", status.get("observedGeneration"))
            if observed is not None and observed < generation:
                return False
            return str(condition.get("status", "")).lower() == self.wanted.lower()
        return False


_NOTHING: Final = object()


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)


def parse(annotation: str) -> list[Expression]:
    """The expressions of an annotation; empty for an empty annotation.

    Raises:
        ValueError: what is wrong and what is expected.
    """
    if not annotation:
        return []
    try:
        values = orjson.loads(annotation)
    except orjson.JSONDecodeError:
        values = annotation
    if not isinstance(values, list):
        values = [annotation]
    if not values:
        raise ValueError("pulumi.com/waitFor: at least one condition must be specified")
    return [_parse_one(str(value)) for value in values]


def _parse_one(text: str) -> Expression:
    if text.startswith("condition="):
        kind, _, status = text.removeprefix("condition=").partition("=")
        if not kind:
            raise ValueError(f"pulumi.com/waitFor: {text!r} names no condition")
        return Expression(text, "", kind, status or "True")
    if not text.startswith("jsonpath="):
        raise ValueError(
            f'pulumi.com/waitFor: expected a "jsonpath=" or "condition=" prefix, got {text!r}'
        )
    braces = _BRACES.match(text.removeprefix("jsonpath="))
    if braces is None:
        raise ValueError(f"pulumi.com/waitFor: {text!r} should be wrapped in brackets {{ ... }}")
    path = braces.group(1)
    rest = text.removeprefix("jsonpath=")[braces.end() :]
    if rest and (not rest.startswith("=") or rest == "="):
        raise ValueError(f"pulumi.com/waitFor: {text!r} should be {{.path}}=value or {{.path}}")
    _steps(path)
    return Expression(text, path, "", rest[1:])


def _steps(path: str) -> list[re.Match[str]]:
    position, steps = len("$") if path.startswith("$") else 0, []
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(
                f"pulumi.com/waitFor: can't read the path {path!r} at {path[position:]!r}"
            )
        if step["filter"] is not None:
            _tests(step["filter"])
        steps.append(step)
        position = step.end()
    return steps


def _tests(text: str) -> list[list[re.Match[str]]]:
    alternatives = []
    for alternative in text.strip().removeprefix("(").removesuffix(")").split("||"):
        tests = [_TEST.match(part) for part in alternative.split("&&")]
        if None in tests:
            raise ValueError(f"pulumi.com/waitFor: can't read the filter {text!r}")
        alternatives.append([test for test in tests if test is not None])
    return alternatives


def select(value: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
    """Every value that `path` finds below `value`."""
    found: list[Any] = [value]
    for step in _steps(path):
        found = [item for parent in found for item in _take(parent, step)]
    yield from found


def _take(parent: Any, step: re.Match[str]) -> Iterator[Any]:  # noqa: ANN401
    name = step["quoted"] if step["quoted"] is not None else step["name"]
    children = parent.values() if isinstance(parent, Mapping) else parent
    if step["filter"] is not None:
        if isinstance(parent, Mapping | list):
            yield from (child for child in children if _passes(child, step["filter"]))
    elif "*" in (name, step["index"]):
        if isinstance(parent, Mapping | list):
            yield from children
    elif name is not None:
        if isinstance(parent, Mapping) and name in parent:
            yield parent[name]
    elif isinstance(parent, list) and -len(parent) <= int(step["index"]) < len(parent):
        yield parent[int(step["index"])]


def _passes(child: Any, text: str) -> bool:  # noqa: ANN401
    return any(all(_holds(child, test) for test in tests) for tests in _tests(text))


def _holds(child: Any, test: re.Match[str]) -> bool:  # noqa: ANN401
    found = next(select(child, test["path"]), _NOTHING)
    if test["op"] is None:
        return found is not _NOTHING
    wanted = test["value"].strip("'\"")
    return (found is not _NOTHING and _text(found) == wanted) == (test["op"] == "==")
