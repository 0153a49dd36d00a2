"""Redis: its generated access, and the guard of its data.

Access is kept as Kubeflow's credentials are (`provider.credentials`): in the state, and in a Secret
of the cluster that a run finds again whose state was never written.

The model and cryptography are imported where they are needed: a stack without Redis pays nothing.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from provider.kind import Kind, Remembered
from provider.rpc import Call, Change, Failure, Properties
from provider.values import UNKNOWN, Secret, plain

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform


def secret_name(installation: str) -> str:
    """The Secret in `kube-system` that keeps an installation's access."""
    return f"ml-platform-redis-{installation}"


class RedisAccess(Kind):
    """Passwords of every user, an authority, and a certificate for all servers.

    Inputs: `installation`, the name of its namespace; `names`, the DNS names of the certificate.
    Outputs: every field of `components.redis.access`, each a secret, and `stored`, false once the
    cluster no longer keeps them.
    """

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
        from components.redis import access

        changes = []
        if olds.get("installation") != news.get("installation"):
            changes.append(Change("installation", "update", replace=True))
        if sorted(olds.get("names", [])) != sorted(news.get("names", [])):
            changes.append(Change("names", "update"))
        elif access.due(olds.get(access.CERTIFICATE), olds.get("names", []), _now()):
            changes.append(Change(access.CERTIFICATE, "update"))
        if olds.get("stored") is False:
            changes.append(Change("stored", "update"))
        return changes

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Complete what the cluster keeps; a preview knows nothing of what is not made yet."""
        return secret_name(inputs["installation"]), self.change(plugin, call, {}, inputs)

    def change(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> Properties:
        """What the state knows stands; a state that was lost finds it in the cluster."""
        from components.redis import access
        from provider import credentials

        known = {key: state[key] for key in access.FIELDS if state.get(key)}
        if call.preview:
            values = {key: known.get(key, UNKNOWN) for key in access.FIELDS}
            if access.due(known.get(access.CERTIFICATE), inputs["names"], _now()):
                values |= {access.CERTIFICATE: UNKNOWN, access.KEY: UNKNOWN}
        else:
            client, name = plugin.cluster.client, secret_name(inputs["installation"])
            kept = credentials.stored(client, name)
            values = access.complete({**kept, **known}, inputs["names"], _now())
            if values != kept:
                credentials.store(client, values, name)
        return {**{key: Secret(value) for key, value in values.items()}, "stored": True}

    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The state as it is: what the cluster keeps is a copy, put back by the next update."""
        from components.redis import access
        from provider import credentials

        kept = credentials.stored(plugin.cluster.client, call.id)
        plain_state = plain(state)
        same = all(kept.get(key) == plain_state.get(key) for key in access.FIELDS)
        return call.id, {**state, "stored": same}, inputs

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Take the copy from the cluster."""
        from provider import credentials

        credentials.remove(plugin.cluster.client, call.id)


class RedisTopology(Remembered):
    """The guard of Redis's data: remembers what is deployed, and refuses a change that loses data.

    Everything of Redis depends on it, so that a refused change ends a preview, and an update before
    anything of Redis is touched. Inputs: `shape`, see `components.redis.topology.losses`;
    `allowDataLoss`. Outputs: the inputs. It makes nothing.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """The shape must name a topology."""
        shape = inputs.get("shape")
        if shape is UNKNOWN or (isinstance(shape, dict) and "topology" in shape):
            return []
        return [Failure("shape", f"shape is {shape!r}; it must name a topology")]

    def check_change(self, olds: Properties, news: Properties) -> list[Failure]:
        """Whatever the change would lose, unless there is consent."""
        from components.redis import topology

        old, new = olds.get("shape"), news.get("shape")
        if not isinstance(old, dict) or not isinstance(new, dict):
            return []
        failures = topology.impossible(old, new)
        if (lost := topology.losses(old, new)) and news.get("allowDataLoss") is not True:
            consent = "; to lose it, set redisAllowDataLoss to true for this one update"
            failures += [f"{sentence}{consent}" for sentence in lost]
        # Of no property: the engine would print its whole value before the sentence.
        return [Failure("", sentence) for sentence in failures]

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Another shape; consent alone changes nothing."""
        return [
            Change(f"shape.{key}", "update" if key in olds.get("shape", {}) else "add")
            for key, value in news["shape"].items()
            if olds.get("shape", {}).get(key) != value
        ]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Remember the shape."""
        return call.name, {}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
