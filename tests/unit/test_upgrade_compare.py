"""Two small releases rendered and compared with a stack's settings; no cluster is asked."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kubeflow.catalog import CatalogError
from components.kubeflow.component import KubeflowArgs
from components.kubeflow.releases import Report
from components.kubeflow.source import SourceError, SourceSpec
from components.kubeflow.upgrade import NotAsked, compared, target_of
from toolchain.tools import find

Object = dict[str, Any]


def config_map(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def release(folder: Path, parts: dict[str, list[Object]], **example: Any) -> SourceSpec:
    for name, objects in parts.items():
        made = folder / "common" / name
        made.mkdir(parents=True)
        (made / "all.yaml").write_text(yaml.safe_dump_all(objects))
        (made / "kustomization.yaml").write_text("resources: [all.yaml]")
    (folder / "example").mkdir()
    resources = [f"../common/{name}" for name in parts]
    (folder / "example" / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": resources, **example})
    )
    return SourceSpec(folder)


class Bench:
    """Both releases; `one` has the same object in both, `two` is only in the old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old = release(
            folder / "old", {"one": [config_map("a"), config_map("b")], "two": [config_map("c")]}
        )
        self.new = release(folder / "new", {"one": [config_map("a")], "three": []})

    def patch(self, name: str, body: Object) -> Path:
        file = self.folder / name
        file.write_text(yaml.safe_dump(body))
        return file

    def compare(self, to: SourceSpec | None = None, **settings: Any) -> Report:
        def nowhere() -> str:
            raise NotAsked("it is switched off")

        args = KubeflowArgs(
            self.old, find("kustomize"), self.folder / "cache", self.folder / "lock", **settings
        )
        entries = {
            "kubeflowPatches": [str(one) for one in args.patches],
            "kubeflowTransforms": [one.__name__ for one in args.transforms],
        }
        return compared(args, to or self.new, entries, nowhere)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("compare"))


def test_what_goes_by_component_and_that_no_cluster_was_asked(bench: Bench):
    found = bench.compare()
    assert [(one.component, one.object) for one in found.gone] == [
        ("one", "ConfigMap/default/b"),
        ("two", "ConfigMap/default/c"),
    ]
    assert (found.unasked, found.losses) == ("it is switched off", [])
    assert (found.old, found.new) == (str(bench.old.path), str(bench.new.path))


@pytest.mark.parametrize("chosen", [["two"], ["one", "two"]])
def test_a_chosen_component_that_the_new_release_lacks(bench: Bench, chosen: list[str]):
    found = bench.compare(components=chosen)
    [misfit] = found.settings
    assert (misfit.setting, misfit.entry, misfit.refused) == ("kubeflowComponents", "two", True)
    gone = {one.object.rpartition("/")[2] for one in found.gone}
    assert gone == ({"c"} if chosen == ["two"] else {"b", "c"})
    assert found.added == {}


def test_a_new_release_of_which_nothing_can_be_chosen(bench: Bench, tmp_path: Path):
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    one = {"one": [config_map("a"), config_map("b")], "four": []}
    to = release(tmp_path / "extras", one, components=["../more"])
    (tmp_path / "extras" / "more").mkdir()
    (tmp_path / "extras" / "more" / "kustomization.yaml").write_text(yaml.safe_dump(component))
    found = bench.compare(to, components=["one"])
    [misfit] = found.settings
    assert "a choice of components would lose" in misfit.problem
    assert (misfit.entry, found.gone) == ("one", [])
    # Of the old one nothing could be said.
    with pytest.raises(CatalogError, match="a choice of components would lose"):
        other = Bench.__new__(Bench)
        other.folder, other.old, other.new = tmp_path, to, bench.new
        other.compare(components=["one"])


def test_patches_and_transforms_that_match_nothing_any_more(bench: Bench):
    stays = bench.patch("stays.yaml", config_map("a", more="x"))
    goes = bench.patch("goes.yaml", config_map("b", more="x"))
    operations = '[{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]'
    target = {"target": {"kind": "ConfigMap", "name": "c"}, "patch": operations}
    selects = bench.patch("selects.yaml", target)

    def drop_c(body: Object) -> Object | None:
        return None if body["metadata"]["name"] == "c" else body

    def mark_b(body: Object) -> Object:
        if body["metadata"]["name"] == "b":
            body["metadata"]["labels"] = {"marked": "yes"}
        return body

    def label(body: Object) -> Object:
        body["metadata"]["labels"] = {"mine": "yes"}
        return body

    found = bench.compare(patches=[stays, goes, selects], transforms=[drop_c, mark_b, label])
    assert [(one.setting, one.entry, one.refused) for one in found.settings] == [
        ("kubeflowPatches", str(goes), True),
        ("kubeflowPatches", str(selects), False),
        ("kubeflowTransforms", "drop_c", False),
        ("kubeflowTransforms", "mark_b", False),
    ]
    # The others are applied to both: what is left is the same.
    assert [one.object for one in found.gone] == ["ConfigMap/default/b"]
    assert len(found.losses) == 1


def test_a_patch_that_the_new_release_refuses(bench: Bench, tmp_path: Path):
    operations = '[{"op": "test", "path": "/data/key", "value": "old"}]'
    patch = {"target": {"kind": "ConfigMap", "name": "a"}, "patch": operations}
    other = Bench.__new__(Bench)
    other.folder = tmp_path
    other.old = release(tmp_path / "old", {"one": [config_map("a", key="old")]})
    other.new = release(tmp_path / "new", {"one": [config_map("a", key="new")]})
    [misfit] = other.compare(patches=[other.patch("op.yaml", patch)]).settings
    assert misfit.refused
    assert "op.yaml" in misfit.entry


def test_a_new_release_with_credentials_that_anybody_can_read(bench: Bench, tmp_path: Path):
    to = release(tmp_path / "open", {"one": [config_map("a", password="minio123")]})
    [misfit] = bench.compare(to).settings
    assert (misfit.setting, misfit.refused) == ("kubeflowRef", True)
    assert "ConfigMap/default/a" in misfit.problem


def test_which_release_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = SourceSpec(ref="v1.10.2")
    (tmp_path / "v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert target_of("v2", given) == SourceSpec(tmp_path / "v2")
    shutil.rmtree(tmp_path / "v2")
    assert target_of("v2", given) == SourceSpec(ref="v2")
    for text in ("./v2", "/none/v2", "~/none-v2"):
        with pytest.raises(SourceError, match=f"--to is {text}, which is no folder"):
            target_of(text, given)
