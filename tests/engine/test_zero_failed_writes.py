"""Every object is written once, when the API server can take it: the audit log of a whole `up`."""

import datetime
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from life_support import Begun, Object, Platform, awaited, keys_of, located

from components.kubeflow.objects import Ref
from components.kubeflow.plan import Plan
from components.kubeflow.rules import Rule
from sandbox import controlplane
from sandbox.audit import AuditEvent, ObjectKey
from sandbox.controlplane import SandboxOptions

pytestmark = pytest.mark.engine

DELAY = 30.0
"""Seconds from a webhook's pods being ready to its server answering."""


@dataclass(frozen=True, repr=False)
class Whole:
    """A whole `up`, and how late webhooks answered in it."""

    platform: Platform
    begun: Begun
    delay: float


@pytest.fixture(scope="module", params=[0.0, DELAY], ids=["punctual", "late"])
def whole(request, tmp_path_factory) -> Iterator[Whole]:
    if not request.param:
        platform = request.getfixturevalue("platform")
        yield Whole(platform, request.getfixturevalue("begun"), 0.0)
        return
    folder = tmp_path_factory.mktemp("late") / "data"
    options = SandboxOptions("test-late", admission_delay=request.param, data_dir=folder)
    sandbox = controlplane.start(options)
    platform = Platform(sandbox)
    try:
        yield Whole(platform, Begun.on(platform), request.param)
    finally:
        sandbox.stop()


def writes(run) -> dict[ObjectKey, AuditEvent]:
    """The one write of each object."""
    found = {located(e.key): e for e in run.requests if e.user == "deployer" and e.write}
    assert len(found) == run.audit.writes
    return found


def asked(platform: Platform) -> list[dict]:
    """What the webhooks were asked for admission, in order of time."""
    lines = platform.sandbox.admission_log.read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [entry for entry in found if entry["review"] == "AdmissionReview"]


def time_of(entry: Mapping[str, str]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(entry["time"])


def admitted(plan: Plan) -> dict[Ref, set[Ref]]:
    """Per gate the objects that wait for it."""
    found: dict[Ref, set[Ref]] = defaultdict(set)
    for edge in plan.edges:
        if edge.rule is Rule.ADMISSION:
            found[edge.target].add(edge.source)
    return found


def services(plan: Plan, gate: Ref) -> set[str]:
    node = plan.by_ref[gate]
    return {f"{hook.service_namespace}/{hook.service_name}" for hook in node.gate.webhooks}


# --- the audit log -------------------------------------------------------------------------------


def test_no_write_fails_and_no_object_is_written_twice(whole):
    platform, begun = whole.platform, whole.begun
    summary = begun.up.audit
    assert summary.failed == []
    assert summary.repeated == []
    keys = {*keys_of(platform.plan()).values()}
    written = {located(key) for key in summary.first_write}
    assert keys <= written
    assert {key.name for key in written - keys} == {"ml-platform-credentials"}
    assert summary.writes == len(written)


def test_dry_runs_of_an_up_are_probes_of_webhooks(whole):
    """An `up` tries nothing out, and reads no object that isn't there."""
    begun = whole.begun
    requests = [e for e in begun.up.requests if e.user == "deployer"]
    assert {e.user_agent for e in requests if e.dry_run} == {"ml-platform-probe"}
    missing = {str(e.key) for e in requests if e.key and e.failed and not e.dry_run}
    # Asked for once: an earlier run that lost its state may have left it.
    assert missing == {"secrets kube-system/ml-platform-credentials"}


def test_no_object_is_written_before_those_that_it_waits_for(whole):
    platform, begun = whole.platform, whole.begun
    plan, done = platform.plan(), writes(begun.up)
    keys = keys_of(plan)
    pairs = list(awaited(plan))
    assert len(pairs) > 1000
    early = [
        f"{source} before {target}"
        for source, target in pairs
        if done[keys[source]].received < done[keys[target]].answered
    ]
    assert early == []


# --- webhooks ------------------------------------------------------------------------------------


def test_what_webhooks_admit_is_written_once_they_answer(whole):
    platform, begun = whole.platform, whole.begun
    plan, done = platform.plan(), writes(begun.up)
    keys, log = keys_of(plan), asked(platform)
    gates = admitted(plan)
    assert len(gates) == len([node for node in plan.nodes if node.gate]) >= 5
    for gate, refs in gates.items():
        answers = [time_of(e) for e in log if e["service"] in services(plan, gate)]
        assert refs
        assert answers, f"nothing asked the webhooks of {gate}"
        early = {str(ref) for ref in refs if done[keys[ref]].received < min(answers)}
        assert early == set(), gate


def test_webhooks_were_really_asked_about_what_the_plan_says_they_admit(whole):
    platform, begun = whole.platform, whole.begun
    plan = platform.plan()
    last = max(event.answered for event in begun.up.requests)
    entries = [e for e in asked(platform) if not e["dryRun"] and time_of(e) <= last]
    about = {
        (e["kind"], e["namespace"], e["name"])
        for e in entries
        if e["user"] == "deployer" and e["operation"] == "CREATE"
    }
    kinds = {(e["kind"], e["namespace"]) for e in entries}
    missed = set()
    for edge in plan.edges:
        if edge.rule is not Rule.ADMISSION:
            continue
        ref = edge.source
        if edge.reason.startswith("has its pods"):
            if ("Pod", ref.namespace) not in kinds:
                missed.add(str(ref))
        elif (ref.kind, ref.namespace, ref.name) not in about:
            missed.add(str(ref))
    assert missed == set()


def test_webhooks_answered_as_late_as_they_were_to(whole):
    """The delay is real: no server answered before its pods had been ready for so long."""
    plan = whole.platform.plan()
    keys, log = keys_of(plan), asked(whole.platform)
    early = set()
    for gate in admitted(plan):
        for edge in plan.waits_for[gate]:
            if edge.reason == "is answered by the pods of":
                first = min(time_of(e) for e in log if e["service"] in services(plan, gate))
                # Kubernetes notes whole seconds.
                ready = available(whole.begun.live[keys[edge.target]])
                if first < ready + datetime.timedelta(seconds=whole.delay - 1):
                    early.add(str(edge.target))
    assert early == set()
    # At least two of them wait for each other: cert-manager's, and one with its certificate.
    assert whole.begun.up.seconds > 2 * whole.delay


def available(body: Object) -> datetime.datetime:
    [condition] = [c for c in body["status"]["conditions"] if c["type"] == "Available"]
    return datetime.datetime.fromisoformat(condition["lastTransitionTime"])
