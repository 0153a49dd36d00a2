"""From a list of Kubernetes objects to the order in which a cluster takes each at once.

Pure: no Pulumi, no network, no clock. Every edge carries its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from components.kubeflow.objects import CERT_MANAGER_GROUP, Kinds, Object, ObjectError, Ref
from components.kubeflow.rules import Edge, Gate, edges


class PlanError(ValueError):
    """Objects that cannot be brought into an order; the message says which and why."""


@dataclass(frozen=True)
class Node:
    """One step of the plan: an object to apply, or a gate to pass (`body` is None).

    `condition` is the status condition that others wait for, None where the kind's usual
    readiness serves. `versions` are the API versions at which the kind is served, as far as the
    objects tell.
    """

    ref: Ref
    body: Object | None
    gate: Gate | None = None
    condition: str | None = None
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The objects in an order that never needs a second try, and why.

    `nodes` come after all that they wait for; `edges` are sorted; `yielded` are the soft edges
    that gave way to the hard ones they would have closed a cycle with.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    yielded: tuple[Edge, ...]

    @cached_property
    def by_ref(self) -> Mapping[Ref, Node]:
        """The nodes by what identifies them."""
        return {node.ref: node for node in self.nodes}

    @cached_property
    def waits_for(self) -> Mapping[Ref, tuple[Edge, ...]]:
        """The edges that start at each node."""
        found: dict[Ref, list[Edge]] = {node.ref: [] for node in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge)
        return {ref: tuple(out) for ref, out in found.items()}

    @cached_property
    def needed(self) -> Mapping[Ref, tuple[Ref, ...]]:
        """The fewest predecessors of each node that keep the order (transitive reduction)."""
        place = {node.ref: i for i, node in enumerate(self.nodes)}
        reach: list[int] = []
        reduced: dict[Ref, tuple[Ref, ...]] = {}
        for node in self.nodes:
            targets = sorted({place[e.target] for e in self.waits_for[node.ref]}, reverse=True)
            seen, kept = 0, []
            for target in targets:
                if not seen >> target & 1:
                    kept.append(target)
                    seen |= reach[target] | 1 << target
            reach.append(seen)
            reduced[node.ref] = tuple(self.nodes[i].ref for i in sorted(kept))
        return reduced


def plan(objects: Iterable[Object], more: Iterable[Edge] = ()) -> Plan:
    """Order objects by what the API server and their pods really need.

    Args:
        objects: Kubernetes objects as decoded from JSON or YAML, in any order.
        more: edges between them that no rule sees.

    Returns:
        The plan; the same for any order of the objects.

    Raises:
        PlanError: two objects share an identity, an object has no name or kind, or objects wait
            for each other in a circle, which is then printed as a path with its reasons.
    """
    bodies = list(objects)
    kinds = Kinds(bodies)
    known: dict[Ref, Object] = {}
    try:
        for body in bodies:
            ref = kinds.ref(body)
            if ref in known:
                raise PlanError(f"{ref} is there twice; remove one, or patch it into one")
            known[ref] = body
        known = dict(sorted(known.items()))
        found, gates = edges(known, kinds)
        found += more
    except ObjectError as error:
        raise PlanError(str(error)) from error
    refs = [*known, *(gate.ref for gate in gates)]
    order, kept, yielded = _order(refs, sorted(set(found)))
    awaited = {edge.target for edge in kept}
    by_gate = {gate.ref: gate for gate in gates}
    nodes = [
        Node(
            ref,
            known.get(ref),
            by_gate.get(ref),
            _condition(ref) if ref in awaited else None,
            tuple(kinds.versions(ref)),
        )
        for ref in order
    ]
    return Plan(tuple(nodes), tuple(kept), tuple(yielded))


def _condition(ref: Ref) -> str | None:
    certified = ref.kind in ("Certificate", "Issuer", "ClusterIssuer")
    return "Ready" if certified and ref.group == CERT_MANAGER_GROUP else None


def _order(refs: list[Ref], found: list[Edge]) -> tuple[list[Ref], list[Edge], list[Edge]]:
    """A deterministic topological order; soft edges yield where they would close a cycle."""
    kept, yielded = found, list[Edge]()
    while True:
        graph: dict[Ref, set[Ref]] = {ref: set() for ref in refs}
        for edge in kept:
            graph[edge.source].add(edge.target)
        sorter = TopologicalSorter({ref: sorted(graph[ref]) for ref in sorted(graph)})
        try:
            sorter.prepare()
        except CycleError as error:
            # graphlib's path runs from a node to what waits for it.
            cycle: list[Ref] = error.args[1][::-1]
            steps = set(pairwise(cycle))
            around = [edge for edge in kept if (edge.source, edge.target) in steps]
            loose = _loose(around)
            if not loose:
                raise PlanError(_describe(cycle, around)) from error
            yielded += loose
            kept = [edge for edge in kept if edge not in set(loose)]
            continue
        order: list[Ref] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            order += ready
            sorter.done(*ready)
        return order, kept, yielded


def _loose(around: list[Edge]) -> list[Edge]:
    """The first step of a cycle that only soft edges make, with all of its edges."""
    steps: dict[tuple[Ref, Ref], list[Edge]] = {}
    for edge in around:
        steps.setdefault((edge.source, edge.target), []).append(edge)
    soft = sorted(key for key, step in steps.items() if all(edge.soft for edge in step))
    return steps[soft[0]] if soft else []


def _describe(cycle: list[Ref], around: list[Edge]) -> str:
    lines = ["these objects wait for each other, so none can be the first:"]
    for source, target in pairwise(cycle):
        edge = next(e for e in around if (e.source, e.target) == (source, target))
        lines.append(f"  {source} {edge.reason} {target}")
    lines.append(
        "Exclude what the webhook's own pods need by its namespaceSelector or objectSelector, "
        "or set its failurePolicy to Ignore (a patch will do)."
    )
    return "\n".join(lines)


def as_document(plan_: Plan) -> dict[str, Any]:
    """The plan as plain data: nodes in order, edges with rule and reason."""
    return {
        "nodes": [str(node.ref) for node in plan_.nodes],
        "edges": [
            {
                "source": str(edge.source),
                "target": str(edge.target),
                "rule": edge.rule.value,
                "reason": edge.reason,
                "soft": edge.soft,
            }
            for edge in plan_.edges
        ],
    }
