"""Create, Update, Read and Delete: the Kubernetes provider's contract, part two.

Each test names what it holds the plugin to: a page of the provider's documentation, or a file of
https://github.com/pulumi/pulumi-kubernetes (below, `provider/pkg/...`) as of v4.32.
SERVER_SIDE_APPLY is https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/
managing-resources-with-server-side-apply/.
"""

import secrets
import time
from collections.abc import Iterator

import pytest
from provider_support import (
    HELD,
    Background,
    Cluster,
    InitFailed,
    Object,
    Plugin,
    Refused,
    Start,
    annotated,
    condition,
    config_map,
    definition,
    encoded,
    eventually,
    obj,
    workload,
)

from provider.values import UNKNOWN, Secret
from sandbox import audit

pytest_plugins = ("provider_fixtures",)
pytestmark = pytest.mark.engine

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
SERVICE = "kubernetes:core/v1:Service"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def config_maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def deployments(namespace: str, name: str = "x") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments" + (f"/{name}" if name else "")


# --- Create --------------------------------------------------------------------------------------


def test_the_state_holds_the_live_object_and_its_inputs(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, checkpointObject; the id is namespace/name (fqObjName)."""
    program = obj("v1", "Service", namespace, "x", spec={"ports": [{"port": 80}]})
    resource = kubernetes.resource(SERVICE).create(program)
    live = cluster.get(f"/api/v1/namespaces/{namespace}/services/x")
    assert resource.id == f"{namespace}/x"
    assert resource.state["metadata"]["uid"] == live["metadata"]["uid"]
    assert resource.state["spec"] == live["spec"]
    assert resource.state["__inputs"] == resource.inputs
    assert resource.state["__initialApiVersion"] == "v1"
    assert resource.state["__fieldManager"].startswith("pulumi-kubernetes-")


def test_the_id_of_a_cluster_wide_object_is_its_name(kubernetes: Plugin):
    """provider/pkg/provider/util.go, fqObjName."""
    name = f"contract-{secrets.token_hex(3)}"
    resource = kubernetes.resource("kubernetes:core/v1:Namespace")
    assert resource.create(obj("v1", "Namespace", "", name)).id == name


def test_an_object_that_exists_is_not_taken_over(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/await.go, Creation: the error says how to go on."""
    cluster.post(config_maps(namespace), config_map(namespace, "x", {"theirs": "1"}))
    with pytest.raises(Refused, match=r"(?s)already exists.*pulumi import.*upsertExistingObjects"):
        kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x", {"ours": "2"}))
    assert cluster.get(config_maps(namespace, "x"))["data"] == {"theirs": "1"}


def test_an_object_that_exists_is_taken_over_on_demand(
    upserting: Plugin, cluster: Cluster, namespace: str
):
    """https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/,
    `upsertExistingObjects`: by server-side apply, which leaves alone what the program doesn't set.
    """
    cluster.post(config_maps(namespace), config_map(namespace, "x", {"theirs": "1"}))
    resource = upserting.resource(CONFIG_MAP).create(config_map(namespace, "x", {"ours": "2"}))
    live = cluster.get(config_maps(namespace, "x"))
    assert live["data"] == {"theirs": "1", "ours": "2"}
    assert resource.state["metadata"]["uid"] == live["metadata"]["uid"]
    manager = resource.state["__fieldManager"]
    assert (manager, "Apply") in cluster.managers(config_maps(namespace, "x"))
    assert not resource.diff(config_map(namespace, "x", {"ours": "2"})).some


def test_taking_over_somebody_elses_field_is_a_conflict_unless_forced(
    upserting: Plugin, cluster: Cluster, namespace: str
):
    """SERVER_SIDE_APPLY#handle-field-conflicts-on-existing-resources, annotation patchForce."""
    theirs = config_map(namespace, "x", {"a": "theirs"})
    cluster.apply(config_maps(namespace, "x"), theirs, "somebody")
    ours = config_map(namespace, "x", {"a": "ours"})
    with pytest.raises(Refused, match=r'(?s)conflict.*handle-field-conflicts.*"somebody".*\.data'):
        upserting.resource(CONFIG_MAP).create(ours)
    assert cluster.get(config_maps(namespace, "x"))["data"] == {"a": "theirs"}
    upserting.resource(CONFIG_MAP).create(annotated(ours, patchForce="true"))
    assert cluster.get(config_maps(namespace, "x"))["data"] == {"a": "ours"}


def test_the_field_manager_can_be_chosen(upserting: Plugin, cluster: Cluster, namespace: str):
    """SERVER_SIDE_APPLY#field-management, annotation patchFieldManager."""
    program = annotated(config_map(namespace, "x"), patchFieldManager="platform-team")
    resource = upserting.resource(CONFIG_MAP).create(program)
    assert resource.state["__fieldManager"] == "platform-team"
    assert cluster.managers(config_maps(namespace, "x")) == {("platform-team", "Apply")}


def test_an_object_waits_a_while_for_its_namespace(kubernetes: Plugin, cluster: Cluster):
    """provider/pkg/await/await.go, Creation: what is not found is tried again for half a minute."""
    late = f"contract-late-{secrets.token_hex(3)}"
    resource = kubernetes.resource(CONFIG_MAP, late)
    creation = Background(lambda: resource.create(config_map(late, "x")))
    eventually(lambda: "Retry" in kubernetes.engine.said(resource.urn))
    assert not creation.done
    cluster.post("/api/v1/namespaces", {"metadata": {"name": late}})
    assert creation.result().id == f"{late}/x"


def test_a_custom_resource_waits_a_while_for_its_definition(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/await.go, Creation."""
    group = f"late-{secrets.token_hex(3)}.example.org"
    resource = kubernetes.resource(f"kubernetes:{group}/v1:Late", group)
    creation = Background(lambda: resource.create(obj(f"{group}/v1", "Late", namespace, "x")))
    eventually(lambda: "Retry" in kubernetes.engine.said(resource.urn))
    cluster.post(DEFINITIONS, definition(group, "Late"))
    assert creation.result().id == f"{namespace}/x"


def test_what_the_server_refuses_leaves_nothing(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Create: an error without a partial state."""
    program = config_map(namespace, "x", labels={"a": "no label value!"})
    with pytest.raises(Refused, match="not successfully created by the Kubernetes API server"):
        kubernetes.resource(CONFIG_MAP).create(program)
    assert not cluster.exists(config_maps(namespace, "x"))


def test_a_field_that_does_not_exist_is_refused(upserting: Plugin, namespace: str):
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/: applied objects have to
    fit their schema.
    """
    program = workload("Deployment", namespace, "x", replica=2)
    with pytest.raises(Refused, match=r"replica: field not declared in schema"):
        upserting.resource(DEPLOYMENT).create(program)


def test_schema_keywords_of_a_definition_survive(kubernetes: Plugin, cluster: Cluster):
    """provider/pkg/provider/provider.go, underscoreToDashMap: SDKs write them with underscores."""
    group = f"keywords-{secrets.token_hex(3)}.example.org"
    program = definition(group, "Word")
    schema = program["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["x-kubernetes-preserve-unknown-fields"]
    schema["x_kubernetes_preserve_unknown_fields"] = True
    resource = kubernetes.resource(DEFINITION).create(program)
    live = cluster.get(f"{DEFINITIONS}/words.{group}")
    schema = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["x-kubernetes-preserve-unknown-fields"] is True
    stored = resource.state["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert stored["x_kubernetes_preserve_unknown_fields"] is True
    assert not resource.diff(program).some
    added = definition(group, "Word", ("v1", "v2"))
    assert set(resource.diff(added).changes) >= {"spec.versions[1]"}
    resource.update(added)
    live = cluster.get(f"{DEFINITIONS}/words.{group}")
    assert [version["name"] for version in live["spec"]["versions"]] == ["v1", "v2"]
    resource.delete()
    assert not cluster.exists(f"{DEFINITIONS}/words.{group}")


# --- preview -------------------------------------------------------------------------------------


@pytest.fixture
def unwritten(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Sees that the test's plugin wrote nothing to the test's namespace, by the audit log."""
    yield
    path = config_maps(namespace, f"after-{secrets.token_hex(3)}")
    assert not cluster.exists(path)
    log = cluster.sandbox.audit_log
    eventually(lambda: path.rpartition("/")[2].encode() in log.read_bytes())
    mine = [e for e in audit.read(log) if e.key is not None and e.key.namespace == namespace]
    written = [e for e in mine if e.write and e.user == "deployer"]
    assert not written
    assert any(e.dry_run for e in mine) or not any(e.user == "deployer" for e in mine)


@pytest.fixture(params=["kubernetes", "upserting"])
def either(request: pytest.FixtureRequest) -> Plugin:
    """The plugin as it creates objects, and as it takes over those that exist."""
    return request.getfixturevalue(request.param)


@pytest.mark.usefixtures("unwritten")
def test_a_preview_shows_what_the_server_would_fill_in(
    either: Plugin, cluster: Cluster, namespace: str
):
    """SERVER_SIDE_APPLY#preview and provider.go, Create: a dry run on the server; no status."""
    program = obj("v1", "Service", namespace, "x", spec={"ports": [{"port": 80}]})
    outputs = either.resource(SERVICE).preview(program)
    assert outputs["spec"]["type"] == "ClusterIP"
    assert outputs["spec"]["ports"][0]["protocol"] == "TCP"
    assert "status" not in outputs
    assert not cluster.exists(f"/api/v1/namespaces/{namespace}/services/x")


@pytest.mark.usefixtures("unwritten")
def test_a_preview_waits_for_nothing(either: Plugin, namespace: str):
    """provider/pkg/await/await.go, Creation: a preview returns what the dry run gave."""
    program = workload("Deployment", namespace, "x", pod=HELD)
    assert either.resource(DEPLOYMENT).preview(program)["spec"]["replicas"] == 1


@pytest.mark.usefixtures("unwritten")
def test_a_preview_reports_what_the_server_would_refuse(either: Plugin, namespace: str):
    """SERVER_SIDE_APPLY#preview: errors come before anything is changed."""
    program = workload("Deployment", namespace, "x", replicas=-1)
    with pytest.raises(Refused, match=r"spec\.replicas.*greater than or equal to 0"):
        either.resource(DEPLOYMENT).preview(program)


def test_a_preview_without_the_namespace_or_the_kind_shows_the_inputs(
    either: Plugin, namespace: str
):
    """provider/pkg/provider/provider.go, Create: another resource may be about to make them."""
    nowhere = f"contract-nowhere-{secrets.token_hex(3)}"
    program = config_map(nowhere, "x")
    assert either.resource(CONFIG_MAP).preview(program) == program
    assert either.resource(CONFIG_MAP, "other").preview(program) == program
    program = obj("none.example.org/v1", "Nothing", namespace, "x", spec={"a": 1})
    assert either.resource("kubernetes:none.example.org/v1:Nothing").preview(program) == program


@pytest.mark.usefixtures("unwritten")
def test_a_preview_with_unknown_values_shows_the_inputs(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Create: hasComputedValue."""
    program = config_map(namespace, "x", {"a": UNKNOWN, "b": Secret("c")})
    assert kubernetes.resource(CONFIG_MAP).preview(program) == program


def test_a_preview_over_an_object_that_exists_shows_the_inputs(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Create: it may be deleted first, by a replacement."""
    cluster.post(config_maps(namespace), config_map(namespace, "x", {"theirs": "1"}))
    program = config_map(namespace, "x", {"ours": "1"})
    assert kubernetes.resource(CONFIG_MAP).preview(program) == program


def test_a_preview_over_an_object_to_take_over_shows_the_outcome(
    upserting: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/await.go, Creation: a dry run never conflicts with other managers; where
    a field can't be changed, the object is about to be replaced and is tried under another name.
    """
    cluster.apply(config_maps(namespace, "x"), config_map(namespace, "x", {"a": "1"}), "somebody")
    program = config_map(namespace, "x", {"a": "2"})
    assert upserting.resource(CONFIG_MAP).preview(program)["data"] == {"a": "2"}
    cluster.post(deployments(namespace, ""), workload("Deployment", namespace, "x", replicas=0))
    program = workload("Deployment", namespace, "x")
    labels = {"app": "other"}
    program["spec"]["selector"] = {"matchLabels": labels}
    program["spec"]["template"]["metadata"] = {"labels": labels}
    outputs = upserting.resource(DEPLOYMENT).preview(program)
    assert outputs["spec"]["selector"] == {"matchLabels": labels}
    assert cluster.get(config_maps(namespace, "x"))["data"] == {"a": "1"}
    names = [item["metadata"]["name"] for item in cluster.get(deployments(namespace, ""))["items"]]
    assert names == ["x"]


def test_a_preview_that_may_not_try_shows_the_inputs(
    start_kubernetes: Start, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Create: a forbidden dry run is no error of the program."""
    nobody = start_kubernetes(kubeconfig=cluster.kubeconfig_of("nobody"))
    program = config_map(namespace, "x")
    assert nobody.resource(CONFIG_MAP).preview(program) == program


def test_a_preview_without_a_cluster_shows_the_inputs(start_kubernetes: Start):
    """provider/pkg/provider/provider.go, Configure: a cluster may not be there yet."""
    kubeconfig = """
current-context: c
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
"""
    plugin = start_kubernetes(kubeconfig=kubeconfig)
    program = config_map("a", "x")
    resource = plugin.resource(CONFIG_MAP, "unreachable")
    assert resource.preview(program) == program
    with pytest.raises(Refused, match="configured Kubernetes cluster is unreachable"):
        resource.create(program)


def test_a_preview_of_an_update_writes_nothing(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """SERVER_SIDE_APPLY#preview."""
    program = annotated(workload("Deployment", namespace, "x", replicas=0), skipAwait="true")
    resource = kubernetes.resource(DEPLOYMENT).create(program)
    before = cluster.get(deployments(namespace))["metadata"]["managedFields"]
    changed = annotated(workload("Deployment", namespace, "x", replicas=4), skipAwait="true")
    outputs = resource.preview(changed)
    assert outputs["spec"]["replicas"] == 4
    live = cluster.get(deployments(namespace))
    assert live["spec"]["replicas"] == 0
    mine = [e for e in live["metadata"]["managedFields"] if not e.get("subresource")]
    assert mine == [e for e in before if not e.get("subresource")]


def test_an_update_that_cannot_be_tried_yet_shows_the_inputs(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Update."""
    resource = kubernetes.resource(SERVICE).create(
        obj("v1", "Service", namespace, "x", spec={"ports": [{"port": 80}]})
    )
    program = obj("v1", "Service", namespace, "x", spec={"ports": [{"port": UNKNOWN}]})
    assert resource.preview(program) == program


# --- Update --------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [False, True], ids=["created", "taken over"])
def test_what_the_program_no_longer_sets_is_removed_and_what_others_set_stays(
    kubernetes: Plugin, upserting: Plugin, cluster: Cluster, namespace: str, taken: bool
):
    """SERVER_SIDE_APPLY: each manager has its own fields. An object that was made by a plain
    create is taken over by the first update (await.go, fixCSAFieldManagers).
    """
    plugin = upserting if taken else kubernetes
    path = config_maps(namespace, "x")
    resource = plugin.resource(CONFIG_MAP)
    resource.create(config_map(namespace, "x", {"a": "1", "b": "2"}, labels={"l": "1"}))
    cluster.merge(path, {"data": {"theirs": "3"}})
    resource.update(config_map(namespace, "x", {"a": "4"}))
    live = cluster.get(path)
    assert live["data"] == {"a": "4", "theirs": "3"}
    assert not live["metadata"].get("labels")
    assert resource.state["data"] == live["data"]
    assert (resource.state["__fieldManager"], "Apply") in cluster.managers(path)
    assert ("pulumi-kubernetes", "Update") not in cluster.managers(path)


def test_a_field_that_somebody_took_over_is_a_conflict_unless_forced(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """SERVER_SIDE_APPLY#handle-field-conflicts-on-existing-resources, annotation patchForce. The
    state has what is there, so that the next update finds the same change.
    """
    path = config_maps(namespace, "x")
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x", {"a": "1"}))
    resource.update(config_map(namespace, "x", {"a": "2"}))
    cluster.apply(path, config_map(namespace, "x", {"a": "theirs"}), "somebody")
    wanted = config_map(namespace, "x", {"a": "3"})
    with pytest.raises(InitFailed, match=r'(?s)conflict.*"somebody".*\.data\.a') as failed:
        resource.update(wanted)
    assert failed.value.id == f"{namespace}/x"
    assert cluster.get(path)["data"] == {"a": "theirs"}
    assert set(resource.diff(wanted).changes) == {"data.a"}
    resource.update(annotated(wanted, patchForce="true"))
    assert cluster.get(path)["data"] == {"a": "3"}
    assert not resource.diff(annotated(wanted, patchForce="true")).some


def test_fields_of_kubectl_are_taken_over(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/await.go, fixCSAFieldManagers: kubectl apply is no rival."""
    path = config_maps(namespace, "x")
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x", {"a": "1"}))
    cluster.apply(path, config_map(namespace, "x", {"a": "kubectl", "b": "2"}), "kubectl")
    resource.update(config_map(namespace, "x", {"a": "3"}))
    assert cluster.get(path)["data"] == {"a": "3"}


def test_another_field_manager_leaves_nothing_with_the_old_one(
    upserting: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/ssa/actions.go, Relinquish."""
    path = config_maps(namespace, "x")
    resource = upserting.resource(CONFIG_MAP).create(config_map(namespace, "x"))
    resource.update(annotated(config_map(namespace, "x"), patchFieldManager="platform-team"))
    assert cluster.managers(path) == {("platform-team", "Apply")}
    assert cluster.get(path)["data"] == {"a": "1"}
    assert resource.state["__fieldManager"] == "platform-team"


def test_an_ignored_field_stays_with_who_has_it(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """https://www.pulumi.com/docs/iac/concepts/options/ignorechanges/ and
    provider/pkg/await/await.go, handleSSAIgnoreFields.
    """
    path = deployments(namespace)
    program = annotated(workload("Deployment", namespace, "x", replicas=0), skipAwait="true")
    resource = kubernetes.resource(DEPLOYMENT).create(program)
    cluster.merge(path, {"spec": {"replicas": 2}})
    changed = annotated(
        workload("Deployment", namespace, "x", replicas=0, minReadySeconds=1), skipAwait="true"
    )
    resource.update(changed, ignore=["spec.replicas"])
    spec = cluster.get(path)["spec"]
    assert (spec["replicas"], spec["minReadySeconds"]) == (2, 1)


def test_an_update_of_an_object_that_is_gone_fails(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Update: it is for a refresh to find that out."""
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x"))
    cluster.delete(config_maps(namespace, "x"))
    with pytest.raises(Refused, match=r"(?s)update of resource .* failed.*not found"):
        resource.update(config_map(namespace, "x", {"a": "2"}))


def test_an_update_that_the_server_refuses_keeps_the_difference(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Update: the state has the live object."""
    program = annotated(workload("Deployment", namespace, "x", replicas=0), skipAwait="true")
    resource = kubernetes.resource(DEPLOYMENT).create(program)
    refused = annotated(workload("Deployment", namespace, "x", replicas=-1), skipAwait="true")
    with pytest.raises(InitFailed, match=r"spec\.replicas"):
        resource.update(refused)
    assert resource.state["spec"]["replicas"] == 0
    assert resource.diff(refused).changes == {"spec.replicas": "UPDATE"}
    assert not resource.diff(program).some


# --- Read ----------------------------------------------------------------------------------------


def test_a_refresh_sees_what_changed(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """https://www.pulumi.com/docs/iac/cli/commands/pulumi_refresh/ and provider.go, Read: the
    state is the live object, the inputs its values of what the program set.
    """
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x", {"a": "1"}))
    cluster.merge(config_maps(namespace, "x"), {"data": {"a": "2", "b": "3"}, "immutable": False})
    found = resource.read()
    assert found.id == resource.id
    assert found.state["data"] == {"a": "2", "b": "3"}
    assert found.inputs["data"] == {"a": "2"}
    assert "immutable" not in found.inputs
    assert found.state["__inputs"] == found.inputs
    assert found.state["__fieldManager"] == resource.state["__fieldManager"]


def test_an_object_that_is_gone_has_no_id(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """ReadResponse.id in pulumi's proto/pulumi/provider.proto; provider.go, Read."""
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x"))
    cluster.delete(config_maps(namespace, "x"))
    assert resource.read().id == ""


def test_an_object_whose_kind_is_gone_has_no_id(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Read: without its definition there is no object."""
    group = f"gone-{secrets.token_hex(3)}.example.org"
    cluster.post(DEFINITIONS, definition(group, "Gone"))
    eventually(lambda: cluster.get(f"/apis/{group}/v1/gones"))
    token = f"kubernetes:{group}/v1:Gone"
    resource = kubernetes.resource(token).create(obj(f"{group}/v1", "Gone", namespace, "x"))
    other = kubernetes.resource(token).create(obj(f"{group}/v1", "Gone", namespace, "y"))
    cluster.delete(f"{DEFINITIONS}/gones.{group}")
    eventually(lambda: not cluster.exists(f"{DEFINITIONS}/gones.{group}"))
    assert eventually(lambda: resource.read().id == "")
    other.delete()


def test_an_import_takes_everything_that_a_program_would_set(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """https://www.pulumi.com/docs/iac/guides/migration/import/ and provider.go, Read."""
    body = config_map(namespace, "x", {"a": "1"}, labels={"l": "1"})
    cluster.post(config_maps(namespace), body)
    resource = kubernetes.resource(CONFIG_MAP)
    found = resource.read(f"{namespace}/x")
    assert found.id == f"{namespace}/x"
    assert found.inputs == body
    resource.id, resource.state, resource.inputs = found.id, found.state, found.inputs
    assert not resource.diff(body).some
    assert resource.diff(config_map(namespace, "x", {"a": "1"})).changes == {
        "metadata.labels": "DELETE"
    }


def test_importing_what_is_not_there_gives_no_id(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Read."""
    assert kubernetes.resource(CONFIG_MAP).read(f"{namespace}/none").id == ""


def test_a_refresh_reports_an_object_that_is_not_ready(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/await.go, Read: the state is recorded, and that it is not ready."""
    program = annotated(workload("Deployment", namespace, "x", pod=HELD), skipAwait="true")
    resource = kubernetes.resource(DEPLOYMENT).create(program)
    eventually(lambda: condition(cluster.get(deployments(namespace)), "Available") == "False")
    assert resource.read().id == resource.id
    resource.inputs = workload("Deployment", namespace, "x", pod=HELD)
    cluster.merge(
        deployments(namespace), {"metadata": {"annotations": {"pulumi.com/skipAwait": None}}}
    )
    with pytest.raises(InitFailed) as failed:
        resource.read()
    assert failed.value.id == resource.id
    assert failed.value.state["status"]["unavailableReplicas"] == 1
    assert failed.value.inputs["spec"]["selector"] == program["spec"]["selector"]


# --- Delete --------------------------------------------------------------------------------------


def test_a_deletion_takes_the_pods_along(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/metadata/overrides.go, DeletionPropagation: foreground; await.go, Deletion."""
    resource = kubernetes.resource(DEPLOYMENT).create(workload("Deployment", namespace, "x"))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert cluster.get(pods)["items"]
    resource.delete()
    assert not cluster.exists(deployments(namespace))
    assert not cluster.get(pods)["items"]


def test_a_deletion_may_leave_the_pods(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/, annotation
    deletionPropagationPolicy.
    """
    program = annotated(workload("Deployment", namespace, "x"), deletionPropagationPolicy="orphan")
    resource = kubernetes.resource(DEPLOYMENT).create(program)
    resource.delete()
    assert not cluster.exists(deployments(namespace))
    assert cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]


def held(namespace: str) -> Object:
    return config_map(namespace, "x", finalizers=["example.org/held"])


def test_a_deletion_waits_for_finalizers(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/condition/deleted.go."""
    resource = kubernetes.resource(CONFIG_MAP).create(held(namespace))
    path = config_maps(namespace, "x")
    deletion = Background(resource.delete)
    eventually(lambda: cluster.get(path)["metadata"].get("deletionTimestamp"))
    assert not deletion.done
    cluster.merge(path, {"metadata": {"finalizers": None}})
    deletion.result(5)
    assert not cluster.exists(path)


def test_what_is_going_is_gone_after_a_refresh(
    stand_in: None, kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """So that the update after a `destroy` that was killed makes it again."""
    resource = kubernetes.resource(CONFIG_MAP).create(held(namespace))
    path = config_maps(namespace, "x")
    deletion = Background(resource.delete)
    eventually(lambda: cluster.get(path)["metadata"].get("deletionTimestamp"))
    reading = Background(resource.read)
    time.sleep(0.5)
    assert not reading.done
    cluster.merge(path, {"metadata": {"finalizers": None}})
    assert reading.result(10).id == ""
    deletion.result(5)


def test_a_deletion_that_takes_too_long_names_the_finalizers(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/condition/deleted.go: as a warning or in the error itself."""
    resource = kubernetes.resource(CONFIG_MAP, "held").create(held(namespace))
    urn = resource.urn
    with pytest.raises((Refused, InitFailed)) as failed:
        resource.delete(timeout=1)
    said = f"{failed.value} {kubernetes.engine.said(urn)}"
    assert "timed out" in said
    assert "finalizers might be preventing deletion (example.org/held" in said
    cluster.merge(config_maps(namespace, "x"), {"metadata": {"finalizers": None}})


def test_deleting_what_is_gone_is_fine(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/await.go, Deletion: nilIfGVKDeleted."""
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x"))
    cluster.delete(config_maps(namespace, "x"))
    resource.delete()


def test_a_successor_of_the_same_name_does_not_hold_a_deletion_up(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/condition/deleted.go: the object is gone when its deletion was seen."""
    resource = kubernetes.resource(CONFIG_MAP).create(held(namespace))
    path = config_maps(namespace, "x")
    deletion = Background(resource.delete)
    eventually(lambda: cluster.get(path)["metadata"].get("deletionTimestamp"))
    cluster.merge(path, {"metadata": {"finalizers": None}})
    eventually(lambda: cluster.post(config_maps(namespace), config_map(namespace, "x")))
    deletion.result(5)
    assert cluster.exists(path)


# --- secrets -------------------------------------------------------------------------------------


def test_secrets_are_marked_in_the_state(kubernetes: Plugin, namespace: str):
    """https://www.pulumi.com/docs/iac/concepts/secrets/ and provider.go, annotateSecrets."""
    program = obj("v1", "Secret", namespace, "x", stringData={"a": "hunter2"})
    resource = kubernetes.resource(SECRET).create(program)
    for values in (resource.state, resource.state["__inputs"], resource.inputs):
        assert values["data"] == Secret({"a": encoded("hunter2")})
    program = config_map(namespace, "x", {"open": "1", "closed": Secret("2")})
    resource = kubernetes.resource(CONFIG_MAP).create(program)
    assert resource.state["data"] == {"open": "1", "closed": Secret("2")}
    assert resource.state["__inputs"]["data"] == {"open": "1", "closed": Secret("2")}
    refreshed = resource.read()
    assert refreshed.state["data"] == {"open": "1", "closed": Secret("2")}
    assert refreshed.inputs["data"] == {"open": "1", "closed": Secret("2")}


def test_an_imported_secret_is_secret(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/provider/provider.go, annotateSecrets: by its kind, without a program."""
    body = {"metadata": {"name": "x"}, "stringData": {"a": "hunter2"}}
    cluster.post(f"/api/v1/namespaces/{namespace}/secrets", body)
    found = kubernetes.resource(SECRET).read(f"{namespace}/x")
    assert found.inputs["data"] == Secret({"a": encoded("hunter2")})
    assert found.state["data"] == Secret({"a": encoded("hunter2")})


def test_a_preview_keeps_secrets(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, annotateSecrets."""
    program = config_map(namespace, "x", {"closed": Secret("2")})
    assert kubernetes.resource(CONFIG_MAP).preview(program)["data"] == {"closed": Secret("2")}


@pytest.mark.usefixtures("stand_in")
def test_no_secret_is_in_an_error_or_a_log(kubernetes: Plugin, namespace: str):
    """The official plugin leaves that to the engine's filter of its output."""
    password = f"hunter {secrets.token_hex(4)}"
    program = config_map(namespace, "x", labels={"password": Secret(password)})
    with pytest.raises(Refused, match="Invalid value") as refused:
        kubernetes.resource(CONFIG_MAP).create(program)
    with pytest.raises(Refused) as previewed:
        kubernetes.resource(CONFIG_MAP).preview(program)
    for text in (
        str(refused.value),
        str(previewed.value),
        kubernetes.engine.said(),
        kubernetes.errors,
    ):
        assert password not in text
        assert encoded(password) not in text
    assert "[secret]" in str(refused.value)


@pytest.mark.usefixtures("stand_in")
def test_what_kubectl_noted_of_a_secret_is_secret(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """`kubectl apply` keeps a copy of the contents in an annotation."""
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    metadata = {"name": "x", "annotations": {annotation: '{"data": {}}', "other": "1"}}
    cluster.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": metadata})
    annotations = (
        kubernetes.resource(SECRET).read(f"{namespace}/x").state["metadata"]["annotations"]
    )
    assert annotations == {annotation: Secret('{"data": {}}'), "other": "1"}
