"""The plugin `pulumi-resource-mlplatform`: what the platform needs and no other provider offers.

Types: `mlplatform:kubernetes:CustomResourceDefinition`, `mlplatform:kubernetes:AdmissionReady`,
`mlplatform:kubernetes:CloudReleased`, `mlplatform:access:Credentials`, `mlplatform:gateway:Access`,
`mlplatform:kubeflow:Release`, `mlplatform:redis:Access`, `mlplatform:redis:Topology`.
Configuration: `kubeconfig` (contents or path; secret), `clusterIdentifier`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from provider import settings
from provider.admission import Gate, parse_webhook
from provider.client import Client, Unreachable
from provider.definitions import API_VERSION, DIGEST, KIND, Definitions, body_of, served_kinds
from provider.gateway import GatewayAccess
from provider.informer import Informers
from provider.kind import Kind, Remembered
from provider.kubeconfig import connect
from provider.leftovers import CloudReleased
from provider.redis import RedisAccess, RedisTopology
from provider.release import KubeflowRelease
from provider.rpc import (
    Call,
    Change,
    Difference,
    Engine,
    Failure,
    InitFailed,
    Plugin,
    PluginError,
    Properties,
    serve,
)
from provider.values import UNKNOWN, Secret, has_unknown, plain
from provider.wait import NotReady, Waiter

_TIMEOUT: Final = 600  # seconds, unless the resource says otherwise


class Cluster:
    """The API server and what works on it; connected to when first needed."""

    def __init__(self, kubeconfig: str, cancelled: threading.Event) -> None:
        self.client = Client(connect(kubeconfig), "ml-platform", cancelled)
        self.informers = informers = Informers(self.client)
        self.definitions = Definitions(self.client, cancelled)
        self.gate = Gate(self.client, informers, cancelled)
        self.waiter = Waiter(self.client, informers, cancelled)


class CustomResourceDefinition(Kind):
    """A definition by digest.

    Inputs: `name`; `digest` "sha256:<hex>"; `store`, the folder with `<hex>.json`; `summary`
    {group, kind, scope, versions}. Outputs: the inputs and `uid`.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """Types, and the form of the digest."""
        failures = [
            Failure(name, f"{name} is {inputs.get(name)!r}; it must be a text")
            for name in ("name", "digest", "store")
            if inputs.get(name) is not UNKNOWN
            and not (isinstance(inputs.get(name), str) and inputs[name])
        ]
        digest = inputs.get("digest")
        if isinstance(digest, str) and not DIGEST.match(digest):
            reason = f"digest is {digest!r}; expected sha256: and 64 hexadecimal digits"
            failures.append(Failure("digest", reason))
        return failures

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Another folder for the store is no change; another name is another definition."""
        return [
            Change(key, "update" if key in olds else "add", replace=key == "name")
            for key in ("name", "digest", "summary")
            if key in news and olds.get(key) != news[key]
        ]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Server-side apply of the body, then wait until every version is served."""
        name = inputs["name"]
        body = body_of(inputs["store"], inputs["digest"])
        definitions = plugin.cluster.definitions
        if call.preview:
            live = definitions.apply(name, body, dry_run=True)
            return "", {"uid": live["metadata"]["uid"] if call.id else UNKNOWN}
        live = definitions.apply(name, body, dry_run=False)
        outputs = {"uid": live["metadata"]["uid"]}
        try:
            definitions.established(
                live["metadata"],
                served_kinds(body),
                timeout=call.timeout or _TIMEOUT,
                say=lambda text: plugin.engine.status(call.urn, text),
            )
        except PluginError as error:
            # It exists: the engine must know, so that `destroy` removes it.
            raise InitFailed(str(error), name, {**inputs, **outputs}) from None
        return name, outputs

    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The digest says `sha256:drifted-…` while the live definition differs from the body."""
        live = plugin.cluster.definitions.read(call.id)
        if live is None:
            return "", {}, {}
        known = inputs or {key: value for key, value in state.items() if key != "uid"}
        drift = ""
        if DIGEST.match(str(known.get("digest"))):
            body = body_of(known["store"], known["digest"])
            drift = plugin.cluster.definitions.drift(live, body)
        found = {**known, "name": call.id, **({"digest": drift} if drift else {})}
        return call.id, {**found, "uid": live["metadata"]["uid"]}, found

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Remove the definition, and with it its objects; wait until it is gone."""
        definitions = plugin.cluster.definitions
        lingering = definitions.delete(call.id)
        if lingering is None:
            return
        try:
            plugin.cluster.waiter.gone(
                {**lingering, "apiVersion": API_VERSION, "kind": KIND},
                timeout=call.timeout or _TIMEOUT,
                status=lambda text: plugin.engine.status(call.urn, text),
                lingers=lambda: definitions.resume_deletion(call.id),
            )
        except NotReady as error:
            raise PluginError(str(error)) from None


class AdmissionReady(Remembered):
    """A gate: exists once admission webhooks answer.

    Inputs: `webhooks`, a list of {configuration: "<kind>/<name>", webhook}; `probes`, objects that
    they admit, sent as dry runs; `timeoutSeconds`, 600 by default. Outputs: the inputs.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """The form of every webhook, probe and the timeout."""
        failures = []
        webhooks, probes = inputs.get("webhooks"), inputs.get("probes", [])
        if not isinstance(webhooks, list) and webhooks is not UNKNOWN:
            failures.append(Failure("webhooks", f"webhooks is {webhooks!r}; it must be a list"))
        for index, webhook in enumerate(webhooks if isinstance(webhooks, list) else ()):
            try:
                if not has_unknown(webhook):
                    parse_webhook(webhook)
            except ValueError as error:
                failures.append(Failure(f"webhooks[{index}]", str(error)))
        if not isinstance(probes, list) and probes is not UNKNOWN:
            failures.append(Failure("probes", f"probes is {probes!r}; it must be a list"))
        for index, probe in enumerate(probes if isinstance(probes, list) else ()):
            if probe is not UNKNOWN and not (
                isinstance(probe, dict) and probe.get("apiVersion") and probe.get("kind")
            ):
                reason = "a probe is a Kubernetes object: it needs `apiVersion` and `kind`"
                failures.append(Failure(f"probes[{index}]", reason))
        timeout = inputs.get("timeoutSeconds", _TIMEOUT)
        if timeout is not UNKNOWN and (type(timeout) is not int or timeout <= 0):
            reason = f"timeoutSeconds is {timeout!r}; it must be a whole number of seconds above 0"
            failures.append(Failure("timeoutSeconds", reason))
        return failures

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Other webhooks or probes are asked anew; a timeout changes nothing that is there."""
        return [
            Change(key, "update" if key in olds else "add")
            for key in ("webhooks", "probes")
            if olds.get(key, []) != news.get(key, [])
        ]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Wait until the webhooks answer; nothing is asked in a preview."""
        if not call.preview:
            plugin.cluster.gate.pass_through(
                [parse_webhook(webhook) for webhook in inputs["webhooks"]],
                inputs.get("probes", []),
                timeout=call.timeout or inputs.get("timeoutSeconds", _TIMEOUT),
                say=lambda text: plugin.engine.status(call.urn, text),
            )
        return call.name, {}


class Credentials(Kind):
    """Generated credentials.

    Inputs: `password`, optional. Outputs: every field of `provider.credentials`, each a secret,
    and `stored`, false once the cluster no longer keeps them.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """The password's form; its value is never shown."""
        from components.kubeflow.access import AccessError, check_password

        password = inputs.get("password")
        if password is None or password is UNKNOWN:
            return []
        try:
            check_password(str(password))
        except AccessError as error:
            return [Failure("password", str(error))]
        return []

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Another password, or a cluster that lost them."""
        wanted = news.get("password")
        changed = wanted is not None and wanted != olds.get("password")
        lost = olds.get("stored") is False
        return [
            Change(key, "update")
            for key, is_so in (("password", changed), ("stored", lost))
            if is_so
        ]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Complete what the cluster keeps; a preview knows only the password that was given."""
        from provider import credentials

        return credentials.NAME, self.change(plugin, call, {}, inputs)

    def change(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> Properties:
        """What the state knows stands; a state that was lost finds it in the cluster."""
        from provider import credentials

        password = inputs.get("password")
        known = {key: state[key] for key in credentials.FIELDS if state.get(key)}
        if call.preview:
            values = {key: known.get(key, UNKNOWN) for key in credentials.FIELDS}
            if password and password != known.get("password"):
                values |= {"password": password, credentials.HASH: UNKNOWN}
        else:
            client = plugin.cluster.client
            kept = credentials.stored(client)
            values = credentials.complete({**kept, **known}, password)
            if values != kept:
                credentials.store(client, values)
        return {**{key: Secret(value) for key, value in values.items()}, "stored": True}

    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The state as it is: what the cluster keeps is a copy, put back by the next update."""
        from provider import credentials

        kept = credentials.stored(plugin.cluster.client)
        plain_state = plain(state)
        same = all(kept.get(key) == plain_state.get(key) for key in credentials.FIELDS)
        return call.id, {**state, "stored": same}, inputs

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Take the copy from the cluster."""
        from provider import credentials

        credentials.remove(plugin.cluster.client)


_KINDS: Final[Mapping[str, Kind]] = {
    "mlplatform:access:Credentials": Credentials(),
    "mlplatform:gateway:Access": GatewayAccess(),
    "mlplatform:kubernetes:CustomResourceDefinition": CustomResourceDefinition(),
    "mlplatform:kubernetes:AdmissionReady": AdmissionReady(),
    "mlplatform:kubernetes:CloudReleased": CloudReleased(),
    "mlplatform:kubeflow:Release": KubeflowRelease(),
    "mlplatform:redis:Access": RedisAccess(),
    "mlplatform:redis:Topology": RedisTopology(),
}


def _kind(token: str) -> Kind:
    if token not in _KINDS:
        raise PluginError(f"{token}: unknown type; there are {', '.join(_KINDS)}")
    return _KINDS[token]


class MlPlatform(Plugin):
    """Provider `mlplatform`."""

    name = "mlplatform"
    version = "0.1.0"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._kubeconfig = ""
        self._connecting = threading.Lock()
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster of the kubeconfig."""
        with self._connecting:
            if self._cluster is None:
                self._cluster = Cluster(self._kubeconfig, self.cancelled)
            return self._cluster

    def check_config(self, olds: Properties, news: Properties) -> Sequence[Failure]:
        """A kubeconfig is needed: this provider never falls back on the user's own."""
        if plain(news.get("kubeconfig")):
            return []
        return [Failure("kubeconfig", "kubeconfig is not set: give the contents of a kubeconfig")]

    def diff_config(self, olds: Properties, news: Properties) -> Difference:
        """As the Kubernetes provider: another cluster replaces everything."""
        return settings.difference(olds, news)

    def configure(self, variables: Mapping[str, str]) -> None:
        """Take the kubeconfig."""
        self._kubeconfig = variables.get("kubeconfig", "")

    def check(
        self, call: Call, olds: Properties, news: Properties
    ) -> tuple[Properties, Sequence[Failure]]:
        """Inputs as they are, and what is wrong with them."""
        kind, wanted = _kind(call.type), plain(news)
        return news, [*kind.check(wanted), *kind.check_change(self, plain(olds), wanted)]

    def diff(self, call: Call, olds: Properties, news: Properties) -> Difference:
        """Compare state and inputs; makes no request."""
        return Difference(_kind(call.type).diff(plain(olds), plain(news)))

    def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Make it; a preview whose cluster or inputs aren't there yet shows the inputs."""
        kind = _kind(call.type)
        identifier, more = self._tried(call, inputs, lambda: kind.write(self, call, plain(inputs)))
        return ("" if call.preview else identifier), {**inputs, **more}

    def update(self, call: Call, olds: Properties, news: Properties) -> Properties:
        """Change it; a preview as `create`."""
        kind = _kind(call.type)
        _, more = self._tried(
            call, news, lambda: ("", kind.change(self, call, plain(olds), plain(news)))
        )
        return {**news, **more}

    def _tried(
        self, call: Call, inputs: Properties, write: Callable[[], tuple[str, Properties]]
    ) -> tuple[str, Properties]:
        if call.preview and has_unknown(inputs):
            return "", {}
        try:
            return write()
        except Unreachable as error:
            if not call.preview:
                raise
            self.engine.warning(call.urn, str(error))
            return "", {}

    def read(
        self, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The live state."""
        return _kind(call.type).read(self, call, state, inputs)

    def delete(self, call: Call, state: Properties) -> None:
        """Remove it."""
        _kind(call.type).delete(self, call, plain(state))


def main() -> None:
    """Entry of the plugin."""
    serve(MlPlatform, sys.argv[1:])


if __name__ == "__main__":
    main()
