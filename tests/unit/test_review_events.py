"""An event log of the engine as a preview."""

import io
import json
from types import SimpleNamespace

import pytest
from pulumi.automation import EngineEvent

from review.events import EventLogError, lines, preview_of, read
from review.model import UNKNOWN as LATER
from review.model import Cost, Operation
from review.paths import ABSENT, look_up, parse
from review.stateful import kubernetes_kind, what_is_lost
from tests.support.review_log import KUBEFLOW, REDIS, SECRET, UNKNOWN, Log, deployment

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SET = "kubernetes:apps/v1:StatefulSet"
STACK = "pulumi:pulumi:Stack"


def of(log: Log, **more):
    return preview_of(read(log.lines), **more)


def test_operations_components_and_order():
    log = Log().step("same", STACK, "ml-platform-team", {}, {})
    log.step("create", DEPLOYMENT, "kubeflow/new", None, deployment("new", "a:1"), chain=KUBEFLOW)
    log.step("update", DEPLOYMENT, "kubeflow/a", {}, {}, {"spec": "update"}, chain=KUBEFLOW)
    log.step("delete", DEPLOYMENT, "kubeflow/old", {}, None, chain=KUBEFLOW)
    log.step("same", DEPLOYMENT, "kubeflow/same", {}, {}, chain=KUBEFLOW)
    for op in ("create-replacement", "replace", "delete-replaced"):
        log.step(op, SET, "redis/redis", {}, {}, {"spec.x": "update-replace"}, chain=REDIS)
    preview = of(log.end())
    assert preview.stack == "team"
    assert [(c.operation.word, c.name) for c in preview.changes] == [
        ("replace", "redis/redis"),
        ("delete", "kubeflow/old"),
        ("update", "kubeflow/a"),
        ("create", "kubeflow/new"),
    ]
    assert preview.unchanged == 1
    assert preview.finished
    assert preview.by_component() == {
        "Kubeflow": {Operation.CREATE: 1, Operation.UPDATE: 1, Operation.DELETE: 1},
        "Redis": {Operation.REPLACE: 1},
    }
    assert [change.name for change in preview.losses] == ["redis/redis"]


def test_fields_with_values_before_and_after():
    log = Log().step(
        "update",
        DEPLOYMENT,
        "kubeflow/a",
        deployment("a", "a:1", tty=True),
        deployment("a", "a:2", stdin=UNKNOWN),
        {
            "spec.template.spec.containers[0].image": "update",
            "spec.template.spec.containers[0].tty": "delete",
            "spec.template.spec.containers[0].stdin": "add-replace",
        },
    )
    image, stdin, tty = of(log).changes[0].fields
    assert (image.before, image.after, image.replaces) == ("a:1", "a:2", False)
    assert (stdin.before, stdin.after, stdin.replaces) == (None, LATER, True)
    assert (tty.before, tty.after) == ("true", None)


def test_a_provider_that_gives_no_detailed_difference():
    log = Log().step("update", "command:local:Command", "run", {"create": "a"}, {"create": "b"})
    log.events[0]["resourcePreEvent"]["metadata"]["diffs"] = ["create"]
    (field,) = of(log).changes[0].fields
    assert (field.path, field.before, field.after) == ("create", "a", "b")


def test_secrets_of_pulumi_are_hidden_and_a_change_of_one_is_known():
    log = Log().step(
        "update", DEPLOYMENT, "a", {"x": SECRET}, {"x": SECRET}, {"x": "update"}, chain=KUBEFLOW
    )
    (field,) = of(log).changes[0].fields
    assert (field.before, field.after, field.in_secret) == ("[secret]", "[secret]", True)


def test_violations_and_messages_are_sorted_and_said_once():
    urn = f"urn:pulumi:team::ml-platform::{KUBEFLOW}{DEPLOYMENT}::kubeflow/a"
    log = Log().violation("tags", "no tag", "advisory", urn).violation("z", "bad", "mandatory", urn)
    log.violation("tags", "no tag", "advisory", urn)
    log.says("warning", "<{%reset%}>careful<{%reset%}>\n").says("info", "no").says("error", "bad")
    preview = of(log)
    assert [(v.policy, v.mandatory, v.resource) for v in preview.violations] == [
        ("z", True, "Deployment kubeflow/a"),
        ("tags", False, "Deployment kubeflow/a"),
    ]
    assert [(m.severity, m.text) for m in preview.messages] == [
        ("error", "bad"),
        ("warning", "careful"),
    ]
    assert not preview.finished


def test_drift_is_what_a_refresh_found():
    log = Log()
    for name in ("kubeflow/same", "kubeflow/edited", "kubeflow/gone"):
        log.step("refresh", DEPLOYMENT, name, {"spec": 1}, {"spec": 1}, chain=KUBEFLOW)
    drifted = {"chain": KUBEFLOW, "kind": "resOutputsEvent"}
    log.step("refresh", DEPLOYMENT, "kubeflow/same", {"spec": 1}, {"spec": 1}, **drifted)
    log.step(
        "update",
        DEPLOYMENT,
        "kubeflow/edited",
        {"spec": 1},
        {"spec": 2},
        {"spec": "update"},
        **drifted,
    )
    log.step("delete", DEPLOYMENT, "kubeflow/gone", {"spec": 1}, None, **drifted)
    preview = of(log.end())
    assert [(c.operation.word, c.name) for c in preview.drift] == [
        ("delete", "kubeflow/gone"),
        ("update", "kubeflow/edited"),
    ]
    assert preview.drift[1].fields[0].after == "2"
    assert not preview.changes


@pytest.mark.parametrize(
    ("before", "after", "cost"),
    [
        (100, 120.5, Cost(100, 120.5)),
        ("100", {"eks": 73, "nodes": {"a": 10}}, Cost(100, 83)),
        (None, UNKNOWN, None),
        (
            "1,200.50 USD a month, list prices of 2026-05-01, eu-central-1",
            "at least 2,000.00 USD a month, list prices of 2026-05-01, eu-central-1",
            Cost(1200.5, 2000),
        ),
        ("2026-05-01", "soon", None),
    ],
)
def test_the_cost_that_a_stack_exports(before, after, cost):
    log = Log().step(
        "update",
        STACK,
        "ml-platform-team",
        {"monthlyCost": before},
        {"monthlyCost": after},
        kind="resOutputsEvent",
    )
    assert of(log).cost == cost
    assert of(log, cost=Cost(1, 2)).cost == Cost(1, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "empty"), ("{", "line 1 is not JSON"), ('{"steps": []}', "line 1 is no event")],
)
def test_what_is_no_log(text, problem):
    with pytest.raises(EventLogError, match=problem):
        read(io.StringIO(text))


def test_events_of_the_automation_api_are_the_same_log():
    log = Log().step("update", DEPLOYMENT, "a", {"x": 1}, {"x": 2}, {"x": "update"}, chain=REDIS)
    log.violation("tags", "no tag", "advisory").says("warning", "w").end()
    parsed = [EngineEvent.from_json(json.loads(line)) for line in log.lines]
    assert preview_of(read(lines(parsed))) == of(log)
    assert SimpleNamespace(**json.loads(next(iter(lines(parsed)))))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("spec.containers[0].image", ("spec", "containers", 0, "image")),
        ('metadata.labels["a.b/c"]', ("metadata", "labels", "a.b/c")),
        (r'["say \"hi\""].x', ('say "hi"', "x")),
        ("broken[", ("broken[",)),
        ("", ()),
    ],
)
def test_paths(path, keys):
    assert parse(path) == keys


def test_looking_up_what_is_not_there():
    assert look_up({"a": [1]}, ("a", 1)) is ABSENT
    assert look_up({"a": "text"}, ("a", 0)) is ABSENT
    assert look_up({"a": [1]}, ("a", 0)) == 1


def test_what_holds_data():
    assert kubernetes_kind("kubernetes:core/v1:Secret") == "/Secret"
    assert kubernetes_kind("aws:s3/bucket:Bucket") == ""
    for type_ in (
        "kubernetes:core/v1:PersistentVolumeClaim",
        "kubernetes:core/v1:Namespace",
        "kubernetes:apps/v1:StatefulSet",
        "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
        "mlplatform:kubernetes:CustomResourceDefinition",
        "aws:s3/bucketV2:BucketV2",
        "aws:rds/instance:Instance",
        "aws:elasticache/replicationGroup:ReplicationGroup",
    ):
        assert what_is_lost(type_), type_
    assert not what_is_lost("kubernetes:apps/v1:Deployment")
    assert not what_is_lost("aws:s3/bucketPolicy:BucketPolicy")
    minikube = "mlplatform:cluster:Minikube$command:local:Command"
    assert what_is_lost("command:local:Command", minikube, "cluster-machine")
    assert not what_is_lost("command:local:Command", minikube, "cluster-kubeconfig")
    assert not what_is_lost("command:local:Command")


def test_what_is_kept_in_the_cloud_is_not_lost():
    log = Log().step("delete", "aws:s3/bucket:Bucket", "b", {}, None, retainOnDelete=True)
    assert not of(log).losses
