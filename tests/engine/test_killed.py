"""kill -9 of the engine in the middle of `up` and `destroy`: `up` again puts everything right."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from life_support import KUBEFLOW

from benchmarks import bed
from benchmarks.kills import (
    Moment,
    Outcome,
    Reference,
    Subject,
    main,
    moments,
    recover,
    reference,
    rounds,
    table,
)

pytestmark = pytest.mark.engine

SEED = 7
KILLS = 20

# What the garbage collector doesn't know of yet, it removes half a minute later.
IN_THE_BACKGROUND = """
def background(body):
    if body["apiVersion"].partition("/")[0].endswith(("istio.io", "cert-manager.io")):
        annotations = body["metadata"].setdefault("annotations", {})
        annotations["pulumi.com/deletionPropagationPolicy"] = "background"
    return body
def louder(body):
    if body["kind"] in ("Deployment", "ConfigMap", "Service"):
        body["metadata"].setdefault("labels", {})["loud"] = "yes"
    return body
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> list[str]:
    """Katib and what it needs: 142 objects with cert-manager, Istio and two sets of webhooks."""
    code = tmp_path_factory.mktemp("killed") / "change.py"
    code.write_text(IN_THE_BACKGROUND)
    return [
        f"kubeflowPath={KUBEFLOW}",
        'kubeflowComponents=["katib"]',
        f"kubeflowTransforms={json.dumps([f'{code}:background'])}",
    ]


@pytest.fixture(scope="module")
def louder(settings) -> str:
    """A change of 22 objects."""
    [transforms] = [s for s in settings if s.startswith("kubeflowTransforms=")]
    entries = json.loads(transforms.partition("=")[2])
    code = entries[0].rpartition(":")[0]
    return f"kubeflowTransforms={json.dumps([*entries, f'{code}:louder'])}"


@pytest.fixture(scope="module")
def subject(settings) -> Iterator[Subject]:
    with bed.fresh(print) as made:
        yield Subject(made.sandbox, settings)


@pytest.fixture(scope="module")
def whole(subject) -> Reference:
    """What is there after an uninterrupted `up`; it has been destroyed again."""
    return reference(subject)


def test_up_after_a_kill_at_random_moments(settings, whole):
    print(f"seed {SEED}")
    found = rounds(settings, whole, moments(KILLS, SEED), lanes=2)
    print(table(found))
    assert [f"{outcome.moment}: {p}" for outcome in found for p in outcome.problems] == []
    # Kills that came too late prove nothing; the others are spread over the run.
    killed = [outcome for outcome in found if outcome.killed]
    assert len(killed) >= KILLS - 3
    objects = sorted(outcome.objects for outcome in killed)
    assert objects[0] < 30
    assert objects[-1] > 130
    assert len(set(objects)) > KILLS / 2
    assert max(outcome.plugins for outcome in killed) < 10


def test_up_after_kills_of_destroy_and_of_the_recovery_itself(subject, whole):
    """The state still has what is gone: it is read again first, however often that is cut off."""
    # On a busy machine what is seen of a run, and so the kill, comes late: earlier then.
    for share in (0.4, 0.25, 0.1):
        assert subject.run("up").code == 0
        full = subject.look()
        outcome = killed(subject, "destroy", Moment(share, 0.1), whole.lines["destroy"])
        gone = full.objects - subject.look().objects
        if len(gone) < 140:
            break
        assert subject.run("destroy").code == 0
        assert subject.emptied() == []
    assert 20 < len(gone) < 140
    # The run after it begins with a refresh, whose lines come first; one that is killed right after
    # it, and the next one: after its own refresh, or midway where the last had not begun yet.
    for share in (0.1, 0.35):
        outcome = killed(subject, "up", Moment(share, 0.0), whole.lines["up"])
    before = subject.look()
    recover(subject, whole, before, outcome)
    assert outcome.problems == []
    done = subject.run("destroy")
    assert done.code == 0, done.output[-4000:]
    assert subject.emptied() == []


def test_up_after_a_kill_of_a_change(subject, whole, louder):
    assert subject.run("up").code == 0
    before = subject.look()
    outcome = killed(subject, "up", Moment(0.08, 0.1), whole.lines["up"], louder)
    recover(subject, whole, before, outcome, louder)
    assert outcome.problems == []
    done = subject.run("up", louder)
    assert "0 writes to the API server" in done.output
    # And back, over a destroy that was killed.
    killed(subject, "destroy", Moment(0.7, 0.0), whole.lines["destroy"])
    done = subject.run("destroy")
    assert done.code == 0, done.output[-4000:]
    assert subject.emptied() == []


def test_a_terminal_interrupts_up(subject, whole):
    """Ctrl-C reaches the command and its engine: what was done by then is in the state."""
    process = subject.start("up")
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if len(lines) == whole.lines["up"] // 2:
            os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 1
    assert lines[-1] == "sandbox: up was interrupted; run it again to go on from there\n"
    assert "Traceback" not in "".join(lines)
    before = subject.look()
    assert 50 < len(before.resources) < 149
    outcome = Outcome(Moment(0.5, 0.0), True, 0.0, 0)
    recover(subject, whole, before, outcome)
    assert outcome.problems == []
    assert subject.run("destroy").code == 0
    assert subject.emptied() == []


def test_the_command_prints_a_table(capsys):
    chosen = 'kubeflowComponents=["training-operator"]'
    options = ("--set", f"kubeflowPath={KUBEFLOW}", "--set", chosen)
    assert main(["--kills", "1", "--seed", "3", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("| none |")


def killed(subject: Subject, verb: str, moment: Moment, of: int, *more: str) -> Outcome:
    done = subject.run(verb, *more, kill=moment, of=of)
    assert done.killed, done.output[-2000:]
    assert done.code == 1
    assert done.plugins < 10
    return Outcome(moment, done.killed, done.plugins, 0)
