"""Redis: its generated access, and the guard of its data.

The model is imported where it is needed: a stack without Redis pays nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provider.access import Access
from provider.kind import Remembered
from provider.rpc import Call, Change, Failure, Properties
from provider.values import UNKNOWN

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform


def secret_name(installation: str) -> str:
    """The Secret in `kube-system` that keeps an installation's access."""
    return f"ml-platform-redis-{installation}"


class RedisAccess(Access):
    """Passwords of every user, an authority, and a certificate for all servers.

    Outputs: every field of `components.redis.access`, see `Access`.
    """

    def secret_name(self, installation: str) -> str:
        """See `secret_name`."""
        return secret_name(installation)

    def fields(self, inputs: Properties) -> Sequence[str]:
        """Those of `components.redis.access`."""
        from components.redis import access

        return access.FIELDS

    def complete(
        self, kept: Mapping[str, str], inputs: Properties, now: datetime.datetime
    ) -> dict[str, str]:
        """As `components.redis.access.complete`."""
        from components.redis import access

        return access.complete(kept, inputs["names"], now)


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

    def check_change(self, plugin: MlPlatform, olds: Properties, news: Properties) -> list[Failure]:
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
