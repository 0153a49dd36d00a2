"""Reading and summing up audit logs."""

import json
from pathlib import Path

import pytest

from sandbox import audit
from sandbox.audit import AuditEvent, ObjectKey


def event(
    verb: str,
    resource: str = "configmaps",
    name: str = "a",
    *,
    second: int = 0,
    user: str = "deployer",
    code: int = 200,
    query: str = "",
    group: str = "",
    namespace: str = "n",
    subresource: str = "",
    stage: str = "ResponseComplete",
) -> bytes:
    return json.dumps(
        {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": f"{verb}-{second}",
            "stage": stage,
            "requestURI": f"/api/v1/namespaces/{namespace}/{resource}/{name}{query}",
            "verb": verb,
            "user": {"username": user, "groups": ["system:masters"]},
            "userAgent": "kubectl",
            "objectRef": {
                "resource": resource,
                "namespace": namespace,
                "name": name,
                "apiGroup": group,
                "apiVersion": "v1",
                "subresource": subresource,
            },
            "responseStatus": {"code": code, **({"message": "no"} if code >= 400 else {})},
            "requestReceivedTimestamp": f"2026-01-01T00:00:{second:02}.000001Z",
            "stageTimestamp": f"2026-01-01T00:00:{second:02}.500000Z",
        }
    ).encode()


def parsed(*lines: bytes) -> list[AuditEvent]:
    return [audit.parse(line) for line in lines]


def test_a_line_becomes_a_typed_record():
    [found] = parsed(event("patch", "deployments", group="apps", second=3, code=409))
    assert found.key == ObjectKey("apps", "deployments", "n", "a")
    assert str(found.key) == "deployments.apps n/a"
    assert (found.code, found.reason, found.failed, found.write) == (409, "no", True, True)
    assert found.received.second == 3
    assert found.received.microsecond == 1
    assert found.received.tzinfo is not None


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"auditID": "x"}'])
def test_a_line_that_is_no_event_is_named(line: bytes):
    with pytest.raises(ValueError, match=r"audit event|JSON|unexpected"):
        audit.parse(line)


def test_reading_leaves_out_other_stages_and_a_half_written_line(tmp_path: Path):
    log = tmp_path / "audit.jsonl"
    log.write_bytes(
        event("watch", stage="ResponseStarted") + b"\n" + event("get") + b"\n" + event("patch")[:50]
    )
    assert [found.verb for found in audit.read(log)] == ["get"]


def test_reading_from_a_byte_on_leaves_out_a_line_that_began_before(tmp_path: Path):
    log = tmp_path / "audit.jsonl"
    first, second = event("create") + b"\n", event("patch") + b"\n"
    log.write_bytes(first + second)
    for since in range(len(first + second) + 1):
        found = [one.verb for one in audit.read(log, since)]
        assert found == ["create", "patch"][(since > 0) + (since > len(first)) :]


def test_writes_are_counted_by_user():
    events = parsed(event("create"), event("get"), event("patch", user="admin"), event("list"))
    assert audit.summarise(events).writes == 1
    assert audit.summarise(events, "admin").writes == 1
    assert audit.summarise(events, "nobody") == audit.AuditSummary("nobody")


@pytest.mark.parametrize("code", [400, 403, 409, 422, 500, 503])
def test_every_answer_but_2xx_is_a_failed_write(code: int):
    summary = audit.summarise(parsed(event("patch", code=code), event("patch", second=1, code=201)))
    assert [found.code for found in summary.failed] == [code]
    assert summary.repeated == []
    assert summary.writes == 2


def test_a_second_write_of_an_object_is_repeated():
    events = parsed(event("patch"), event("patch", "secrets", second=1), event("patch", second=2))
    assert [found.audit_id for found in audit.summarise(events).repeated] == ["patch-2"]


def test_order_is_by_time_not_by_line():
    events = parsed(event("patch", second=9), event("create", second=1))
    assert [found.verb for found in audit.summarise(events).repeated] == ["patch"]


def test_a_subresource_is_another_object():
    events = parsed(event("patch"), event("patch", second=1, subresource="status"))
    assert audit.summarise(events).repeated == []


@pytest.mark.parametrize(
    "deletion",
    [
        event("delete", second=1),
        event("delete", "namespaces", "n", second=1),
        event("delete", "customresourcedefinitions", "configmaps.", second=1),
    ],
    ids=["itself", "its namespace", "its definition"],
)
def test_an_object_that_was_deleted_may_be_written_again(deletion: bytes):
    events = parsed(event("create"), deletion, event("create", second=2))
    assert audit.summarise(events).repeated == []


def test_a_failed_deletion_deletes_nothing():
    events = parsed(event("create"), event("delete", second=1, code=409), event("create", second=2))
    assert len(audit.summarise(events).repeated) == 1


def test_dry_runs_are_counted_apart():
    events = parsed(
        event("create", query="?dryRun=All&fieldManager=x", code=500),
        event("create", query="?fieldManager=x&dryRun=All", second=1),
        event("create", second=2, code=201),
    )
    summary = audit.summarise(events)
    assert (summary.writes, summary.dry_runs, summary.failed_dry_runs) == (1, 2, 1)
    assert summary.failed == []
    assert summary.repeated == []


def test_a_review_is_no_write():
    summary = audit.summarise(parsed(event("create", "subjectaccessreviews", "")))
    assert summary.writes == 0


def test_creations_under_a_generated_name_are_different_objects():
    events = parsed(event("create", name=""), event("create", name="", second=1))
    assert audit.summarise(events).repeated == []


def test_the_first_successful_write_of_each_object_is_dated():
    events = parsed(event("patch", code=500), event("patch", second=2), event("patch", second=4))
    [(key, when)] = audit.summarise(events).first_write.items()
    assert (key.name, when.second) == ("a", 2)
