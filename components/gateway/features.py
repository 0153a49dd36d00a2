"""What a gateway may be asked for, and which implementation carries it. Pure.

The matrix of docs/gateway-matrix.md is made from this table: `python -m components.gateway.features`.
"""

from __future__ import annotations

from typing import Literal

Implementation = Literal["nginx", "kong"]


class Lacking(ValueError):
    """Features that an implementation's open-source edition does not have, a line for each: the
    feature, where it is used, the edition that has it, and what to use instead."""
