"""What a step between two releases takes away or breaks, and what the guard remembers and says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest
import yaml

from components.kubeflow import render
from components.kubeflow.catalog import read
from components.kubeflow.holdings import holdings, trials
from components.kubeflow.objects import Kinds
from components.kubeflow.releases import (
    YOURS,
    Live,
    Report,
    compare,
    definitions_gone,
    kinds_needed,
    split_image,
    unmatched_patches,
)
from components.kubeflow.releases_text import text
from components.settings import SettingsError, parse
from provider.client import ApiError
from provider.definitions import Definitions
from provider.instances import Instances, instances
from provider.mlplatform import MlPlatform
from provider.release import KubeflowRelease
from provider.rpc import Call, PluginError
from provider.values import UNKNOWN

Object = dict[str, Any]


def obj(version: str, kind: str, name: str, namespace: str = "a", **more: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def crd(kind: str, versions: Mapping[str, bool], storage: str = "v1", **more: Any) -> Object:
    spec = {
        "group": "x.org",
        "names": {"kind": kind, "plural": f"{kind.lower()}s"},
        "scope": "Namespaced",
        "versions": [
            {"name": name, "served": served, "storage": name == storage}
            for name, served in versions.items()
        ],
        **more,
    }
    name = f"{kind.lower()}s.x.org"
    return obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, "", spec=spec)


def deployment(image: str, container: str = "main", name: str = "web") -> Object:
    pod = {"spec": {"containers": [{"name": container, "image": image}]}}
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": pod}
    return obj("apps/v1", "Deployment", name, spec=spec)


def claim(mode: str = "ReadWriteOnce", size: str = "1Gi") -> Object:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    return obj("v1", "PersistentVolumeClaim", "data", spec=spec)


def step(old: Sequence[Object], new: Sequence[Object], live: Live | None = None) -> Report:
    kinds = Kinds([*old, *new])
    components = {kinds.ref(body): f"of-{body['kind']}" for body in (*old, *new)}
    return compare(old, new, components, live, unasked="" if live else "no cluster")


def asked(**more: Any) -> Live:
    fields: dict[str, Any] = {"instances": {}, "stored": {}, "storage": {}, "unserved": []}
    return Live(**{**fields, **more})


# --- the comparison ------------------------------------------------------------------------------


def test_the_same_release_loses_nothing():
    bodies = [claim(), deployment("a:1"), crd("Foo", {"v1": True}), obj("v1", "Namespace", "a", "")]
    found = step(bodies, bodies, asked())
    assert found.losses == []
    assert [v for v in found.document().values() if v] == ["now", "then"]
    assert text(found) == "now -> then\n\nNothing would be lost."


def test_what_goes_is_told_by_component_and_what_holds_data_first():
    old = [obj("v1", "ConfigMap", "c"), claim(), obj("kubeflow.org/v1", "Profile", "ann", "")]
    found = step(old, [obj("v1", "ConfigMap", "d")], asked())
    assert [(one.object, one.component, bool(one.lost)) for one in found.gone] == [
        ("PersistentVolumeClaim/a/data", "of-PersistentVolumeClaim", True),
        ("Profile.kubeflow.org/ann", "of-Profile", True),
        ("ConfigMap/a/c", "of-ConfigMap", False),
    ]
    assert found.added == {"of-ConfigMap": 1}
    assert len(found.losses) == 2
    shown = text(found)
    assert shown.index("2 would be lost") < shown.index("Objects that go") < shown.index("Other")


def test_another_suffix_of_the_content_is_no_other_object():
    old, new = (obj("v1", "ConfigMap", f"c-{suffix}") for suffix in ("5t4hfk8g9m", "22b4c5d6f7"))
    found = step([old], [new], asked())
    assert (found.gone, found.added) == ([], {})
    # Nor is it of no component, where a patch changed its content.
    kinds = Kinds([old])
    patched = compare([new], [], {kinds.ref(old): "dex"}, None)
    assert patched.gone[0].component == "dex"
    assert compare([claim()], [], {}, None).gone[0].component == YOURS


def test_objects_of_definitions_that_go_are_counted_unless_the_release_made_them():
    old = [crd("Foo", {"v1": True}), crd("Bar", {"v1": True})]
    assert definitions_gone(old, []) == ["bars.x.org", "foos.x.org"]
    held = {
        "foos.x.org": Instances({"a": 2}, {"team-b": 1, "team-a": 3}),
        "bars.x.org": Instances({"a": 2}, {}),
    }
    found = step(old, [], asked(instances=held))
    assert found.losses == [
        "CustomResourceDefinition/foos.x.org goes, and 4 objects of it: 3 in team-a, 1 in team-b"
    ]
    assert "bars.x.org: no objects, and 2 of the release itself" in text(found)
    # Where the cluster can't be asked, that is said, and there may be some.
    unknown = step(old, [])
    assert len(unknown.losses) == 2
    assert "The cluster was not asked: no cluster" in text(unknown)


@pytest.mark.parametrize(
    ("stored", "storage", "refused", "fix"),
    [
        (["v1"], "v1", False, ""),
        (["v1alpha1", "v1"], "v1", True, "patch crd foos.x.org --subresource=status --type=merge"),
        (
            ["v1alpha1"],
            "v1alpha1",
            True,
            "first bring a release that serves v1alpha1 and stores v1",
        ),
    ],
)
def test_a_version_that_is_still_stored_can_not_go(stored, storage, refused, fix):
    old, new = crd("Foo", {"v1alpha1": True, "v1": True}, storage), crd("Foo", {"v1": True})
    live = asked(stored={"foos.x.org": stored}, storage={"foos.x.org": storage})
    [version] = step([old], [new], live).versions
    assert (version.version, version.removed, version.refused) == ("v1alpha1", True, refused)
    assert fix in version.fix
    [unknown] = step([old], [new]).versions
    assert unknown.refused is None


def test_a_version_that_an_older_release_left_in_the_cluster_is_refused_too():
    same = crd("Foo", {"v1": True})
    live = asked(stored={"foos.x.org": ["v1beta1", "v1"]}, storage={"foos.x.org": "v1"})
    [loss] = step([same], [same], live).losses
    assert loss == "foos.x.org: the API server refuses it without v1beta1"


def test_a_version_that_is_no_longer_served_is_told_and_not_refused():
    old, new = crd("Foo", {"v1beta1": True, "v1": True}), crd("Foo", {"v1beta1": False, "v1": True})
    found = step([old], [new], asked(stored={"foos.x.org": ["v1beta1", "v1"]}))
    assert [(v.removed, v.refused) for v in found.versions] == [(False, False)]
    assert "v1beta1 is no longer served" in text(found)
    assert found.losses == []


def test_apis_that_the_cluster_does_not_serve():
    new = [
        obj("autoscaling/v2beta2", "HorizontalPodAutoscaler", "h"),
        crd("Foo", {"v1": True}),
        obj("x.org/v1", "Foo", "f"),
        obj("x.org/v2", "Foo", "g"),
    ]
    needed = kinds_needed(new)
    # What the release defines itself is served once it is there; another version of it never is.
    assert ("x.org/v1", "Foo") not in needed and needed["x.org/v2", "Foo"] == ["Foo.x.org/a/g"]
    found = step([], new, asked(unserved=[("autoscaling/v2beta2", "HorizontalPodAutoscaler")]))
    assert found.losses == [
        "autoscaling/v2beta2 HorizontalPodAutoscaler is not served by the cluster"
    ]
    assert "HorizontalPodAutoscaler/a/h" in text(found)


def test_images_by_component():
    found = step([deployment("reg:5000/a/web:1")], [deployment("reg:5000/a/web:2")], asked())
    assert "of-Deployment: Deployment/a/web: main: reg:5000/a/web:1 -> 2" in text(found)
    [renamed] = step([deployment("a/x:1", "old")], [deployment("b/x:2", "new")], asked()).images
    assert (renamed.container, renamed.old, renamed.new) == ("new", "a/x:1", "b/x:2")
    assert split_image("reg:5000/x") == ("reg:5000/x", "")
    assert split_image("x@sha256:1f") == ("x", "sha256:1f")


@pytest.mark.parametrize(
    ("old", "new", "breaks", "says"),
    [
        ("mysql:8.0.29", "mysql:8.0.30", None, ""),
        ("mysql:8.0.29", "mysql:5.7", True, "restore a backup"),
        ("gcr.io/ml-pipeline/mysql:8.0.26", "mysql:8.4", False, "no way back"),
        ("mysql:8.0", "mariadb:11.4", True, "dump and restore"),
        ("postgres:14.5-alpine", "postgres:16", True, "dump and restore"),
        ("postgres:14.5", "postgres:14.9", None, ""),
        ("bitnami/postgresql:15", "bitnami/postgresql:14", True, "restore a backup"),
        ("web:2", "web:1", None, ""),
    ],
)
def test_databases(old: str, new: str, breaks: bool | None, says: str):
    report = step([deployment(old)], [deployment(new)], asked())
    assert [one.breaks for one in report.databases] == ([] if breaks is None else [breaks])
    assert all(says in one.means for one in report.databases)
    assert bool(report.losses) is bool(breaks)


def test_what_can_not_be_changed_is_made_anew():
    def bound(role: str) -> Object:
        return obj("rbac.authorization.k8s.io/v1", "RoleBinding", "b", roleRef={"name": role})

    def sized(size: str) -> Object:
        templates = [{"spec": {"resources": {"requests": {"storage": size}}}}]
        return obj("apps/v1", "StatefulSet", "s", spec={"volumeClaimTemplates": templates})

    old, new = (
        [bound("x"), sized("1Gi"), claim()],
        [bound("y"), sized("2Gi"), claim("ReadWriteMany")],
    )
    found = step(old, new, asked())
    assert [(one.object, bool(one.lost)) for one in found.replaced] == [
        ("PersistentVolumeClaim/a/data", True),
        ("RoleBinding/a/b", False),
        ("StatefulSet/a/s", False),
    ]
    assert found.losses == ["PersistentVolumeClaim/a/data is made anew: a volume"]
    assert step([claim()], [claim(size="2Gi")], asked()).replaced == []


# --- settings ------------------------------------------------------------------------------------


def test_patches_that_match_nothing_any_more():
    old = [deployment("a:1", name="web"), obj("v1", "ConfigMap", "conf-5t4hfk8g9m")]
    merge = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    patches: dict[str, list[Mapping[str, Any]]] = {
        "merge": [merge],
        "suffix": [obj("v1", "ConfigMap", "conf")],
        "selects": [{"target": {"kind": "Deployment", "name": "we.*"}}],
        "labels": [{"target": {"labelSelector": "app=web"}}],
        "always": [{"target": {"kind": "Namespace"}}],
    }
    new = [deployment("a:1", name="site"), obj("v1", "Namespace", "a", "")]
    found = {one.entry: one for one in unmatched_patches(patches, old, new)}
    # `labels` matched nothing before either.
    assert {name: one.refused for name, one in found.items()} == {
        "merge": True,
        "suffix": True,
        "selects": False,
    }
    assert "Deployment/web is not in the new release" in found["merge"].problem
    assert unmatched_patches(patches, old, old) == []


def test_what_a_patch_names_wherever_it_is_written(tmp_path: Path):
    merge = tmp_path / "merge.yaml"
    merge.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n")
    operations = tmp_path / "operations.yaml"
    operations.write_text("target: {kind: Service}\npatch: '[]'\n")
    folder = tmp_path / "component"
    folder.mkdir()
    entries = [{"path": "../merge.yaml"}, {"target": {"kind": "Pod"}, "patch": "[]"}]
    kustomization = {"kind": "Component", "patches": entries}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    assert [part["kind"] for part in render.targets(merge)] == ["ConfigMap"]
    assert render.targets(operations) == [{"target": {"kind": "Service"}}]
    [first, second] = render.targets(folder)
    assert (first["metadata"]["name"], second) == ("c", {"target": {"kind": "Pod"}})


def test_older_releases_have_the_same_components(tmp_path: Path):
    (tmp_path / "example").mkdir()
    paths = ["apps/pipeline/x", "contrib/kserve/kserve", "common/istio-1-22/istio-crds/base"]
    resources = [f"../{path}" for path in paths]
    (tmp_path / "example" / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": resources})
    )
    assert list(read(tmp_path).components) == ["pipelines", "kserve", "istio"]


@pytest.mark.parametrize(
    "entry", ["data", "PersistentVolumeClaim", "pvc/a/data", "A/b/c/d", "A/ b"]
)
def test_consent_names_objects(entry: str):
    with pytest.raises(SettingsError, match=r"kubeflowAllowDeletion.*Kind/namespace/name"):
        parse({"kubeflowAllowDeletion": [entry]})
    parse({"kubeflowAllowDeletion": ["Profile.kubeflow.org/ann", "StatefulSet/a/b"]})


# --- the guard -----------------------------------------------------------------------------------


def remembered(bodies: Sequence[Object], *allow: str) -> Object:
    return {"holds": holdings(bodies), "trials": trials(bodies), "allow": list(allow)}


def plugin(answers: Mapping[str, Any]) -> Any:
    """A plugin whose API server gives these answers by path; an exception is raised."""

    def request(method: str, path: str, query: Any = None, **_: Any) -> Any:
        answer = answers.get(path)
        if answer is None:
            raise ApiError({}, 404)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, list):
            return answer[int((query or {}).get("continue") or 0)]
        return answer

    made = mock.Mock(spec=MlPlatform)
    made.cluster.client.request.side_effect = request
    return made


def refusal(old: Sequence[Object], new: Sequence[Object], *allow: str, **answers: Any) -> str:
    one = plugin(answers.get("answers", {}))
    failures = KubeflowRelease().check_change(one, remembered(old), remembered(new, *allow))
    assert all(failure.property == "" for failure in failures)
    return "\n".join(failure.reason for failure in failures)


def items(*namespaces: str, manager: str = "kubectl", more: str = "") -> Object:
    fields = [{"manager": manager, "operation": "Apply"}]
    return {
        "metadata": {"continue": more},
        "items": [{"metadata": {"namespace": n, "managedFields": fields}} for n in namespaces],
    }


GROUP = {
    "versions": [{"groupVersion": "x.org/v2"}, {"groupVersion": "x.org/v1"}],
    "preferredVersion": {"groupVersion": "x.org/v2"},
}
PAGES = {
    "/apis/x.org": GROUP,
    # The group prefers a version that this kind is not of.
    "/apis/x.org/v1/foos": [items("a", "b", more="1"), items("a"), items("c")],
}


def test_what_holds_data_may_go_by_name_only():
    name = "PersistentVolumeClaim/a/data"
    said = refusal([claim()], [])
    assert f"{name}: a volume" in said and "kubeflowAllowDeletion" in said
    assert refusal([claim()], [], name) == ""
    assert refusal([claim()], [], f"{name}2") == said
    assert refusal([claim()], [claim(size="9Gi")]) == ""
    assert "to be made anew" in refusal([claim()], [claim("ReadWriteMany")])
    assert refusal([obj("v1", "ConfigMap", "c")], []) == ""
    # A new stack, and one that was there before the guard, remember nothing.
    assert KubeflowRelease().check_change(plugin({}), {}, remembered([])) == []


def test_a_definition_may_go_without_objects_of_others():
    foo = crd("Foo", {"v1": True})
    assert "3 objects of its kind (2 in a, 1 in b)" in refusal([foo], [], answers=PAGES)
    assert refusal([foo], [], "CustomResourceDefinition/foos.x.org", answers=PAGES) == ""
    own = {**PAGES, "/apis/x.org/v1/foos": items("a", manager="ml-platform")}
    assert refusal([foo], [], answers=own) == ""
    assert refusal([foo], [], answers={}) == ""
    # It is not taken for empty where it can't be asked.
    dead = {"/apis/x.org": PluginError("connection refused")}
    assert "can't be counted: connection refused" in refusal([foo], [], answers=dead)


def test_objects_are_counted_over_all_pages():
    found = instances(plugin(PAGES).cluster.client, "foos.x.org")
    assert (found.own, found.others, found.total) == ({}, {"a": 2, "b": 1}, 3)


def test_the_guard_notes_what_it_remembers_and_no_consent():
    old, new = remembered([claim()]), remembered([claim("ReadWriteMany")], "A/b")
    changes = KubeflowRelease().diff(old, new)
    name = '["PersistentVolumeClaim/a/data"]'
    assert [change.path for change in changes] == [f"holds{name}", f"trials{name}"]
    assert KubeflowRelease().diff(old, {**old, "allow": ["A/b"]}) == []
    assert [f.property for f in KubeflowRelease().check({"holds": [], "allow": []})] == [
        "holds",
        "trials",
    ]


def tried(old: Sequence[Object], new: Sequence[Object], preview: bool = True) -> set[str]:
    """What a preview is to leave out."""
    call = Call(urn="urn", type="t", name="n", preview=preview)
    found = KubeflowRelease().change(plugin({}), call, remembered(old), remembered(new))["tried"]
    assert set(found) == set(trials(new))
    assert {value for value in found.values() if value is not UNKNOWN} <= {"true"}
    return {name for name, value in found.items() if value is UNKNOWN}


def test_no_dry_run_of_what_changes_with_its_definition():
    def foo(name: str, **spec: str) -> Object:
        return obj("x.org/v1", "Foo", name, spec=spec)

    first, second = crd("Foo", {"v1": True}), crd("Foo", {"v1": True}, more="fields")
    old = [first, foo("same"), foo("other", a="1")]
    new = [foo("same"), foo("other", a="2"), foo("added")]
    assert tried(old, [second, *new]) == {"Foo.x.org/a/other", "Foo.x.org/a/added"}
    assert tried(old, [first, *new]) == set()
    assert tried(old, [second, *new], preview=False) == set()
    # The first of its kind: nothing tells whether the definition is the same.
    assert tried([first], [first, foo("added")]) == {"Foo.x.org/a/added"}


def test_no_dry_run_of_what_is_made_anew():
    assert tried([claim()], [claim("ReadWriteMany")]) == {"PersistentVolumeClaim/a/data"}
    assert tried([claim()], [claim(size="2Gi")]) == set()
    assert tried([], [claim()]) == set()


def test_what_is_remembered_is_small():
    bodies = [crd("Foo", {"v1": True}, blob="x" * 100_000), obj("x.org/v1", "Foo", "f")]
    assert len(orjson.dumps(remembered(bodies))) < 500


# --- definitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "passes"), [(3, True), (4, False)])
def test_a_definition_is_sent_again_where_the_api_server_gives_up(late: int, passes: bool):
    client, cancelled = mock.Mock(), mock.Mock()
    cancelled.wait.return_value = False
    client.apply.side_effect = [*[ApiError({}, 504)] * late, {"metadata": {}}]
    definitions = Definitions(client, cancelled)
    if passes:
        assert definitions.apply("foos.x.org", b"{}", dry_run=False) == {"metadata": {}}
    else:
        with pytest.raises(ApiError):
            definitions.apply("foos.x.org", b"{}", dry_run=False)
    assert client.apply.call_count == 4


@pytest.mark.parametrize(("code", "cancel"), [(422, False), (504, True)])
def test_nothing_is_sent_again_for_nothing(code: int, cancel: bool):
    client, cancelled = mock.Mock(), mock.Mock()
    cancelled.wait.return_value = cancel
    client.apply.side_effect = ApiError({}, code)
    with pytest.raises(ApiError):
        Definitions(client, cancelled).apply("foos.x.org", b"{}", dry_run=False)
    assert client.apply.call_count == 1
