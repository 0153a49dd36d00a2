"""The gate for deletion against a real API server: it waits for volumes and load balancers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from provider_support import (
    MLPLATFORM,
    Background,
    Cluster,
    Engine,
    Plugin,
    Refused,
    Resource,
    eventually,
)

pytest_plugins = ("provider_fixtures",)
pytestmark = pytest.mark.engine

GATE = "mlplatform:kubernetes:CloudReleased"
DRIVER = "ebs.csi.aws.com"
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def gate(cluster: Cluster, engine: Engine, tmp_path: Path) -> Iterator[Resource]:
    plugin = Plugin(MLPLATFORM, engine, tmp_path, {"kubeconfig": cluster.kubeconfig})
    yield plugin.resource(GATE).create({"drivers": ["efs.csi.aws.com", DRIVER]})
    plugin.stop()


def volume(cluster: Cluster, name: str, policy: str = "Delete") -> str:
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": DRIVER, "volumeHandle": name},
            "persistentVolumeReclaimPolicy": policy,
        },
    }
    cluster.post(VOLUMES, body)
    return f"{VOLUMES}/{name}"


def test_it_is_gone_at_once_where_nothing_is_held(gate: Resource, cluster: Cluster) -> None:
    kept = volume(cluster, "released-kept", "Retain")
    gate.delete(timeout=5)
    cluster.delete(kept)


def test_it_waits_for_the_last_volume_and_load_balancer(
    gate: Resource, cluster: Cluster, engine: Engine, namespace: str
) -> None:
    held = volume(cluster, "released-held")
    services = f"/api/v1/namespaces/{namespace}/services"
    port = {"port": 80}
    spec = {"type": "LoadBalancer", "ports": [port]}
    cluster.post(
        services,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec},
    )
    deletion = Background(lambda: gate.delete(timeout=120))
    eventually(lambda: f"{namespace}/web" in engine.said(gate.urn))
    cluster.delete(held)
    assert not deletion.done
    cluster.merge(f"{services}/web", {"spec": {"type": "ClusterIP"}})
    deletion.result()


def test_what_is_still_held_is_named(gate: Resource, cluster: Cluster) -> None:
    held = volume(cluster, "released-forgotten")
    with pytest.raises(Refused, match="still held after 1 s: PersistentVolume released-forgotten"):
        gate.delete(timeout=1)
    cluster.delete(held)
