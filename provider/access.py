"""Generated secrets of an installation, with an authority of its own and one certificate.

They are kept as Kubeflow's credentials are (`provider.credentials`): in the state, and in a Secret
of the cluster that a run finds again whose state was never written.

Cryptography is imported where it is needed: a stack without such an installation pays nothing.
"""

from __future__ import annotations

import datetime
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provider.kind import Kind
from provider.rpc import Call, Change, Failure, Properties
from provider.values import UNKNOWN, Secret, plain

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform


class Access(Kind):
    """What the access of each kind of installation has in common.

    Inputs: `installation`, the name of its namespace; `names`, the DNS names of the certificate.
    Outputs: every field, each a secret, and `stored`, false once the cluster no longer keeps them.
    """

    @abstractmethod
    def secret_name(self, installation: str) -> str:
        """The Secret in `kube-system` that keeps an installation's access."""

    @abstractmethod
    def fields(self, inputs: Properties) -> Sequence[str]:
        """What is generated; those of `components.certificates` are among it."""

    @abstractmethod
    def complete(
        self, kept: Mapping[str, str], inputs: Properties, now: datetime.datetime
    ) -> dict[str, str]:
        """All fields: those in `kept` as they are, unless they are due, the missing ones new."""

    def check(self, inputs: Properties) -> list[Failure]:
        """Types."""
        failures = []
        installation, names = inputs.get("installation"), inputs.get("names")
        if installation is not UNKNOWN and not (isinstance(installation, str) and installation):
            reason = f"installation is {installation!r}; it must be a text"
            failures.append(Failure("installation", reason))
        if names is not UNKNOWN and not (
            isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        ):
            failures.append(Failure("names", f"names is {names!r}; it must be a list of DNS names"))
        return failures

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Other names, a certificate that ends soon, or a cluster that lost them."""
        from components import certificates

        changes = []
        if olds.get("installation") != news.get("installation"):
            changes.append(Change("installation", "update", replace=True))
        if sorted(olds.get("names", [])) != sorted(news.get("names", [])):
            changes.append(Change("names", "update"))
        elif certificates.due(olds.get(certificates.CERTIFICATE), olds.get("names", []), _now()):
            changes.append(Change(certificates.CERTIFICATE, "update"))
        if olds.get("stored") is False:
            changes.append(Change("stored", "update"))
        return changes

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Complete what the cluster keeps; a preview knows nothing of what is not made yet."""
        return self.secret_name(inputs["installation"]), self.change(plugin, call, {}, inputs)

    def change(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> Properties:
        """What the state knows stands; a state that was lost finds it in the cluster."""
        from components import certificates
        from provider import credentials

        fields = self.fields(inputs)
        known = {key: state[key] for key in fields if state.get(key)}
        if call.preview:
            values = {key: known.get(key, UNKNOWN) for key in fields}
            if certificates.due(known.get(certificates.CERTIFICATE), inputs["names"], _now()):
                values |= {certificates.CERTIFICATE: UNKNOWN, certificates.KEY: UNKNOWN}
        else:
            client, name = plugin.cluster.client, self.secret_name(inputs["installation"])
            kept = credentials.stored(client, name)
            values = self.complete({**kept, **known}, inputs, _now())
            if values != kept:
                credentials.store(client, values, name)
        return {**{key: Secret(value) for key, value in values.items()}, "stored": True}

    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The state as it is: what the cluster keeps is a copy, put back by the next update."""
        from provider import credentials

        kept = credentials.stored(plugin.cluster.client, call.id)
        plain_state = plain(state)
        fields = self.fields(plain(inputs))
        same = all(kept.get(key) == plain_state.get(key) for key in fields)
        return call.id, {**state, "stored": same}, inputs

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Take the copy from the cluster."""
        from provider import credentials

        credentials.remove(plugin.cluster.client, call.id)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
