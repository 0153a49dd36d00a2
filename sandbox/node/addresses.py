"""ClusterIPs that a process of this host stands behind, where Services are not on loopback."""

from __future__ import annotations

from sandbox.node import plan
from sandbox.node.commands import run

# The routes' origin (ip-route(8), `proto`): a number that nothing else on a host uses.
_OURS = "186"


class HostAddresses:
    """Adds ClusterIPs to this host's addresses, by routes that go with the sandbox's interface.

    Raises sandbox.node.commands.NodeError when a route can't be set.
    """

    def __init__(self, octet: int) -> None:
        self._device = plan.host_interface(octet)
        # Those of a process that died.
        run(["ip", "route", "flush", "table", "local", "dev", self._device, "proto", _OURS])

    def take(self, address: str) -> None:
        """Make it an address that a process of this host can listen on."""
        self._change("replace", address)

    def give_up(self, address: str) -> None:
        """Leave it to the pods behind its Service."""
        self._change("delete", address)

    def _change(self, verb: str, address: str) -> None:
        route = ["local", f"{address}/32", "dev", self._device, "proto", _OURS]
        run(["ip", "route", verb, "table", "local", *route])
