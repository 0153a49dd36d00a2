"""Wait until admission and conversion webhooks answer.

A webhook answers when its configuration carries a certificate authority, its Service has a ready
endpoint, and a dry run that it admits comes back without the API server's "failed calling webhook".
"Deployment available" says none of that.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provider.client import ApiError, Client, NoSuchKind, Object, Unreachable
from provider.informer import Event, Informers, Subscription
from provider.rpc import PluginError

USER_AGENT: Final = "ml-platform-probe"
_REPORT: Final = 5.0  # seconds between progress messages
_TICK: Final = 1.0  # a cancelled wait ends within this (seconds)
_FIRST_PAUSE: Final = 0.1  # seconds between dry runs, doubled up to the last one
_LAST_PAUSE: Final = 0.25
_PROBE_TIMEOUT: Final = 35.0  # longer than the longest webhook timeout, 30 s
_LONGEST_NAME: Final = 63
_VERSIONS: Final = {
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook of a configuration; `name` is not used for a CustomResourceDefinition."""

    kind: str
    configuration: str
    name: str

    def __str__(self) -> str:
        return f"webhook {self.name} of {self.kind}/{self.configuration}"


def parse_webhook(value: Any) -> Webhook:  # noqa: ANN401
    """Read `{configuration: "<kind>/<name>", webhook: "<name>"}`.

    Raises:
        ValueError: what is wrong and what is expected.
    """
    text = value.get("configuration") if isinstance(value, Mapping) else None
    kind, _, name = str(text).partition("/")
    if kind not in _VERSIONS or not name:
        kinds = ", ".join(f"{kind}/<name>" for kind in _VERSIONS)
        raise ValueError(f"`configuration` is {text!r}; it must be one of {kinds}")
    webhook = value.get("webhook")
    if not isinstance(webhook, str) or not webhook:
        raise ValueError(f"{text}: `webhook` is {webhook!r}; it must name a webhook")
    return Webhook(kind, name, webhook)


def client_config(webhook: Webhook, configuration: Object | None) -> Mapping[str, Any] | None:
    """The `clientConfig` of a webhook, None where the configuration doesn't have it."""
    if configuration is None:
        return None
    if webhook.kind == "CustomResourceDefinition":
        conversion = configuration.get("spec", {}).get("conversion") or {}
        found: Mapping[str, Any] | None = (conversion.get("webhook") or {}).get("clientConfig")
        return found
    for entry in configuration.get("webhooks") or ():
        if entry.get("name") == webhook.name:
            config: Mapping[str, Any] = entry.get("clientConfig") or {}
            return config
    return None


def has_endpoint(slices: Sequence[Object]) -> bool:
    """Whether any of a Service's EndpointSlices has a ready endpoint (unset counts as ready)."""
    return any(
        (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
        for part in slices
        for endpoint in part.get("endpoints") or ()
    )


def unanswered(error: ApiError) -> str:
    """Why a dry run says that a webhook did not answer; empty if every webhook did.

    A denial, a conflict and an invalid object are answers.
    """
    text = error.message
    if "failed calling webhook" in text or "failed to call webhook" in text:
        return text
    if "conversion webhook for" in text and "failed" in text:
        return text
    if "admission webhook" in text and "denied the request" in text:
        return ""
    # The namespace or kind of the probe is missing, or the server is not well: nobody was asked.
    return text if error.code == 404 or error.code >= 500 else ""


class _Progress:
    """How long a wait may go on, and what is said about it."""

    def __init__(
        self, say: Callable[[str], None], timeout: float, cancelled: threading.Event
    ) -> None:
        self.waiting = ""
        self._say = say
        self._deadline = time.monotonic() + timeout
        self._cancelled = cancelled
        self._said = time.monotonic()

    def check(self) -> None:
        """Report now and then; end the wait when time is up.

        Raises:
            PluginError: late or cancelled.
        """
        now = time.monotonic()
        if self._cancelled.is_set():
            raise PluginError(f"cancelled while waiting for admission webhooks: {self.waiting}")
        if now >= self._deadline:
            raise PluginError(f"admission webhooks did not become ready in time: {self.waiting}")
        if now - self._said >= _REPORT:
            self._said = now
            self._say(self.waiting)

    @property
    def left(self) -> float:
        """Seconds to wait for an event before the next `check`."""
        return max(min(_TICK, self._deadline - time.monotonic()), 0.0)


class Gate:
    """Waits until webhooks answer; one call of `pass_through` for a set of webhooks and probes."""

    def __init__(self, client: Client, informers: Informers, cancelled: threading.Event) -> None:
        self._client = client
        self._informers = informers
        self._cancelled = cancelled

    def pass_through(
        self,
        webhooks: Sequence[Webhook],
        probes: Sequence[Object],
        *,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        """Return when every webhook is configured, has an endpoint, and answers the probes.

        Args:
            webhooks: those to wait for.
            probes: objects that they admit; sent as dry runs, never stored.
            timeout: seconds for all of it.
            say: takes what is waited for, every 5 s.

        Raises:
            PluginError: late, or a configuration was deleted meanwhile; the text names the webhook,
                its Service and the last error.
        """
        progress = _Progress(say, timeout, self._cancelled)
        seen = _Seen()
        with Subscription() as subscription:
            self._follow(subscription, webhooks)
            self._await_configured(webhooks, subscription, seen, progress)
            for probe in probes:
                self._await_answer(probe, webhooks, subscription, seen, progress)
        self._confirm(seen)

    def _follow(self, subscription: Subscription, webhooks: Sequence[Webhook]) -> None:
        for kind, name in sorted({(w.kind, w.configuration) for w in webhooks}):
            self._informers.follow(
                subscription, _VERSIONS[kind], kind, ("", name), fields=f"metadata.name={name}"
            )
        self._informers.follow(subscription, "discovery.k8s.io/v1", "EndpointSlice", None)

    def _await_configured(
        self,
        webhooks: Sequence[Webhook],
        subscription: Subscription,
        seen: _Seen,
        progress: _Progress,
    ) -> None:
        while True:
            seen.take_all(subscription, 0.0)
            progress.waiting = seen.missing(webhooks)
            if not progress.waiting:
                return
            progress.check()
            seen.take_all(subscription, progress.left)

    def _await_answer(
        self,
        probe: Object,
        webhooks: Sequence[Webhook],
        subscription: Subscription,
        seen: _Seen,
        progress: _Progress,
    ) -> None:
        namespace = probe.get("metadata", {}).get("namespace", "")
        title = f"dry run of a {probe['kind']} in namespace {namespace}"
        title = title if namespace else f"dry run of a {probe['kind']}"
        progress.waiting = f"{title}: no answer yet ({seen.services(webhooks)})"
        pause = _FIRST_PAUSE
        while True:
            answer = _Answer(lambda: self._ask(probe))
            while not answer.wait(progress.left):
                progress.check()
            seen.take_all(subscription, 0.0)
            trouble = answer.trouble or seen.missing(webhooks)
            if not trouble:
                return
            progress.waiting = f"{title}: {trouble} ({seen.services(webhooks)})"
            progress.check()
            self._cancelled.wait(min(pause, progress.left))
            pause = min(pause * 2, _LAST_PAUSE)

    def _confirm(self, seen: _Seen) -> None:
        """See that no probe passed because a configuration was gone by then."""
        for (kind, name), uid in seen.uids():
            resource = self._client.resource(_VERSIONS[kind], kind)
            try:
                found = self._client.get(resource, "", name, metadata_only=True)["metadata"]["uid"]
            except ApiError as error:
                if error.code != 404:
                    raise
                found = ""
            if found != uid:
                raise _deleted(kind, name)

    def _ask(self, probe: Object) -> str:
        metadata = {k: v for k, v in probe.get("metadata", {}).items() if k != "generateName"}
        ending = f"-{secrets.token_hex(4)}"
        base = str(metadata.get("name") or "ml-platform-probe")
        metadata["name"] = base[: _LONGEST_NAME - len(ending)].rstrip("-.") + ending
        try:
            resource = self._client.resource(probe["apiVersion"], probe["kind"])
            self._client.create(
                resource,
                {**probe, "metadata": metadata},
                metadata.get("namespace") or ("default" if resource.namespaced else ""),
                field_manager=USER_AGENT,
                dry_run=True,
                user_agent=USER_AGENT,
                timeout=_PROBE_TIMEOUT,
            )
        except (NoSuchKind, Unreachable) as error:
            return str(error)
        except ApiError as error:
            if error.code == 401 or (error.code == 403 and "cannot create" in error.message):
                raise PluginError(f"a probe is not allowed: {error.message}") from None
            return unanswered(error)
        return ""


class _Answer:
    """An answer that is on its way.

    A webhook may take 30 s not to answer; a cancelled wait can't take as long, so the question is
    asked in a thread of its own, which may be left behind.
    """

    def __init__(self, ask: Callable[[], str]) -> None:
        self.trouble = ""
        self._failure: Exception | None = None
        self._ask = ask
        self._done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self.trouble = self._ask()
        except Exception as error:
            self._failure = error
        self._done.set()

    def wait(self, timeout: float) -> bool:
        """Whether the answer is there, after `timeout` seconds at most.

        Raises:
            Exception: what asking raised.
        """
        done = self._done.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return done


class _Seen:
    """The newest configurations and EndpointSlices."""

    def __init__(self) -> None:
        self._configurations: dict[tuple[str, str], Object] = {}
        self._slices: dict[tuple[str, str], dict[str, Object]] = {}

    def take_all(self, subscription: Subscription, timeout: float) -> None:
        """Note all that has arrived; without anything, what does so within `timeout` seconds.

        Raises:
            PluginError: a configuration was deleted. Nothing would bring it back.
        """
        event = subscription.next(timeout)
        while event is not None:
            if event.kind == "EndpointSlice":
                self._take_slice(event)
            else:
                self._take_configuration(event)
            event = subscription.next(0.0)

    def _take_configuration(self, event: Event) -> None:
        key = (event.kind, event.key[1])
        if event.object is not None:
            self._configurations[key] = event.object
        elif key in self._configurations:
            raise _deleted(*key)

    def uids(self) -> Iterator[tuple[tuple[str, str], str]]:
        """(kind, name) and uid of each configuration."""
        for key, configuration in self._configurations.items():
            yield key, configuration["metadata"]["uid"]

    def _take_slice(self, event: Event) -> None:
        namespace, name = event.key
        if event.object is None:
            for (of, _), parts in self._slices.items():
                if of == namespace:
                    parts.pop(name, None)
            return
        labels = event.object["metadata"].get("labels") or {}
        service = labels.get("kubernetes.io/service-name", "")
        self._slices.setdefault((namespace, service), {})[name] = event.object

    def missing(self, webhooks: Sequence[Webhook]) -> str:
        """What the first webhook lacks that isn't ready to be asked; empty if all are."""
        for webhook in webhooks:
            found = self._configurations.get((webhook.kind, webhook.configuration))
            config = client_config(webhook, found)
            if config is None:
                lack = "does not exist" if found is None else "has no such webhook"
                return f"{webhook}: the configuration {lack}"
            service = config.get("service") or {}
            if service and not config.get("caBundle"):
                return f"{webhook} ({_backend(config)}): no caBundle yet"
            key = (service.get("namespace", ""), service.get("name", ""))
            if service and not has_endpoint(list(self._slices.get(key, {}).values())):
                return f"{webhook}: {_backend(config)} has no ready endpoint yet"
        return ""

    def services(self, webhooks: Sequence[Webhook]) -> str:
        """The webhooks and who serves them, in words."""
        return "; ".join(f"{webhook}, {self._backend_of(webhook)}" for webhook in webhooks)

    def _backend_of(self, webhook: Webhook) -> str:
        found = self._configurations.get((webhook.kind, webhook.configuration))
        return _backend(client_config(webhook, found) or {})


def _deleted(kind: str, name: str) -> PluginError:
    return PluginError(f"{kind}/{name} was deleted while its webhooks were waited for")


def _backend(config: Mapping[str, Any]) -> str:
    service = config.get("service")
    if service:
        return f"Service {service.get('namespace')}/{service.get('name')}"
    return str(config.get("url"))
