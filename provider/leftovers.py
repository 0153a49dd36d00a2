"""Waits, when a cluster is taken down, until nothing on it holds a part of the cloud.

A controller deletes a volume after its PersistentVolumeClaim is gone, and a load balancer while its
Service goes; a controller that is deleted first leaves them behind, to be paid for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from provider.client import Object
from provider.informer import Informers, Subscription
from provider.kind import Remembered
from provider.rpc import Call, Change, Failure, PluginError, Properties
from provider.values import UNKNOWN
from provider.wait import Reporter

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform

_TIMEOUT: Final = 600  # seconds, unless the resource says otherwise
_TICK: Final = 1.0  # a cancelled wait ends within this (seconds)
_SHOWN: Final = 5


class CloudReleased(Remembered):
    """A gate for deletion: it is gone once nothing holds a volume or a load balancer.

    Inputs: `drivers`, the CSI drivers whose volumes are looked at. Outputs: the inputs.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """The drivers' names."""
        drivers = inputs.get("drivers")
        if drivers is UNKNOWN:
            return []
        if isinstance(drivers, list) and drivers and all(d and isinstance(d, str) for d in drivers):
            return []
        return [Failure("drivers", f"drivers is {drivers!r}; it must name CSI drivers")]

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Other drivers are looked at from then on."""
        same = olds.get("drivers") == news.get("drivers")
        return [] if same else [Change("drivers", "update")]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Nothing is made."""
        return call.name, {}

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Wait.

        Raises:
            PluginError: something is still held, or the wait was cancelled.
        """
        cluster = plugin.cluster
        wait(
            cluster.informers,
            plugin.cancelled,
            state["drivers"],
            timeout=call.timeout or _TIMEOUT,
            say=lambda text: plugin.engine.status(call.urn, text),
        )


def held(body: Object, drivers: Collection[str]) -> str:
    """What of the cloud an object holds, in words; "" for nothing.

    A volume that is to be retained is not waited for: it is to outlive the cluster.
    """
    spec = body.get("spec") or {}
    metadata = body["metadata"]
    if body["kind"] == "Service":
        if spec.get("type") != "LoadBalancer":
            return ""
        return f"Service {metadata['namespace']}/{metadata['name']}: a load balancer"
    if (spec.get("csi") or {}).get("driver") not in drivers:
        return ""
    if spec.get("persistentVolumeReclaimPolicy") != "Delete":
        return ""
    claim = spec.get("claimRef") or {}
    owner = f" of PersistentVolumeClaim {claim['namespace']}/{claim['name']}" if claim else ""
    return f"PersistentVolume {metadata['name']}{owner}: a volume"


def wait(
    informers: Informers,
    cancelled: threading.Event,
    drivers: Collection[str],
    *,
    timeout: float,
    say: Callable[[str], None],
) -> None:
    """Return once no object holds anything; see `held`.

    Raises:
        PluginError: late or cancelled; it names what is left, and how to let it go.
    """
    deadline = time.monotonic() + timeout
    reporter = Reporter(say)
    holding: dict[tuple[str, str, str], str] = {}
    with Subscription() as subscription:
        for kind in ("PersistentVolume", "Service"):
            informers.follow(subscription, "v1", kind, None)
        event = subscription.next(0.0)
        while True:
            while event is not None:
                what = held(event.object, drivers) if event.object is not None else ""
                identity = (event.kind, *event.key)
                if what:
                    holding[identity] = what
                else:
                    holding.pop(identity, None)
                event = subscription.next(0.0)
            if not holding:
                reporter.clear()
                return
            left = _shown(sorted(holding.values()))
            if cancelled.is_set():
                raise PluginError(f"cancelled while the cloud is still held: {left}")
            if time.monotonic() >= deadline:
                raise PluginError(
                    f"still held after {timeout:.0f} s: {left}. Delete these objects (a volume's "
                    "claim, not the volume), then run it again; their controllers are still there"
                )
            reporter.report(f"waiting for {left}")
            event = subscription.next(min(_TICK, max(deadline - time.monotonic(), 0.0)))


def _shown(entries: list[str]) -> str:
    more = len(entries) - _SHOWN
    return "; ".join(entries[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
