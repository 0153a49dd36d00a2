"""The order of a program's resources: what each comes after, and is deleted before."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.programs import Registered


def key(resource: Registered) -> str:
    """`type::name`."""
    return f"{resource.type}::{resource.name}"


class Graph:
    """Of what a program registered, by `type::name`."""

    def __init__(self, registered: Iterable[Registered]) -> None:
        self.resources = {key(resource): resource for resource in registered}

    def needs(self, name: str) -> set[str]:
        """Everything that a resource comes after: by a reference, `depends_on` or its provider.

        The engine deletes in the opposite order.
        """
        seen: set[str] = set()
        todo = [name]
        while todo:
            request = self.resources[todo.pop()].request
            urns = [*request.dependencies]
            if request.provider:
                urns.append(request.provider.rpartition("::")[0])
            for urn in urns:
                needed = _key_of(urn)
                if needed not in seen and needed in self.resources:
                    seen.add(needed)
                    todo.append(needed)
        return seen

    def of(self, type_: str) -> list[str]:
        """The resources of a type."""
        return [name for name in self.resources if name.startswith(f"{type_}::")]


def _key_of(urn: str) -> str:
    _, _, types, name = urn.split("::", 3)
    return f"{types.rpartition('$')[2]}::{name}"
