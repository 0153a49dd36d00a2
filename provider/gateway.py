"""The gateway: its generated access.

The model is imported where it is needed: a stack without a gateway pays nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from provider.access import Access
from provider.rpc import Change, Failure, Properties
from provider.values import UNKNOWN


class GatewayAccess(Access):
    """Keys and passwords of consumers, an authority, and a certificate.

    Inputs beside those of `Access`: `credentials`, the names of keys and passwords. Outputs: a
    secret for each of them, and the fields of `components.certificates`.
    """

    def secret_name(self, installation: str) -> str:
        """The Secret in `kube-system`."""
        return f"ml-platform-gateway-{installation}"

    def fields(self, inputs: Properties) -> Sequence[str]:
        """The credentials, and the fields of `components.certificates`."""
        from components import certificates

        return (*inputs["credentials"], *certificates.FIELDS)

    def complete(
        self, kept: Mapping[str, str], inputs: Properties, now: datetime.datetime
    ) -> dict[str, str]:
        """As `components.gateway.access.complete`."""
        from components.gateway import access

        return access.complete(kept, inputs["names"], inputs["credentials"], now)

    def check(self, inputs: Properties) -> list[Failure]:
        """Types."""
        failures = super().check(inputs)
        credentials = inputs.get("credentials")
        if credentials is not UNKNOWN and not (
            isinstance(credentials, list) and all(isinstance(name, str) for name in credentials)
        ):
            reason = f"credentials is {credentials!r}; it must be a list of names"
            failures.append(Failure("credentials", reason))
        return failures

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Other credentials too."""
        changes = super().diff(olds, news)
        if sorted(olds.get("credentials", [])) != sorted(news.get("credentials", [])):
            changes.append(Change("credentials", "update"))
        return changes
