"""What Pulumi does by default that a program of hundreds of resources can't afford."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pulumi

from toolchain.launcher import MARK


def skip_debug_messages() -> None:
    """Keep the SDK's own debug messages from the engine.

    It sends one for every property of every resource, each a blocking call: about a twentieth of
    an `up` of Kubeflow with nothing to change. They are only ever shown by `pulumi up --debug`,
    which shows those of the engine and of the plugins still.
    """
    pulumi.log.debug = _nothing


def wait_for_all(resources: Iterable[pulumi.Resource]) -> None:
    """Wait for these resources at once, before the SDK waits for what is left.

    Its own wait goes through every pending output again whenever one is done, which is quadratic:
    at 2,444 objects it took two thirds of an `up` with nothing to change. The first error ends
    this wait; the SDK then reports it as ever.
    """

    async def settled() -> None:
        names = [asyncio.ensure_future(resource.urn.future()) for resource in resources]
        if names:
            await asyncio.wait(names, return_when=asyncio.FIRST_EXCEPTION)

    pulumi.run(settled)


def warn_of_other_engine(environ: Mapping[str, str]) -> None:
    """Tell a user whose `pulumi` is not the project's that theirs takes many times as long."""
    if MARK not in environ:
        pulumi.log.warn(
            "this is not the project's `pulumi`: without its settings a whole platform takes many "
            "times as long. Run `uv run pulumi ...`, or: source .venv/bin/activate"
        )


def _nothing(*_: object, **__: object) -> None:
    pass
