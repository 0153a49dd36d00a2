"""From one release to the next with the real engine and API server: refused, with consent, whole.

Two small releases that differ in all that an upgrade of Kubeflow does: kinds, volumes, schemas,
versions, images and fields that can't be changed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from life_support import Object, Platform, Run, Step, eventually

from components.kubeflow.__main__ import main
from sandbox import controlplane
from sandbox.api import MERGE_PATCH
from sandbox.audit import ObjectKey
from sandbox.controlplane import SandboxOptions

pytestmark = pytest.mark.engine

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONFIG_MAP = "/api/v1/namespaces/app/configmaps/settings"
GUARD = "mlplatform:kubeflow:Release::kubeflow"
VOLUME = "PersistentVolumeClaim/app/data"
GADGETS = "CustomResourceDefinition/gadgets.example.org"
BINDING = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding::web"
WIDGET = "kubernetes:example.org/v1:Widget::app/first"


def definition(kind: str, fields: list[str], versions: tuple[str, ...] = ("v1",)) -> Object:
    plural = f"{kind.lower()}s"
    spec = {"type": "object", "properties": {name: {"type": "string"} for name in fields}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.org"},
        "spec": {
            "group": "example.org",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [
                {"name": name, "served": True, "storage": name == "v1", "schema": schema}
                for name in versions
            ],
        },
    }


def obj(version: str, kind: str, name: str, namespace: str = "app", **more: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def common(image: str, role: str, widget: Object) -> list[Object]:
    """What both releases have, some of it otherwise."""
    rbac = "rbac.authorization.k8s.io"
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": image}]}
    return [
        obj("v1", "Namespace", "app", ""),
        obj("v1", "ConfigMap", "settings", data={"same": "in both"}),
        obj(
            "apps/v1",
            "Deployment",
            "web",
            spec={
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        ),
        obj(f"{rbac}/v1", "ClusterRole", "reader", "", rules=[]),
        obj(f"{rbac}/v1", "ClusterRole", "writer", "", rules=[]),
        obj(
            f"{rbac}/v1",
            "ClusterRoleBinding",
            "web",
            "",
            roleRef={"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": "app"}],
        ),
        obj("example.org/v1", "Widget", "first", spec=widget),
        # In the namespace of nobody: it stays as it is.
        obj("example.org/v1", "Widget", "second", spec={"colour": "red"}),
    ]


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
OLD = [
    *common("example.org/web:1", "reader", {"colour": "red"}),
    definition("Widget", ["colour"], ("v1alpha1", "v1")),
    definition("Gadget", ["colour"]),
    definition("Gizmo", ["colour"]),
    obj("v1", "PersistentVolumeClaim", "data", spec=CLAIM),
    obj("v1", "ConfigMap", "former"),
]
NEW = [
    *common("example.org/web:2", "writer", {"colour": "red", "size": "large"}),
    # Whose field `size` the old definition does not know.
    definition("Widget", ["colour", "size"]),
    obj("v1", "ConfigMap", "latter"),
]


def release(folder: Path, objects: list[Object]) -> str:
    """A copy of kubeflow/manifests with one component."""
    component, example = folder / "common" / "everything", folder / "example"
    for made in (component, example):
        made.mkdir(parents=True)
    (component / "all.yaml").write_text(yaml.safe_dump_all(objects))
    (component / "kustomization.yaml").write_text("resources: [all.yaml]")
    (example / "kustomization.yaml").write_text("resources: [../common/everything]")
    return str(folder)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("releases")
    return {"old": release(folder / "1", OLD), "new": release(folder / "2", NEW)}


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory, releases: dict[str, str]
) -> Iterator[Platform]:
    """The old release on a cluster of its own, in which somebody has made a Gadget."""
    folder = tmp_path_factory.mktemp("upgrade") / "data"
    sandbox = controlplane.start(SandboxOptions("test-upgrade", data_dir=folder))
    try:
        platform = Platform(sandbox)
        ok(platform.up(kubeflowPath=releases["old"]))
        gadget = obj("example.org/v1", "Gadget", "mine", spec={"colour": "blue"})
        path = "/apis/example.org/v1/namespaces/app/gadgets"
        platform.live.client.request("POST", path, gadget)
        yield platform
    finally:
        sandbox.stop()


def ok(run: Run) -> Run:
    assert not run.error, run.error[-4000:]
    assert run.audit.failed == []
    return run


def test_an_update_that_loses_something_is_refused_before_anything_is_done(platform, releases):
    for run in (
        platform.preview(kubeflowPath=releases["new"]),
        # `pulumi up --skip-preview`
        platform.up(kubeflowPath=releases["new"]),
        # Consent to one of them is none to the other.
        platform.preview(kubeflowPath=releases["new"], kubeflowAllowDeletion=[VOLUME]),
    ):
        assert f"{GADGETS}: 1 object of its kind (1 in app)" in run.output
        assert "name each in kubeflowAllowDeletion" in run.output
        assert "gizmos.example.org" not in run.output
        assert run.audit.writes == 0
        assert run.failed <= {GUARD}
    assert f"{VOLUME}: a volume" not in run.output
    assert f"{VOLUME}: a volume" in "\n".join(platform.said)


def test_compare_asks_the_cluster(platform, releases, capsys):
    name = f"{CRDS}/widgets.example.org"

    def compare(to: str) -> tuple[int, dict[str, Any]]:
        chosen = platform.settings({"kubeflowPath": releases["old"]})
        options = [w for key, value in chosen.items() for w in ("--set", f"{key}={value}")]
        code = main(["compare", "-s", "sandbox", "--json", "--to", to, *options])
        return code, json.loads(capsys.readouterr().out)

    code, found = compare(releases["new"])
    assert (code, found["unasked"]) == (2, "")
    [gone] = [one for one in found["gone"] if one["lost"]]
    assert (gone["object"], gone["component"]) == (VOLUME, "everything")
    assert {d["name"]: d["instances"] for d in found["definitions"]} == {
        "gadgets.example.org": {"app": 1},
        "gizmos.example.org": {},
    }
    assert [(v["version"], v["refused"]) for v in found["versions"]] == [("v1alpha1", False)]
    assert len(found["losses"]) == 2
    # Something was stored in it once: the API server refuses a definition without it.
    both = {"status": {"storedVersions": ["v1alpha1", "v1"]}}
    platform.live.client.request("PATCH", f"{name}/status", both, MERGE_PATCH)
    _, found = compare(releases["new"])
    [version] = found["versions"]
    assert version["refused"]
    refused = platform.preview(
        kubeflowPath=releases["new"], kubeflowAllowDeletion=[VOLUME, GADGETS]
    )
    assert "status.storedVersions" in refused.error
    # And what it says mends it.
    patch = json.loads(version["fix"].partition("-p '")[2].removesuffix("'"))
    platform.live.client.request("PATCH", f"{name}/status", patch, MERGE_PATCH)
    assert compare(releases["old"])[0] == 0


def test_with_consent_the_whole_upgrade_passes_and_nothing_of_the_old_is_left(platform, releases):
    settings = {"kubeflowPath": releases["new"], "kubeflowAllowDeletion": [VOLUME, GADGETS]}
    before = platform.live.bodies()
    shown = ok(platform.preview(**settings))
    assert shown.audit.writes == 0
    run = ok(platform.up(**settings))
    expected = {
        BINDING: "replace",
        WIDGET: "update",
        "kubernetes:apps/v1:Deployment::app/web": "update",
        "kubernetes:core/v1:ConfigMap::app/former": "delete",
        "kubernetes:core/v1:ConfigMap::app/latter": "create",
        "kubernetes:core/v1:PersistentVolumeClaim::app/data": "delete",
        "mlplatform:kubernetes:CustomResourceDefinition::gadgets.example.org": "delete",
        "mlplatform:kubernetes:CustomResourceDefinition::gizmos.example.org": "delete",
        "mlplatform:kubernetes:CustomResourceDefinition::widgets.example.org": "update",
    }
    for one in (shown, run):
        # The engine names a replacement by its parts, too.
        found = {k: "replace" if "replace" in op else op for k, op in one.changed.items()}
        assert found == expected
    assert isinstance(run.steps[GUARD], Step)
    assert run.audit.repeated == []

    after = platform.live.bodies()

    def left(key: ObjectKey) -> bool:
        return key in after

    for gone in (
        ObjectKey("", "persistentvolumeclaims", "app", "data"),
        ObjectKey("", "configmaps", "app", "former"),
        ObjectKey("apiextensions.k8s.io", "customresourcedefinitions", "", "gadgets.example.org"),
        ObjectKey("apiextensions.k8s.io", "customresourcedefinitions", "", "gizmos.example.org"),
    ):
        assert gone in before
        assert not left(gone)
    for same in (
        ObjectKey("", "configmaps", "app", "settings"),
        ObjectKey("example.org", "widgets", "app", "second"),
        ObjectKey("rbac.authorization.k8s.io", "clusterroles", "", "reader"),
    ):
        assert after[same]["metadata"] == before[same]["metadata"]
    widget = after[ObjectKey("example.org", "widgets", "app", "first")]
    assert widget["spec"] == {"colour": "red", "size": "large"}
    bound = ObjectKey("rbac.authorization.k8s.io", "clusterrolebindings", "", "web")
    assert after[bound]["roleRef"]["name"] == "writer"

    # Consent is for the one update: without it nothing changes.
    again = ok(platform.up(kubeflowPath=releases["new"]))
    assert again.changed == {}
    assert again.audit.writes == 0


def test_destroy_asks_for_no_consent(platform, releases):
    ok(platform.destroy(kubeflowPath=releases["new"]))
    eventually(platform.assert_empty)
