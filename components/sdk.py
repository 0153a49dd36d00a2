"""What Pulumi's Python SDK does that a program of hundreds of resources can't afford."""

from __future__ import annotations

import pulumi.log


def skip_debug_messages() -> None:
    """Keep the SDK's own debug messages from the engine.

    It sends one for every property of every resource, each a blocking call: some 25,000 for
    Kubeflow, more than half of the program's time (docs/performance.md). They are only ever shown
    by `pulumi up --debug`, which shows those of the engine and of the plugins still.
    """
    pulumi.log.debug = _nothing


def _nothing(*_: object, **__: object) -> None:
    pass
