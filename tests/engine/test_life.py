"""The whole life of the platform on a sandbox: 611 objects, the real engine, a real API server.

The tests follow one another on one cluster. One that needs the platform as it comes asks for
`settled`, which brings it back there only where the one before left it otherwise.
"""

import base64
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from life_support import (
    CREDENTIALS,
    KUBEFLOW,
    Begun,
    Object,
    Platform,
    Run,
    Step,
    awaited,
    keys_of,
    located,
    names_of,
)

from backup.cluster import Cluster
from backup.select import select, users_namespaces
from components.kubeflow import access
from components.kubeflow.catalog import read
from sandbox.api import STRATEGIC_PATCH
from sandbox.audit import ObjectKey
from sandbox.contents import applied

pytestmark = pytest.mark.engine

KATIB_UI = "kubernetes:apps/v1:Deployment::kubeflow/katib-ui"
DASHBOARD = "kubernetes:apps/v1:Deployment::kubeflow/centraldashboard"
TEMPLATES = "kubernetes:core/v1:ConfigMap::kubeflow/trial-templates"
DEX = "kubernetes:apps/v1:Deployment::auth/dex"


@pytest.fixture
def settled(platform: Platform, begun: Begun) -> Platform:
    """The platform with the settings that it comes with."""
    if platform.standing != {}:
        run = platform.up()
        assert not run.error, run.error[-4000:]
    return platform


def ok(run: Run) -> Run:
    assert not run.error, run.error[-4000:]
    return run


def secret(live: Mapping[ObjectKey, Object], namespace: str, name: str) -> dict[str, str]:
    """The values of the one Secret whose name begins so."""
    [data] = [
        body["data"]
        for key, body in live.items()
        if (key.resource, key.namespace) == ("secrets", namespace) and key.name.startswith(name)
    ]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


# --- the first runs ------------------------------------------------------------------------------


def test_a_preview_of_an_empty_cluster_shows_every_object_and_writes_nothing(platform, begun):
    run = ok(begun.preview)
    assert run.changed == dict.fromkeys(names_of(platform.plan()), "create")
    assert len(run.changed) > 600
    assert run.audit.writes == 0
    assert begun.previewed == platform.before


def test_up_creates_every_object_of_the_plan_and_nothing_else(platform, begun):
    plan = platform.plan()
    assert begun.up.changed == dict.fromkeys(names_of(plan), "create")
    wanted = {*keys_of(plan).values(), CREDENTIALS}
    found = applied(begun.live) - applied(platform.before)
    assert wanted - found == set()
    namespaces = {key.name for key in wanted if key.resource == "namespaces"}
    # What a cluster makes by itself, and the Secrets that cert-manager fills.
    made = {
        *(ObjectKey("", "serviceaccounts", name, "default") for name in namespaces),
        *(ObjectKey("", "configmaps", name, "kube-root-ca.crt") for name in namespaces),
        *(
            ObjectKey("", "secrets", key.namespace, begun.live[key]["spec"]["secretName"])
            for key in wanted
            if key.resource == "certificates" and key.group == "cert-manager.io"
        ),
    }
    others = {key for key in found - wanted if key.resource != "apiservices"}
    assert others == made


def test_every_object_is_in_the_state_and_nothing_else(platform, settled):
    refs = keys_of(platform.plan())
    kept = [
        resource
        for resource in platform.resources()
        if resource["type"].startswith("kubernetes:")
        or resource["type"].endswith(":CustomResourceDefinition")
    ]
    assert len(kept) == len(refs)
    assert sorted(r["id"].rpartition("/")[2] for r in kept) == sorted(r.name for r in refs)
    assert not platform.state()["latest"].get("pending_operations")


def test_workloads_are_ready_once_up_returns(begun):
    for key, body in begun.live.items():
        if key.resource in ("deployments", "statefulsets"):
            wanted = body["spec"].get("replicas", 1)
            assert body["status"].get("readyReplicas", 0) == wanted, key


# --- access --------------------------------------------------------------------------------------


def test_the_generated_password_is_the_one_that_dex_knows(platform, begun):
    password = begun.up.outputs["password"]
    assert len(password.value) >= 20
    hashed = secret(begun.live, "auth", "dex-passwords")["DEX_USER_PASSWORD"]
    assert access.verify(password.value, hashed)
    assert not access.verify("12341234", hashed)


def test_no_credential_of_upstream_is_in_any_live_object(begun):
    assert access.find_defaults(begun.live.values(), access.DEFAULT_EMAIL) == []
    # The same search does find them where they are.
    default = {"data": {"x": base64.b64encode(b"minio123").decode()}}
    assert access.find_defaults([{"kind": "Secret", "metadata": {"name": "x"}, **default}])


def test_secrets_reach_everybody_who_shares_them(begun):
    live, kept = begun.live, secret(begun.live, *("kube-system", "ml-platform-credentials"))
    clients = [
        values["OIDC_CLIENT_SECRET" if namespace == "auth" else "client-secret"]
        for namespace, name in (("auth", "dex-oidc-client"), ("oauth2-proxy", "oauth2-proxy"))
        for values in [secret(live, namespace, name)]
    ]
    assert clients == [kept["oidc_client_secret"]] * 2
    storage = secret(live, "kubeflow", "mlpipeline-minio-artifact")
    assert storage["secretkey"] == kept["object_store_secret_key"]
    assert (
        secret(live, "kubeflow", "mysql-secret")["password"]
        == (kept["pipelines_database_password"])
    )
    assert len({kept[name] for name in access.GENERATED}) == len(access.GENERATED)


def test_secrets_are_in_the_open_neither_in_the_state_nor_in_what_the_engine_says(
    platform, settled, begun
):
    values = [
        *secret(begun.live, "kube-system", "ml-platform-credentials").values(),
        secret(begun.live, "auth", "dex-passwords")["DEX_USER_PASSWORD"],
        platform.sandbox.kubeconfig.read_text().partition('"client-key-data": "')[2][:200],
    ]
    texts = {
        "state": platform.state_text(),
        "output": "\n".join(platform.said),
        "settings": "".join(p.read_text() for p in (platform.home / "workspace").iterdir()),
    }
    for value in values:
        assert len(value) >= 16
        for form in (value, base64.b64encode(value.encode()).decode()):
            assert [name for name, text in texts.items() if form in text] == []


def test_outputs_that_are_secret(begun):
    outputs = begun.up.outputs
    assert {name for name, output in outputs.items() if output.secret} == {"password", "kubeconfig"}
    assert outputs["url"].value == "http://localhost:8080"
    assert outputs["email"].value == access.DEFAULT_EMAIL


# --- nothing to do -------------------------------------------------------------------------------


def test_up_again_changes_nothing_and_writes_nothing(settled):
    before = settled.live.uids()
    run = ok(settled.up())
    assert run.ops == {}
    assert (run.audit.writes, run.audit.dry_runs) == (0, 0)
    assert settled.live.uids() == before


def test_a_preview_of_a_full_cluster_shows_nothing(settled):
    run = ok(settled.preview())
    assert run.ops == {}
    assert run.audit.writes == 0


# --- one setting ---------------------------------------------------------------------------------


def test_a_backup_of_a_platform_that_nobody_has_used_has_the_platforms_state_alone(settled):
    cluster = Cluster(str(settled.sandbox.admin_kubeconfig), "")
    world = cluster.world(users_namespaces)
    assert "Profile/kubeflow-user-example-com" in {
        f"{body['kind']}/{body['metadata']['name']}" for body in world.objects
    }
    chosen = select(world)
    assert [one.name for one in chosen.databases] == ["katib-mysql", "mysql"]
    assert [f"{one.namespace}/{one.claim}" for one in chosen.volumes] == ["kubeflow/minio-pvc"]
    assert [(body["kind"], body["metadata"]["name"]) for body in chosen.objects] == []
    assert (chosen.over, chosen.left_out) == ((), ())


def test_another_address_moves_only_what_holds_it(settled):
    run = ok(settled.up(userEmail="me@example.org"))
    assert run.changed == {
        "kubernetes:core/v1:ConfigMap::auth/dex": "update",
        "kubernetes:core/v1:ConfigMap::default/default-install-config-9h2h2b6hbk": "update",
        "kubernetes:kubeflow.org/v1beta1:Profile::kubeflow-user-example-com": "update",
        DEX: "update",
    }
    assert run.audit.writes == 4
    assert run.audit.failed == run.audit.repeated == []
    assert access.find_defaults(settled.live.bodies().values(), "me@example.org") == []


def test_another_password_moves_only_what_holds_it(settled):
    run = ok(settled.up(userPassword="correct horse battery"))
    assert run.changed == {
        "mlplatform:access:Credentials::kubeflow-credentials": "update",
        "kubernetes:core/v1:Secret::auth/dex-passwords": "update",
        DEX: "update",
    }
    live = settled.live.bodies()
    hashed = secret(live, "auth", "dex-passwords")["DEX_USER_PASSWORD"]
    assert access.verify("correct horse battery", hashed)
    assert run.outputs["password"].value == "correct horse battery"
    assert "correct horse" not in run.output + settled.state_text()
    assert "correct horse" not in (settled.home / "workspace" / "Pulumi.life.yaml").read_text()


def test_settings_that_are_for_people_move_no_object(settled):
    run = ok(settled.preview(dashboardPort=9090, timeoutMinutes=7))
    assert run.changed == {}


def test_patches_and_transforms_move_what_they_name(settled, tmp_path: Path):
    patch, code = tmp_path / "patch.yaml", tmp_path / "change.py"
    patch.write_text(
        "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 2}\n"
        "metadata: {name: centraldashboard, namespace: kubeflow}\n"
    )
    code.write_text(
        "def drop(body):\n"
        "    return None if body['metadata']['name'] == 'trial-templates' else body\n"
        "def pin(body):\n"
        "    if (body['kind'], body['metadata']['name']) == ('Deployment', 'katib-ui'):\n"
        "        body['spec']['template']['spec']['containers'][0]['image'] += '-slim'\n"
        "    return body\n"
    )
    run = ok(
        settled.preview(
            kubeflowPatches=[str(patch)], kubeflowTransforms=[f"{code}:drop", f"{code}:pin"]
        )
    )
    assert run.steps == {
        DASHBOARD: Step("update", {"spec.replicas": "update"}),
        KATIB_UI: Step("update", {"spec.template.spec.containers[0].image": "update"}),
        TEMPLATES: Step("delete"),
    }


def test_a_component_that_is_left_out_goes_alone_and_comes_back(settled):
    names = list(read(KUBEFLOW).components)
    rest = [name for name in names if name != "spark-operator"]
    before = settled.live.uids()
    gone = names_of(settled.plan()) - names_of(settled.plan(kubeflowComponents=rest))
    assert len(gone) == 20
    run = ok(settled.up(kubeflowComponents=rest))
    assert run.changed == dict.fromkeys(gone, "delete")
    assert run.audit.failed == []

    run = ok(settled.up())
    assert run.changed == dict.fromkeys(gone, "create")
    after = settled.live.uids()
    assert applied(after) == applied(before)
    kept = {key for key in applied(before) if "spark" not in key.name + key.group}
    assert [key for key in kept if after[key] != before[key]] == []


def test_a_new_version_moves_only_what_differs(settled, tmp_path: Path):
    """Also where upstream's files come in another order and something unrelated is added."""
    copy = tmp_path / "manifests"
    shutil.copytree(KUBEFLOW, copy)
    katib = copy / "applications/katib/upstream/installs/katib-with-kubeflow/kustomization.yaml"
    text = katib.read_text()
    assert text.count("newTag: v0.18.0") == 3
    katib.write_text(text.replace("newTag: v0.18.0", "newTag: v0.18.1"))
    example = copy / "example" / "kustomization.yaml"
    head, resources, tail = example.read_text().partition("resources:\n")
    entries = [line for line in tail.splitlines() if line.startswith("- ")]
    (copy / "example" / "extra.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: kubeflow}\n"
    )
    reordered = [*reversed(entries), "- extra.yaml"]
    rest = [line for line in tail.splitlines() if line not in entries]
    example.write_text("\n".join([head + resources, *reordered, *rest]))
    run = ok(settled.preview(kubeflowPath=str(copy)))
    image = Step("update", {"spec.template.spec.containers[0].image": "update"})
    assert run.steps == {
        "kubernetes:apps/v1:Deployment::kubeflow/katib-controller": image,
        "kubernetes:apps/v1:Deployment::kubeflow/katib-db-manager": image,
        KATIB_UI: image,
        "kubernetes:core/v1:ConfigMap::kubeflow/extra": Step("create"),
    }


# --- drift ---------------------------------------------------------------------------------------


def test_drift_is_shown_and_put_back(settled):
    live = settled.live
    before = live.bodies()
    edited = "/apis/apps/v1/namespaces/kubeflow/deployments/katib-ui"
    image = {"name": "katib-ui", "image": "example.org/evil"}
    live.client.request(
        "PATCH",
        edited,
        {"spec": {"replicas": 0, "template": {"spec": {"containers": [image]}}}},
        STRATEGIC_PATCH,
    )
    live.merge("/api/v1/namespaces/kubeflow/secrets/mysql-secret", {"data": {"password": "eA=="}})
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/experiments.kubeflow.org"
    live.merge(crd, {"spec": {"names": {"categories": ["all"]}}})
    live.delete("/api/v1/namespaces/kubeflow/configmaps/trial-templates")
    live.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/katib-ui")
    live.delete("/api/v1/namespaces/kube-system/secrets/ml-platform-credentials")
    # A field that no manifest sets is its owner's.
    live.merge(edited, {"metadata": {"labels": {"team": "blue"}}})

    secret_name = "kubernetes:core/v1:Secret::kubeflow/mysql-secret"
    crd_name = "mlplatform:kubernetes:CustomResourceDefinition::experiments.kubeflow.org"
    binding = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding::katib-ui"
    made = "mlplatform:access:Credentials::kubeflow-credentials"
    found = {
        KATIB_UI: "update",
        secret_name: "update",
        crd_name: "update",
        made: "update",
        TEMPLATES: "delete",
        binding: "delete",
    }
    mending = {**found, TEMPLATES: "create", binding: "create"}

    run = ok(settled.preview(refresh=True))
    assert run.ops == mending
    assert run.steps[KATIB_UI].diff["spec.template.spec.containers[0].image"] == "update"
    assert '"example.org/evil" => "ghcr.io/kubeflow/katib/katib-ui:v0.18.0"' in run.output
    assert run.audit.writes == 0

    run = ok(settled.refresh())
    assert {name: step.op for name, step in run.drift.items()} == found
    assert run.audit.writes == 0

    run = ok(settled.up())
    assert run.ops == mending
    assert (run.audit.writes, run.audit.failed, run.audit.repeated) == (6, [], [])
    after = live.bodies()
    for key in (
        ObjectKey("apps", "deployments", "kubeflow", "katib-ui"),
        ObjectKey("apiextensions.k8s.io", "customresourcedefinitions", "", crd.rpartition("/")[2]),
    ):
        assert after[key]["spec"] == before[key]["spec"]
    for key in (
        CREDENTIALS,
        ObjectKey("", "secrets", "kubeflow", "mysql-secret"),
        ObjectKey("", "configmaps", "kubeflow", "trial-templates"),
    ):
        assert after[key]["data"] == before[key]["data"]
    labels = after[ObjectKey("apps", "deployments", "kubeflow", "katib-ui")]["metadata"]["labels"]
    assert labels["team"] == "blue"
    assert applied(after) == applied(before)
    assert ok(settled.preview(refresh=True)).ops == {}


# --- the end, and again --------------------------------------------------------------------------


def test_destroy_leaves_an_empty_cluster_in_the_right_order(settled):
    plan = settled.plan()
    keys = keys_of(plan)
    run = ok(settled.destroy())
    settled.assert_empty()
    assert set(run.changed) == names_of(plan)
    assert run.audit.failed == []
    deleted = {
        located(e.key): e for e in run.requests if e.user == "deployer" and e.verb == "delete"
    }
    assert set(deleted) == {*keys.values(), CREDENTIALS}
    assert run.audit.writes == len(deleted)
    # What waits for another on the way up is gone before it on the way down: custom resources
    # before their definitions, what a webhook admits before its server, all before namespaces.
    early = [
        f"{source} before {target}"
        for source, target in awaited(plan)
        if deleted[keys[target]].received < deleted[keys[source]].answered
    ]
    assert early == []
    assert settled.resources() == []


def signalled(number: signal.Signals, at: int):
    """Sends a signal to the engine once so many steps are done."""

    def watch(done: int) -> None:
        if done == at:
            for child in psutil.Process().children():
                if child.name() == "pulumi":
                    os.kill(child.pid, number)

    return watch


BROKEN = """
def invalid(body):
    if (body["kind"], body["metadata"]["name"]) == ("Deployment", "centraldashboard"):
        body["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 99999
    return body
def unready(body):
    if (body["kind"], body["metadata"]["name"]) == ("Deployment", "katib-ui"):
        body["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "gold"}
    return body
"""


def test_interrupted_then_broken_then_mended(platform, begun, tmp_path: Path):
    if platform.resources():
        ok(platform.destroy())
    keys = keys_of(platform.plan())
    code = tmp_path / "broken.py"
    code.write_text(BROKEN)

    run = platform.up(signalled(signal.SIGINT, at=200))
    assert run.error
    assert run.audit.failed == []
    interrupted = platform.live.uids()
    assert 100 < len(applied(interrupted)) - len(applied(platform.before)) < 600
    # What was done is in the state.
    assert 150 < len(platform.resources()) < 600
    assert not platform.state()["latest"].get("pending_operations")

    run = platform.up(kubeflowTransforms=[f"{code}:invalid"])
    assert run.failed == {DASHBOARD}
    assert "Invalid value: 99999: must be between 1 and 65535" in run.error
    assert [e.key.name for e in run.audit.failed] == ["centraldashboard"]
    invalid = platform.live.uids()
    assert recreated(interrupted, invalid) == []

    run = platform.up(kubeflowTransforms=[f"{code}:unready"], timeoutMinutes=1)
    assert run.failed == {KATIB_UI}
    assert "waiting for Deployment kubeflow/katib-ui timed out after 60 s" in run.error
    assert "3 node(s) didn't match Pod's node affinity/selector" in run.error
    assert run.audit.failed == []
    # All the others are there, and those from before are the same.
    unready = platform.live.uids()
    assert set(keys.values()) <= set(unready)
    assert recreated(invalid, unready) == []

    run = ok(platform.up())
    assert run.changed == {KATIB_UI: "update"}
    assert run.audit.failed == []
    mended = platform.live.uids()
    assert recreated(unready, mended) == []
    assert ok(platform.preview(refresh=True)).ops == {}

    ok(platform.destroy())
    platform.assert_empty()


def recreated(before: Mapping[ObjectKey, str], after: Mapping[ObjectKey, str]) -> list[ObjectKey]:
    """What is no longer the object that it was."""
    return [key for key in applied(before) if after.get(key) != before[key]]
