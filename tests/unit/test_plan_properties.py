"""The plan of generated sets of objects: acyclic, complete, deterministic, in any input order."""

from __future__ import annotations

import random
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.kubeflow.objects import Kinds, pod_references, pod_template
from components.kubeflow.plan import Plan, PlanError, plan

Body = dict[str, Any]
NAMESPACES = ["red", "green", "default"]
NAMES = ["a", "b", "c"]
names = st.sampled_from(NAMES)
namespaces = st.sampled_from(NAMESPACES)
labels = st.dictionaries(st.sampled_from(["app", "tier"]), names, max_size=2)
selectors = st.one_of(
    st.none(),
    st.fixed_dictionaries({"matchLabels": labels}),
    st.fixed_dictionaries(
        {
            "matchExpressions": st.lists(
                st.fixed_dictionaries(
                    {
                        "key": st.sampled_from(["app", "tier"]),
                        "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
                        "values": st.lists(names, max_size=2),
                    }
                ),
                max_size=2,
            )
        }
    ),
)


def made(api: str, kind: str, namespaced: bool = True, **rest: st.SearchStrategy[Any]) -> Any:
    metadata: dict[str, st.SearchStrategy[Any]] = {"name": names, "labels": labels}
    if namespaced:
        metadata["namespace"] = namespaces
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(api),
            "kind": st.just(kind),
            "metadata": st.fixed_dictionaries(metadata),
            **rest,
        }
    )


pod_specs = st.fixed_dictionaries(
    {"containers": st.just([])},
    optional={
        "serviceAccountName": names,
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": names}), max_size=1),
        "volumes": st.lists(
            st.one_of(
                st.fixed_dictionaries({"configMap": st.fixed_dictionaries({"name": names})}),
                st.fixed_dictionaries({"secret": st.fixed_dictionaries({"secretName": names})}),
            ),
            max_size=2,
        ),
    },
)
templates = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"labels": labels}), "spec": pod_specs}
)
hooks = st.fixed_dictionaries(
    {
        "name": names,
        "failurePolicy": st.sampled_from(["Fail", "Ignore", None]),
        "sideEffects": st.sampled_from(["None", "Some"]),
        "clientConfig": st.fixed_dictionaries(
            {"service": st.fixed_dictionaries({"namespace": namespaces, "name": names})}
        ),
        "namespaceSelector": selectors,
        "objectSelector": selectors,
        "rules": st.lists(
            st.fixed_dictionaries(
                {
                    "apiGroups": st.sampled_from([[""], ["example.org"], ["*"]]),
                    "resources": st.sampled_from([["pods"], ["things"], ["*"]]),
                    "operations": st.just(["CREATE"]),
                }
            ),
            max_size=2,
        ),
    }
)
CRD: Body = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1", "served": True}],
    },
}
subjects = st.lists(
    st.fixed_dictionaries(
        {"kind": st.just("ServiceAccount"), "name": names, "namespace": namespaces}
    ),
    max_size=2,
)
role_refs = st.fixed_dictionaries({"kind": st.just("ClusterRole"), "name": names})
rules = st.lists(
    st.fixed_dictionaries(
        {
            "apiGroups": st.just(["example.org"]),
            "resources": st.sampled_from([["*"], ["things"], ["things/status"]]),
            "verbs": st.just(["*"]),
        }
    ),
    max_size=1,
)
bodies = st.one_of(
    made("v1", "Namespace", namespaced=False),
    made("v1", "ServiceAccount"),
    made("v1", "ConfigMap"),
    made("v1", "Secret"),
    made("v1", "Service", spec=st.fixed_dictionaries({"selector": labels})),
    made("apps/v1", "Deployment", spec=st.fixed_dictionaries({"template": templates})),
    made("apps/v1", "StatefulSet", spec=st.fixed_dictionaries({"template": templates})),
    made("rbac.authorization.k8s.io/v1", "ClusterRole", namespaced=False, rules=rules),
    made(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        namespaced=False,
        roleRef=role_refs,
        subjects=subjects,
    ),
    made("example.org/v1", "Thing"),
    made(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        namespaced=False,
        webhooks=st.lists(hooks, max_size=2, unique_by=lambda hook: hook["name"]),
    ),
    st.just(CRD),
)


def _identity(body: Body) -> tuple[str, ...]:
    metadata = body["metadata"]
    return (body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])


object_sets = st.lists(bodies, max_size=25, unique_by=_identity)


def outcome(objects: list[Body]) -> Plan | str:
    try:
        return plan(objects)
    except PlanError as error:
        return str(error)


@settings(max_examples=150)
@given(object_sets)
def test_every_node_comes_after_all_it_waits_for_and_none_is_lost(objects: list[Body]) -> None:
    planned = outcome(objects)
    if isinstance(planned, str):
        assert "wait for each other" in planned
        return
    place = {node.ref: i for i, node in enumerate(planned.nodes)}
    assert len(place) == len(planned.nodes)
    assert all(place[edge.target] < place[edge.source] for edge in planned.edges)
    kinds = Kinds(objects)
    assert {node.ref for node in planned.nodes if node.gate is None} == {
        kinds.ref(body) for body in objects
    }
    assert all(edge.reason for edge in planned.edges)
    assert all(edge.soft for edge in planned.yielded)


@given(object_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_objects_does_not_matter(
    objects: list[Body], shuffler: random.Random
) -> None:
    shuffled = list(objects)
    shuffler.shuffle(shuffled)
    assert outcome(objects) == outcome(shuffled)


@given(object_sets)
def test_every_reference_of_a_pod_is_an_edge(objects: list[Body]) -> None:
    planned = outcome(objects)
    if isinstance(planned, str):
        return
    kinds = Kinds(objects)
    edges = {(edge.source, edge.target) for edge in planned.edges}
    for body in objects:
        template = pod_template(body)
        for needed in pod_references(template) if template else ():
            target = next(
                (
                    node.ref
                    for node in planned.nodes
                    if (node.ref.kind, node.ref.group, node.ref.name)
                    == (needed.kind, needed.group, needed.name)
                    and node.ref.namespace == kinds.ref(body).namespace
                ),
                None,
            )
            assert target is None or (kinds.ref(body), target) in edges


@given(object_sets)
def test_the_reduced_edges_reach_all_that_the_edges_reach(objects: list[Body]) -> None:
    planned = outcome(objects)
    if isinstance(planned, str):
        return
    full: dict[Any, set[Any]] = {}
    reduced: dict[Any, set[Any]] = {}
    for node in planned.nodes:
        direct = {edge.target for edge in planned.waits_for[node.ref]}
        full[node.ref] = direct.union(*(full[ref] for ref in direct))
        few = set(planned.needed[node.ref])
        reduced[node.ref] = few.union(*(reduced[ref] for ref in few))
        assert few <= direct
        assert not any(a in reduced[b] for a in few for b in few), "not the fewest"
    assert full == reduced


@given(object_sets, made("v1", "ConfigMap"))
def test_an_unrelated_object_changes_no_other_node(objects: list[Body], extra: Body) -> None:
    extra = {**extra, "metadata": {"name": "unrelated", "namespace": "elsewhere"}}
    before, after = outcome(objects), outcome([*objects, extra])
    if isinstance(before, str) or isinstance(after, str):
        assert before == after
        return
    added = Kinds([]).ref(extra)
    gates = {node.ref for node in after.nodes if node.gate}
    # A webhook may match anything, and then choose the new object to try itself with.
    others = {e for e in after.edges if e.source != added and e.source not in gates}
    assert others == {e for e in before.edges if e.source not in gates}
    assert set(after.by_ref) - set(before.by_ref) - gates == {added}


def test_a_plan_survives_a_trip_through_yaml() -> None:
    text = yaml.safe_dump(CRD)
    assert plan([yaml.safe_load(text)]) == plan([CRD])
