"""The policy pack in the real engine: found, started, asked, and as strict as the stack says."""

import json
import os

import pulumi
import pytest
from pulumi import automation

from review.events import lines, preview_of, read
from sandbox.engine import open_stack

pytestmark = pytest.mark.engine

PLANTED = "changeme"


class Thing(pulumi.ComponentResource):
    """A resource that no provider is needed for, of the type of an object."""

    def __init__(self, kind, name, body):
        body = {"kind": kind, "apiVersion": "v1", **body}
        super().__init__(f"kubernetes:core/v1:{kind}", name, body)


def program():
    open_to_all = {"metadata": {"name": "web", "namespace": "team"}}
    Thing("Service", "web", {**open_to_all, "spec": {"type": "LoadBalancer"}})
    Thing("Service", "inside", {**open_to_all, "spec": {"type": "ClusterIP"}})
    metadata = {"name": "user", "namespace": "team"}
    secret = {"password": pulumi.Output.secret(PLANTED)}
    Thing("Secret", "user", {"metadata": metadata, "stringData": secret})


@pytest.fixture
def preview(tmp_path, monkeypatch):
    """Preview the program with settings; whether it went well, and what its events tell."""

    def run(**settings):
        with monkeypatch.context() as patch:
            # The engine's PATH is not that of other tests.
            patch.setenv("PATH", os.environ["PATH"])
            stack = open_stack("policies", tmp_path, settings, lambda _: None, program)
            events, failed = [], False
            try:
                stack.preview(on_event=events.append)
            except automation.CommandError:
                failed = True
        log = list(lines(events))
        return failed, preview_of(read(log)), "\n".join(log)

    return run


def test_a_violation_is_told_and_fails_only_where_the_stack_says_so(preview):
    expected = [
        ("allow-lists", "Service web"),
        ("no-default-passwords", "Secret user"),
    ]
    failed, told, log = preview()
    assert not failed
    assert [(one.policy, one.resource) for one in told.violations] == expected
    assert not any(one.mandatory for one in told.violations)
    assert PLANTED not in log
    failed, told, _ = preview(policyLevel="mandatory")
    assert failed
    assert [(one.policy, one.resource) for one in told.violations] == expected
    assert all(one.mandatory for one in told.violations)
    failed, told, _ = preview(policyLevel="off")
    assert not failed
    assert told.violations == ()
    assert json.loads(log.splitlines()[0])["sequence"] >= 0
