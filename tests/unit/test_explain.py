"""The plan in words and pictures."""

from __future__ import annotations

import pytest

from components.kubeflow.explain import (
    UnknownObject,
    component_graph,
    explain,
    find,
    to_dot,
    to_mermaid,
)
from components.kubeflow.objects import Ref
from components.kubeflow.plan import Plan, plan


@pytest.fixture
def planned() -> Plan:
    template = {"spec": {"serviceAccountName": "runner", "containers": []}}
    return plan(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}},
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "runner", "namespace": "apps"},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "apps"},
                "spec": {"template": template},
            },
        ]
    )


@pytest.mark.parametrize("query", ["Deployment/apps/web", "deployment/web", "apps/web", "web"])
def test_an_object_is_found_by_any_tail_of_its_name(planned: Plan, query: str) -> None:
    assert find(planned, query) == Ref("Deployment", "apps", "apps", "web")


def test_an_unknown_name_brings_the_nearest(planned: Plan) -> None:
    with pytest.raises(UnknownObject, match=r"no object goes by 'webb'; near it:\n  \S*web"):
        find(planned, "webb")


def test_a_name_that_fits_several_lists_them() -> None:
    bodies = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "same", "namespace": "apps"}}
        for kind in ("ConfigMap", "Secret")
    ]
    with pytest.raises(UnknownObject, match=r"fits 2 objects.*\n  ConfigMap/apps/same"):
        find(plan(bodies), "same")


def test_every_wait_is_explained(planned: Plan) -> None:
    text = explain(planned, find(planned, "web"))
    assert "waits for 2:" in text
    assert "  it runs as ServiceAccount/apps/runner (pod)" in text
    assert "1. Namespace/apps" in text and "3. Deployment/apps/web" in text
    assert "1 wait for it:\n  Deployment/apps/web" in explain(planned, find(planned, "runner"))
    assert "waits for nothing" in explain(planned, find(planned, "Namespace/apps"))


def test_the_picture_counts_objects_and_edges_between_components(planned: Plan) -> None:
    owner = {ref: "base" if ref.kind == "Namespace" else "site" for ref in planned.by_ref}
    sizes, between = component_graph(planned, owner)
    assert sizes == {"base": 1, "site": 2}
    assert between == {("site", "base"): {"namespace": 2}}
    assert '"base" -> "site" [label="namespace 2"];' in to_dot(planned, owner)
    assert 'c_base -- "namespace 2" --> c_site' in to_mermaid(planned, owner)
