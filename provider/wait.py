"""Wait, by shared watches, until an object is ready or gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from provider.client import ApiError, Client, Object
from provider.informer import Informers, Subscription, key_of
from provider.readiness import ALONE, Rule, State, Surroundings, pod_troubles
from provider.rpc import PluginError

SETTLED: Final = 10.0  # Endpoints count as settled after so many seconds without a change
INGRESS_GRACE: Final = 60.0  # an Ingress without any Endpoints stops waiting for them (seconds)
_TICK: Final = 1.0  # a cancelled wait ends within this (seconds)
_LINGERING: Final = 3.0  # between looks at what wasn't deleted yet (seconds)
_REPORT: Final = 2.0  # at most one status message in this time (seconds)


class NotReady(PluginError):
    """An object failed, wasn't ready in time, or the wait was cancelled.

    `live` is the newest known state, `reasons` say what is missing.
    """

    def __init__(self, message: str, live: Object, reasons: list[str]) -> None:
        super().__init__(message)
        self.live = live
        self.reasons = reasons


@dataclass(slots=True)
class Reporter:
    """Passes on what is waited for, but not more often than people can read."""

    send: Callable[[str], None]
    _last: str = ""
    _sent: float = 0.0

    def report(self, reason: str) -> None:
        """Say `reason` unless it was said already or something was just said."""
        now = time.monotonic()
        if reason != self._last and now - self._sent >= _REPORT:
            self._last, self._sent = reason, now
            self.send(reason)

    def clear(self) -> None:
        """Take the status message back, if there was one."""
        if self._last:
            self.send("")


class Waiter:
    """Waits on one API server for many objects at a time; each wait holds its caller's thread."""

    def __init__(self, client: Client, informers: Informers, cancelled: threading.Event) -> None:
        self._client = client
        self._informers = informers
        self._cancelled = cancelled

    def ready(
        self,
        live: Object,
        rule: Rule,
        *,
        timeout: float,
        updating: bool,
        status: Callable[[str], None],
    ) -> Object:
        """Wait until `rule` says that the object is ready; its newest state.

        Args:
            live: the answer to the write that is waited for.
            rule: from `provider.readiness.rule_for`.
            timeout: seconds.
            updating: the object existed before the write.
            status: takes what is missing, now and then.

        Raises:
            NotReady: failed, late or cancelled.
        """
        around = self._around(live, updating)
        verdict = rule(live, around)
        if verdict.ready:
            return live
        deadline = time.monotonic() + timeout
        reporter = Reporter(status, _sent=time.monotonic())
        with Subscription() as subscription:
            watched = _Watched(live, around)
            self._follow(subscription, live)
            while True:
                verdict = rule(watched.live, watched.around)
                if verdict.ready:
                    reporter.clear()
                    return watched.live
                if verdict.state is State.FAILED:
                    raise NotReady(verdict.reason, watched.live, [])
                reporter.report(verdict.reason)
                left = deadline - time.monotonic()
                if left <= 0 or self._cancelled.is_set():
                    why = "was cancelled" if left > 0 else f"timed out after {timeout:g} s"
                    reasons = [verdict.reason, *self._troubles(watched.live)]
                    raise NotReady(
                        f"waiting for {_title(live)} {why}: {verdict.reason}",
                        watched.live,
                        reasons,
                    )
                event = subscription.next(min(left, _TICK, watched.pause()))
                if event is not None:
                    watched.take(event.kind, event.object)
                watched.settle()

    def _around(self, live: Object, updating: bool) -> Surroundings:
        if live.get("kind") != "PersistentVolumeClaim":
            return replace(ALONE, updating=updating)
        return Surroundings(endpoints={}, binding_mode=self._binding_mode(live), updating=updating)

    def _binding_mode(self, claim: Object) -> str:
        name = claim.get("spec", {}).get("storageClassName")
        if not name:
            return ""
        try:
            resource = self._client.resource("storage.k8s.io/v1", "StorageClass")
            mode: str = self._client.get(resource, "", name).get("volumeBindingMode", "")
        except ApiError:
            return ""
        return mode

    def _follow(self, subscription: Subscription, live: Object) -> None:
        namespace, name = key_of(live)
        api_version, kind = live["apiVersion"], live["kind"]
        self._informers.follow(subscription, api_version, kind, (namespace, name))
        if kind == "Service" and api_version == "v1":
            self._informers.follow(subscription, "v1", "Endpoints", (namespace, name))
        elif kind == "Ingress":
            for other in _backends(live):
                self._informers.follow(subscription, "v1", "Endpoints", (namespace, other))
                self._informers.follow(subscription, "v1", "Service", (namespace, other))

    def _troubles(self, live: Object) -> list[str]:
        labels = (live.get("spec", {}).get("selector") or {}).get("matchLabels")
        if not isinstance(labels, dict):
            return []
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        try:
            pods = self._client.find(
                self._client.resource("v1", "Pod"), key_of(live)[0], selector=selector
            )
        except PluginError:
            return []
        return [
            f"Pod {pod['metadata']['name']}: {trouble}"
            for pod in pods[:5]
            for trouble in pod_troubles(pod)
        ]

    def surroundings(self, live: Object) -> Surroundings:
        """What a refresh needs to judge `live` at once, without waiting."""
        namespace, name = key_of(live)
        if live["kind"] not in {"Service", "Ingress"}:
            return self._around(live, updating=True)
        endpoints = {}
        for other in [name] if live["kind"] == "Service" else _backends(live):
            try:
                resource = self._client.resource("v1", "Endpoints")
                endpoints[other] = self._client.get(resource, namespace, other)
            except ApiError as error:
                if error.code != 404:
                    raise
        return Surroundings(endpoints=endpoints, settled=True, updating=True)

    def gone(
        self,
        live: Object,
        *,
        timeout: float,
        status: Callable[[str], None],
        lingers: Callable[[], None] | None = None,
    ) -> None:
        """Wait until the object with this `uid` no longer exists.

        Args:
            live: the object whose removal was asked for.
            timeout: seconds.
            status: takes what holds it, now and then.
            lingers: called every few seconds while it is still there.

        Raises:
            NotReady: late (the text names its finalizers) or cancelled.
        """
        deadline = time.monotonic() + timeout
        uid = live["metadata"].get("uid")
        reporter = Reporter(status, _sent=time.monotonic())
        looked = time.monotonic()
        with Subscription() as subscription:
            self._informers.follow(
                subscription, live["apiVersion"], live["kind"], key_of(live), metadata_only=True
            )
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or self._cancelled.is_set():
                    why = "was cancelled" if left > 0 else f"timed out after {timeout:g} s"
                    held = ", ".join(live["metadata"].get("finalizers") or ["none"])
                    text = f"finalizers might be preventing deletion ({held})"
                    raise NotReady(
                        f"waiting for {_title(live)} to be deleted {why}: {text}", live, [text]
                    )
                event = subscription.next(min(left, _TICK))
                if event is not None:
                    if event.object is None or event.object["metadata"].get("uid") != uid:
                        reporter.clear()
                        return
                    live = {**live, "metadata": event.object["metadata"]}
                if lingers is not None and time.monotonic() - looked >= _LINGERING:
                    looked = time.monotonic()
                    lingers()
                held = ", ".join(live["metadata"].get("finalizers") or ())
                reporter.report(f"Waiting for deletion (finalizers: {held or 'none'})")


class _Watched:
    """What is known of an object and its surroundings while it is waited for."""

    def __init__(self, live: Object, around: Surroundings) -> None:
        self.live = live
        self.around = around
        self._endpoints: dict[str, Any] = {}
        self._external: set[str] = set()
        self._changed: float | None = None
        self._started = time.monotonic()

    def take(self, kind: str, obj: Object | None) -> None:
        """Note a new state; one older than what the write returned is ignored."""
        if obj is None:
            return
        name = obj["metadata"]["name"]
        if kind == "Endpoints":
            self._endpoints[name] = obj
            self._changed = time.monotonic()
        elif kind != self.live["kind"]:
            if obj.get("spec", {}).get("type") == "ExternalName":
                self._external.add(name)
        elif _generation(obj) >= _generation(self.live) and _newer(obj, self.live):
            self.live = obj

    def settle(self) -> None:
        """Bring the surroundings up to date with the clock."""
        if self.live["kind"] not in {"Service", "Ingress"}:
            return
        now = time.monotonic()
        settled = self._changed is not None and now - self._changed >= SETTLED
        if self.live["kind"] == "Ingress" and self._changed is None:
            settled = now - self._started >= INGRESS_GRACE
        self.around = replace(
            self.around, endpoints=self._endpoints, settled=settled, external=self._external
        )

    def pause(self) -> float:
        """Seconds until the clock may change the verdict."""
        if self._changed is None or self.around.settled:
            return _TICK
        return max(self._changed + SETTLED - time.monotonic(), 0.01)


def _generation(obj: Object) -> int:
    return int(obj["metadata"].get("generation", 0))


def _newer(obj: Object, than: Object) -> bool:
    # Versions of one object can be compared as numbers since Kubernetes 1.35 says so; before, they
    # were etcd revisions, which also are.
    new, old = obj["metadata"].get("resourceVersion"), than["metadata"].get("resourceVersion")
    if str(new).isdigit() and str(old).isdigit():
        return int(str(new)) >= int(str(old))
    return True


def _title(obj: Object) -> str:
    namespace, name = key_of(obj)
    return f"{obj['kind']} {namespace}/{name}" if namespace else f"{obj['kind']} {name}"


def _backends(ingress: Object) -> set[str]:
    found = set()
    for rule in ingress.get("spec", {}).get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            backend = path.get("backend") or {}
            name = (backend.get("service") or {}).get("name") or backend.get("serviceName")
            if name:
                found.add(name)
    return found
