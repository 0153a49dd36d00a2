"""A sandbox with real nodes, brought up once for all tests that only use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.node import cluster, preflight
from tests.support.faults import Network, nodes_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def real_nodes_possible() -> None:
    """Skips where this machine can't run real nodes."""
    if lacking := preflight.needs():
        pytest.skip(f"needs {lacking}")


@pytest.fixture(scope="session")
def real_sandbox(
    real_nodes_possible: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSandbox]:
    """Three real nodes that have every image, and one simulated node."""
    folder = tmp_path_factory.mktemp("real") / "data"
    sandbox = controlplane.start(SandboxOptions("test-real", 1, data_dir=folder, real_nodes=3))
    try:
        cluster.load_images(nodes_of(folder), print)
        yield sandbox
    finally:
        sandbox.stop()


@pytest.fixture(scope="session")
def network(real_sandbox: RunningSandbox) -> Network:
    """Cuts and mends the network of the nodes and pods."""
    return Network(real_sandbox)
