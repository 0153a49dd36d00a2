"""Updates that something comes between, and watches that break: with a stand-in for the server."""

import threading

import pytest

from provider.client import ApiError, Resource
from provider.informer import Event, Informers, Subscription
from provider.rpc import Call, Engine, InitFailed
from provider.wait import NotReady, Waiter
from sandbox.provider.checkpoint import save
from sandbox.provider.plugin import KubernetesPlugin

CONFIG_MAPS = Resource("v1", "ConfigMap", "/api/v1", "configmaps", namespaced=True)
OUTDATED = {"reason": "Conflict", "message": "the object has been modified"}
CONTESTED = {
    "reason": "Conflict",
    "message": 'Apply failed with 1 conflict: conflict with "somebody": .data.a',
    "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".data.a"}]},
}


def config_map(value, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n", **metadata},
        "data": {"a": value},
    }


class Server:
    """Answers as the client does; every write of the live object's managers is refused first."""

    def __init__(self, refusals):
        self.refusals = refusals
        self.writes = []
        self.reads = 0

    def resource(self, api_version, kind):
        return CONFIG_MAPS

    def get(self, resource, namespace, name):
        self.reads += 1
        entry = {"manager": "pulumi-kubernetes", "operation": "Update", "fieldsV1": {"f:data": {}}}
        return config_map("1", resourceVersion=str(self.reads), managedFields=[entry])

    def _write(self, what):
        self.writes.append(what)
        if self.refusals:
            raise ApiError(self.refusals.pop(0), 409)

    def patch(self, resource, operations, namespace, name):
        self._write(operations[-1]["value"])
        return config_map("1", managedFields=[{"manager": "m", "operation": "Apply"}])

    def apply(self, resource, body, namespace, name, **options):
        self._write("apply")
        return body


def update(server):
    plugin = KubernetesPlugin(Engine(""))
    plugin.configure({})
    plugin._client = server
    old = config_map("1")
    call = Call(urn="urn", type="kubernetes:core/v1:ConfigMap", name="x", id="n/x")
    return plugin.update(call, save(old, old, {}, "v1", "m"), config_map("2"))


def test_an_update_that_a_controller_came_before_is_done_anew_from_what_is_there():
    server = Server([OUTDATED, OUTDATED])
    assert update(server)["data"] == {"a": "2"}
    assert server.writes == ["1", "2", "3", "apply"]


def test_an_update_that_is_always_too_late_is_an_error():
    with pytest.raises(InitFailed, match="has been modified") as failed:
        update(Server([OUTDATED] * 20))
    assert "conflict detected" not in str(failed.value)


def test_a_rival_manager_is_an_error_at_once():
    server = Server([CONTESTED])
    with pytest.raises(InitFailed, match=r'conflict detected.*field manager "m".*"somebody"'):
        update(server)
    assert len(server.writes) == 1


class Watched:
    """A client whose first snapshots fail, and whose watch breaks at once."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.broken = threading.Event()

    def resource(self, api_version, kind):
        return CONFIG_MAPS

    def snapshot(self, resource, **options):
        if self.failures:
            raise self.failures.pop(0)
        return [config_map("1")], "1"

    def watch(self, resource, version, **options):
        self.broken.wait()
        yield from ()
        raise KeyError("resourceVersion")


def test_whatever_keeps_a_kind_from_being_listed_is_raised():
    informers = Informers(Watched(KeyError("metadata")))
    with Subscription() as subscription:
        with pytest.raises(KeyError):
            informers.follow(subscription, "v1", "ConfigMap", ("n", "x"))
        informers.follow(subscription, "v1", "ConfigMap", ("n", "x"))
        assert subscription.next(5).object["data"] == {"a": "1"}


def test_a_watch_that_breaks_is_taken_up_again(monkeypatch):
    monkeypatch.setattr("provider.informer._RETRY", 0.0)
    client = Watched()
    with Subscription() as subscription:
        Informers(client).follow(subscription, "v1", "ConfigMap", ("n", "x"))
        assert subscription.next(5).object["data"] == {"a": "1"}
        changed = config_map("2", resourceVersion="2")
        client.snapshot = lambda resource, **options: ([changed], "2")
        client.broken.set()
        assert subscription.next(5).object == changed


class Delivering:
    """Informers that deliver given states of the object, one after another."""

    def __init__(self, *states):
        self.states = states

    def follow(self, subscription, api_version, kind, key, **options):
        for state in self.states:
            subscription.events.put(Event(kind, key, state))


@pytest.mark.parametrize("last", [None, config_map("1", uid="2")], ids=["gone", "made anew"])
def test_an_object_is_gone_when_another_has_its_name(last):
    """A watch that was taken up again shows the successor only."""
    live = config_map("1", uid="1")
    informers = Delivering({**live, "metadata": {**live["metadata"], "finalizers": ["a"]}}, last)
    waiter = Waiter(None, informers, threading.Event())
    waiter.gone(live, timeout=5, status=lambda _: None)


def test_an_object_that_stays_is_not_gone():
    live = config_map("1", uid="1")
    held = {**live, "metadata": {**live["metadata"], "finalizers": ["a.b/c"]}}
    waiter = Waiter(None, Delivering(held), threading.Event())
    with pytest.raises(NotReady, match=r"timed out after 0\.1 s.*a\.b/c"):
        waiter.gone(live, timeout=0.1, status=lambda _: None)
