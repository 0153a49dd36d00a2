"""Wait until admission and conversion webhooks answer.

A webhook answers when its configuration carries a certificate authority, its Service has a ready
endpoint, and a dry run that it admits comes back without the API server's "failed calling webhook".
"Deployment available" says none of that.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from provider.client import ApiError, Client, NoSuchKind, Object
from provider.informer import Informers, Subscription
from provider.rpc import PluginError

USER_AGENT: Final = "ml-platform-probe"
_REPORT: Final = 5.0  # seconds between progress messages
_TICK: Final = 1.0  # a cancelled wait ends within this (seconds)
_FIRST_PAUSE: Final = 0.1  # seconds between dry runs, doubled up to the last one
_LAST_PAUSE: Final = 1.0
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
    # The namespace or kind of the probe is missing, or the server is not well: nobody was asked.
    return text if error.code == 404 or error.code >= 502 else ""


@dataclass(slots=True)
class _Progress:
    say: Callable[[str], None]
    deadline: float
    cancelled: threading.Event
    waiting: str = ""
    _said: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Report now and then; end the wait when time is up.

        Raises:
            PluginError: late or cancelled.
        """
        now = time.monotonic()
        if self.cancelled.is_set():
            raise PluginError(f"cancelled while waiting for admission webhooks: {self.waiting}")
        if now >= self.deadline:
            raise PluginError(f"admission webhooks did not become ready in time: {self.waiting}")
        if now - self._said >= _REPORT:
            self._said = now
            self.say(self.waiting)


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
            PluginError: late; the text names the webhook, its Service and the last error.
        """
        progress = _Progress(say, time.monotonic() + timeout, self._cancelled)
        services = self._await_configured(webhooks, progress)
        for probe in probes:
            self._await_answer(probe, services, progress)

    def _await_configured(
        self, webhooks: Sequence[Webhook], progress: _Progress
    ) -> Mapping[Webhook, str]:
        with Subscription() as subscription:
            for kind, name in sorted({(w.kind, w.configuration) for w in webhooks}):
                self._informers.follow(
                    subscription,
                    _VERSIONS[kind],
                    kind,
                    ("", name),
                    fields=f"metadata.name={name}",
                )
            self._informers.follow(subscription, "discovery.k8s.io/v1", "EndpointSlice", None)
            seen = _Seen()
            while True:
                progress.waiting, services = seen.missing(webhooks)
                if not progress.waiting:
                    return services
                progress.check()
                event = subscription.next(_TICK)
                while event is not None:
                    seen.take(event.kind, event.object)
                    event = subscription.next(0)

    def _await_answer(
        self, probe: Object, services: Mapping[Webhook, str], progress: _Progress
    ) -> None:
        pause = _FIRST_PAUSE
        while True:
            trouble = self._ask(probe)
            if not trouble:
                return
            title = f"{probe['kind']} {probe.get('metadata', {}).get('namespace', '')}".strip()
            progress.waiting = f"dry run of a {title}: {trouble} ({_list(services)})"
            progress.check()
            self._cancelled.wait(pause)
            pause = min(pause * 2, _LAST_PAUSE)

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
        except NoSuchKind as error:
            return str(error)
        except ApiError as error:
            if error.code == 403 and "cannot create resource" in error.message:
                raise PluginError(f"a probe is not allowed: {error.message}") from None
            return unanswered(error)
        return ""


class _Seen:
    """The newest configurations and EndpointSlices."""

    def __init__(self) -> None:
        self._configurations: dict[tuple[str, str], Object] = {}
        self._slices: dict[tuple[str, str], dict[str, Object]] = {}

    def take(self, kind: str, obj: Object | None) -> None:
        """Note an object. One that went away says nothing: the wait goes on for its successor."""
        if obj is None:
            return
        metadata = obj["metadata"]
        if kind != "EndpointSlice":
            self._configurations[kind, metadata["name"]] = obj
            return
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        parts = self._slices.setdefault((metadata["namespace"], service), {})
        parts[metadata["name"]] = obj

    def missing(self, webhooks: Sequence[Webhook]) -> tuple[str, dict[Webhook, str]]:
        """What the first unready webhook lacks (empty: nothing), and the webhooks' Services."""
        services: dict[Webhook, str] = {}
        for webhook in webhooks:
            found = self._configurations.get((webhook.kind, webhook.configuration))
            config = client_config(webhook, found)
            if config is None:
                lack = "does not exist" if found is None else "has no such webhook"
                return f"{webhook}: the configuration {lack}", services
            service = config.get("service") or {}
            key = (service.get("namespace", ""), service.get("name", ""))
            services[webhook] = f"Service {key[0]}/{key[1]}" if service else str(config.get("url"))
            if not config.get("caBundle"):
                return f"{webhook} ({services[webhook]}): no caBundle yet", services
            if service and not has_endpoint(list(self._slices.get(key, {}).values())):
                return f"{webhook}: {services[webhook]} has no ready endpoint yet", services
        return "", services


def _list(services: Mapping[Webhook, str]) -> str:
    return (
        "; ".join(f"{webhook}, {service}" for webhook, service in services.items()) or "no webhook"
    )
