"""The toolchain from cold, in a home that has nothing: one command, and nothing the second time."""

from __future__ import annotations

import operator
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.pins import TOOLS, Tool

REPOSITORY = Path(__file__).parents[2]
VERSION_COMMANDS = {
    "pulumi": ["version"],
    "kubectl": ["version", "--client"],
    "kustomize": ["version"],
}

TOOL_ID = operator.attrgetter("name")

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A clean home; Go's caches are the machine's, so that this takes seconds."""
    home = tmp_path_factory.mktemp("home")
    caches = ["GOCACHE", "GOMODCACHE"]
    found = subprocess.run(["go", "env", *caches], check=True, capture_output=True, text=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "PULUMI_", "ML_PLATFORM_"))
    }
    return {
        **kept,
        **dict(zip(caches, found.stdout.splitlines(), strict=True)),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


def toolchain(environment: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "toolchain", *arguments],
        check=False,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def first(environment: dict[str, str]) -> str:
    return toolchain(environment, "setup", "--sandbox")


@pytest.mark.parametrize(
    "tool",
    [tool for tool in TOOLS.values() if not (tool.without or tool.real_nodes)],
    ids=TOOL_ID,
)
def test_each_tool_is_there_and_tells_its_version(
    environment: dict[str, str], first: str, tool: Tool
) -> None:
    path = Path(toolchain(environment, "path", tool.name).strip())
    assert path.is_relative_to(environment["XDG_CACHE_HOME"])
    assert re.search(rf"^{tool.name} +{re.escape(tool.version)} +\w+ +{path}$", first, re.MULTILINE)
    command = [path, *VERSION_COMMANDS.get(tool.name, ["--version"])]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert re.search(rf"\bv?{re.escape(tool.version)}\b", told.stdout), told.stdout


def test_what_is_optional_is_there_or_said_to_be_missing(first: str) -> None:
    for name in ("minikube", "plugin kubernetes", "plugin command"):
        assert re.search(rf"^{name} +\S+ +(downloaded|on PATH|not available) ", first, re.MULTILINE)


def test_the_second_time_nothing_is_built_or_downloaded(
    environment: dict[str, str], first: str
) -> None:
    second = toolchain(environment, "setup", "--sandbox")
    assert second.startswith("tool ")
    # The same table, without what the first run did.
    assert first.endswith(second)
    toolchain(environment, "list", "--sandbox")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as real nodes do")
def test_the_tools_of_real_nodes_are_there_once_they_are_asked_for(
    environment: dict[str, str], first: str
) -> None:
    names = [tool.name for tool in TOOLS.values() if tool.real_nodes]
    assert not any(re.search(rf"^{name} ", first, re.MULTILINE) for name in names)
    said = toolchain(environment, "setup", "--sandbox", "--real-nodes")
    for name in names:
        path = Path(toolchain(environment, "path", name).strip())
        assert path.is_relative_to(environment["XDG_CACHE_HOME"])
        assert os.access(path, os.X_OK)
        # Debian says which version its package has.
        assert re.search(rf"^{name} +[\w.+:~-]+ +\w+ +{path}$", said, re.MULTILINE)
