"""The stacks `local` and `aws` declare the same platform: only where it runs differs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.moto_mocks import ACCOUNT
from tests.aws.platform import GATEWAY, KUBEFLOW, run_platform
from tests.support.graph import Graph, key
from tests.support.minikube_world import World

PLATFORM = {
    "redisTopology": "replicated",
    **GATEWAY,
    "kubeflowComponents": [*KUBEFLOW["kubeflowComponents"], "pipelines"],
}
# What runs on the cluster to serve AWS itself.
CONTROLLERS = ("kubernetes:helm.sh/v3:Release", "kubernetes:storage.k8s.io/v1:StorageClass")
SERVICE = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"
PROFILE = "kubeflow-user-example-com"
LAUNCHER = f"kubernetes:core/v1:ConfigMap::{PROFILE}/kfp-launcher"
CONFIG = "kubernetes:core/v1:ConfigMap::kubeflow/pipeline-install-config"
LOGIN = "kubernetes:core/v1:Secret::kubeflow/mysql-secret"
SERVER = {
    "kubernetes:apps/v1:Deployment::kubeflow/mysql",
    "kubernetes:core/v1:Service::kubeflow/mysql",
    "kubernetes:security.istio.io/v1beta1:AuthorizationPolicy::kubeflow/mysql",
    "kubernetes:networking.istio.io/v1alpha3:DestinationRule::kubeflow/ml-pipeline-mysql",
}
ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"


def objects(ran: RanOnAws) -> dict[str, dict[str, Any]]:
    found = {key(r): r.inputs for r in ran.registered if r.type.startswith("kubernetes:")}
    return {name: body for name, body in found.items() if not name.startswith(CONTROLLERS)}


def without_digest(body: dict[str, Any]) -> dict[str, Any]:
    plain = copy.deepcopy(body)
    # Some read the address, but no credential: they have one only where it is an output.
    notes = plain["spec"]["template"]["metadata"].setdefault("annotations", {})
    notes.pop("ml-platform/credentials", None)
    return plain


def test_kubeflow_gateway_and_redis_are_the_same_on_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    World(tmp_path, monkeypatch)
    outside = {"awsArtifactProfiles": [PROFILE], "awsDatabaseType": "db.t4g.medium"}
    with in_moto():
        aws = run_platform("aws", {**PLATFORM, **outside, "awsPreflight": False})
        [instance] = aws.aws.rds.describe_db_instances()["DBInstances"]
        local = run_platform("local", {**PLATFORM, "minikubeDisk": 20, "minikubeNodes": 2})
    on_aws, on_minikube = objects(aws), objects(local)
    launcher = on_aws.pop(LAUNCHER)
    assert set(on_minikube) - set(on_aws) == SERVER
    assert set(on_aws) < set(on_minikube)
    assert len(on_aws) > 50
    different = {name for name, body in on_aws.items() if body != on_minikube[name]}
    # Who reads the database's address starts anew when that changes: a digest says so.
    readers = {name for name in different if "Deployment::" in name}
    assert different == {SERVICE, CONFIG, LOGIN, *readers} and len(readers) == 5
    for name in readers:
        assert without_digest(on_aws[name]) == without_digest(on_minikube[name])
    told, other = on_aws[CONFIG]["data"], on_minikube[CONFIG]["data"]
    assert {name for name in told if told[name] != other[name]} == {"dbHost", "mysqlHost"}
    assert told["dbHost"] == instance["Endpoint"]["Address"]
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
    assert launcher["data"] == {
        "defaultPipelineRoot": f"s3://ml-platform-artifacts-{ACCOUNT}/{PROFILE}"
    }
    graph = Graph(aws.registered)
    profile = f"kubernetes:kubeflow.org/v1beta1:Profile::{PROFILE}"
    assert profile in graph.needs(LAUNCHER)
    # What starts before its role never gets it.
    assert f"{ASSOCIATION}::cluster-artifacts-{PROFILE}" in graph.needs(profile)
    for name in on_aws:
        assert "kubernetes:helm.sh/v3:Release::aws-load-balancer-controller" in graph.needs(name)
