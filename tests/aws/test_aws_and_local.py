"""The stacks `local` and `aws` declare the same platform: only where it runs differs."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi.runtime.config as runtime_config
import pytest

from components.settings import of_stack
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.support.gateway_sources import MANIFESTS
from tests.support.graph import Graph, key
from tests.support.minikube_world import World

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
PLATFORM = {
    "kubeflowPath": str(SOURCE),
    "kubeflowComponents": '["dex", "admission-webhook", "user-namespace"]',
    "redisTopology": "replicated",
    "gateway": "nginx",
    "gatewayPath": str(MANIFESTS["nginx"]),
}
# What runs on the cluster to serve AWS itself.
CONTROLLERS = ("kubernetes:helm.sh/v3:Release", "kubernetes:storage.k8s.io/v1:StorageClass")
SERVICE = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RanOnAws]]:
    """Run the whole program with a stack's own file, and settings on top."""
    World(tmp_path, monkeypatch)

    def run(stack: str, **more: str) -> RanOnAws:
        file = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in of_stack(stack).items()
        }
        values = {**file, **PLATFORM, **more}
        runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in values.items()}, [])
        main = str(ROOT / "__main__.py")
        return run_on_aws(lambda: runpy.run_path(main, run_name="__main__"))

    with in_moto():
        yield run
    runtime_config.set_all_config({}, [])


def objects(ran: RanOnAws) -> dict[str, dict[str, Any]]:
    found = {key(r): r.inputs for r in ran.registered if r.type.startswith("kubernetes:")}
    return {name: body for name, body in found.items() if not name.startswith(CONTROLLERS)}


def test_kubeflow_gateway_and_redis_are_the_same_on_both(load: Callable[..., RanOnAws]) -> None:
    aws, local = (
        load("aws", awsPreflight="false"),
        load("local", minikubeDisk="20", minikubeNodes="2"),
    )
    on_aws, on_minikube = objects(aws), objects(local)
    assert set(on_aws) == set(on_minikube)
    assert len(on_aws) > 50
    different = {name for name, body in on_aws.items() if body != on_minikube[name]}
    assert different == {SERVICE}
    service, other = on_aws[SERVICE], on_minikube[SERVICE]
    assert (service["spec"]["type"], other["spec"]["type"]) == ("LoadBalancer", "NodePort")
    for field in ("type", "externalTrafficPolicy"):
        service["spec"].pop(field)
        other["spec"].pop(field, None)
    assert service["spec"] == other["spec"]
    told = service["metadata"]["annotations"].items() - other["metadata"]["annotations"].items()
    assert {name.partition("/")[0] for name, _ in told} == {
        "pulumi.com",
        "service.beta.kubernetes.io",
    }
    graph = Graph(aws.registered)
    for name in on_aws:
        assert "kubernetes:helm.sh/v3:Release::aws-load-balancer-controller" in graph.needs(name)
