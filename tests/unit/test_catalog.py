"""The catalogue: upstream's example decides what there is; names and needs are known here."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kubeflow.catalog import Catalog, CatalogError, Component, read, select

NAMES = {
    "admission-webhook",
    "cert-manager",
    "dashboard",
    "dex",
    "istio",
    "katib",
    "knative",
    "kserve",
    "kubeflow-gateway",
    "kubeflow-namespace",
    "kubeflow-roles",
    "network-policies",
    "notebooks",
    "oauth2-proxy",
    "pipelines",
    "profiles",
    "pvc-viewer",
    "spark-operator",
    "tensorboard",
    "training-operator",
    "user-namespace",
    "volumes",
}


def example(root: Path, text: str, *folders: str) -> Path:
    for folder in ("example", *folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "example" / "kustomization.yaml").write_text(text)
    return root


def test_upstreams_example_by_name(kubeflow_source: Path) -> None:
    catalog = read(kubeflow_source)
    assert set(catalog.components) == NAMES
    assert catalog.extras == ()
    assert catalog.separable
    for component in catalog.components.values():
        assert component.description
        assert set(component.requires) <= NAMES - {component.name}
        for path in component.paths:
            assert (kubeflow_source / path / "kustomization.yaml").is_file()
    assert len(select(catalog, []).paths) == 29
    assert catalog.components["knative"].paths == (
        "common/knative/knative-serving/overlays/gateways",
        "common/istio/cluster-local-gateway/base",
    )


def test_what_upstream_adds_later_is_part_of_the_whole(tmp_path: Path) -> None:
    text = """
resources:
- ../common/cert-manager/base
- ../applications/crystal-ball/overlays/kubeflow
- ../applications/crystal-ball/web
- ../experimental/ray/kuberay-operator
- https://example.org/extra//base
- own.yaml
"""
    catalog = read(example(tmp_path, text))
    assert [*catalog.components] == [
        "cert-manager",
        "crystal-ball",
        "ray",
        "https://example.org/extra//base",
        "own.yaml",
    ]
    assert len(select(catalog, []).paths) == 6
    assert select(catalog, ["crystal-ball"]).paths == (
        "applications/crystal-ball/overlays/kubeflow",
        "applications/crystal-ball/web",
    )


def test_a_folder_with_a_similar_name_is_another_component(tmp_path: Path) -> None:
    catalog = read(example(tmp_path, "resources: [../common/istio-extra/base]"))
    assert [*catalog.components] == ["istio-extra"]


def test_only_plain_folders_are_rendered_one_by_one(tmp_path: Path) -> None:
    text = "resources: [../common/dex/base]\nsortOptions: {order: fifo}\n"
    assert read(example(tmp_path, text, "common/dex/base")).separable
    assert not read(example(tmp_path, "resources: [../common/none]")).separable
    patched = read(example(tmp_path, text + "patches: [{path: x.yaml}]\ncomponents: []\n"))
    assert not patched.separable
    assert patched.extras == ("patches",)


def test_a_few_components_of_an_example_that_patches(tmp_path: Path) -> None:
    text = "resources: [../common/dex/base, ../common/kubeflow-roles/base]\nnamePrefix: x-\n"
    catalog = read(example(tmp_path, text))
    assert select(catalog, []).whole
    assert select(catalog, ["kubeflow-roles", "dex"]).whole
    with pytest.raises(CatalogError, match="also has namePrefix"):
        select(catalog, ["dex"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resources: [", "example/kustomization.yaml"),
        ("- a", "expected one kustomization"),
        ("a: 1\n---\nb: 2", "found 2 documents"),
        ("resources: [../../other]", "resource ../../other is outside of the source"),
    ],
)
def test_an_example_that_cannot_be_read(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=reason):
        read(example(tmp_path, text))


def test_a_source_without_an_example(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="it has no example/kustomization"):
        read(tmp_path)


def test_needs_come_along_with_their_reason(kubeflow_source: Path) -> None:
    selection = select(read(kubeflow_source), ["volumes"])
    assert [component.name for component in selection.components] == [
        "cert-manager",
        "istio",
        "kubeflow-namespace",
        "kubeflow-roles",
        "kubeflow-gateway",
        "pvc-viewer",
        "volumes",
    ]
    assert not selection.whole
    assert selection.added["pvc-viewer"] == "volumes needs it: it opens volumes with it"
    assert selection.added["cert-manager"].startswith("pvc-viewer needs it: ")
    assert "volumes" not in selection.added


def test_an_unknown_name_gets_the_nearest(kubeflow_source: Path) -> None:
    catalog = read(kubeflow_source)
    with pytest.raises(CatalogError, match=r"no component 'pipeline' .* did you mean 'pipelines'"):
        select(catalog, ["katib", "pipeline"])
    with pytest.raises(CatalogError, match="Components: admission-webhook, cert-manager"):
        select(catalog, ["qqq"])


_LETTERS = "abcdef"


@given(
    st.dictionaries(
        st.sampled_from(_LETTERS),
        st.sets(st.sampled_from(_LETTERS)),
        min_size=6,
    ),
    st.lists(st.sampled_from(_LETTERS), min_size=1),
)
def test_a_selection_is_closed_and_minimal(requires: dict[str, set[str]], names: list[str]) -> None:
    catalog = Catalog(
        {
            name: Component(name, "", (name,), dict.fromkeys(sorted(needed - {name}), "why"))
            for name, needed in requires.items()
        }
    )
    selection = select(catalog, names)
    chosen = {component.name for component in selection.components}
    reached, queue = set(names), list(names)
    while queue:
        for needed in catalog.components[queue.pop()].requires:
            if needed not in reached:
                reached.add(needed)
                queue.append(needed)
    assert chosen == reached
    assert set(selection.added) == chosen - set(names)
    assert selection.paths == tuple(name for name in requires if name in chosen)
