"""kill -9 of the engine at random moments, then `up` again: what is lost, orphaned or made twice.

`python -m benchmarks.kills` does it to the whole platform, 20 times, and prints a table.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bed
from benchmarks.command import BenchmarkError
from benchmarks.report import say
from sandbox import audit
from sandbox.api import Client
from sandbox.audit import ObjectKey
from sandbox.contents import applied, contents, furnished
from sandbox.controlplane import RunningSandbox
from sandbox.engine import PROJECT
from sandbox.parts import DEPLOYER

STEADY = 60.0
"""Seconds in which what the control plane removes by itself has to be gone."""
_PAUSE = 0.3
_CREDENTIALS = ObjectKey("", "secrets", "kube-system", "ml-platform-credentials")


@dataclass(frozen=True)
class Moment:
    """When the engine is killed: after a share of the lines that a whole run prints, and a pause.

    `share` is from 0 to 1, `pause` in seconds.
    """

    share: float
    pause: float

    def __str__(self) -> str:
        return f"{self.share:.0%} + {self.pause:.2f} s"


def moments(number: int, seed: int) -> list[Moment]:
    """Random moments, the same ones for the same seed, spread over a whole run."""
    chance = random.Random(seed)
    shares = [(index + chance.random()) / number for index in range(number)]
    found = [Moment(share, chance.uniform(0, _PAUSE)) for share in shares]
    chance.shuffle(found)
    return found


@dataclass(frozen=True)
class Done:
    """How a command ended. `killed` tells whether the engine was still there to be killed;
    `plugins` is how long its plugins lived on, in seconds."""

    code: int
    output: str
    seconds: float
    killed: bool = False
    plugins: float = 0.0


@dataclass(frozen=True)
class Found:
    """What is in the cluster and in the state: uids, credentials, and the number of resources."""

    uids: Mapping[ObjectKey, str]
    credentials: Mapping[str, str] | None
    resources: Mapping[str, str]
    pending: int

    @property
    def objects(self) -> set[ObjectKey]:
        """What somebody applied."""
        return applied(self.uids)


@dataclass
class Outcome:
    """One kill and what came after it; `problems` is empty if nothing was wrong."""

    moment: Moment
    killed: bool
    plugins: float
    objects: int
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Subject:
    """A platform that is brought onto a sandbox by the command that a user types.

    Args:
        sandbox: an empty one.
        settings: of the platform, each `name=value`.
        limit: seconds that one command may take.
    """

    def __init__(
        self, sandbox: RunningSandbox, settings: Sequence[str], limit: float = 300
    ) -> None:
        self.sandbox = sandbox
        self._settings = tuple(settings)
        self._limit = limit
        self._client = Client(sandbox.admin_kubeconfig, "kills")
        furnished(self._client)
        self.empty = self.look()
        """What was there before."""

    def run(self, verb: str, *more: str, kill: Moment | None = None, of: int = 0) -> Done:
        """Run a verb to its end, or kill its engine at a moment of a run of `of` lines."""
        began = time.monotonic()
        process = self.start(verb, *more)
        # Nothing is waited for without an end.
        late = threading.Timer(self._limit, process.kill)
        late.start()
        lines: list[str] = []
        killed, plugins = False, 0.0
        try:
            for line in _lines(process):
                lines.append(line)
                if kill and len(lines) > kill.share * of and (engine := _engine(process.pid, verb)):
                    time.sleep(kill.pause)
                    killed, plugins = _kill(engine)
                    kill = None
            code = process.wait()
        finally:
            late.cancel()
            process.kill()
        return Done(code, "".join(lines), time.monotonic() - began, killed, plugins)

    def start(self, verb: str, *more: str) -> subprocess.Popen[str]:
        """Start a verb as a shell would, in a process group of its own."""
        settings = itertools.chain.from_iterable(("--set", s) for s in (*self._settings, *more))
        folder = ("--name", self.sandbox.name, "--data-dir", str(self.sandbox.data_dir))
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox", verb, *folder, *settings],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def look(self) -> Found:
        """What there is now."""
        bodies = contents(self._client)
        secret = bodies.get(_CREDENTIALS)
        latest = self._state()
        resources = {r["urn"]: str(r.get("id", "")) for r in latest.get("resources") or ()}
        return Found(
            {key: body["metadata"].get("uid", "") for key, body in bodies.items()},
            secret["data"] if secret else None,
            resources,
            len(latest.get("pending_operations") or ()),
        )

    def _state(self) -> dict[str, Any]:
        file = self.sandbox.data_dir / "pulumi/.pulumi/stacks/ml-platform/sandbox.json.gz"
        if not file.exists():
            return {}
        latest: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))["checkpoint"][
            "latest"
        ]
        return latest

    def emptied(self) -> list[str]:
        """What is left of the platform once the control plane had time to settle."""
        deadline = time.monotonic() + STEADY
        while True:
            left = sorted(map(str, set(self.look().uids) ^ set(self.empty.uids)))
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)

    def created(self, since: int) -> Counter[ObjectKey]:
        """How often the deployer made each object, from a size of the audit log on."""
        events = audit.read(self.sandbox.audit_log, since)
        return Counter(
            event.key
            for event in events
            if event.user == DEPLOYER and event.write and event.code == 201 and event.key
        )

    def failed(self, since: int) -> list[str]:
        """The deployer's writes that failed."""
        summary = audit.summarise(audit.read(self.sandbox.audit_log, since), DEPLOYER)
        return [f"{event.code} {event.verb} {event.key}" for event in summary.failed]


@dataclass(frozen=True)
class Reference:
    """An uninterrupted life: what is there afterwards, and how many lines each verb printed."""

    found: Found
    lines: Mapping[str, int]


def reference(subject: Subject) -> Reference:
    """Bring the platform up and down once without a kill.

    Raises:
        BenchmarkError: even that fails.
    """
    lines = {}
    up = _good(subject, "up")
    lines["up"] = up.output.count("\n")
    found = subject.look()
    lines["destroy"] = _good(subject, "destroy").output.count("\n")
    if left := subject.emptied():
        raise BenchmarkError(f"an uninterrupted destroy leaves {', '.join(left)}")
    return Reference(found, lines)


def round_of(subject: Subject, to: Reference, moment: Moment, *, destroy: bool) -> Outcome:
    """Kill an `up` on an empty cluster, run it again, and take all of it off again if asked."""
    since = subject.sandbox.audit_log.stat().st_size
    first = subject.run("up", kill=moment, of=to.lines["up"])
    before = subject.look()
    outcome = Outcome(
        moment, first.killed, first.plugins, len(before.objects) - len(subject.empty.objects)
    )
    recover(subject, to, before, outcome)
    again = [str(key) for key, times in subject.created(since).items() if times > 1]
    outcome.problems += [f"made twice: {name}" for name in again]
    if destroy and not outcome.problems:
        _good(subject, "destroy")
        outcome.problems += [f"orphaned: {name}" for name in subject.emptied()]
    return outcome


def rounds(
    settings: Sequence[str], to: Reference, chosen: Sequence[Moment], lanes: int = 1
) -> list[Outcome]:
    """A round for each moment, each on a sandbox of its own, `lanes` of them at a time.

    Every fifth is destroyed at the end. An orphan is noticed in the others too, as an object of
    the cluster that the state of an uninterrupted run does not have.
    """

    def one(index: int) -> Outcome:
        with bed.fresh(say) as made:
            outcome = round_of(
                Subject(made.sandbox, settings), to, chosen[index], destroy=index % 5 == 0
            )
        say(f"  {outcome.moment}: {'; '.join(outcome.problems) or 'no problem'}")
        return outcome

    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(one, range(len(chosen))))


def recover(
    subject: Subject, to: Reference, before: Found, outcome: Outcome, *more: str, kept: bool = True
) -> None:
    """Run `up` once more and compare with a life without a kill.

    `before` is what the kill left, which has to stay as it is if `kept`.
    """
    since = subject.sandbox.audit_log.stat().st_size
    done = subject.run("up", *more)
    outcome.seconds = done.seconds
    outcome.problems += [f"failed: {line}" for line in subject.failed(since)]
    if done.code:
        outcome.problems.append(f"up again ended with {done.code}: {done.output[-2000:]}")
        return
    after = subject.look()
    outcome.problems += [f"lacks {key}" for key in sorted(to.found.objects - after.objects)]
    outcome.problems += [f"has also {key}" for key in sorted(after.objects - to.found.objects)]
    lost = sorted(set(to.found.resources) - set(after.resources))
    more_of = sorted(set(after.resources) - set(to.found.resources))
    outcome.problems += [f"state lacks {urn}" for urn in lost]
    outcome.problems += [f"state has also {urn}" for urn in more_of]
    if after.pending:
        outcome.problems.append(f"{after.pending} operations pending in the state")
    if kept:
        anew = [key for key in before.objects if after.uids.get(key) != before.uids[key]]
        outcome.problems += [f"not adopted: {key}" for key in sorted(anew)]
        if before.credentials and after.credentials != before.credentials:
            outcome.problems.append("other credentials than before")


def _good(subject: Subject, verb: str) -> Done:
    done = subject.run(verb)
    if done.code:
        raise BenchmarkError(f"{verb} ended with code {done.code}:\n{done.output[-4000:]}")
    return done


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    if process.stdout is not None:
        yield from process.stdout


def _engine(pid: int, verb: str) -> psutil.Process | None:
    """The engine that carries out the verb, below the process that a user started."""
    try:
        for child in psutil.Process(pid).children():
            if child.name() == "pulumi" and verb in child.cmdline():
                return child
    except psutil.Error:
        pass
    return None


def _kill(engine: psutil.Process) -> tuple[bool, float]:
    """Kill an engine; whether it was there, and how many seconds its plugins outlived it."""
    try:
        plugins = engine.children(recursive=True)
        engine.kill()
    except psutil.NoSuchProcess:
        return False, 0.0
    began = time.monotonic()
    _, alive = psutil.wait_procs(plugins, timeout=STEADY)
    if alive:
        raise BenchmarkError(f"plugins outlive their engine: {[p.cmdline() for p in alive]}")
    return True, time.monotonic() - began


# --- the whole platform --------------------------------------------------------------------------


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each kill, in the order of the moments."""
    lines = [
        "| killed at | objects then | plugins gone after | up again | problems |",
        "| --- | --- | --- | --- | --- |",
    ]
    for outcome in sorted(outcomes, key=lambda outcome: outcome.moment.share):
        problems = "; ".join(outcome.problems) or "none"
        when = str(outcome.moment) if outcome.killed else f"{outcome.moment} (had ended)"
        lines.append(
            f"| {when} | {outcome.objects} | {outcome.plugins:.1f} s | {outcome.seconds:.0f} s "
            f"| {problems} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 1 if any kill left a problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--lanes", type=int, default=1, help="at a time (%(default)s)")
    parser.add_argument("--source", type=Path, help="folder of kubeflow/manifests")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    arguments = parser.parse_args(argv)
    settings = list(arguments.set)
    if arguments.source:
        settings.append(f"kubeflowPath={arguments.source.resolve()}")
    with bed.fresh(say) as made:
        to = reference(Subject(made.sandbox, settings))
    say(f"seed {arguments.seed}; {len(to.found.resources)} resources without a kill")
    chosen = moments(arguments.kills, arguments.seed)
    outcomes = rounds(settings, to, chosen, arguments.lanes)
    print(table(outcomes))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
