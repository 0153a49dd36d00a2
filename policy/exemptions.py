"""The written list of what may break a rule: upstream's own workloads, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from policy.resource import Resource

FILE = Path(__file__).with_name("exemptions.yaml")


class Exemption(BaseModel):
    """What may break one rule. `namespace` is "" for a resource that has none.

    `namespace` and `name` may be patterns of a shell: `data-redis-*`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    kind: str
    namespace: str = ""
    name: str = Field(min_length=1)
    reason: str = Field(min_length=1)


@cache
def exemptions() -> tuple[Exemption, ...]:
    """The list of exemptions.yaml, which groups them by rule and reason."""
    found = []
    for group in yaml.safe_load(FILE.read_text()):
        for entry in group["objects"]:
            kind, _, rest = entry.partition("/")
            namespace, _, name = rest.rpartition("/")
            found.append(
                Exemption(
                    rule=group["rule"],
                    kind=kind,
                    namespace=namespace,
                    name=name,
                    reason=group["reason"],
                )
            )
    return tuple(found)


def allowed(listed: Sequence[Exemption], rule: str, resource: Resource) -> Exemption | None:
    """The exemption that lets a resource break a rule."""
    kind = resource.kind or resource.type
    return next(
        (
            one
            for one in listed
            if (one.rule, one.kind) == (rule, kind)
            and fnmatchcase(resource.namespace, one.namespace)
            and fnmatchcase(resource.object_name, one.name)
        ),
        None,
    )
