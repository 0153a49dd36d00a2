"""What Check completes and Diff finds: the Kubernetes provider's contract, part one.

Each test names what it holds the plugin to: a page of the provider's documentation, or a file of
https://github.com/pulumi/pulumi-kubernetes (below, `provider/pkg/...`) as of v4.32.
"""

import re

import pytest
from provider_support import (
    Cluster,
    InitFailed,
    Object,
    Plugin,
    Refused,
    Start,
    annotated,
    config_map,
    encoded,
    obj,
    workload,
)

from provider.rpc import provider_pb2
from provider.values import UNKNOWN, Secret

pytest_plugins = ("provider_fixtures",)
pytestmark = pytest.mark.engine

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
NAMESPACE = "kubernetes:core/v1:Namespace"
Autonaming = provider_pb2.CheckRequest.AutonamingOptions


# --- Check ---------------------------------------------------------------------------------------


def nameless(**fields: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, **fields}


def test_a_nameless_object_is_named_after_its_resource_and_marked(kubernetes: Plugin):
    """https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming, and
    provider/pkg/metadata/naming.go: the name is the resource's, a dash and eight characters.
    """
    resource = kubernetes.resource(CONFIG_MAP, "settings")
    inputs, failures = resource.check(nameless())
    assert not failures
    assert re.fullmatch(r"settings-[0-9a-z]{8}", inputs["metadata"]["name"])
    assert inputs["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}


def test_the_same_seed_gives_the_same_name_and_another_seed_another(kubernetes: Plugin):
    """CheckRequest.randomSeed in pulumi's proto/pulumi/provider.proto: preview and update agree."""
    resource = kubernetes.resource(CONFIG_MAP)
    names = [resource.check(nameless(), seed=seed)[0]["metadata"]["name"] for seed in (b"a", b"a")]
    assert names[0] == names[1]
    assert resource.check(nameless(), seed=b"b")[0]["metadata"]["name"] != names[0]


def test_an_automatic_name_stays(kubernetes: Plugin):
    """provider/pkg/metadata/naming.go: an unnamed object adopts the name that it had."""
    resource = kubernetes.resource(CONFIG_MAP)
    resource.inputs, _ = resource.check(nameless(), seed=b"first")
    again, _ = resource.check(nameless(data={"a": "1"}), seed=b"second")
    assert again["metadata"] == resource.inputs["metadata"]


def test_the_engine_may_propose_a_name(kubernetes: Plugin):
    """https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming-configuration"""
    proposal = Autonaming(proposed_name="web-prod", mode=Autonaming.PROPOSE)
    inputs, _ = kubernetes.resource(CONFIG_MAP).check(nameless(), autonaming=proposal)
    assert inputs["metadata"]["name"] == "web-prod"


def test_the_engine_may_forbid_automatic_names(kubernetes: Plugin):
    """https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming-configuration"""
    disabled = Autonaming(mode=Autonaming.DISABLE)
    with pytest.raises(Refused, match=r"autonaming is disabled.*\.metadata\.name"):
        kubernetes.resource(CONFIG_MAP).check(nameless(), autonaming=disabled)


def test_a_name_that_is_given_or_not_known_yet_stands(kubernetes: Plugin):
    """provider/pkg/metadata/naming.go: a computed name is a name."""
    given = nameless(metadata={"name": "mine"})
    assert kubernetes.resource(CONFIG_MAP).check(given)[0] == given
    unknown = nameless(metadata={"name": UNKNOWN})
    assert kubernetes.resource(CONFIG_MAP).check(unknown)[0] == unknown


def test_generated_names_are_refused(kubernetes: Plugin):
    """https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/
    managing-resources-with-server-side-apply/: server-side apply needs a name.
    """
    with pytest.raises(Refused, match="generateName"):
        kubernetes.resource(CONFIG_MAP).check(nameless(metadata={"generateName": "a-"}))


def test_the_default_namespace_is_given_to_namespaced_kinds_only(start_kubernetes: Start):
    """https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/, `namespace`."""
    plugin = start_kubernetes({"namespace": "team-a"})
    inputs, _ = plugin.resource(CONFIG_MAP).check(nameless(metadata={"name": "x"}))
    assert inputs["metadata"]["namespace"] == "team-a"
    explicit, _ = plugin.resource(CONFIG_MAP).check(
        nameless(metadata={"name": "x", "namespace": "team-b"})
    )
    assert explicit["metadata"]["namespace"] == "team-b"
    cluster_wide, _ = plugin.resource(NAMESPACE).check(obj("v1", "Namespace", "", "x"))
    assert "namespace" not in cluster_wide["metadata"]


def test_metadata_that_only_the_server_writes_is_dropped(kubernetes: Plugin):
    """provider/pkg/provider/provider.go, normalizeInputs."""
    given = nameless(metadata={"name": "x", "creationTimestamp": None, "uid": "u", "generation": 3})
    assert kubernetes.resource(CONFIG_MAP).check(given)[0]["metadata"] == {"name": "x"}


def test_lists_are_refused(kubernetes: Plugin):
    """provider/pkg/provider/provider.go, Check: kinds that end in List are no resources."""
    with pytest.raises(Refused, match="list resources exist for compatibility"):
        kubernetes.resource(f"{CONFIG_MAP}List").check(
            {"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"name": "x"}, "items": []}
        )


def test_string_data_becomes_data_and_is_secret(kubernetes: Plugin):
    """provider/pkg/clients/unstructured.go: as the API server does; provider.go, annotateSecrets:
    what a Secret holds is secret even where the program did not say so.
    """
    given = obj("v1", "Secret", "a", "x", stringData={"k": "hunter2"}, data={"l": encoded("b")})
    inputs, _ = kubernetes.resource(SECRET).check(given)
    assert inputs["data"] == Secret({"k": encoded("hunter2"), "l": encoded("b")})
    assert "stringData" not in inputs


def test_secrets_of_the_program_stay_secret(kubernetes: Plugin):
    """provider/pkg/provider/provider.go, annotateSecrets: objects key by key, a list as a whole."""
    given = config_map("a", "x", {"open": "1", "closed": Secret("2")})
    inputs, _ = kubernetes.resource(CONFIG_MAP).check(given)
    assert inputs["data"] == {"open": "1", "closed": Secret("2")}
    container = {"name": "main", "image": "a", "args": ["b", Secret("3")]}
    given = obj("v1", "Pod", "a", "x", spec={"containers": [container], "hostname": "c"})
    inputs, _ = kubernetes.resource("kubernetes:core/v1:Pod").check(given)
    assert isinstance(inputs["spec"]["containers"], Secret)
    assert inputs["spec"]["hostname"] == "c"


@pytest.mark.parametrize(
    "expression",
    ["Ready", "jsonpath=.status.phase", "jsonpath={.status.phase}=", "jsonpath={.a[}", "[]"],
)
def test_a_bad_wait_for_is_an_error(kubernetes: Plugin, namespace: str, expression: str):
    """https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/ and
    provider/pkg/metadata/overrides.go, ReadyCondition. When it comes (Check or Create) is open.
    """
    given = annotated(config_map(namespace, "x"), waitFor=expression)
    resource = kubernetes.resource(CONFIG_MAP)
    _, failures = resource.check(given)
    if not failures:
        with pytest.raises((Refused, InitFailed)):
            resource.create(given)


# --- Diff ----------------------------------------------------------------------------------------

POD = {"containers": [{"name": "main", "image": "a"}]}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
SUBJECT = {"kind": "ServiceAccount", "name": "a", "namespace": "b"}
RBAC = "rbac.authorization.k8s.io"


def deployment(namespace: str, **spec: object) -> Object:
    return workload("Deployment", namespace, "x", replicas=0, **spec)


def every_kind(namespace: str) -> list[tuple[str, Object]]:
    """Objects of many kinds, such as a program gives them: with gaps, empties and quantities."""
    resources = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2}}
    odd = {
        "containers": [
            {
                "name": "main",
                "image": "a",
                "resources": resources,
                "env": [{"name": "A", "value": ""}, {"name": "B", "value": "b"}],
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
            }
        ],
        "hostNetwork": False,
        "imagePullSecrets": [],
        "nodeSelector": {},
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": None}],
        "schedulingGates": [{"name": "example.org/held"}],
    }
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1024Mi"}},
    }
    job_template = {"spec": {**POD, "restartPolicy": "Never", "schedulingGates": []}}
    port = {"port": 80}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {}}}}
    path["backend"]["service"]["port"] = {"number": 80}
    return [
        (CONFIG_MAP, config_map(namespace, "x")),
        (SECRET, obj("v1", "Secret", namespace, "x", stringData={"a": "b"})),
        ("kubernetes:core/v1:ServiceAccount", obj("v1", "ServiceAccount", namespace, "x")),
        (
            "kubernetes:core/v1:Service",
            obj("v1", "Service", namespace, "x", spec={"selector": {"a": "b"}, "ports": [port]}),
        ),
        (
            "kubernetes:core/v1:PersistentVolumeClaim",
            obj("v1", "PersistentVolumeClaim", namespace, "x", spec=claim),
        ),
        ("kubernetes:core/v1:Pod", obj("v1", "Pod", namespace, "x", spec=odd)),
        ("kubernetes:apps/v1:Deployment", deployment(namespace, pod=odd, paused=False)),
        ("kubernetes:apps/v1:StatefulSet", workload("StatefulSet", namespace, "x", replicas=0)),
        ("kubernetes:apps/v1:DaemonSet", workload("DaemonSet", namespace, "x", pod=odd)),
        (
            "kubernetes:batch/v1:Job",
            obj("batch/v1", "Job", namespace, "x", spec={"template": job_template}),
        ),
        (
            "kubernetes:batch/v1:CronJob",
            obj(
                "batch/v1",
                "CronJob",
                namespace,
                "x",
                spec={
                    "schedule": "0 0 1 1 *",
                    "suspend": False,
                    "jobTemplate": {"spec": {"template": job_template}},
                },
            ),
        ),
        (f"kubernetes:{RBAC}/v1:Role", obj(f"{RBAC}/v1", "Role", namespace, "x", rules=RULES)),
        (
            f"kubernetes:{RBAC}/v1:RoleBinding",
            obj(
                f"{RBAC}/v1",
                "RoleBinding",
                namespace,
                "x",
                roleRef={"apiGroup": RBAC, "kind": "Role", "name": "x"},
                subjects=[SUBJECT],
            ),
        ),
        (
            "kubernetes:networking.k8s.io/v1:NetworkPolicy",
            obj("networking.k8s.io/v1", "NetworkPolicy", namespace, "x", spec={"podSelector": {}}),
        ),
        (
            "kubernetes:networking.k8s.io/v1:Ingress",
            obj(
                "networking.k8s.io/v1",
                "Ingress",
                namespace,
                "x",
                spec={"rules": [{"http": {"paths": [path]}}]},
            ),
        ),
        (
            "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
            obj(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                namespace,
                "x",
                spec={
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
                    "minReplicas": 1,
                    "maxReplicas": 2,
                },
            ),
        ),
        (
            "kubernetes:policy/v1:PodDisruptionBudget",
            obj(
                "policy/v1",
                "PodDisruptionBudget",
                namespace,
                "x",
                spec={"selector": {"matchLabels": {"a": "b"}}, "maxUnavailable": "50%"},
            ),
        ),
    ]


@pytest.mark.parametrize("index", range(17), ids=[token for token, _ in every_kind("")])
def test_what_the_server_fills_in_is_no_change(kubernetes: Plugin, namespace: str, index: int):
    """https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/
    managing-resources-with-server-side-apply/ and provider.go, Diff: only what the program sets
    is compared, and it is normalised as the server does. A refresh changes nothing of that.
    """
    token, body = every_kind(namespace)[index]
    program = annotated(body, skipAwait="true")
    resource = kubernetes.resource(token).create(program)
    found = resource.diff(program)
    assert not found.some, found.changes
    resource.refresh()
    found = resource.diff(program)
    assert not found.some, found.changes


def claim(namespace: str, **spec: object) -> Object:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "delayed",
        **spec,
    }
    return obj("v1", "PersistentVolumeClaim", namespace, "x", spec=spec)


def job(namespace: str, image: str = "a", **spec: object) -> Object:
    held = {"schedulingGates": [{"name": "example.org/held"}], "restartPolicy": "Never"}
    pod = {"containers": [{"name": "main", "image": image}], **held}
    return obj("batch/v1", "Job", namespace, "x", spec={"template": {"spec": pod}, **spec})


def service(namespace: str, **spec: object) -> Object:
    return obj("v1", "Service", namespace, "x", spec={"ports": [{"port": 80}], **spec})


def relabelled(namespace: str) -> Object:
    body = deployment(namespace)
    labels = {"app": "other"}
    body["spec"]["selector"] = {"matchLabels": labels}
    body["spec"]["template"] = {**body["spec"]["template"], "metadata": {"labels": labels}}
    return body


REPLACED = {
    "Deployment selector": (
        "kubernetes:apps/v1:Deployment",
        deployment,
        relabelled,
        "spec.selector.matchLabels.app",
    ),
    "StatefulSet service": (
        "kubernetes:apps/v1:StatefulSet",
        lambda n: workload("StatefulSet", n, "x", replicas=0),
        lambda n: workload("StatefulSet", n, "x", replicas=0, serviceName="other"),
        "spec.serviceName",
    ),
    "Service address": (
        "kubernetes:core/v1:Service",
        lambda n: service(n, clusterIP="None"),
        service,
        "spec.clusterIP",
    ),
    "claim's class": (
        "kubernetes:core/v1:PersistentVolumeClaim",
        claim,
        lambda n: claim(n, storageClassName="standard"),
        "spec.storageClassName",
    ),
    "claim's modes": (
        "kubernetes:core/v1:PersistentVolumeClaim",
        claim,
        lambda n: claim(n, accessModes=["ReadWriteMany"]),
        "spec.accessModes[0]",
    ),
    "Job's template": (
        "kubernetes:batch/v1:Job",
        job,
        lambda n: job(n, image="b"),
        "spec.template.spec.containers[0].image",
    ),
    "Role of a binding": (
        f"kubernetes:{RBAC}/v1:RoleBinding",
        lambda n: obj(
            f"{RBAC}/v1",
            "RoleBinding",
            n,
            "x",
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": "a"},
        ),
        lambda n: obj(
            f"{RBAC}/v1",
            "RoleBinding",
            n,
            "x",
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": "b"},
        ),
        "roleRef.name",
    ),
    "Pod's command": (
        "kubernetes:core/v1:Pod",
        lambda n: obj("v1", "Pod", n, "x", spec={**POD, "schedulingGates": [{"name": "a.b/c"}]}),
        lambda n: obj(
            "v1",
            "Pod",
            n,
            "x",
            spec={
                "containers": [{**POD["containers"][0], "command": ["a"]}],
                "schedulingGates": [{"name": "a.b/c"}],
            },
        ),
        "spec.containers[0].command",
    ),
    "ConfigMap's contents": (
        CONFIG_MAP,
        lambda n: config_map(n, "x", {"a": "1"}),
        lambda n: config_map(n, "x", {"a": "2"}),
        "data.a",
    ),
    "Secret's contents": (
        SECRET,
        lambda n: obj("v1", "Secret", n, "x", stringData={"a.b": "1"}),
        lambda n: obj("v1", "Secret", n, "x", stringData={"a.b": "2"}),
        'data["a.b"]',
    ),
}


@pytest.mark.parametrize("case", REPLACED)
def test_fields_that_cannot_be_changed_replace(kubernetes: Plugin, namespace: str, case: str):
    """provider/pkg/provider/diff.go, and provider.go, Diff: an object that the program names is
    deleted before its successor is made, for both have the same name.
    """
    token, old, new, path = REPLACED[case]
    program = annotated(old(namespace), skipAwait="true")
    resource = kubernetes.resource(token).create(program)
    found = resource.diff(annotated(new(namespace), skipAwait="true"))
    assert path in found.replaces
    assert found.changes[path].endswith("_REPLACE")
    assert found.delete_before_replace


def test_an_autonamed_object_is_replaced_before_it_is_deleted(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Diff: the successor gets another name."""
    program = nameless(metadata={"namespace": namespace}, data={"a": "1"})
    resource = kubernetes.resource(CONFIG_MAP).create(program)
    found = resource.diff({**program, "data": {"a": "2"}})
    assert found.replaces == ["data.a"]
    assert not found.delete_before_replace


def test_another_name_or_namespace_is_another_object(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/diff.go: name and namespace always replace; nothing need go first."""
    resource = kubernetes.resource(CONFIG_MAP).create(config_map(namespace, "x"))
    renamed = resource.diff(config_map(namespace, "y"))
    assert (renamed.replaces, renamed.delete_before_replace) == (["metadata.name"], False)
    moved = resource.diff(config_map("elsewhere", "x"))
    assert (moved.replaces, moved.delete_before_replace) == (["metadata.namespace"], False)


def test_no_namespace_is_the_default_namespace(kubernetes: Plugin):
    """provider/pkg/provider/provider.go, canonicalNamespace."""
    resource = kubernetes.resource(CONFIG_MAP).create(config_map("", "contract-default"))
    assert not resource.diff(config_map("default", "contract-default")).some
    resource.delete()


def test_contents_change_in_place_on_demand(start_kubernetes: Start, namespace: str):
    """https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/,
    `enableConfigMapMutable` and `enableSecretMutable`; immutable ones are replaced even so.
    """
    plugin = start_kubernetes({"enableConfigMapMutable": "true", "enableSecretMutable": "true"})
    resource = plugin.resource(CONFIG_MAP).create(config_map(namespace, "x", {"a": "1"}))
    found = resource.diff(config_map(namespace, "x", {"a": "2", "b": "3"}))
    assert found.changes == {"data.a": "UPDATE", "data.b": "ADD"}
    assert not found.replaces

    secret = obj("v1", "Secret", namespace, "x", stringData={"a": "1"})
    resource = plugin.resource(SECRET).create(secret)
    assert resource.diff({**secret, "stringData": {"a": "2"}}).changes == {"data.a": "UPDATE"}

    frozen = {**config_map(namespace, "y", {"a": "1"}), "immutable": True}
    resource = plugin.resource(CONFIG_MAP).create(frozen)
    assert resource.diff({**frozen, "data": {"a": "2"}}).replaces == ["data.a"]


def test_other_fields_change_in_place(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Diff: the paths and kinds of each change."""
    program = annotated(
        deployment(namespace, paused=True, minReadySeconds=1), skipAwait="true", custom="a"
    )
    resource = kubernetes.resource("kubernetes:apps/v1:Deployment").create(program)
    changed = annotated(
        deployment(namespace, paused=True, revisionHistoryLimit=3), skipAwait="true", custom="b"
    )
    changed["spec"]["replicas"] = 2
    changed["spec"]["template"]["spec"]["containers"].append({"name": "second", "image": "b"})
    found = resource.diff(changed)
    assert found.changes == {
        'metadata.annotations["pulumi.com/custom"]': "UPDATE",
        "spec.minReadySeconds": "DELETE",
        "spec.replicas": "UPDATE",
        "spec.revisionHistoryLimit": "ADD",
        "spec.template.spec.containers[1]": "ADD",
    }
    assert found.some
    assert not found.replaces


def test_ignored_changes_are_none(kubernetes: Plugin, namespace: str):
    """https://www.pulumi.com/docs/iac/concepts/options/ignorechanges/"""
    program = annotated(deployment(namespace), skipAwait="true")
    resource = kubernetes.resource("kubernetes:apps/v1:Deployment").create(program)
    changed = annotated(deployment(namespace, minReadySeconds=5), skipAwait="true")
    changed["spec"]["replicas"] = 1
    found = resource.diff(changed, ignore=["spec.replicas"])
    assert found.changes == {"spec.minReadySeconds": "ADD"}
    assert not resource.diff(changed, ignore=["spec"]).some


def test_a_value_that_is_not_known_yet_is_a_change(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, addPatchValueToDiff: computed values are changes."""
    program = annotated(deployment(namespace), skipAwait="true")
    resource = kubernetes.resource("kubernetes:apps/v1:Deployment").create(program)
    changed = annotated(deployment(namespace, minReadySeconds=UNKNOWN), skipAwait="true")
    changed["spec"]["replicas"] = UNKNOWN
    assert resource.diff(changed).changes == {
        "spec.minReadySeconds": "ADD",
        "spec.replicas": "UPDATE",
    }


def test_what_somebody_changed_is_found_after_a_refresh(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """https://www.pulumi.com/docs/iac/cli/commands/pulumi_refresh/ and provider.go, Diff: without
    a refresh the last known object counts, with one the live one; fields of others don't.
    """
    program = annotated(deployment(namespace), skipAwait="true")
    resource = kubernetes.resource("kubernetes:apps/v1:Deployment").create(program)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/x"
    cluster.merge(path, {"spec": {"replicas": 3, "minReadySeconds": 9}})
    assert not resource.diff(program).some
    try:
        resource.refresh()
    except InitFailed as failed:
        resource.state, resource.inputs = failed.state, failed.inputs
    assert resource.diff(program).changes == {"spec.replicas": "UPDATE"}
