"""When an object is ready, waiting or failed: every kind, and the annotations that change it."""

import pytest

from provider.readiness import (
    ALONE,
    State,
    Surroundings,
    judge,
    judged_on_read,
    pod_troubles,
    rule_for,
    timeout_of,
)

READY, WAITING, FAILED = State.READY, State.WAITING, State.FAILED


def obj(api_version, kind, spec=None, status=None, annotations=None, generation=1, **more):
    metadata = {"name": "x", "namespace": "ns", "generation": generation}
    if annotations:
        metadata["annotations"] = annotations
    found = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}
    if spec is not None:
        found["spec"] = spec
    if status is not None:
        found["status"] = status
    return found


def conditions(**statuses):
    return [{"type": kind, "status": status} for kind, status in statuses.items()]


def deployment(status, revision="1", generation=1, replicas=2):
    return obj(
        "apps/v1",
        "Deployment",
        {"replicas": replicas},
        status,
        {"deployment.kubernetes.io/revision": revision},
        generation,
    )


FULL = {
    "observedGeneration": 1,
    "updatedReplicas": 2,
    "readyReplicas": 2,
    "conditions": [
        {"type": "Available", "status": "True"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ],
}
ROLLING = {
    **FULL,
    "conditions": [
        {"type": "Available", "status": "True"},
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
    ],
}
STUCK = {
    **FULL,
    "readyReplicas": 0,
    "conditions": [
        {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "timed out",
        }
    ],
}


@pytest.mark.parametrize(
    ("live", "state"),
    [
        (deployment(FULL), READY),
        (deployment({}), WAITING),
        (deployment({**FULL, "observedGeneration": 1}, generation=2), WAITING),
        (deployment({**FULL, "readyReplicas": 1}), WAITING),
        (deployment({**FULL, "updatedReplicas": 1}, revision="2"), WAITING),
        (deployment({**FULL, "conditions": conditions(Available="False")}), WAITING),
        (deployment(ROLLING, revision="2"), WAITING),
        (deployment(ROLLING, revision="1"), READY),
        (deployment({**FULL, "readyReplicas": 0, "updatedReplicas": 0}, replicas=0), READY),
        (deployment(STUCK), WAITING),
    ],
)
def test_deployment(live, state):
    assert judge(live).state is state


def test_a_stuck_rollout_says_why():
    assert judge(deployment(STUCK)).reason == "[ProgressDeadlineExceeded] timed out"


SET = {
    "observedGeneration": 1,
    "replicas": 2,
    "readyReplicas": 2,
    "currentReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}


@pytest.mark.parametrize(
    ("status", "generation", "strategy", "state"),
    [
        (SET, 1, "RollingUpdate", READY),
        ({**SET, "observedGeneration": 0}, 1, "RollingUpdate", WAITING),
        ({**SET, "readyReplicas": 1}, 1, "RollingUpdate", WAITING),
        ({**SET, "currentReplicas": 1}, 1, "RollingUpdate", WAITING),
        ({**SET, "updateRevision": "b"}, 1, "RollingUpdate", WAITING),
        ({**SET, "observedGeneration": 2, "updateRevision": "b"}, 2, "OnDelete", READY),
        ({**SET, "observedGeneration": 2, "readyReplicas": 1}, 2, "OnDelete", WAITING),
    ],
)
def test_stateful_set(status, generation, strategy, state):
    spec = {"replicas": 2, "updateStrategy": {"type": strategy}}
    live = obj("apps/v1", "StatefulSet", spec, status, generation=generation)
    assert judge(live).state is state


NODES = {
    "observedGeneration": 1,
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberAvailable": 3,
    "numberReady": 3,
}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (NODES, READY),
        ({"observedGeneration": 1}, WAITING),
        ({**NODES, "observedGeneration": 0}, WAITING),
        *(({**NODES, field: 2}, WAITING) for field in list(NODES)[2:]),
        (dict.fromkeys(NODES, 0) | {"observedGeneration": 1}, READY),
    ],
)
def test_daemon_set(status, state):
    assert judge(obj("apps/v1", "DaemonSet", {}, status)).state is state


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"startTime": "t", "conditions": conditions(Complete="True")}, READY),
        ({}, WAITING),
        ({"startTime": "t", "active": 1}, WAITING),
        ({"startTime": "t", "conditions": conditions(Failed="True")}, FAILED),
    ],
)
def test_job(status, state):
    assert judge(obj("batch/v1", "Job", {}, status)).state is state


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Running", "conditions": conditions(Ready="True")}, READY),
        ({"phase": "Succeeded"}, READY),
        ({"phase": "Pending"}, WAITING),
        ({"phase": "Running", "conditions": conditions(PodScheduled="True")}, WAITING),
        ({"phase": "Failed", "reason": "Evicted"}, FAILED),
    ],
)
def test_pod(status, state):
    assert judge(obj("v1", "Pod", {}, status)).state is state


def test_a_pod_that_pulls_a_missing_image_says_so():
    status = {
        "conditions": conditions(PodScheduled="True", Initialized="True", Ready="False"),
        "containerStatuses": [
            {
                "name": "main",
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
            }
        ],
    }
    pod = obj("v1", "Pod", {}, status)
    assert pod_troubles(pod) == ["container 'main': [ImagePullBackOff] no such image"]
    assert "no such image" in judge(pod).reason


READY_ENDPOINTS = {"x": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}}
PENDING_ENDPOINTS = {"x": {"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}]}]}}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}


@pytest.mark.parametrize(
    ("spec", "status", "around", "state"),
    [
        ({"selector": {"a": "b"}}, {}, Surroundings(READY_ENDPOINTS, settled=True), READY),
        ({"selector": {"a": "b"}}, {}, Surroundings({"x": {}}, settled=True), READY),
        ({"selector": {"a": "b"}}, {}, Surroundings(READY_ENDPOINTS, settled=False), WAITING),
        ({"selector": {"a": "b"}}, {}, Surroundings(PENDING_ENDPOINTS, settled=True), WAITING),
        ({}, {}, ALONE, READY),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, {}, ALONE, READY),
        ({"type": "ExternalName"}, {}, ALONE, READY),
        ({"type": "LoadBalancer"}, {}, ALONE, WAITING),
        ({"type": "LoadBalancer"}, ADDRESS, ALONE, READY),
    ],
)
def test_service(spec, status, around, state):
    assert judge(obj("v1", "Service", spec, status), around).state is state


@pytest.mark.parametrize(
    ("phase", "mode", "state"),
    [
        ("Bound", "", READY),
        ("Pending", "Immediate", WAITING),
        ("Pending", "WaitForFirstConsumer", READY),
        ("Lost", "", FAILED),
    ],
)
def test_persistent_volume_claim(phase, mode, state):
    claim = obj("v1", "PersistentVolumeClaim", {}, {"phase": phase})
    assert judge(claim, Surroundings({}, binding_mode=mode)).state is state


@pytest.mark.parametrize(("phase", "state"), [("Available", READY), ("Pending", WAITING)])
def test_persistent_volume(phase, state):
    assert judge(obj("v1", "PersistentVolume", {}, {"phase": phase})).state is state


RULES = {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "web"}}}]}}]}


@pytest.mark.parametrize(
    ("status", "around", "state"),
    [
        (ADDRESS, Surroundings({"web": {}}), READY),
        (ADDRESS, ALONE, WAITING),
        (ADDRESS, Surroundings({}, external={"web"}), READY),
        (ADDRESS, Surroundings({}, settled=True), READY),
        ({}, Surroundings({"web": {}}), WAITING),
    ],
)
def test_ingress(status, around, state):
    assert judge(obj("networking.k8s.io/v1", "Ingress", RULES, status), around).state is state


@pytest.mark.parametrize(
    ("kind", "api"), [("ReplicaSet", "apps/v1"), ("ReplicationController", "v1")]
)
def test_replicas(kind, api):
    spec, status = {"replicas": 2}, {"observedGeneration": 1, "availableReplicas": 2}
    assert judge(obj(api, kind, spec, status)).ready
    assert not judge(obj(api, kind, spec, {**status, "availableReplicas": 1})).ready


def test_resource_quota():
    hard = {"hard": {"pods": "1"}}
    assert judge(obj("v1", "ResourceQuota", hard, hard)).ready
    assert not judge(obj("v1", "ResourceQuota", hard, {})).ready


def test_secret_waits_for_a_token_only():
    token = {"type": "kubernetes.io/service-account-token"}
    assert judge(obj("v1", "Secret", type="Opaque")).ready
    assert not judge(obj("v1", "Secret", **token)).ready
    assert judge(obj("v1", "Secret", **token, data={"token": "eA=="})).ready


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (conditions(NamesAccepted="True", Established="True"), READY),
        (conditions(NamesAccepted="True", Established="False"), WAITING),
        (conditions(Established="True"), WAITING),
        (conditions(NamesAccepted="False", Established="False"), FAILED),
        (conditions(NamesAccepted="False", Established="True"), FAILED),
        ([], WAITING),
    ],
)
def test_custom_resource_definition(status, state):
    api, kind = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
    assert judge(obj(api, kind, {}, {"conditions": status})).state is state


def test_other_kinds_are_ready_once_they_exist():
    assert rule_for(obj("v1", "ConfigMap")) is None
    assert judge(obj("example.com/v1", "Thing", {}, {})).ready


def test_skip_await():
    live = obj("apps/v1", "Deployment", {}, {}, {"pulumi.com/skipAwait": "true"})
    assert judge(live).ready
    assert not judged_on_read(live)


@pytest.mark.parametrize(
    ("annotation", "status", "ready"),
    [
        ("condition=Ready", {"conditions": conditions(Ready="True")}, True),
        ("condition=ready", {"conditions": conditions(Ready="True")}, True),
        ("condition=Ready", {"conditions": conditions(Ready="False")}, False),
        ("condition=Ready=False", {"conditions": conditions(Ready="False")}, True),
        ("condition=Ready", {}, False),
        (
            "condition=Ready",
            {"observedGeneration": 1, "conditions": conditions(Ready="True")},
            False,
        ),
        ("jsonpath={.status.phase}=Running", {"phase": "Running"}, True),
        ("jsonpath={.status.phase}=Running", {"phase": "Pending"}, False),
        ("jsonpath={.status.phase}", {"phase": "anything"}, True),
        ("jsonpath={.status.phase}", {}, False),
        ("jsonpath={.status.list[0].ip}=1", {"list": [{"ip": 1}]}, True),
        ("jsonpath={.status.list[-1]['a.b']}", {"list": [{}, {"a.b": 1}]}, True),
        ("jsonpath={.status.ok}=true", {"ok": True}, True),
        (
            "jsonpath={.status.conditions[?@.type == 'Ready'].status}=True",
            {"conditions": conditions(Other="False", Ready="True")},
            True,
        ),
        (
            "jsonpath={.status[?@ == 'Running' || @ == 'Done']}",
            {"phase": "Done"},
            True,
        ),
        (
            "jsonpath={.status[?@ == 'Running' || @ == 'Done']}",
            {"phase": "Failed"},
            False,
        ),
        (
            '["condition=Ready", "jsonpath={.status.phase}=Running"]',
            {"conditions": conditions(Ready="True"), "phase": "Pending"},
            False,
        ),
    ],
)
def test_wait_for(annotation, status, ready):
    live = obj(
        "example.com/v1",
        "Thing",
        {},
        status,
        {"pulumi.com/waitFor": annotation},
        generation=2,
    )
    assert judge(live).ready is ready


@pytest.mark.parametrize(
    "annotation",
    [
        "Ready",
        "condition=",
        "[]",
        "jsonpath=.status.phase",
        "jsonpath={.status.phase}=",
        "jsonpath={.status.phase}x",
        "jsonpath={.status..phase}",
        "jsonpath={.status[?phase]}",
    ],
)
def test_a_bad_wait_for_is_refused(annotation):
    with pytest.raises(ValueError, match=r"pulumi\.com/waitFor"):
        rule_for(obj("v1", "Pod", annotations={"pulumi.com/waitFor": annotation}))


def test_timeouts():
    annotated = obj("v1", "Pod", annotations={"pulumi.com/timeoutSeconds": "30"})
    assert timeout_of(annotated, 0) == 30
    assert timeout_of(annotated, 5) == 5
    assert timeout_of(obj("v1", "Pod"), 0) == 600
    assert timeout_of(obj("v1", "Pod", annotations={"pulumi.com/timeoutSeconds": "soon"}), 0) == 600
