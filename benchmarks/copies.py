"""Platforms of other sizes than Kubeflow's own, made of it. Pure, but for `write`.

Smaller ones are whole components with what they need. Larger ones are the whole platform and
copies of its namespaces: every object that lives in one is there once more in `<namespace>-copy-1`
and so on, next to a copy of the Namespace. What lives in no namespace is not copied:
CustomResourceDefinitions, cluster roles and their bindings, webhook configurations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from components.kubeflow.objects import CRD_KIND, Kinds, Object, Ref
from components.kubeflow.plan import plan

Parts = Mapping[str, Sequence[Object]]
"""The objects of each component, or of each further part."""

_SEEDS = 3


def resized(parts: Parts, needs: Mapping[str, Sequence[str]], target: int) -> Parts:
    """A platform of `target` objects, or of as near to that as whole components come.

    Args:
        parts: the objects of every component.
        needs: for each component those that it does not work without.
        target: how many objects are wanted.
    """
    whole = sum(len(bodies) for bodies in parts.values())
    if target < whole:
        return {name: parts[name] for name in chosen(parts, needs, target)}
    return {**parts, **_copies([b for bodies in parts.values() for b in bodies], target - whole)}


def chosen(parts: Parts, needs: Mapping[str, Sequence[str]], target: int) -> tuple[str, ...]:
    """The components that make about `target` objects, with all that they need.

    Of those within 3 % (or, if there are none, the nearest) those whose part of the definitions
    is most like their part of the objects: a definition costs more than other objects.
    """
    whole, definitions = _count(parts, parts), _definitions(parts, parts)
    choices = {
        _closed(seeds, needs)
        for size in range(1, _SEEDS + 1)
        for seeds in itertools.combinations(parts, size)
    }

    def unlike(names: frozenset[str]) -> tuple[float, float, list[str]]:
        away = abs(_count(parts, names) - target)
        share = _definitions(parts, names) / max(1, definitions) - _count(parts, names) / whole
        return (0.0 if away <= 0.03 * target else float(away), abs(share), sorted(names))

    best = min(choices, key=unlike)
    return tuple(name for name in parts if name in best)


def _closed(seeds: Sequence[str], needs: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    queue = list(seeds)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += needs.get(name, ())
    return frozenset(found)


def _count(parts: Parts, names: Sequence[str] | frozenset[str] | Parts) -> int:
    return sum(len(parts[name]) for name in names)


def _definitions(parts: Parts, names: Sequence[str] | frozenset[str] | Parts) -> int:
    return sum(body["kind"] == CRD_KIND for name in names for body in parts[name])


def _copies(objects: Sequence[Object], count: int) -> dict[str, list[Object]]:
    """Exactly `count` more objects: whole copies, and of the last what is needed first.

    The plan's order puts what an object needs before it, so that a cut copy still works.
    """
    nodes = plan(objects).nodes
    ordered = [
        (node.ref, node.body) for node in nodes if node.body is not None and node.gate is None
    ]
    parts: dict[str, list[Object]] = {}
    while count:
        copy = list(itertools.islice(_copy(ordered, len(parts) + 1), count))
        if not copy:
            raise ValueError("no object lives in a namespace, so there is nothing to copy")
        parts[f"copy-{len(parts) + 1}"] = copy
        count -= len(copy)
    return parts


def _copy(ordered: Sequence[tuple[Ref, Object]], number: int) -> Iterator[Object]:
    namespaces = list(dict.fromkeys(ref.namespace for ref, _ in ordered if ref.namespace))
    existing = {ref.name: body for ref, body in ordered if ref.kind == "Namespace"}
    for name in namespaces:
        bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        yield _renamed(existing.get(name, bare), f"{name}-copy-{number}")
    for ref, body in ordered:
        if ref.namespace:
            yield _moved(body, ref.namespace, number)


def _renamed(body: Object, name: str) -> Object:
    return {**body, "metadata": {**body["metadata"], "name": name}}


def _moved(body: Object, namespace: str, number: int) -> Object:
    """An object in the copy of its namespace; a binding's subjects move along."""
    suffix = f"-copy-{number}"
    moved: dict[str, Any] = {
        **body,
        "metadata": {**body["metadata"], "namespace": f"{namespace}{suffix}"},
    }
    if subjects := body.get("subjects"):
        moved["subjects"] = [
            {**subject, "namespace": f"{subject['namespace']}{suffix}"}
            if subject.get("namespace")
            else subject
            for subject in subjects
        ]
    return moved


def write(parts: Parts, folder: Path) -> None:
    """Write a folder like kubeflow/manifests, each part a kustomization of its own."""
    for name in ("applications", "common", "example"):
        (folder / name).mkdir(parents=True)
    paths = []
    for name, bodies in parts.items():
        part = folder / "applications" / name
        part.mkdir()
        # JSON is YAML.
        (part / "objects.yaml").write_bytes(b"\n---\n".join(orjson.dumps(b) for b in bodies))
        _kustomization(part, ["objects.yaml"])
        paths.append(f"../applications/{name}")
    _kustomization(folder / "example", paths)


def _kustomization(folder: Path, resources: Sequence[str]) -> None:
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
    }
    (folder / "kustomization.yaml").write_bytes(orjson.dumps(content))


def namespaced(objects: Sequence[Object]) -> int:
    """How many of the objects live in a namespace."""
    kinds = Kinds(objects)
    return sum(bool(kinds.ref(body).namespace) for body in objects)
