"""The stacks `local` and `aws` declare the same platform: only where it runs differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.platform import GATEWAY, run_platform
from tests.support.graph import Graph, key
from tests.support.minikube_world import World

PLATFORM = {"redisTopology": "replicated", **GATEWAY}
# What runs on the cluster to serve AWS itself.
CONTROLLERS = ("kubernetes:helm.sh/v3:Release", "kubernetes:storage.k8s.io/v1:StorageClass")
SERVICE = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"


def objects(ran: RanOnAws) -> dict[str, dict[str, Any]]:
    found = {key(r): r.inputs for r in ran.registered if r.type.startswith("kubernetes:")}
    return {name: body for name, body in found.items() if not name.startswith(CONTROLLERS)}


def test_kubeflow_gateway_and_redis_are_the_same_on_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    World(tmp_path, monkeypatch)
    with in_moto():
        aws = run_platform("aws", {**PLATFORM, "awsPreflight": False})
        local = run_platform("local", {**PLATFORM, "minikubeDisk": 20, "minikubeNodes": 2})
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
