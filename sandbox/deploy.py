"""Verbs that bring the platform onto a sandbox, show what would change, and take it off again."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi import automation

from sandbox import audit, controlplane
from sandbox.controlplane import RunningSandbox, SandboxError, SandboxOptions
from sandbox.parts import DEPLOYER

STACK = "sandbox"
"""The stack's name: its settings are in Pulumi.sandbox.yaml, its state in the sandbox's folder, so
that both go together."""

_UNREAD = object()
# Settings of where a stack runs begin with one of these.
_PLACES = ("aws", "cluster", "eks", "kubeContext", "kubeconfig", "minikube", "sandbox")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What all of these verbs take."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        dest="settings",
        help="a setting of Pulumi.yaml on top of Pulumi.sandbox.yaml; may be given again",
    )
    parser.add_argument(
        "--like",
        default=STACK,
        metavar="STACK",
        help="take over what the file of another stack sets, except for where that one runs",
    )


def up(arguments: argparse.Namespace) -> int:
    """Start the sandbox where it does not run, and bring everything onto it."""
    began = time.monotonic()
    sandbox = _running(arguments)
    since = _size(sandbox.audit_log)
    with _told("up"):
        _stack(arguments, sandbox).up(on_output=_say, on_error=_say, color="auto")
    _say(f"\nUp after {time.monotonic() - began:.0f} s. {_audited(sandbox, since)}")
    _say(f"Look around: export KUBECONFIG={sandbox.admin_kubeconfig}")
    return 0


def preview(arguments: argparse.Namespace) -> int:
    """Show what `up` would change, against the live API server."""
    from review.events import lines

    sandbox = _running(arguments)
    events: list[automation.EngineEvent] = []
    try:
        with _told("preview"):
            _stack(arguments, sandbox).preview(
                on_output=_say,
                on_error=_say,
                on_event=events.append,
                color="auto",
                diff=arguments.diff,
            )
    finally:
        # Also of a preview that failed: its report says why.
        if arguments.events:
            arguments.events.touch(mode=0o600)  # what Kubernetes' Secrets hold is in it
            arguments.events.write_text("".join(f"{line}\n" for line in lines(events)))
    return 0


def refresh(arguments: argparse.Namespace) -> int:
    """Read every object again and take drift into the state."""
    sandbox = _running(arguments)
    with _told("refresh"):
        _stack(arguments, sandbox).refresh(
            on_output=_say, on_error=_say, color="auto", diff=arguments.diff
        )
    return 0


def destroy(arguments: argparse.Namespace) -> int:
    """Remove everything that `up` made; the sandbox goes on."""
    began = time.monotonic()
    sandbox = _running(arguments)
    since = _size(sandbox.audit_log)
    with _told("destroy"):
        _stack(arguments, sandbox).destroy(on_output=_say, on_error=_say, color="auto")
    _say(f"\nGone after {time.monotonic() - began:.0f} s. {_audited(sandbox, since)}")
    return 0


def figures(arguments: argparse.Namespace) -> int:
    """Sum up the audit log; exit code 1 when a write failed or was repeated."""
    status = controlplane.status(arguments.name, arguments.data_dir)
    if not status.exists:
        print(f"there is no sandbox '{arguments.name}'", file=sys.stderr)
        return 1
    events = audit.read(RunningSandbox(status.name, status.data_dir).audit_log)
    summary = audit.summarise(list(events), arguments.user)
    print(audit.describe(summary))
    return 1 if summary.failed or summary.repeated else 0


def _running(arguments: argparse.Namespace) -> RunningSandbox:
    """The sandbox: started now, also a stopped one with its data, or as it runs."""
    status = controlplane.status(arguments.name, arguments.data_dir)
    if status.healthy:
        return RunningSandbox(status.name, status.data_dir)
    options = controlplane.options_of(arguments.name, arguments.data_dir)
    if status.exists and not status.stopped:
        dead = ", ".join(part.name for part in status.dead)
        raise SandboxError(f"not running: {dead}; restart: {status.restart}")
    return controlplane.start(
        options or SandboxOptions(arguments.name, data_dir=arguments.data_dir),
        lambda line: print(line, file=sys.stderr),
    )


@contextmanager
def _told(verb: str) -> Iterator[None]:
    """One line for what went wrong: the engine has said the rest, and the SDK would repeat it.

    Raises:
        SandboxError: the verb failed or was interrupted.
    """
    # The engine's SDK takes a second to import; the other verbs need none of it.
    from pulumi.automation import CommandError

    from components.errors import MENDABLE

    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        interrupted = True

    # A terminal interrupts the engine too, which then needs this process until it has saved its
    # state: whoever waits for it must not go away.
    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except MENDABLE as error:
        raise SandboxError(str(error)) from error
    except CommandError as error:
        if interrupted:
            again = "run it again to go on from there"
            raise SandboxError(f"{verb} was interrupted; {again}") from error
        words = str(error).rpartition("\n stderr: ")[2].strip()
        raise SandboxError(f"{verb} failed: {words or 'see above'}") from error
    finally:
        signal.signal(signal.SIGINT, before)


def _stack(arguments: argparse.Namespace, sandbox: RunningSandbox) -> automation.Stack:
    from components.settings import of_stack, with_overrides
    from sandbox.engine import open_stack

    elsewhere = {
        name: value
        for name, value in of_stack(arguments.like).items()
        if not name.startswith(_PLACES)
    }
    settings: dict[str, object] = {
        **elsewhere,
        "cluster": "sandbox",
        "sandboxName": sandbox.name,
        "sandboxData": str(sandbox.data_dir),
    }
    settings = with_overrides(settings, arguments.settings)
    stack = open_stack(STACK, sandbox.data_dir / "pulumi", settings, _say)
    # After each verb the SDK runs the CLI three more times, for a second, to fill in a result that
    # nobody reads here.
    stack.outputs = dict  # type: ignore[method-assign]
    stack.info = lambda *_: _UNREAD  # type: ignore[method-assign,assignment]
    return stack


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _audited(sandbox: RunningSandbox, since: int) -> str:
    events = audit.read(sandbox.audit_log, since)
    return audit.describe(audit.summarise(list(events), DEPLOYER))


def _say(line: str) -> None:
    print(line, flush=True)
