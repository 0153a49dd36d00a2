"""Programs run against Pulumi's mocks: what they would register, without an engine or plugins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import parts, pki
from sandbox.daemon import ProcessId
from sandbox.state import State
from tests.support.programs import Echo, Ran, run


@pytest.fixture
def run_program() -> Callable[..., Ran]:
    """Run a program to its end; an output that it returns becomes (value, whether secret)."""

    def run_it(program: Callable[[], Any], *, preview: bool = False) -> Ran:
        return run(program, Echo(), preview=preview)

    return run_it


@pytest.fixture
def play_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Make the folder of a sandbox `mine`, of which this process plays every part."""

    def play(kubeconfig: bytes) -> Path:
        folder = tmp_path / "sandbox"
        monkeypatch.setattr("sandbox.daemon.alive", lambda process: process.pid > 0)
        state = State("mine", 42, 1, 0.0, {parts.API_SERVER: 7443})
        state.processes = {part.name: ProcessId(1, 0, "boot") for part in parts.PARTS}
        layout = parts.Layout(folder)
        for directory in (layout.pki, layout.logs):
            directory.mkdir(parents=True)
        pki.write_private(layout.pki / "ca.crt", b"one authority")
        pki.write_private(layout.kubeconfig(parts.DEPLOYER), kubeconfig)
        state.save(folder)
        return folder

    return play
