"""The dashboard's port-forward: found by a stack's outputs, made again, gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.kubeflow import __main__ as cli
from components.kubeflow import access
from components.kubeflow.dashboard import Dashboard, DashboardError, dashboard_of, show
from toolchain.tools import find

KUBECONFIG = "kind: Config  # planted-secret"
FOUND = Dashboard("http://localhost:8080", tuple(access.port_forward_command().split()), KUBECONFIG)
FORWARDS = "echo Forwarding from 127.0.0.1:8080; echo Forwarding from [::1]:8080"


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


class Enough(Exception):
    """Ends what would go on for ever."""


def pauses(count: int) -> tuple[list[float], Callable[[float], None]]:
    """The pauses made so far, and what makes them: the last of `count` ends the test."""
    made: list[float] = []

    def pause(seconds: float) -> None:
        made.append(seconds)
        if len(made) == count:
            raise Enough

    return made, pause


def test_it_comes_back_and_is_announced_once(tmp_path: Path):
    kubectl = program(
        tmp_path, "kubectl", f"{FORWARDS}; echo error: lost connection to pod; exit 1"
    )
    opened: list[str] = []
    said: list[str] = []
    made, pause = pauses(3)
    with pytest.raises(Enough):
        show(FOUND, kubectl, opened.append, said.append, pause)
    assert opened == ["http://localhost:8080"]
    assert said == ["connection lost (lost connection to pod); again in 1 s"] * 3
    assert made == [1, 1, 1]


def test_it_waits_longer_while_nothing_answers(tmp_path: Path):
    marker = tmp_path / "answered"
    script = f"[ -e {marker} ] && {{ echo no pod; exit 1; }}; touch {marker}; {FORWARDS}"
    made, pause = pauses(8)
    with pytest.raises(Enough):
        show(FOUND, program(tmp_path, "kubectl", script), len, len, pause)
    assert made == [1, 2, 4, 8, 16, 30, 30, 30]


def test_kubectl_is_given_the_words_and_a_kubeconfig_of_its_own_which_goes(tmp_path: Path):
    seen = tmp_path / "seen"
    script = (
        f'echo "$@" >{seen}; cat "$KUBECONFIG" >>{seen}; echo >>{seen}\n'
        f'stat -c %a "$KUBECONFIG" "$(dirname "$KUBECONFIG")" >>{seen}\n'
        f'echo "$KUBECONFIG" >>{seen}; {FORWARDS}'
    )
    _, pause = pauses(1)
    with pytest.raises(Enough):
        show(FOUND, program(tmp_path, "kubectl", script), len, len, pause)
    words, kubeconfig, mode, folder, file = seen.read_text().splitlines()
    assert words == " ".join(FOUND.command[1:])
    assert (kubeconfig, mode, folder) == (KUBECONFIG, "600", "700")
    assert not Path(file).parent.exists()
    assert KUBECONFIG not in repr(FOUND)


def test_what_never_worked_is_an_error(tmp_path: Path):
    said = "error: unable to listen on port 8080"
    kubectl = program(tmp_path, "kubectl", f"echo {said} >&2; exit 1")
    with pytest.raises(DashboardError, match="8080:80 failed: unable to listen on port 8080"):
        show(FOUND, kubectl, len, len)


def test_a_cluster_that_is_down_is_told_by_the_real_kubectl():
    down = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    found = replace(FOUND, kubeconfig=json.dumps(down))
    with pytest.raises(DashboardError, match=r"failed: .*127\.0\.0\.1:1 was refused"):
        show(found, find("kubectl"), len, len)


def stack_with(folder: Path, outputs: object) -> Path:
    (folder / "outputs").write_text(json.dumps(outputs))
    return program(folder, "pulumi", f'echo "$@" >{folder}/words; cat {folder}/outputs')


def test_it_is_what_the_stack_gives(tmp_path: Path):
    outputs = {
        "url": FOUND.url,
        "portForward": access.port_forward_command(),
        "kubeconfig": KUBECONFIG,
        "password": "other",
    }
    assert dashboard_of(stack_with(tmp_path, outputs), "local", tmp_path) == FOUND
    assert (tmp_path / "words").read_text().split()[-2:] == ["--stack", "local"]


def test_a_stack_that_is_not_up(tmp_path: Path):
    with pytest.raises(
        DashboardError, match="'local' has no output url, portForward, kubeconfig; "
    ):
        dashboard_of(stack_with(tmp_path, {}), "local", tmp_path)
    none = program(tmp_path, "pulumi", "echo error: no stack named local found >&2; exit 255")
    with pytest.raises(DashboardError, match="can't be read: no stack named local found"):
        dashboard_of(none, "local", tmp_path)


def test_another_passphrase_is_told_from_a_stack_that_is_not_up(tmp_path: Path):
    outputs = {
        "url": FOUND.url,
        "portForward": access.port_forward_command(),
        # As Pulumi gives what it can't decrypt.
        "kubeconfig": None,
    }
    with pytest.raises(DashboardError, match=r"output kubeconfig .* can't be decrypted"):
        dashboard_of(stack_with(tmp_path, outputs), "local", tmp_path)


def test_an_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    program(tmp_path, "pulumi", "echo error: no stack named local found >&2; exit 255")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert cli.main(["open"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interrupt_ends_kubectl_and_leaves_nothing(tmp_path: Path):
    kubectl = program(
        tmp_path, "kubectl", f'echo $$ "$KUBECONFIG" >{tmp_path}/child; {FORWARDS}; exec sleep 60'
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from components.kubeflow.dashboard import Dashboard, show\n"
        "show(Dashboard('u', ('kubectl',), 'c'), Path(sys.argv[1]), print, print)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(kubectl)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "u\n"
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process.stdout.close()
    pid, file = (tmp_path / "child").read_text().split()
    assert not Path(file).exists()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
