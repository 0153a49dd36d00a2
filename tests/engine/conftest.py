"""The whole platform on a sandbox, brought up once for all tests that only look at it."""

from collections.abc import Iterator

import pytest
from life_support import Begun, Platform

from sandbox import controlplane
from sandbox.controlplane import SandboxOptions


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("life") / "data"
    sandbox = controlplane.start(SandboxOptions("test-life", data_dir=folder))
    yield Platform(sandbox)
    sandbox.stop()


@pytest.fixture(scope="session")
def begun(platform: Platform) -> Begun:
    """The first preview and the first `up`, on an empty cluster."""
    return Begun.on(platform)
