"""Fixtures of the tests of provider plugins."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from provider_support import STAND_IN, Cluster, Engine, Plugin, Start

from sandbox import controlplane
from sandbox.controlplane import RunningSandbox, SandboxOptions
from toolchain.standins import official_plugin
from toolchain.tools import pulumi_home


@pytest.fixture(scope="session")
def engine_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    folder = tmp_path_factory.mktemp("contract") / "data"
    running = controlplane.start(SandboxOptions("test-contract", data_dir=folder))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def cluster(engine_sandbox: RunningSandbox) -> Cluster:
    return Cluster(engine_sandbox)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own."""
    return cluster.namespace()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def official(request: pytest.FixtureRequest) -> Path | None:
    """The official Kubernetes plugin where one is installed; says which one the tests use."""
    home = pulumi_home()
    found = official_plugin(home)
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        print(f"\nKubernetes provider under test: {found or 'the stand-in'}")
    return found


@pytest.fixture(scope="session")
def start_kubernetes(
    cluster: Cluster,
    engine: Engine,
    official: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Start]:
    """Starts plugins `kubernetes`: `start(config, kubeconfig=..., environment=...)`."""
    started: list[Plugin] = []
    folder = tmp_path_factory.mktemp("kubernetes")

    def start(config: Mapping[str, str] | None = None, kubeconfig: str = "", **more: Any) -> Plugin:
        settings = {"kubeconfig": kubeconfig or cluster.kubeconfig, **(config or {})}
        started.append(Plugin(official or STAND_IN, engine, folder, settings, **more))
        return started[-1]

    yield start
    for plugin in started:
        plugin.stop()


@pytest.fixture(scope="session")
def kubernetes(start_kubernetes: Start) -> Plugin:
    """The plugin with nothing configured but the cluster."""
    return start_kubernetes()


@pytest.fixture(scope="session")
def upserting(start_kubernetes: Start) -> Plugin:
    """The plugin as it takes over objects that exist."""
    return start_kubernetes({"upsertExistingObjects": "true"})


@pytest.fixture
def stand_in(official: Path | None) -> None:
    """For what the stand-in does beyond the official plugin."""
    if official is not None:
        pytest.skip("the official plugin does not promise this")
