"""Rendering a small source of our own with the real kustomize: patches, cache, errors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from components.kubeflow import render as module
from components.kubeflow.catalog import CatalogError
from components.kubeflow.render import Patch, RenderError, render
from components.kubeflow.source import Source, tree_digest
from toolchain.tools import find

DEX = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: dex, namespace: auth}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - name: dex
        image: dex:1
        envFrom: [{configMapRef: {name: settings}}]
---
apiVersion: v1
kind: Namespace
metadata: {name: auth}
"""
ROLES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: []
"""
FILES = {
    "example/kustomization.yaml": (
        "resources:\n- ../common/dex/base\n- ../common/kubeflow-roles/base\n"
    ),
    "common/dex/base/kustomization.yaml": (
        "resources: [dex.yaml]\nconfigMapGenerator:\n"
        "- {name: settings, namespace: auth, literals: [since=2001-12-14, on=y]}\n"
    ),
    "common/dex/base/dex.yaml": DEX,
    "common/kubeflow-roles/base/kustomization.yaml": "resources: [roles.yaml]\n",
    "common/kubeflow-roles/base/roles.yaml": ROLES,
}


@dataclass
class World:
    """A source, a cache and a kustomize that counts its runs."""

    folder: Path
    kustomize: Path
    calls: Path
    messages: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def write(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def runs(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def render(
        self, *components: str, patches: tuple[Patch, ...] = (), **more: Any
    ) -> dict[str, dict[str, Any]]:
        root = self.folder / "source"
        source = Source(root, tree_digest(root))
        more.setdefault("progress", self.messages.append)
        objects = render(source, components, patches, self.kustomize, self.cache, **more)
        return {
            f"{body['kind']}/{body['metadata']['name'].split('-')[0]}": body for body in objects
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    calls = tmp_path / "calls"
    wrapper = tmp_path / "kustomize"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {find("kustomize")} "$@"\n')
    wrapper.chmod(0o755)
    made = World(tmp_path, wrapper, calls)
    made.write(FILES)
    return made


ALL = {"Deployment/dex", "Namespace/auth", "ConfigMap/settings", "ClusterRole/reader"}


def test_the_whole_and_a_part(world: World) -> None:
    assert set(world.render()) == ALL
    assert set(world.render("kubeflow-roles")) == {"ClusterRole/reader"}
    assert world.messages == [
        "rendering 2 components of Kubeflow",
        "rendering kubeflow-roles",
    ]


def test_text_that_looks_like_something_else_stays_text(world: World) -> None:
    assert world.render()["ConfigMap/settings"]["data"] == {"since": "2001-12-14", "on": "y"}


def test_a_strategic_merge_patch(world: World) -> None:
    patch = world.file(
        "p.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: dex, namespace: auth}\n"
        "spec: {replicas: 3}\n",
    )
    plain, patched = world.render(), world.render(patches=(patch,))
    assert set(patched) == ALL
    assert patched["Deployment/dex"]["spec"]["replicas"] == 3
    plain["Deployment/dex"]["spec"]["replicas"] = 3
    assert patched == plain


@pytest.mark.parametrize("style", ["", "|"])
def test_operations_in_a_file_with_their_target(style: str, world: World) -> None:
    operations = "  - {op: replace, path: /spec/replicas, value: 4}\n"
    target = "target: {kind: Deployment, name: d.*}\n"
    patch = world.file("p.yaml", f"{target}patch: {style}\n{operations}")
    assert world.render(patches=(patch,))["Deployment/dex"]["spec"]["replicas"] == 4


def test_operations_that_cannot_be_read(world: World) -> None:
    patch = world.file("p.yaml", "target: {kind: Deployment}\npatch: '[{op: x}]'\n")
    with pytest.raises(RenderError, match=r"^patches: .*unable to parse SM or JSON patch") as error:
        world.render(patches=(patch,))
    assert "\n" not in str(error.value)


def test_an_entry_with_inline_and_with_file_operations(world: World) -> None:
    file = world.file("o.yaml", "- {op: add, path: /metadata/labels, value: {a: b}}\n")
    target = {"kind": "Deployment"}
    entries: tuple[Patch, ...] = (
        {"target": target, "patch": '[{"op": "replace", "path": "/spec/replicas", "value": 5}]'},
        {"target": target, "path": str(file)},
    )
    body = world.render(patches=entries)["Deployment/dex"]
    assert body["spec"]["replicas"] == 5
    assert body["metadata"]["labels"] == {"a": "b"}


def test_a_component_folder_changes_what_upstream_generates(world: World) -> None:
    folder = world.file(
        "own/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "resources: [more]\n"
        "configMapGenerator:\n"
        "- {name: settings, namespace: auth, behavior: merge, literals: [more=1]}\n",
    ).parent
    world.file("own/more/kustomization.yaml", "resources: [roles.yaml]\n")
    world.file("own/more/roles.yaml", ROLES.replace("reader", "writer"))
    plain = world.render()
    patched = world.render(patches=(folder,))
    assert set(patched) == ALL | {"ClusterRole/writer"}
    assert patched["ConfigMap/settings"]["data"]["more"] == "1"
    # The name has a suffix from the content, and what refers to it follows.
    name = patched["ConfigMap/settings"]["metadata"]["name"]
    assert name != plain["ConfigMap/settings"]["metadata"]["name"]
    container = patched["Deployment/dex"]["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == name


def test_transforms_change_and_drop_and_leave_the_cache_alone(world: World) -> None:
    def change(body: dict[str, Any]) -> dict[str, Any] | None:
        if body["kind"] == "Namespace":
            return None
        body["metadata"]["labels"] = {"by": "me"}
        return body

    changed = world.render(transforms=[change])
    assert set(changed) == ALL - {"Namespace/auth"}
    assert all(body["metadata"]["labels"] == {"by": "me"} for body in changed.values())
    again = world.render()
    assert set(again) == ALL
    assert "labels" not in again["Deployment/dex"]["metadata"]


def test_the_second_render_runs_nothing(world: World) -> None:
    first = world.render()
    runs = world.runs()
    assert runs == 2
    assert world.render() == first
    assert world.render("dex", "kubeflow-roles") == first
    assert world.runs() == runs


def _source(world: World) -> dict[str, Any]:
    world.write({"common/kubeflow-roles/base/roles.yaml": ROLES.replace("reader", "other")})
    return {}


def _patch(world: World) -> dict[str, Any]:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: auth, labels: {a: b}}\n"
    return {"patches": (world.file("p.yaml", text),)}


def _kustomize(world: World) -> dict[str, Any]:
    world.kustomize.write_text(world.kustomize.read_text() + "# another\n")
    return {}


@pytest.mark.parametrize("change", [_source, _patch, _kustomize])
def test_a_change_is_rendered(change: Callable[[World], dict[str, Any]], world: World) -> None:
    world.render()
    runs = world.runs()
    world.render(**change(world))
    assert world.runs() > runs


def test_a_change_far_below_a_component_folder_is_rendered(world: World) -> None:
    kustomization = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    folder = world.file("own/kustomization.yaml", kustomization + "resources: [../far]\n").parent
    world.file("far/kustomization.yaml", "resources: [roles.yaml]\n")
    world.file("far/roles.yaml", ROLES.replace("reader", "writer"))
    assert "ClusterRole/writer" in world.render(patches=(folder,))
    world.file("far/roles.yaml", ROLES.replace("reader", "scribe"))
    assert "ClusterRole/scribe" in world.render(patches=(folder,))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_cache_entry_is_rendered_again(damage: str, world: World) -> None:
    first = world.render()
    (entry,) = (world.cache / "rendered").glob("*.json")
    content = entry.read_bytes()
    assert orjson.loads(content)["objects"]
    entry.write_bytes(
        {
            "cut": content[:-20],
            "flip": content.replace(b'"replicas":1', b'"replicas":2'),
            "empty": b"",
        }[damage]
    )
    assert world.render() == first
    assert entry.read_bytes() == content


def test_the_cache_does_not_grow_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    for name in ("one", "two", "three"):
        world.write({"common/kubeflow-roles/base/roles.yaml": ROLES.replace("reader", name)})
        world.render()
    runs = world.runs()
    world.render()
    assert world.runs() == runs
    assert len(list((world.cache / "rendered").iterdir())) == 2


def test_an_object_of_two_components(world: World) -> None:
    world.write({"common/dex/base/dex.yaml": DEX + "---" + ROLES})
    expected = (
        r"ClusterRole/rbac.authorization.k8s.io/reader is defined twice: by component dex "
        r"\(common/dex/base\) and by component kubeflow-roles \(common/kubeflow-roles/base\)"
    )
    with pytest.raises(RenderError, match=expected):
        world.render()
    with pytest.raises(RenderError, match=expected):
        world.render(patches=_patch(world)["patches"])
    assert not list(world.cache.glob("rendered/*"))


def test_versions_of_one_group_are_the_same_object(world: World) -> None:
    other = ROLES.replace("/v1", "/v1beta1")
    world.write({"common/dex/base/dex.yaml": DEX + "---" + other})
    with pytest.raises(RenderError, match="defined twice"):
        world.render()


def test_a_broken_component_is_named(world: World) -> None:
    world.write({"common/kubeflow-roles/base/kustomization.yaml": "resources: [none.yaml]\n"})
    with pytest.raises(RenderError, match=r"^component kubeflow-roles: .*none.yaml") as error:
        world.render()
    assert "\n" not in str(error.value)
    assert "accumulat" not in str(error.value)
    with pytest.raises(RenderError, match=r"^component kubeflow-roles: "):
        world.render(patches=_patch(world)["patches"])


def test_a_patch_of_nothing(world: World) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: none}\n"
    with pytest.raises(RenderError, match=r"^patches: no resource matches .*Namespace.*none"):
        world.render(patches=(world.file("p.yaml", text),))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- {op: remove, path: /spec}", "does not say what to change"),
        ("", "p.yaml is empty"),
        ("a: [", "p.yaml is not YAML"),
        ("spec: {}", 'neither "apiVersion" and "kind"'),
    ],
)
def test_a_file_that_is_no_patch(content: str, reason: str, world: World) -> None:
    with pytest.raises(RenderError, match=reason):
        world.render(patches=(world.file("p.yaml", content),))


def test_a_patch_that_is_not_there_or_no_component(world: World) -> None:
    with pytest.raises(RenderError, match=r"patch .*none.yaml cannot be read"):
        world.render(patches=(world.folder / "none.yaml",))
    with pytest.raises(RenderError, match=r"folder without a kustomization.yaml"):
        world.render(patches=(world.file("empty/x", "").parent,))
    folder = world.file("own/kustomization.yaml", "resources: []\n").parent
    with pytest.raises(RenderError, match="has kind None; a folder of patches has kind Component"):
        world.render(patches=(folder,))


def test_an_unknown_component(world: World) -> None:
    with pytest.raises(CatalogError, match="did you mean 'dex'"):
        world.render("dexx")


def test_no_kustomize(world: World) -> None:
    world.kustomize.unlink()
    with pytest.raises(RenderError, match=r"cannot be run .*: make setup"):
        world.render()


def test_an_example_that_patches_is_rendered_as_a_whole(world: World) -> None:
    example = FILES["example/kustomization.yaml"]
    world.write({"example/kustomization.yaml": example + "namePrefix: my-\n"})
    objects = world.render()
    assert world.runs() == 1
    assert {name.split("/")[1] for name in objects} == {"my", "auth"}
