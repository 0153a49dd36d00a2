"""Check of both plugins: what is completed, what is refused, and in which words."""

import base64
import hashlib

import orjson
import pytest

from provider.admission import (
    Webhook,
    client_config,
    has_endpoint,
    parse_webhook,
    unanswered,
)
from provider.client import ApiError
from provider.definitions import body_of, served_kinds
from provider.kubeconfig import connect, parse
from provider.mlplatform import MlPlatform
from provider.rpc import Call, Engine, PluginError
from provider.settings import difference
from provider.values import UNKNOWN, Secret, has_secret
from sandbox.provider.checkpoint import LAST_APPLIED, load, save
from sandbox.provider.managed_fields import holds, take_over
from sandbox.provider.naming import group_version_kind, identifier, parse_identifier, unique_hex
from sandbox.provider.plugin import KubernetesPlugin

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
AUTONAMED = {"pulumi.com/autonamed": "true"}


def call(token=CONFIG_MAP, **more):
    return Call(urn=f"urn:pulumi:s::p::{token}::web", type=token, name="web", **more)


def check(news, olds=None, token=CONFIG_MAP, config=None, **more):
    plugin = KubernetesPlugin(Engine(""))
    plugin.configure(config or {})
    return plugin.check(call(token, **more), olds or {}, news)


def test_type_tokens():
    assert group_version_kind(CONFIG_MAP) == ("v1", "ConfigMap")
    assert group_version_kind("kubernetes:apps/v1:Deployment") == ("apps/v1", "Deployment")
    token = "kubernetes:kubeflow.org/v1beta1:Notebook"
    assert group_version_kind(token) == ("kubeflow.org/v1beta1", "Notebook")


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("kubernetes:core/v1:ConfigMapList", "list resources"),
        ("kubernetes:core/v1:ConfigMapPatch", "Patch"),
        ("kubernetes:helm.sh/v3:Release", "single Kubernetes objects"),
        ("kubernetes:v1:ConfigMap", "<group>/<version>"),
        ("aws:s3/bucket:Bucket", "type token"),
    ],
)
def test_other_types_are_refused(token, text):
    with pytest.raises(PluginError, match=text):
        group_version_kind(token)


def test_type_and_name_are_filled_in():
    inputs, failures = check({"data": {"a": "1"}}, seed=b"seed")
    assert not failures
    assert (inputs["apiVersion"], inputs["kind"]) == ("v1", "ConfigMap")
    assert inputs["metadata"]["annotations"] == AUTONAMED
    name = inputs["metadata"]["name"]
    assert name.startswith("web-")
    assert len(name) == len("web-") + 8
    again, _ = check({"data": {"a": "1"}}, seed=b"seed")
    other, _ = check({"data": {"a": "1"}}, seed=b"other")
    assert again["metadata"]["name"] == name != other["metadata"]["name"]


def test_the_engine_may_propose_or_forbid_a_name():
    assert check({}, proposed_name="mine")[0]["metadata"]["name"] == "mine"
    with pytest.raises(PluginError, match="autonaming is disabled"):
        check({}, autonaming=False)


def test_a_given_name_stays_and_no_label_is_added():
    inputs, _ = check({"metadata": {"name": "mine"}})
    assert inputs["metadata"] == {"name": "mine"}


def test_an_unknown_name_is_a_name():
    inputs, _ = check({"metadata": {"name": UNKNOWN}})
    assert inputs["metadata"] == {"name": UNKNOWN}


def test_a_nameless_object_keeps_its_automatic_name():
    old = {"metadata": {"name": "web-12345678", "annotations": AUTONAMED}}
    inputs, _ = check({"data": {}}, old)
    assert inputs["metadata"] == old["metadata"]


def test_the_label_of_an_earlier_client_side_apply_is_kept():
    labels = {"app.kubernetes.io/managed-by": "pulumi"}
    inputs, _ = check({"metadata": {"name": "a"}}, {"metadata": {"name": "a", "labels": labels}})
    assert inputs["metadata"]["labels"] == labels


def test_generate_name_is_refused():
    with pytest.raises(PluginError, match="generateName"):
        check({"metadata": {"generateName": "a-"}})


def test_contents_of_secrets_are_secret_and_encoded():
    inputs, _ = check(
        {"metadata": {"name": "a"}, "stringData": {"k": "hunter2"}},
        token="kubernetes:core/v1:Secret",
    )
    assert inputs["data"] == Secret({"k": base64.b64encode(b"hunter2").decode()})
    assert "stringData" not in inputs


def test_marked_values_stay_secret():
    news = {"metadata": {"name": "a"}, "data": {"x": Secret("1"), "y": "2"}}
    inputs, _ = check(news)
    assert inputs["data"] == {"x": Secret("1"), "y": "2"}


def test_a_secret_hides_what_is_marked_besides_its_contents():
    annotations = {"a": Secret("1"), "b": "2"}
    inputs, _ = check(
        {"metadata": {"name": "a", "annotations": annotations}, "data": {}},
        token="kubernetes:core/v1:Secret",
    )
    assert inputs["metadata"]["annotations"] == annotations


def test_kubectls_copy_of_a_secrets_contents_is_secret():
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "annotations": {LAST_APPLIED: "{...}", "b": "2"}},
    }
    state = save(live, live, {}, "v1", "manager")
    assert state["metadata"]["annotations"] == {LAST_APPLIED: Secret("{...}"), "b": "2"}
    live = {**live, "kind": "ConfigMap"}
    assert not has_secret(save(live, live, {}, "v1", "manager"))


def test_a_bad_annotation_is_a_failure():
    annotations = {"pulumi.com/waitFor": "Ready"}
    _, failures = check({"metadata": {"name": "a", "annotations": annotations}})
    assert "jsonpath=" in failures[0].reason


def test_configuration_that_is_not_supported_is_refused():
    plugin = KubernetesPlugin(Engine(""))
    assert plugin.check_config({}, {"renderYamlToDirectory": "x"})
    assert plugin.check_config({}, {"enableServerSideApply": "false"})
    assert not plugin.check_config({}, {"enableServerSideApply": "true", "namespace": "a"})


def diff(old_inputs, new_inputs, live=None, config=None, **more):
    plugin = KubernetesPlugin(Engine(""))
    plugin.configure(config or {})
    state = save(live or old_inputs, old_inputs, old_inputs, "v1", "pulumi-kubernetes-1")
    return plugin.diff(call(**more), state, new_inputs)


def config_map(name, value="1", **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": value},
    }


def test_named_objects_are_deleted_before_they_are_replaced():
    answer = diff(config_map("x"), config_map("x", "2"))
    assert answer.delete_before_replace
    assert [change.path for change in answer.changes] == ["data.a"]
    assert not diff(config_map("x"), config_map("y")).delete_before_replace
    auto = {"annotations": AUTONAMED}
    assert not diff(config_map("x", **auto), config_map("x", "2", **auto)).delete_before_replace


def test_mutable_config_maps_are_updated():
    answer = diff(config_map("x"), config_map("x", "2"), config={"enableConfigMapMutable": "true"})
    assert not any(change.replace for change in answer.changes)
    assert not answer.delete_before_replace


def test_the_default_namespace_is_no_change():
    live = config_map("x", namespace="default", uid="u")
    assert not diff(config_map("x"), config_map("x"), live, id="default/x").changes
    moved = diff(config_map("x"), config_map("x", namespace="other"), live, id="default/x")
    assert [(c.path, c.replace) for c in moved.changes] == [("metadata.namespace", True)]
    assert not moved.delete_before_replace


def test_the_namespace_of_a_cluster_wide_object_is_ignored():
    assert not diff(config_map("x"), config_map("x", namespace="a"), id="x").changes


def test_state_keeps_the_parts_apart():
    live = config_map("x", uid="u")
    state = save(live, config_map("x"), config_map("x"), "v1", "manager")
    assert load(state) == (config_map("x"), live)
    assert state["__fieldManager"] == "manager"
    assert state["__initialApiVersion"] == "v1"


def test_schema_keywords_are_stored_with_underscores():
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x"},
        "spec": {"versions": [{"schema": {"x-kubernetes-list-type": "set"}}]},
    }
    state = save(definition, definition, definition, "v1", "m")
    assert "x_kubernetes_list_type" in str(state["spec"])
    assert load(state) == (definition, definition)


def test_ids():
    assert identifier(config_map("x", namespace="ns")) == "ns/x"
    assert identifier(config_map("x")) == "x"
    assert parse_identifier("ns/x") == ("ns", "x")
    assert parse_identifier("x") == ("", "x")
    assert len(unique_hex(b"")) == 8


MANAGED = {
    "metadata": {
        "resourceVersion": "7",
        "managedFields": [
            {"manager": "mine", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}}},
            {"manager": "other", "operation": "Update", "fieldsV1": {"f:spec": {}}},
        ],
    }
}


def test_fields_of_kubectl_are_taken_over():
    replaced, version = take_over(MANAGED, "mine")
    mine, other = replaced["value"]
    assert mine["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    assert other["manager"] == "other"
    assert version["value"] == "7"
    alone = {"metadata": {"resourceVersion": "7", "managedFields": replaced["value"]}}
    assert take_over(alone, "mine") == []


def test_who_manages_a_field():
    assert holds(MANAGED, ("data", "a"), "mine", others=False)
    assert not holds(MANAGED, ("data", "a"), "mine", others=True)
    assert holds(MANAGED, ("data", "b"), "mine", others=True)


# The platform's own plugin.

DEFINITION = "mlplatform:kubernetes:CustomResourceDefinition"
GATE = "mlplatform:kubernetes:AdmissionReady"
DIGEST = "sha256:" + "0" * 64


def own(token, news):
    return MlPlatform(Engine("")).check(call(token), {}, news)[1]


def own_diff(token, olds, news):
    changes = MlPlatform(Engine("")).diff(call(token), olds, news).changes
    return {(change.path, change.replace) for change in changes}


def test_definitions_are_checked():
    good = {"name": "a", "digest": DIGEST, "store": "/s", "summary": {}}
    assert not own(DEFINITION, good)
    assert not own(DEFINITION, {**good, "store": UNKNOWN})
    for key in ("name", "digest", "store"):
        assert [f.property for f in own(DEFINITION, {**good, key: None})] == [key]
    assert "64 hexadecimal digits" in own(DEFINITION, {**good, "digest": "md5:0"})[0].reason


def test_changes_of_definitions():
    old = {"name": "a", "digest": DIGEST, "store": "/s", "summary": {}, "uid": "u"}
    assert own_diff(DEFINITION, old, {**old, "store": "/elsewhere"}) == set()
    assert own_diff(DEFINITION, old, {**old, "digest": "sha256:1"}) == {("digest", False)}
    assert own_diff(DEFINITION, old, {**old, "name": "b"}) == {("name", True)}


def test_gates_are_checked():
    webhook = {"configuration": "MutatingWebhookConfiguration/a", "webhook": "b"}
    assert not own(GATE, {"webhooks": [webhook], "probes": [], "timeoutSeconds": 5})
    assert own(GATE, {"webhooks": None})
    assert own(GATE, {"webhooks": [{**webhook, "configuration": "Deployment/a"}]})
    assert own(GATE, {"webhooks": [{**webhook, "webhook": ""}]})
    assert own(GATE, {"webhooks": [webhook], "probes": [{"kind": "Pod"}]})
    assert own(GATE, {"webhooks": [webhook], "probes": ["Pod"]})
    assert own(GATE, {"webhooks": [webhook], "probes": "Pod"})
    assert own(GATE, {"webhooks": [webhook], "timeoutSeconds": True})
    assert own(GATE, {"webhooks": [webhook], "timeoutSeconds": 0})


def test_changes_of_gates():
    old = {"webhooks": [], "probes": [], "timeoutSeconds": 5}
    assert own_diff(GATE, old, {**old, "timeoutSeconds": 6}) == set()
    assert own_diff(GATE, old, {**old, "probes": [{"kind": "Pod"}]}) == {("probes", False)}


def test_unknown_types_are_named():
    with pytest.raises(PluginError, match="AdmissionReady"):
        own("mlplatform:kubernetes:Other", {})


def test_a_kubeconfig_is_needed():
    plugin = MlPlatform(Engine(""))
    assert plugin.check_config({}, {})[0].property == "kubeconfig"
    assert not plugin.check_config({}, {"kubeconfig": Secret("x")})


CONVERSION = {
    "metadata": {"name": "a", "annotations": {"cert-manager.io/inject-ca-from": "x"}},
    "spec": {
        "group": "g.io",
        "names": {"kind": "A"},
        "conversion": {"webhook": {"clientConfig": {"caBundle": "Cg==", "service": {"name": "s"}}}},
        "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}],
    },
}


def store(folder, definition):
    body = orjson.dumps(definition)
    digest = hashlib.sha256(body).hexdigest()
    (folder / f"{digest}.json").write_bytes(body)
    return f"sha256:{digest}"


def test_bodies_come_from_the_store_without_an_injected_authority(tmp_path):
    digest = store(tmp_path, CONVERSION)
    body = body_of(str(tmp_path), digest)
    assert b"caBundle" not in body
    assert b'"service"' in body
    assert served_kinds(body) == [("g.io/v1", "A")]
    plain = {**CONVERSION, "metadata": {"name": "a"}}
    assert b"caBundle" in body_of(str(tmp_path), store(tmp_path, plain))


def test_missing_and_damaged_bodies_are_named(tmp_path):
    with pytest.raises(PluginError, match="can't read"):
        body_of(str(tmp_path), DIGEST)
    (tmp_path / f"{'0' * 64}.json").write_bytes(b"{}")
    with pytest.raises(PluginError, match="damaged"):
        body_of(str(tmp_path), DIGEST)


def test_webhooks_are_found_in_their_configurations():
    webhook = parse_webhook({"configuration": "ValidatingWebhookConfiguration/a", "webhook": "b"})
    assert webhook == Webhook("ValidatingWebhookConfiguration", "a", "b")
    entries = [{"name": "other"}, {"name": "b", "clientConfig": {"caBundle": "x"}}]
    assert client_config(webhook, {"webhooks": entries}) == {"caBundle": "x"}
    assert client_config(webhook, {"webhooks": entries[:1]}) is None
    conversion = parse_webhook({"configuration": "CustomResourceDefinition/a", "webhook": "b"})
    assert client_config(conversion, CONVERSION)["service"] == {"name": "s"}


@pytest.mark.parametrize(
    ("endpoints", "ready"),
    [
        ([], False),
        ([{"addresses": ["1"], "conditions": {"ready": True}}], True),
        ([{"addresses": ["1"], "conditions": {"ready": False}}], False),
        ([{"addresses": ["1"]}], True),
        ([{"addresses": [], "conditions": {"ready": True}}], False),
    ],
)
def test_ready_endpoints(endpoints, ready):
    assert bool(has_endpoint([{"endpoints": endpoints}, {}])) is ready


@pytest.mark.parametrize(
    ("code", "message", "answered"),
    [
        (500, 'failed calling webhook "a": connection refused', False),
        (500, 'conversion webhook for a/v1, Kind=A failed: Post "https://x"', False),
        (404, 'namespaces "a" not found', False),
        (500, "etcdserver: leader changed", False),
        (500, 'admission webhook "a" denied the request: no', True),
        (503, "unavailable", False),
        (400, 'admission webhook "a" denied the request: no', True),
        (403, 'admission webhook "a" denied the request: no', True),
        (409, "already exists", True),
        (422, "invalid", True),
    ],
)
def test_answers_of_webhooks(code, message, answered):
    assert (unanswered(ApiError({"message": message}, code)) == "") is answered


# Kubeconfig.

KUBECONFIG = """
current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}, {name: l, cluster: {server: "http://l"}}]
contexts: [{name: c, context: {cluster: k, user: u}}, {name: d, context: {cluster: l}}]
users: [{name: u, user: {token: hunter2}}]
"""


def test_connections():
    connection = connect(KUBECONFIG)
    assert connection.server == "https://127.0.0.1:1"
    assert connection.authorization() == "Bearer hunter2"
    assert connect(KUBECONFIG, "d").server == "http://l"
    assert connect(KUBECONFIG, "c", "l").server == "http://l"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/nonexistent/kubeconfig", "can't read"),
        ("a: [\nhunter2", "valid YAML"),
        ("a: 1\nb: 2", "no cluster"),
        (KUBECONFIG.replace("current-context: c", ""), "current-context"),
        (KUBECONFIG.replace("user: u", "user: v"), "no user 'v'"),
    ],
)
def test_bad_kubeconfigs_are_explained_without_their_contents(text, message):
    with pytest.raises(PluginError, match=message) as error:
        connect(text)
    assert "hunter2" not in str(error.value)


def test_impersonation_is_refused_rather_than_left_out():
    config = KUBECONFIG.replace("{token: hunter2}", "{token: hunter2, as: somebody}")
    with pytest.raises(PluginError, match="user 'u' impersonates"):
        connect(config)


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        ("https://k8s.example.com", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://k8s.example.com", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://k8s.example.com", {"http_proxy": "http://p:1"}, ""),
        ("https://k8s.example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, ""),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:1"}, ""),
    ],
)
def test_the_environments_proxy_is_used(monkeypatch, server, environment, proxy):
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert connect(KUBECONFIG.replace("https://127.0.0.1:1", server)).proxy == proxy


def test_a_kubeconfig_may_be_a_path(tmp_path):
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    assert parse(str(path))["current-context"] == "c"


def test_another_cluster_replaces_but_another_token_does_not():
    old = {"kubeconfig": Secret(KUBECONFIG)}
    token = {"kubeconfig": Secret(KUBECONFIG.replace("hunter2", "hunter3"))}
    moved = {"kubeconfig": Secret(KUBECONFIG.replace("127.0.0.1:1", "127.0.0.1:2"))}
    assert [(c.path, c.replace) for c in difference(old, token).changes] == [("kubeconfig", False)]
    assert [(c.path, c.replace) for c in difference(old, moved).changes] == [("kubeconfig", True)]
    assert not difference(old, old).changes


def test_an_identified_cluster_may_move():
    old = {"kubeconfig": KUBECONFIG, "clusterIdentifier": "a"}
    moved = {"kubeconfig": KUBECONFIG.replace(":1", ":2"), "clusterIdentifier": "a"}
    assert not any(change.replace for change in difference(old, moved).changes)
    other = difference(old, {**old, "clusterIdentifier": "b"})
    assert [(c.path, c.replace) for c in other.changes] == [("clusterIdentifier", True)]
