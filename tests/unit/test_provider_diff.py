"""What an update would change, and what it would replace."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.diff import (
    changes,
    force_new,
    format_path,
    normalize,
    parse_path,
    prune,
    quantity,
    without_ignored,
)
from provider.rpc import Change
from provider.values import UNKNOWN

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


def config_map(**fields):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, **fields}


def found(old, new, live=None, **options):
    live = old if live is None else live
    options.setdefault("immutable", force_new(new))
    return {
        (c.path, c.kind, c.replace)
        for c in changes(live, normalize(old), normalize(new), **options)
    }


@given(st.dictionaries(st.text(min_size=1, max_size=5), json_values, max_size=4))
def test_equal_objects_have_no_changes(content):
    assert changes(content, content, content) == []


@given(json_values, json_values)
def test_pruning_keeps_values_and_adds_none(live, shape):
    kept = prune(live, shape)
    assert prune(kept, shape) == kept
    assert prune(live, live) == live


@given(
    st.lists(
        st.integers(0, 9) | st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    ).map(lambda parts: ("spec", *parts))
)
def test_paths_are_read_as_they_are_written(path):
    if any(part in ("*", "\\") or "\\" in str(part) for part in path):
        return
    assert parse_path(format_path(path)) == path


def test_paths_are_written_as_pulumi_writes_them():
    assert format_path(("spec", "containers", 0, "env")) == "spec.containers[0].env"
    assert format_path(("data", "a.b")) == 'data["a.b"]'


def test_fields_that_the_server_adds_are_no_change():
    old = config_map(data={"a": "1"})
    live = {**old, "metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "extra": 1}
    assert found(old, old, live) == set()


def test_added_changed_and_removed_fields():
    old = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"a": 1, "b": 2},
    }
    new = {**old, "spec": {"a": 2, "c": 3}}
    assert found(old, new) == {
        ("spec.a", "update", False),
        ("spec.b", "delete", False),
        ("spec.c", "add", False),
    }


def test_lists_are_compared_by_position():
    old = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 1}, {"port": 2}]}}
    shorter = {**old, "spec": {"ports": [{"port": 1}]}}
    longer = {**old, "spec": {"ports": [{"port": 3}, {"port": 2}, {"port": 4}]}}
    assert found(old, shorter) == {("spec.ports[1]", "delete", False)}
    assert found(old, longer) == {
        ("spec.ports[0].port", "update", False),
        ("spec.ports[2]", "add", False),
    }


def test_what_the_live_object_has_counts_not_what_was_asked_for():
    old = config_map(data={"a": "1"})
    assert found(old, old, {**old, "data": {"a": "edited"}}) == {("data.a", "update", True)}


def test_unknown_values_are_changes():
    old = config_map(data={"a": "1"})
    new = config_map(data={"a": UNKNOWN, "b": UNKNOWN})
    assert found(old, new) == {("data.a", "update", True), ("data.b", "add", True)}


@pytest.mark.parametrize("empty", ["", [], {}, False, 0, None])
def test_an_empty_value_that_the_server_left_out_is_no_change(empty):
    old = {"apiVersion": "v1", "kind": "Pod", "spec": {"a": empty, "b": 1}}
    assert found(old, old, {**old, "spec": {"b": 1}}) == set()


def test_null_is_no_value_in_kubernetes_own_kinds():
    """As in `volumes: [{name: tmp, emptyDir: }]`, to which the server gives a value."""
    volumes = {"volumes": [{"name": "tmp", "emptyDir": None}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": volumes}
    assert normalize(pod)["spec"] == {"volumes": [{"name": "tmp"}]}
    live = {**pod, "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}
    assert found(pod, pod, live) == set()
    custom = {**pod, "apiVersion": "example.org/v1"}
    assert normalize(custom)["spec"] == volumes


def test_a_new_empty_value_is_a_change():
    old = {"apiVersion": "v1", "kind": "ServiceAccount"}
    new = {**old, "automountServiceAccountToken": False}
    assert found(old, new) == {("automountServiceAccountToken", "add", False)}


def test_custom_resources_are_compared_exactly():
    old = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "spec": {"a": "", "limits": {"cpu": "1"}},
    }
    live = {**old, "spec": {"limits": {"cpu": "1000m"}}}
    assert found(old, old, live) == {
        ("spec.a", "add", False),
        ("spec.limits.cpu", "update", False),
    }


def test_quantities_are_compared_by_value_where_they_are_quantities():
    def pod(cpu, value):
        container = {"env": [{"name": "E", "value": value}], "resources": {"limits": {"cpu": cpu}}}
        return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}

    assert found(pod("0.1", "1"), pod("0.1", "1"), pod("100m", "1")) == set()
    assert {path for path, *_ in found(pod("1", "1"), pod("1001m", "1000m"))} == {
        "spec.containers[0].resources.limits.cpu",
        "spec.containers[0].env[0].value",
    }


@pytest.mark.parametrize(
    ("text", "same"),
    [("500m", "0.5"), ("1Gi", "1024Mi"), ("1e3", "1k"), (2, "2"), ("1G", "1000M"), ("0", "0Ki")],
)
def test_quantities(text, same):
    assert quantity(text) == quantity(same) is not None


@pytest.mark.parametrize("text", ["", "x", "1X", "1 Gi", True, None])
def test_no_quantities(text):
    assert quantity(text) is None


def test_string_data_of_a_secret_is_compared_as_data():
    encoded = base64.b64encode(b"hello").decode()
    old = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "hello"}}
    live = {"apiVersion": "v1", "kind": "Secret", "data": {"a": encoded}}
    assert found(old, old, live) == set()
    changed = {**old, "stringData": {"a": "bye"}}
    assert found(old, changed, live) == {("data.a", "update", True)}


def test_whitespace_in_base64_is_no_change():
    encoded = base64.b64encode(b"hello").decode()
    old = {"apiVersion": "v1", "kind": "Secret", "data": {"a": f"{encoded}\n"}}
    assert found(old, old, {**old, "data": {"a": encoded}}) == set()


def test_read_only_metadata_is_ignored():
    old = config_map()
    new = config_map(metadata={"name": "x", "creationTimestamp": None, "uid": "y"})
    assert found(old, new) == set()


def spec(api_version, kind, **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": fields}


REPLACING = [
    (
        spec("apps/v1", "Deployment", selector={"a": 1}),
        spec("apps/v1", "Deployment", selector={"a": 2}),
    ),
    (
        spec("apps/v1", "DaemonSet", selector={"a": 1}),
        spec("apps/v1", "DaemonSet", selector={"a": 2}),
    ),
    (
        spec("apps/v1", "StatefulSet", serviceName="a"),
        spec("apps/v1", "StatefulSet", serviceName="b"),
    ),
    (
        spec("apps/v1", "StatefulSet", volumeClaimTemplates=[{"a": 1}]),
        spec("apps/v1", "StatefulSet", volumeClaimTemplates=[{"a": 2}]),
    ),
    (spec("batch/v1", "Job", template={"a": 1}), spec("batch/v1", "Job", template={"a": 2})),
    (spec("v1", "Service", clusterIP="None"), spec("v1", "Service", clusterIP="10.0.0.1")),
    (
        spec("v1", "PersistentVolumeClaim", storageClassName="a"),
        spec("v1", "PersistentVolumeClaim", storageClassName="b"),
    ),
    (
        spec("v1", "Pod", containers=[{"image": "a"}]),
        spec("v1", "Pod", containers=[{"image": "b"}]),
    ),
    (
        spec("v1", "Pod", containers=[{"image": "a"}]),
        spec("v1", "Pod", containers=[{"image": "a"}, {"image": "b"}]),
    ),
    (
        spec("v1", "Pod", containers=[{"image": "a"}, {"image": "b"}]),
        spec("v1", "Pod", containers=[{"image": "a"}]),
    ),
    (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}},
        spec("v1", "Service", clusterIP="None"),
    ),
    (
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "roleRef": {"name": "a"},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "roleRef": {"name": "b"},
        },
    ),
    (
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "parameters": {"a": "1"}},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "parameters": {"a": "2"}},
    ),
    (config_map(metadata={"name": "a"}), config_map(metadata={"name": "b"})),
    (config_map(metadata={"namespace": "a"}), config_map(metadata={"namespace": "b"})),
    (config_map(data={"a": "1"}), config_map(data={"a": "2"})),
]
IN_PLACE = [
    (spec("apps/v1", "Deployment", replicas=1), spec("apps/v1", "Deployment", replicas=2)),
    (
        spec("apps/v1", "StatefulSet", template={"a": 1}),
        spec("apps/v1", "StatefulSet", template={"a": 2}),
    ),
    (
        spec("batch/v1", "Job", ttlSecondsAfterFinished=1),
        spec("batch/v1", "Job", ttlSecondsAfterFinished=2),
    ),
    (
        spec("v1", "PersistentVolumeClaim", resources={"requests": {"storage": "1Gi"}}),
        spec("v1", "PersistentVolumeClaim", resources={"requests": {"storage": "2Gi"}}),
    ),
    (
        spec("v1", "Pod", containers=[], activeDeadlineSeconds=1),
        spec("v1", "Pod", containers=[], activeDeadlineSeconds=2),
    ),
    (
        spec("v1", "Pod", containers=[{"image": "a"}]),
        spec("v1", "Pod", containers=[{"image": "a"}, {"name": "no field that can't be changed"}]),
    ),
    (
        spec("example.com/v1", "Deployment", selector={"a": 1}),
        spec("example.com/v1", "Deployment", selector={"a": 2}),
    ),
]


@pytest.mark.parametrize(("old", "new"), REPLACING)
def test_immutable_fields_replace(old, new):
    assert {replace for *_, replace in found(old, new)} == {True}


@pytest.mark.parametrize(("old", "new"), IN_PLACE)
def test_other_fields_do_not_replace(old, new):
    assert {replace for *_, replace in found(old, new)} == {False}


@pytest.mark.parametrize(
    ("kind", "option"), [("ConfigMap", "config_map_mutable"), ("Secret", "secret_mutable")]
)
def test_contents_can_be_changed_in_place_on_demand(kind, option):
    obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}
    assert "data" in force_new(obj)
    assert "data" not in force_new(obj, **{option: True})
    assert "data" in force_new({**obj, "immutable": True}, **{option: True})


def test_ignored_changes():
    seen = [Change("spec.replicas", "update"), Change('metadata.labels["a.b"]', "add")]
    assert without_ignored(seen, ["spec.replicas"]) == seen[1:]
    assert without_ignored(seen, ["metadata.labels"]) == seen[:1]
    assert without_ignored(seen, ['metadata["labels"]["a.b"]', "spec"]) == []
    assert without_ignored([Change("spec.ports[3].port", "update")], ["spec.ports[*].port"]) == []
    assert without_ignored(seen, ["spec.replicasX"]) == seen
