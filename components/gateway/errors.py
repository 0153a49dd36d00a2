"""What goes wrong with a gateway that a user can mend."""

from __future__ import annotations


class GatewayError(ValueError):
    """A gateway that can't be had as asked for; the message says why, and what mends it."""
