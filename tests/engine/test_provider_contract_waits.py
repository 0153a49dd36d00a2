"""How long an operation waits, and what ends it: the Kubernetes provider's contract, part three.

Each test names what it holds the plugin to: a page of the provider's documentation, or a file of
https://github.com/pulumi/pulumi-kubernetes (below, `provider/pkg/...`) as of v4.32. What every kind
waits for is at https://www.pulumi.com/blog/improving-kubernetes-management-with-pulumis-await-logic/
and in the comments of provider/pkg/await/<kind>.go.
"""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from provider_support import (
    HELD,
    Background,
    Cluster,
    InitFailed,
    Object,
    Plugin,
    Proxy,
    Refused,
    Resource,
    Start,
    annotated,
    condition,
    config_map,
    definition,
    eventually,
    obj,
    release_pods,
    workload,
)

pytest_plugins = ("provider_fixtures",)
pytestmark = pytest.mark.engine

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVICE = "kubernetes:core/v1:Service"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def pods(cluster: Cluster, namespace: str) -> list[Object]:
    return cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]


# --- workloads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_is_created_once_its_pods_are_ready(
    kubernetes: Plugin, cluster: Cluster, namespace: str, kind: str
):
    """provider/pkg/await/deployment.go, statefulset.go, daemonset.go. The state has the status."""
    resource = kubernetes.resource(f"kubernetes:apps/v1:{kind}")
    creation = Background(lambda: resource.create(workload(kind, namespace, "x", pod=HELD)))
    count = 3 if kind == "DaemonSet" else 1
    eventually(lambda: len(pods(cluster, namespace)) == count)
    assert not creation.done
    release_pods(cluster, namespace)
    status = creation.result().state["status"]
    found = status["numberReady"] if kind == "DaemonSet" else status["readyReplicas"]
    assert found == count


@pytest.mark.parametrize("kind", WORKLOADS)
def test_an_update_waits_for_the_new_pods(
    kubernetes: Plugin, cluster: Cluster, namespace: str, kind: str
):
    """provider/pkg/await/deployment.go, statefulset.go, daemonset.go: the rollout is complete."""
    resource = kubernetes.resource(f"kubernetes:apps/v1:{kind}")
    resource.create(workload(kind, namespace, "x"))
    old = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods(cluster, namespace)}
    resource.update(workload(kind, namespace, "x", pod={"terminationGracePeriodSeconds": 1}))
    now = [pod for pod in pods(cluster, namespace) if not pod["metadata"].get("deletionTimestamp")]
    assert {pod["spec"]["terminationGracePeriodSeconds"] for pod in now} == {1}
    assert not {pod["metadata"]["uid"] for pod in now} & set(old.values())
    assert {condition(pod, "Ready") for pod in now} == {"True"}


def test_a_workload_that_is_late_is_recorded_with_what_is_wrong(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """Annotation timeoutSeconds (https://www.pulumi.com/registry/packages/kubernetes/
    installation-configuration/) and provider.go, partialError: id and state are kept, so that
    the next update can go on and `destroy` can delete.
    """
    broken = annotated(
        workload("Deployment", namespace, "x", pod={"nodeSelector": {"no": "node"}}),
        timeoutSeconds="2",
    )
    resource = kubernetes.resource(DEPLOYMENT, "broken")
    with pytest.raises(InitFailed, match="failed to fully initialize or become live") as failed:
        resource.create(broken)
    assert "timed out" in str(failed.value)
    assert failed.value.id == f"{namespace}/x"
    assert failed.value.state["__inputs"] == resource.inputs
    assert failed.value.state["status"]["unavailableReplicas"] == 1
    assert any("node(s) didn't match" in reason for reason in failed.value.reasons)
    assert not resource.diff(broken).some
    resource.update(annotated(workload("Deployment", namespace, "x"), timeoutSeconds="60"))
    assert resource.state["status"]["readyReplicas"] == 1


def test_the_resource_option_goes_before_the_annotation(kubernetes: Plugin, namespace: str):
    """provider/pkg/metadata/overrides.go, TimeoutDuration."""
    broken = annotated(workload("Deployment", namespace, "x", pod=HELD), timeoutSeconds="100")
    began = time.monotonic()
    with pytest.raises(InitFailed, match="timed out"):
        kubernetes.resource(DEPLOYMENT).create(broken, timeout=1)
    assert 1 <= time.monotonic() - began < 5


def test_an_update_that_is_late_is_recorded(kubernetes: Plugin, namespace: str):
    """provider/pkg/provider/provider.go, Update."""
    resource = kubernetes.resource(DEPLOYMENT).create(workload("Deployment", namespace, "x"))
    with pytest.raises(InitFailed, match=f'"{namespace}/x" failed to fully initialize'):
        resource.update(workload("Deployment", namespace, "x", pod=HELD), timeout=1)
    assert resource.state["metadata"]["generation"] == 2
    assert resource.state["status"]["readyReplicas"] == 1


def test_nothing_is_waited_for_on_demand(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """Annotation skipAwait, https://www.pulumi.com/registry/packages/kubernetes/
    installation-configuration/; for some kinds it holds for the deletion too (overrides.go).
    """
    program = annotated(workload("Deployment", namespace, "x", pod=HELD), skipAwait="true")
    resource = kubernetes.resource(DEPLOYMENT)
    began = time.monotonic()
    resource.create(program)
    resource.update({**program, "spec": {**program["spec"], "minReadySeconds": 1}})
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/x"
    cluster.merge(path, {"metadata": {"finalizers": ["example.org/held"]}})
    resource.delete()
    assert time.monotonic() - began < 5
    assert cluster.get(path)["metadata"]["deletionTimestamp"]
    cluster.merge(path, {"metadata": {"finalizers": None}})


def job(namespace: str, **spec: object) -> Object:
    container = {"name": "main", "image": "example.org/none"}
    pod = {"containers": [container], "restartPolicy": "Never", **spec.pop("pod", {})}
    return obj("batch/v1", "Job", namespace, "x", spec={"template": {"spec": pod}, **spec})


def test_a_job_is_created_once_it_is_complete(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/job.go."""
    resource = kubernetes.resource("kubernetes:batch/v1:Job")
    creation = Background(lambda: resource.create(job(namespace, pod=HELD)))
    eventually(lambda: pods(cluster, namespace))
    assert not creation.done
    release_pods(cluster, namespace)
    assert creation.result().state["status"]["succeeded"] == 1


def test_a_job_that_gave_up_is_an_error_at_once(kubernetes: Plugin, namespace: str):
    """provider/pkg/await/checker/job/check.go: condition Failed."""
    resource = kubernetes.resource("kubernetes:batch/v1:Job")
    began = time.monotonic()
    with pytest.raises(InitFailed) as failed:
        resource.create(job(namespace, pod=HELD, activeDeadlineSeconds=1))
    assert time.monotonic() - began < 15
    assert "DeadlineExceeded" in f"{failed.value} {failed.value.reasons}"
    assert resource.id == f"{namespace}/x"


def test_a_job_that_gave_up_is_replaced_where_it_says_so(kubernetes: Plugin, namespace: str):
    """https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/#annotations"""
    resource = kubernetes.resource("kubernetes:batch/v1:Job")
    body = job(namespace, pod=HELD, activeDeadlineSeconds=1)
    with pytest.raises(InitFailed):
        resource.create(body)
    assert not resource.diff(body).some
    difference = resource.diff(annotated(body, replaceUnready="true"))
    assert difference.replaces
    assert difference.delete_before_replace


def test_a_pod_is_created_once_it_is_ready(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/pod.go."""
    spec = {"containers": [{"name": "main", "image": "example.org/none"}], **HELD}
    resource = kubernetes.resource("kubernetes:core/v1:Pod")
    creation = Background(lambda: resource.create(obj("v1", "Pod", namespace, "x", spec=spec)))
    eventually(lambda: pods(cluster, namespace))
    assert not creation.done
    release_pods(cluster, namespace)
    assert condition(creation.result().state, "Ready") == "True"


# --- what leads to workloads ---------------------------------------------------------------------


def test_services(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """provider/pkg/await/service.go: one that selects Pods has had no change of its Endpoints for
    ten seconds; one that selects none is ready at once; a load balancer has an address.
    """
    kubernetes.resource(DEPLOYMENT).create(workload("Deployment", namespace, "x"))

    def service(name: str, **spec: object) -> Object:
        return obj("v1", "Service", namespace, name, spec={"ports": [{"port": 80}], **spec})

    selector = {"app": "x"}
    programs = {
        "selecting": service("selecting", selector=selector),
        "bare": service("bare"),
        "headless": service("headless", selector=selector, clusterIP="None"),
        "external": service("external", type="ExternalName", externalName="example.org"),
        "skipped": annotated(service("skipped", selector=selector), skipAwait="true"),
        "balanced": service("balanced", type="LoadBalancer"),
    }
    made = {
        name: Background(lambda p=program, n=name: kubernetes.resource(SERVICE, n).create(p))
        for name, program in programs.items()
    }
    for name in ("bare", "headless", "external", "skipped"):
        made[name].result()
        assert made[name].seconds < 5, name
    path = f"/api/v1/namespaces/{namespace}/services/balanced"
    eventually(lambda: cluster.exists(path))
    assert not made["balanced"].done
    cluster.merge(
        f"{path}/status",
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
    )
    state = made["balanced"].result().state
    assert state["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1"
    made["selecting"].result()
    assert 9.5 < made["selecting"].seconds < 30


def test_a_load_balancer_without_an_address_is_an_error(kubernetes: Plugin, namespace: str):
    """provider/pkg/await/service.go, errorMessages."""
    program = obj(
        "v1",
        "Service",
        namespace,
        "x",
        spec={"ports": [{"port": 80}], "type": "LoadBalancer", "selector": {"a": "b"}},
    )
    with pytest.raises(InitFailed) as failed:
        kubernetes.resource(SERVICE).create(program, timeout=1)
    # Without Pods to send to, an official plugin may name only those.
    assert failed.value.reasons
    assert failed.value.id == f"{namespace}/x"


def test_an_ingress_is_created_once_it_has_an_address_and_its_services_are_there(
    kubernetes: Plugin, cluster: Cluster, namespace: str
):
    """provider/pkg/await/ingress.go."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    program = obj(
        "networking.k8s.io/v1",
        "Ingress",
        namespace,
        "x",
        spec={"rules": [{"http": {"paths": [path]}}]},
    )
    resource = kubernetes.resource("kubernetes:networking.k8s.io/v1:Ingress")
    creation = Background(lambda: resource.create(program))
    here = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/x"
    address = {"status": {"loadBalancer": {"ingress": [{"hostname": "web.example.org"}]}}}
    eventually(lambda: cluster.exists(here))
    cluster.merge(f"{here}/status", address)
    assert not creation.done
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}}}
    service["spec"]["ports"] = [{"port": 80}]
    cluster.post(f"/api/v1/namespaces/{namespace}/services", service)
    state = creation.result(15).state
    assert state["status"]["loadBalancer"]["ingress"] == [{"hostname": "web.example.org"}]


@pytest.mark.parametrize(
    ("storage_class", "phase"), [("standard", "Bound"), ("delayed", "Pending")]
)
def test_a_claim_is_bound_or_waits_for_its_first_consumer(
    kubernetes: Plugin, namespace: str, storage_class: str, phase: str
):
    """provider/pkg/await/awaiters.go, untilCoreV1PersistentVolumeClaimReady."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage_class,
    }
    program = obj("v1", "PersistentVolumeClaim", namespace, "x", spec=spec)
    resource = kubernetes.resource(CLAIM).create(program)
    assert resource.state["status"]["phase"] == phase
    resource.delete()


def test_a_claim_that_nobody_can_bind_is_late(kubernetes: Plugin, namespace: str):
    """provider/pkg/await/awaiters.go, untilCoreV1PersistentVolumeClaimReady."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    program = obj("v1", "PersistentVolumeClaim", namespace, "x", spec=spec)
    with pytest.raises(InitFailed) as failed:
        kubernetes.resource(CLAIM).create(program, timeout=1)
    assert failed.value.state["status"]["phase"] == "Pending"


@pytest.mark.usefixtures("stand_in")
def test_a_definition_is_created_once_it_is_established(kubernetes: Plugin, namespace: str):
    """The official plugin returns at once. With either, a custom resource can follow."""
    token = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
    group = f"established-{secrets.token_hex(3)}.example.org"
    definition_ = kubernetes.resource(token).create(definition(group, "Thing"))
    assert condition(definition_.state, "Established") == "True"
    thing = kubernetes.resource(f"kubernetes:{group}/v1:Thing", f"{group}-thing")
    thing.create(obj(f"{group}/v1", "Thing", namespace, "x"))
    assert thing.id == f"{namespace}/x"


# --- conditions of one's own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "first", "second"),
    [
        ("condition=Ready", {"conditions": [{"type": "Ready", "status": "False"}]}, None),
        ("condition=Ready=Unknown", {"conditions": [{"type": "Ready", "status": "False"}]}, None),
        ("jsonpath={.status.phase}=Running", {"phase": "Pending"}, {"phase": "Running"}),
        ("jsonpath={.status.address}", {"phase": "Running"}, {"address": "192.0.2.1"}),
        (
            '["jsonpath={.status.phase}=Running", "condition=Ready"]',
            {"phase": "Running"},
            {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        ),
    ],
)
def test_a_custom_resource_waits_for_what_it_says(
    kubernetes: Plugin,
    cluster: Cluster,
    namespace: str,
    expression: str,
    first: Object,
    second: Object | None,
):
    """Annotation waitFor, provider/pkg/metadata/overrides.go, ReadyCondition."""
    if second is None:
        wanted = expression.removeprefix("condition=Ready").removeprefix("=") or "True"
        second = {"conditions": [{"type": "Ready", "status": wanted}]}
    group, path = things(cluster)
    resource = kubernetes.resource(f"kubernetes:{group}/v1:Thing")
    program = annotated(obj(f"{group}/v1", "Thing", namespace, "x"), waitFor=expression)
    creation = Background(lambda: resource.create(program))
    here = f"{path}/namespaces/{namespace}/things/x"
    eventually(lambda: cluster.exists(here))
    cluster.merge(here, {"status": first})
    assert not creation.done
    cluster.merge(here, {"status": second})
    assert creation.result().state["status"] == second | {
        key: value for key, value in first.items() if key not in second
    }


def things(cluster: Cluster) -> tuple[str, str]:
    """A kind of custom resources for all tests: its group and API path."""
    group = "waiting.example.org"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if not cluster.exists(f"{definitions}/things.{group}"):
        cluster.post(definitions, definition(group, "Thing"))
        eventually(lambda: cluster.get(f"/apis/{group}/v1/things"))
    return group, f"/apis/{group}/v1"


# --- cancellation --------------------------------------------------------------------------------


def test_a_cancelled_operation_ends_soon_and_is_recorded(
    start_kubernetes: Start, cluster: Cluster, namespace: str
):
    """provider/pkg/provider/provider.go, Cancel, and await/error.go, cancellationError."""
    plugin = start_kubernetes()
    late = plugin.resource(DEPLOYMENT, "late")
    creation = Background(
        lambda: late.create(workload("Deployment", namespace, "x", pod=HELD), timeout=60)
    )
    stuck = plugin.resource(CONFIG_MAP, "stuck").create(
        config_map(namespace, "x", finalizers=["example.org/held"])
    )
    deletion = Background(lambda: stuck.delete(timeout=60))
    nowhere = plugin.resource(CONFIG_MAP, "nowhere")
    missing = Background(lambda: nowhere.create(config_map(f"{namespace}-none", "x")))
    eventually(lambda: pods(cluster, namespace))
    path = f"/api/v1/namespaces/{namespace}/configmaps/x"
    eventually(lambda: cluster.get(path)["metadata"].get("deletionTimestamp"))
    eventually(lambda: "Retry" in plugin.engine.said(nowhere.urn))
    began = time.monotonic()
    plugin.cancel()
    with pytest.raises(InitFailed):
        creation.result()
    with pytest.raises((Refused, InitFailed)):
        deletion.result()
    with pytest.raises(Refused):
        missing.result()
    assert time.monotonic() - began < 3
    assert late.id == f"{namespace}/x"
    assert late.state["metadata"]["uid"]
    cluster.merge(path, {"metadata": {"finalizers": None}})


# --- many at once --------------------------------------------------------------------------------


def at_once(operations: list[Callable[[], object]]) -> float:
    """Run operations side by side; seconds until all are through."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(operations)) as pool:
        list(pool.map(lambda operation: operation(), operations))
    return time.monotonic() - began


def test_a_hundred_objects_at_once(
    kubernetes: Plugin, cluster: Cluster, namespace: str, record_property: Callable
):
    """The engine's default parallelism is 16, and users raise it: `pulumi up --parallel 100`."""
    before = kubernetes.errors
    resources = [kubernetes.resource(CONFIG_MAP, f"x{i}") for i in range(100)]
    seconds = at_once(
        [
            lambda r=resource, i=i: r.create(config_map(namespace, f"x{i}", {"a": "b" * 500}))
            for i, resource in enumerate(resources)
        ]
    )
    record_property("seconds", seconds)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    names = {item["metadata"]["name"] for item in cluster.get(path)["items"]}
    assert names >= {f"x{i}" for i in range(100)}
    assert {resource.id for resource in resources} == {f"{namespace}/x{i}" for i in range(100)}
    at_once([resource.delete for resource in resources])
    names = {item["metadata"]["name"] for item in cluster.get(path)["items"]}
    assert not names & {f"x{i}" for i in range(100)}
    assert kubernetes.errors == before
    assert seconds < 10


def test_many_waits_at_once(kubernetes: Plugin, cluster: Cluster, namespace: str):
    """As many as are waited for, there is one watch a kind and no polling."""

    def create(name: str) -> Resource:
        program = workload("Deployment", namespace, name, pod=HELD)
        return kubernetes.resource(DEPLOYMENT, name).create(program)

    creations = [Background(lambda name=f"x{i}": create(name)) for i in range(30)]
    eventually(lambda: len(pods(cluster, namespace)) == 30)
    assert not any(creation.done for creation in creations)
    release_pods(cluster, namespace)
    for creation in creations:
        assert creation.result().state["status"]["readyReplicas"] == 1


# --- a server that goes away ---------------------------------------------------------------------


def test_a_wait_outlasts_a_lost_api_server(
    start_kubernetes: Start, cluster: Cluster, namespace: str
):
    """provider/pkg/await/informers/factory.go: an informer lists and watches again."""
    proxy = Proxy(cluster.kubeconfig)
    plugin = start_kubernetes(kubeconfig=proxy.kubeconfig)
    resource = plugin.resource(DEPLOYMENT)
    creation = Background(
        lambda: resource.create(workload("Deployment", namespace, "x", pod=HELD), timeout=120)
    )
    eventually(lambda: pods(cluster, namespace))
    proxy.cut()
    release_pods(cluster, namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/x"
    eventually(lambda: cluster.get(path)["status"].get("readyReplicas") == 1)
    assert not creation.done
    proxy.open()
    assert creation.result().state["status"]["readyReplicas"] == 1
    proxy.cut()


@pytest.mark.usefixtures("stand_in")
def test_operations_wait_a_moment_for_a_lost_api_server(
    start_kubernetes: Start, cluster: Cluster, namespace: str
):
    """The official plugin fails at once, except where its HTTP client tries a read again."""
    proxy = Proxy(cluster.kubeconfig)
    plugin = start_kubernetes({"upsertExistingObjects": "true"}, kubeconfig=proxy.kubeconfig)
    there = plugin.resource(CONFIG_MAP, "there").create(config_map(namespace, "there"))
    proxy.cut()
    new = plugin.resource(CONFIG_MAP, "new")
    waiting = [
        Background(lambda: new.create(config_map(namespace, "new"))),
        Background(there.read),
        Background(lambda: new.plugin.resource(CONFIG_MAP).preview(config_map(namespace, "no"))),
    ]
    time.sleep(1)
    assert not any(operation.done for operation in waiting)
    proxy.open()
    for operation in waiting:
        operation.result()
    there.delete()
    proxy.cut()
