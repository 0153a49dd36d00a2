"""The release of Kubeflow itself: the objects are those that kustomize makes of `example/`."""

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kubeflow.catalog import Catalog, read, select
from components.kubeflow.objects import Kinds, group_of
from components.kubeflow.render import _identity_of, render
from components.kubeflow.source import Source, SourceSpec, resolve
from toolchain.tools import find

Identity = tuple[str, ...]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def source(kubeflow_source: Path, cache: Path) -> Source:
    return resolve(SourceSpec(path=kubeflow_source), cache, cache / "kubeflow.lock")


@pytest.fixture(scope="module")
def whole(source: Source, cache: Path) -> list[dict[str, Any]]:
    return render(source, [], [], find("kustomize"), cache)


@pytest.fixture(scope="module")
def parts(source: Source, cache: Path) -> Mapping[str, list[dict[str, Any]]]:
    """The objects of each component by itself, without what it requires."""
    catalog = read(source.root)
    rendered = {}
    for component in catalog.components.values():
        alone = Catalog({component.name: component}, separable=True)
        rendered[component.name] = _alone(source, alone, cache)
    return rendered


def _alone(source: Source, catalog: Catalog, cache: Path) -> list[dict[str, Any]]:
    from components.kubeflow.render import _separately

    return _separately(source.root, select(catalog, []), find("kustomize"))


@pytest.fixture(scope="module")
def golden(kubeflow_source: Path) -> dict[Identity, dict[str, Any]]:
    """What kustomize makes of upstream's example, read by PyYAML."""
    text = subprocess.run(
        [find("kustomize"), "build", str(kubeflow_source / "example")],
        check=True,
        capture_output=True,
    ).stdout
    objects = [body for body in yaml.load_all(text, yaml.CSafeLoader) if body]
    return {_identity_of(body): body for body in objects}


def test_the_whole_platform_is_upstreams_example(
    whole: list[dict[str, Any]], golden: dict[Identity, dict[str, Any]]
) -> None:
    assert len(whole) == 611
    assert Counter(body["kind"] for body in whole)["CustomResourceDefinition"] == 71
    found = {_identity_of(body): body for body in whole}
    assert set(found) == set(golden)
    assert [name for name in golden if found[name] != golden[name]] == []


def test_what_is_cached_is_the_same(
    whole: list[dict[str, Any]], source: Source, cache: Path
) -> None:
    assert render(source, [], [], find("kustomize"), cache) == whole


def test_a_patch_of_the_whole_changes_one_object(
    whole: list[dict[str, Any]], source: Source, cache: Path
) -> None:
    operations = '[{"op": "add", "path": "/metadata/labels", "value": {"mine": "yes"}}]'
    patch = {"target": {"kind": "Deployment", "name": "dex"}, "patch": operations}
    patched = render(source, [], [patch], find("kustomize"), cache)
    before = {_identity_of(body): body for body in whole}
    after = {_identity_of(body): body for body in patched}
    assert set(after) == set(before)
    changed = [name for name in after if after[name] != before[name]]
    assert changed == [("Deployment", "apps", "auth", "dex")]


def test_the_components_share_the_objects_out(
    parts: Mapping[str, list[dict[str, Any]]], whole: list[dict[str, Any]]
) -> None:
    owned = Counter(_identity_of(body) for own in parts.values() for body in own)
    assert set(owned) == {_identity_of(body) for body in whole}
    assert set(owned.values()) == {1}


def _needs(objects: list[dict[str, Any]], kinds: Kinds) -> Iterator[tuple[Identity, Identity]]:
    """What objects cannot be created or work without: namespaces, definitions, gateways."""
    for body in objects:
        identity = _identity_of(body)
        if namespace := body["metadata"].get("namespace"):
            yield identity, ("Namespace", "", "", namespace)
        definition = kinds.definition(kinds.ref(body))
        if definition is not None:
            name = f"{definition['names']['plural']}.{definition['group']}"
            yield identity, ("CustomResourceDefinition", "apiextensions.k8s.io", "", name)
        if body["kind"] == "VirtualService":
            for gateway in body["spec"].get("gateways") or []:
                namespace, _, name = gateway.rpartition("/")
                where = namespace or body["metadata"]["namespace"]
                yield identity, ("Gateway", "networking.istio.io", where, name)
        if group_of(body["apiVersion"]) == "cert-manager.io" and body["kind"] == "Certificate":
            issuer = body["spec"]["issuerRef"]
            where = "" if issuer["kind"] == "ClusterIssuer" else body["metadata"]["namespace"]
            yield identity, (issuer["kind"], "cert-manager.io", where, issuer["name"])


def test_each_component_and_its_requirements_stand_by_themselves(
    parts: Mapping[str, list[dict[str, Any]]], whole: list[dict[str, Any]], source: Source
) -> None:
    catalog = read(source.root)
    kinds = Kinds(whole)
    missing = []
    for name in catalog.components:
        chosen = [component.name for component in select(catalog, [name]).components]
        objects = [body for part in chosen for body in parts[part]]
        there = {_identity_of(body) for body in objects}
        there |= {("Namespace", "", "", "kube-system"), ("Namespace", "", "", "default")}
        missing += [
            (name, needing, needed)
            for needing, needed in _needs(objects, kinds)
            if needed not in there
        ]
    assert missing == []
