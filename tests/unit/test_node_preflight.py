"""What a machine must have to run real nodes: one error, before anything is made."""

import os
import shutil
from pathlib import Path

import pytest

from sandbox import cli, controlplane
from sandbox.controlplane import SandboxOptions
from sandbox.node import cgroups, preflight
from sandbox.node.commands import NodeError
from toolchain.tools import ToolMissing


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that can: root, all commands, all controllers."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(cgroups, "missing_controllers", lambda: [])
    monkeypatch.setattr(preflight, "_KMSG", tmp_path)


def check(count: int = 1, folder: str = "/data", tools: tuple[str, ...] = ()) -> None:
    def find(tool: str) -> Path:
        if tool in tools:
            raise ToolMissing(f"{tool} is not installed")
        return Path("/tools") / tool

    preflight.check(count, Path(folder), find)


def test_a_machine_that_has_everything_is_taken():
    check()
    assert preflight.needs() == ""


@pytest.mark.parametrize("count", [-1, 17])
def test_the_number_of_nodes_is_bounded(count: int):
    with pytest.raises(NodeError, match=rf"real_nodes: found {count}, need 0 to 16"):
        check(count)


def test_nothing_is_asked_of_a_machine_for_no_nodes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check(0, "/run/x", ("kubelet",))


def test_it_needs_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NodeError, match="real_nodes: found 2, which needs root, found user 1000"):
        check(2)


def test_it_needs_linux(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preflight.sys, "platform", "darwin")
    with pytest.raises(NodeError, match="needs Linux, found darwin"):
        check()


def test_missing_commands_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch):
    lacking = {"ip", "nsenter"}
    monkeypatch.setattr(shutil, "which", lambda command: None if command in lacking else "/x")
    with pytest.raises(NodeError, match=r"needs ip, nsenter on PATH \(packages iproute2, util-l"):
        check()


def test_missing_controllers_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cgroups, "missing_controllers", lambda: ["memory"])
    with pytest.raises(NodeError, match="needs the cgroup controllers memory"):
        check()


def test_a_missing_tool_is_named():
    with pytest.raises(ToolMissing, match="kubelet is not installed"):
        check(tools=("kubelet",))


def test_a_folder_that_a_node_hides_is_refused():
    with pytest.raises(NodeError, match=r"data_dir: found /var/lib/x, but .* --data-dir"):
        check(folder="/var/lib/x")


def test_a_folder_with_too_long_a_path_for_sockets_is_refused():
    folder = "/d" * 35
    check(folder=folder)
    with pytest.raises(NodeError, match=r"paths of \d+ bytes, need at most 101"):
        check(folder=folder * 2)


def test_nodes_for_which_inotify_instances_lack_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    monkeypatch.setattr(preflight, "_INSTANCES", limit)
    monkeypatch.setattr(preflight, "_watchers", lambda: 82)
    preflight.check_watches(3)
    preflight.check_watches(0)
    refused = r"real_nodes: found 4, .*needs 56 .* 82 of 128 .*: sudo sysctl .*_instances=266"
    with pytest.raises(NodeError, match=refused):
        preflight.check_watches(4)


def test_the_command_says_it_in_one_line_and_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(controlplane.tools, "find", lambda tool: Path("/tools") / tool)
    folder = tmp_path / "data"
    assert cli.main(["start", "--real-nodes", "1", "--data-dir", str(folder)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "needs root" in said
    assert not folder.exists()


def test_another_number_of_real_nodes_for_a_running_sandbox_is_refused():
    state = controlplane.State("default", 42, 3, 0.0, {}, real_nodes=1)
    with pytest.raises(controlplane.SandboxError, match="real_nodes=1, not 2; leave that out"):
        controlplane._check_same(SandboxOptions(real_nodes=2), state)
