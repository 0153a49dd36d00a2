"""The gate for deletion: what holds a part of the cloud, and the wait until nothing does."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from provider.informer import Event, Subscription, key_of
from provider.leftovers import held, wait
from provider.rpc import PluginError

DRIVER = "ebs.csi.aws.com"
DRIVERS = (DRIVER, "efs.csi.aws.com")


def volume(name: str = "pv-1", driver: str = DRIVER, policy: str = "Delete") -> dict[str, Any]:
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "csi": {"driver": driver},
            "persistentVolumeReclaimPolicy": policy,
            "claimRef": {"namespace": "ann", "name": "data"},
        },
    }


def service(type_: str) -> dict[str, Any]:
    metadata = {"namespace": "ann", "name": "web"}
    return {"kind": "Service", "metadata": metadata, "spec": {"type": type_}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (volume(), "PersistentVolume pv-1 of PersistentVolumeClaim ann/data: a volume"),
        (
            volume(driver="efs.csi.aws.com"),
            "PersistentVolume pv-1 of PersistentVolumeClaim ann/data: a volume",
        ),
        (volume(driver="nfs.csi.k8s.io"), ""),
        # To outlive the cluster is what Retain says.
        (volume(policy="Retain"), ""),
        (service("LoadBalancer"), "Service ann/web: a load balancer"),
        (service("ClusterIP"), ""),
        ({"kind": "PersistentVolume", "metadata": {"name": "x"}, "spec": {"hostPath": {}}}, ""),
    ],
)
def test_what_holds_a_part_of_the_cloud(body: dict[str, Any], expected: str) -> None:
    assert held(body, DRIVERS) == expected


class Informers:
    """What is there, and what happens next, once somebody follows."""

    def __init__(self, *bodies: dict[str, Any], later: tuple[Event, ...] = ()) -> None:
        self._bodies, self._later = bodies, later

    def follow(self, subscription: Subscription, version: str, kind: str, key: None) -> None:
        assert (version, key) == ("v1", None)
        for body in self._bodies:
            if body["kind"] == kind:
                subscription.events.put(Event(kind, key_of(body), body))
        if kind == "Service":
            for event in self._later:
                threading.Timer(0.05, subscription.events.put, (event,)).start()


def waited(informers: Informers, timeout: float = 20, *, cancelled: bool = False) -> list[str]:
    said: list[str] = []
    stop = threading.Event()
    if cancelled:
        stop.set()
    wait(informers, stop, DRIVERS, timeout=timeout, say=said.append)  # type: ignore[arg-type]
    return said


def test_nothing_there_is_nothing_to_wait_for() -> None:
    waited(Informers(service("ClusterIP")), timeout=0)


def test_the_wait_ends_when_the_last_one_is_gone() -> None:
    gone = (Event("PersistentVolume", ("", "pv-1"), None), Event("Service", ("ann", "web"), None))
    waited(Informers(volume(), service("LoadBalancer"), later=gone))


def test_a_service_that_needs_no_load_balancer_any_more_holds_none() -> None:
    waited(
        Informers(
            service("LoadBalancer"),
            later=(Event("Service", ("ann", "web"), service("ClusterIP")),),
        )
    )


def test_what_is_left_is_named_with_the_way_out() -> None:
    bodies = [volume(f"pv-{number}") for number in range(7)]
    with pytest.raises(PluginError, match=r"still held after 0 s: .*pv-0 of .*ann/data") as error:
        waited(Informers(*bodies), timeout=0)
    assert "and 2 more" in str(error.value) and "Delete these objects" in str(error.value)


def test_a_cancelled_wait_ends() -> None:
    with pytest.raises(PluginError, match="cancelled while the cloud is still held"):
        waited(Informers(volume()), cancelled=True)
