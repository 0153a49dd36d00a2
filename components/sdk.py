"""What Pulumi does by default that a program of hundreds of resources can't afford."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi.log

from toolchain.launcher import MARK


def skip_debug_messages() -> None:
    """Keep the SDK's own debug messages from the engine.

    It sends one for every property of every resource, each a blocking call: about a twentieth of
    an `up` of Kubeflow with nothing to change. They are only ever shown by `pulumi up --debug`,
    which shows those of the engine and of the plugins still.
    """
    pulumi.log.debug = _nothing


def warn_of_other_engine(environ: Mapping[str, str]) -> None:
    """Tell a user whose `pulumi` is not the project's that theirs takes many times as long."""
    if MARK not in environ:
        pulumi.log.warn(
            "this is not the project's `pulumi`: without its settings a whole platform takes many "
            "times as long. Run `uv run pulumi ...`, or: source .venv/bin/activate"
        )


def _nothing(*_: object, **__: object) -> None:
    pass
