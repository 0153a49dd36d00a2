"""What a rule sees of a planned resource, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Resource:
    """A resource as the program registers it.

    `type` is its token, `properties` are its inputs without marks of secrets; a value that is not
    known yet is no string, number, list or mapping.
    """

    type: str
    name: str
    properties: Properties
    protect: bool = False

    @property
    def kind(self) -> str:
        """The kind of a Kubernetes object, "" for anything else."""
        return self.type.rpartition(":")[2] if self.type.startswith("kubernetes:") else ""

    @property
    def namespace(self) -> str:
        """The namespace of a Kubernetes object."""
        return text(mapping(self.properties.get("metadata")).get("namespace"))

    @property
    def object_name(self) -> str:
        """The name of a Kubernetes object, or else of the resource."""
        return text(mapping(self.properties.get("metadata")).get("name")) or self.name


@dataclass(frozen=True)
class Rule:
    """One policy: `check` yields what is wrong with a resource, each with its remedy."""

    name: str
    description: str
    check: Callable[[Resource], Iterator[str]] = field(repr=False)


def mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:  # noqa: ANN401
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:  # noqa: ANN401
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
