"""The plan in words and pictures: why an object waits, and how the components hang together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from difflib import get_close_matches

from components.kubeflow.objects import Ref
from components.kubeflow.plan import Plan


class UnknownObject(LookupError):
    """No object, or more than one, goes by the name; the message lists the nearest."""


def find(plan: Plan, query: str) -> Ref:
    """The object that a person means by `Kind/namespace/name`, or by any tail of that.

    Raises:
        UnknownObject: none fits, or more than one.
    """
    wanted = query.lower().split("/")
    named = {str(ref): ref for ref in plan.by_ref}
    if query in named:
        return named[query]
    fitting = [text for text in named if _fits(wanted, text.lower().split("/"))]
    if len(fitting) == 1:
        return named[fitting[0]]
    if fitting:
        listed = "\n".join(f"  {text}" for text in sorted(fitting)[:20])
        raise UnknownObject(f"{query!r} fits {len(fitting)} objects; say which:\n{listed}")
    tails = {ref.name: text for text, ref in named.items()} | {text: text for text in named}
    near = dict.fromkeys(tails[text] for text in get_close_matches(query, tails, n=5))
    listed = "".join(f"\n  {text}" for text in near)
    raise UnknownObject(f"no object goes by {query!r}" + (f"; near it:{listed}" if near else ""))


def _fits(wanted: list[str], parts: list[str]) -> bool:
    """Whether the words are the last of the parts; the first may be the kind, without its group."""
    if parts[-len(wanted) :] == wanted:
        return True
    kind = parts[0].partition(".")[0]
    return (
        len(wanted) > 1
        and wanted[0] in (kind, parts[0])
        and parts[1:][-len(wanted) + 1 :] == wanted[1:]
    )


def explain(plan: Plan, ref: Ref) -> str:
    """Why an object waits for what it waits for, what waits for it, and its longest chain."""
    lines = [str(ref)]
    direct = plan.waits_for[ref]
    lines.append(
        f"waits for {len({edge.target for edge in direct})}:" if direct else "waits for nothing"
    )
    for edge in direct:
        soft = ", so that both settle and go in good order" if edge.soft else ""
        lines.append(f"  it {edge.reason} {edge.target} ({edge.rule}{soft})")
    waiting = sorted({edge.source for edge in plan.edges if edge.target == ref})
    if waiting:
        lines.append(f"{len(waiting)} wait for it:")
        lines += [f"  {source}" for source in waiting]
    chain = longest_chain(plan)[ref]
    if len(chain) > 1:
        lines.append(f"the longest chain to it has {len(chain)} steps:")
        lines += [f"  {i}. {step}" for i, step in enumerate(chain, 1)]
    return "\n".join(lines)


def longest_chain(plan: Plan) -> Mapping[Ref, tuple[Ref, ...]]:
    """For each node the longest path that ends at it, from the first step to the node itself."""
    chains: dict[Ref, tuple[Ref, ...]] = {}
    for node in plan.nodes:
        before = max((chains[ref] for ref in plan.needed[node.ref]), key=len, default=())
        chains[node.ref] = (*before, node.ref)
    return chains


def component_graph(
    plan: Plan, component_of: Mapping[Ref, str]
) -> tuple[Counter[str], dict[tuple[str, str], Counter[str]]]:
    """Objects per component, and for each pair of components the edges between them by rule.

    Args:
        plan: the plan.
        component_of: the component of each object; a gate belongs to its configuration's.
    """
    gates = {
        node.ref: node.gate.webhooks[0].configuration
        for node in plan.nodes
        if node.gate is not None
    }
    owner = {ref: component_of.get(gates.get(ref, ref), "other") for ref in plan.by_ref}
    between: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for edge in plan.edges:
        pair = (owner[edge.source], owner[edge.target])
        if pair[0] != pair[1]:
            between[pair][edge.rule.value] += 1
    return Counter(owner.values()), dict(sorted(between.items()))


def to_dot(plan: Plan, component_of: Mapping[Ref, str]) -> str:
    """The components and what they need of each other, in Graphviz' language.

    Arrows run from what is first to what waits for it, so that the picture reads downwards.
    """
    sizes, between = component_graph(plan, component_of)
    lines = [
        "digraph plan {",
        '  graph [rankdir=TB, fontname="sans-serif", nodesep=0.3, ranksep=0.7];',
        '  node [shape=box, style="rounded,filled", fillcolor="#eef3fb", color="#5b7bb2",'
        ' fontname="sans-serif", fontsize=11];',
        '  edge [color="#8a8f98", fontname="sans-serif", fontsize=8];',
    ]
    for name, size in sorted(sizes.items()):
        lines.append(f'  "{name}" [label="{name}\\n{size} objects"];')
    for (source, target), rules in between.items():
        label = "\\n".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
        lines.append(f'  "{target}" -> "{source}" [label="{label}"];')
    return "\n".join([*lines, "}", ""])


def to_mermaid(plan: Plan, component_of: Mapping[Ref, str]) -> str:
    """The same picture in Mermaid's language, which GitHub and GitLab draw in Markdown."""
    sizes, between = component_graph(plan, component_of)
    lines = ["flowchart TD"]
    for name, size in sorted(sizes.items()):
        lines.append(f'  {_mermaid_id(name)}["{name}<br/>{size} objects"]')
    for (source, target), rules in between.items():
        label = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
        lines.append(f'  {_mermaid_id(target)} -- "{label}" --> {_mermaid_id(source)}')
    return "\n".join([*lines, ""])


def _mermaid_id(name: str) -> str:
    # "end" and dashes are special in Mermaid's identifiers.
    return "c_" + name.replace("-", "_").replace(" ", "_")
