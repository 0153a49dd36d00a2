"""A platform on a sandbox of its own: what the engine did, and what is in the cluster."""

import gzip
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

from pulumi import automation
from pulumi.automation import EngineEvent

from components.choose import kubeflow_args
from components.kubeflow.component import planned
from components.kubeflow.objects import Kinds, Ref
from components.kubeflow.plan import Plan
from components.settings import parse
from sandbox import audit
from sandbox.api import Client
from sandbox.audit import AuditEvent, AuditSummary, ObjectKey
from sandbox.contents import contents, furnished
from sandbox.controlplane import RunningSandbox
from sandbox.engine import open_stack
from sandbox.parts import DEPLOYER
from tests.support.plans import name_of

Object = dict[str, Any]
Settings = Mapping[str, object]
Watch = Callable[[int], None]
PROJECT = Path(__file__).resolve().parents[2]
KUBEFLOW = PROJECT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
STACK = "life"
CREDENTIALS = ObjectKey("", "secrets", "kube-system", "ml-platform-credentials")


# --- the cluster ---------------------------------------------------------------------------------


class Live:
    """What is in a cluster, as an administrator sees it."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.client = Client(sandbox.admin_kubeconfig, "test")

    def bodies(self) -> dict[ObjectKey, Object]:
        """Every object of every kind that the API server serves."""
        return contents(self.client)

    def uids(self) -> dict[ObjectKey, str]:
        """The same, the uid only."""
        return {key: body["metadata"].get("uid", "") for key, body in self.bodies().items()}

    def get(self, path: str) -> Object:
        return self.client.request("GET", path)

    def merge(self, path: str, patch: Object) -> None:
        """Edit an object, as a person with kubectl would."""
        self.client.request("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, path: str) -> None:
        self.client.request("DELETE", path)


@dataclass(frozen=True, repr=False)
class Begun:
    """The first runs on a cluster, and all that was in it after each."""

    preview: "Run"
    previewed: Mapping[ObjectKey, str]
    up: "Run"
    live: Mapping[ObjectKey, Object]

    @classmethod
    def on(cls, platform: "Platform", **settings: object) -> "Begun":
        preview = platform.preview(**settings)
        previewed = platform.live.uids()
        up = platform.up(**settings)
        assert not up.error, up.error[-4000:]
        return cls(preview, previewed, up, platform.live.bodies())


def keys_of(plan: Plan) -> dict[Ref, ObjectKey]:
    """Where the API server has each object of a plan; gates are nowhere."""
    kinds = Kinds(node.body for node in plan.nodes if node.body)
    return {
        node.ref: ObjectKey(
            node.ref.group,
            kinds.plural(node.ref.group, node.ref.kind),
            node.ref.namespace,
            node.ref.name,
        )
        for node in plan.nodes
        if node.body
    }


def located(key: ObjectKey) -> ObjectKey:
    """The key of an object in the audit log, where a Namespace is said to be in itself."""
    return replace(key, namespace="") if key.resource == "namespaces" else key


def names_of(plan: Plan) -> set[str]:
    """Under which name the engine has each step of a plan, the credentials, and Redis's guard."""
    others = {
        "mlplatform:access:Credentials::kubeflow-credentials",
        "mlplatform:redis:Topology::redis",
    }
    return {*others, *map(name_of, plan.nodes)}


def awaited(plan: Plan) -> Iterator[tuple[Ref, Ref]]:
    """Which object waits for which, seen through the gates between them."""
    for node in plan.nodes:
        if node.body:
            for target in _targets(plan, node.ref):
                yield node.ref, target


def _targets(plan: Plan, ref: Ref) -> Iterator[Ref]:
    for edge in plan.waits_for[ref]:
        if plan.by_ref[edge.target].body:
            yield edge.target
        else:
            yield from _targets(plan, edge.target)


def eventually(check: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until `check` no longer fails; controllers remove some things later than asked."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.2)


# --- the engine ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What the engine did, or would do, with a resource; `diff` maps property paths to kinds."""

    op: str
    diff: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Run:
    """One run of the engine.

    `steps` are the resources that were not left as they are, `drift` those that a refresh found
    otherwise than the state, each by "<type>::<name>". `failed` are those whose step failed.
    """

    steps: Mapping[str, Step]
    drift: Mapping[str, Step]
    failed: frozenset[str]
    output: str
    error: str
    outputs: Mapping[str, automation.OutputValue]
    seconds: float
    requests: tuple[AuditEvent, ...]

    @cached_property
    def audit(self) -> AuditSummary:
        """What the deployer wrote meanwhile."""
        return audit.summarise(self.requests, DEPLOYER)

    @property
    def ops(self) -> dict[str, str]:
        """The steps' operations alone."""
        return {name: step.op for name, step in self.steps.items()}

    @property
    def changed(self) -> dict[str, str]:
        """The operations on objects; components and providers are left out."""
        return {
            name: op
            for name, op in self.ops.items()
            if not name.startswith(("pulumi:", "mlplatform:kubeflow:", "mlplatform:cluster:"))
        }


class Platform:
    """One stack on one sandbox, run in this process."""

    def __init__(self, sandbox: RunningSandbox, name: str = STACK) -> None:
        self.sandbox = sandbox
        self.live = Live(sandbox)
        self.home = sandbox.data_dir / "pulumi"
        self.name = name
        furnished(self.live.client)
        self.before = self.live.uids()
        """What was in the cluster before anything was brought there."""
        self.standing: Settings | None = None
        """The settings of the last `up`, if it went well and nothing was done since."""
        self.said: list[str] = []
        """All lines that the engine printed so far."""

    def settings(self, more: Settings) -> dict[str, object]:
        return {
            "cluster": "sandbox",
            "sandboxName": self.sandbox.name,
            "sandboxData": str(self.sandbox.data_dir),
            "kubeflowPath": str(KUBEFLOW),
            **more,
        }

    def plan(self, **more: object) -> Plan:
        """What the program plans with these settings; credentials are placeholders."""
        return planned(kubeflow_args(parse(self.settings(more))))

    def up(self, watch: Watch = lambda _: None, **more: object) -> Run:
        self.standing = None
        run = self.run("up", more, watch)
        if not run.error:
            self.standing = more
        return run

    def preview(self, *, refresh: bool = False, **more: object) -> Run:
        options = {"diff": True, **({"refresh": True} if refresh else {})}
        return self.run("preview", more, options=options)

    def refresh(self, **more: object) -> Run:
        self.standing = None
        return self.run("refresh", more)

    def destroy(self, **more: object) -> Run:
        self.standing = None
        return self.run("destroy", more)

    def run(
        self,
        verb: str,
        more: Settings,
        watch: Watch = lambda _: None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Run:
        """Run a verb of the engine to its end, whether it goes well or not.

        `watch` is called with the number of steps that are done, whenever another one is.
        """
        lines: list[str] = []
        events: list[EngineEvent] = []
        done = itertools.count(1)

        def note(event: EngineEvent) -> None:
            events.append(event)
            if event.res_outputs_event:
                watch(next(done))

        log = self.sandbox.audit_log
        since, began = log.stat().st_size, time.monotonic()
        error, outputs = "", {}
        try:
            # The engine's PATH is not that of other tests.
            with mock.patch.dict(os.environ):
                stack = open_stack(self.name, self.home, self.settings(more), lines.append)
                result = getattr(stack, verb)(
                    on_output=lines.append, on_error=lines.append, on_event=note, **options
                )
            outputs = getattr(result, "outputs", {})
        except automation.CommandError as failure:
            error = str(failure)
        self.said += lines
        return Run(
            _steps(events),
            _drift(events),
            frozenset(
                _key(event.res_op_failed_event.metadata)
                for event in events
                if event.res_op_failed_event
            ),
            "\n".join(lines),
            error,
            outputs,
            time.monotonic() - began,
            tuple(audit.read(log, since)),
        )

    def state(self) -> dict[str, Any]:
        """The state as it is on the disk."""
        return json.loads(self.state_text())["checkpoint"]

    def state_text(self) -> str:
        [file] = (self.home / ".pulumi" / "stacks").rglob(f"{self.name}.json.gz")
        return gzip.decompress(file.read_bytes()).decode()

    def resources(self) -> list[Object]:
        """The resources in the state."""
        return self.state()["latest"].get("resources") or []

    def assert_empty(self) -> None:
        """Nothing is in the cluster but what was there at first."""

        def check() -> None:
            left = set(self.live.uids()) ^ set(self.before)
            assert not left, sorted(map(str, left))

        eventually(check)


def _key(metadata: Any) -> str:
    _, _, types, name = metadata.urn.split("::", 3)
    return f"{types.rpartition('$')[2]}::{name}"


def _step(metadata: Any) -> Step:
    detailed = metadata.detailed_diff or {}
    diff = {path: found.diff_kind.value for path, found in detailed.items()}
    return Step(metadata.op.value, diff or dict.fromkeys(metadata.diffs or (), ""))


def _steps(events: Iterable[EngineEvent]) -> dict[str, Step]:
    found: dict[str, Step] = {}
    for event in events:
        if event.resource_pre_event:
            metadata = event.resource_pre_event.metadata
            if metadata.op.value not in ("same", "refresh", "read"):
                found[_key(metadata)] = _step(metadata)
    return found


def _drift(events: Iterable[EngineEvent]) -> dict[str, Step]:
    refreshed = {
        _key(event.resource_pre_event.metadata)
        for event in events
        if event.resource_pre_event and event.resource_pre_event.metadata.op.value == "refresh"
    }
    found: dict[str, Step] = {}
    for event in events:
        if event.res_outputs_event:
            metadata = event.res_outputs_event.metadata
            if _key(metadata) in refreshed and metadata.op.value not in ("same", "refresh"):
                found.setdefault(_key(metadata), _step(metadata))
    return found
