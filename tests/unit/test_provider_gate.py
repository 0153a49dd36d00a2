"""The gate for admission webhooks, where timing decides: with stand-ins for server and watches."""

import threading
from types import SimpleNamespace

import pytest

from provider.admission import Gate, Webhook
from provider.client import ApiError
from provider.informer import Event
from provider.rpc import PluginError

KIND = "MutatingWebhookConfiguration"
HOOK = Webhook(KIND, "hooks", "a.example.org")
PROBE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n", "name": "p" * 70}}


def configuration(uid="1", *names):
    entry = {"clientConfig": {"url": "https://localhost", "caBundle": "x"}}
    webhooks = [{**entry, "name": name} for name in names or (HOOK.name,)]
    return {"kind": KIND, "metadata": {"name": "hooks", "uid": uid}, "webhooks": webhooks}


class Informers:
    """Delivers one configuration, and what a test sends later."""

    def __init__(self, first):
        self.first = first
        self.subscription = None

    def follow(self, subscription, api_version, kind, key, **options):
        if kind == KIND:
            self.subscription = subscription
            self.send(self.first)

    def send(self, obj):
        self.subscription.events.put(Event(KIND, ("", "hooks"), obj))


class Client:
    """Answers probes with what `answers` says, which may act first; then with success."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.live = configuration()
        self.probed = []

    def resource(self, api_version, kind):
        return SimpleNamespace(namespaced=kind == "ConfigMap")

    def create(self, resource, body, namespace, **options):
        assert options["dry_run"]
        self.probed.append(body["metadata"]["name"])
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer):
            answer = answer()
        if answer is not None:
            raise answer

    def get(self, resource, namespace, name, *, metadata_only):
        assert metadata_only
        if self.live is None:
            raise ApiError({"message": "not found"}, 404)
        return self.live


def refused():
    return ApiError({"message": 'failed calling webhook "a.example.org": refused'}, 500)


def pass_through(client, informers, timeout=10.0):
    gate = Gate(client, informers, threading.Event())
    gate.pass_through([HOOK], [PROBE], timeout=timeout, say=lambda _: None)


def test_a_probe_is_sent_until_it_is_answered_each_time_under_another_name():
    client = Client(refused(), refused())
    pass_through(client, Informers(configuration()))
    assert len(set(client.probed)) == 3
    assert all(len(name) <= 63 for name in client.probed)


@pytest.mark.parametrize("live", [None, configuration("2")], ids=["gone", "made anew"])
def test_an_answer_without_the_configuration_is_none(live):
    """The probe passed because nobody was asked; the watch does not know yet."""
    client = Client()
    client.live = live
    with pytest.raises(PluginError, match=f"{KIND}/hooks was deleted"):
        pass_through(client, Informers(configuration()))


def test_a_configuration_that_loses_the_webhook_is_not_passed():
    informers = Informers(configuration())
    client = Client(lambda: informers.send(configuration("1", "other")))
    with pytest.raises(PluginError, match="has no such webhook"):
        pass_through(client, informers, timeout=0.3)


def test_a_probe_that_is_not_allowed_is_an_error_at_once():
    client = Client(ApiError({"message": "forbidden: cannot create resource"}, 403))
    with pytest.raises(PluginError, match="a probe is not allowed"):
        pass_through(client, Informers(configuration()))
    assert len(client.probed) == 1
