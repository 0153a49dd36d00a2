"""The stack with other settings: two zones with a gateway each, a public endpoint, nothing kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from components.aws import versions
from components.aws.shape import ShapeError
from tests.aws.aws_stack import ADDON, CLUSTER, GROUP, RELEASE, program, subnets_of, way_out
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.support.graph import Graph, key

TOLD = "service.beta.kubernetes.io/aws-load-balancer-"
OBJECTS = ("Service", "PersistentVolumeClaim")


@pytest.fixture(scope="module")
def other() -> Iterator[RanOnAws]:
    """With objects on the cluster; it returns the kubeconfig, and what load balancers are told."""

    def with_objects() -> pulumi.Output[Any]:
        cluster = program(
            awsNat="per-zone",
            awsZones=2,
            awsProtect=False,
            awsEfs=True,
            awsProfile="work",
            eksPublicCidrs=("203.0.113.0/24",),
        )
        for name in OBJECTS:
            options = pulumi.ResourceOptions(provider=cluster.provider)
            pulumi.CustomResource(f"kubernetes:core/v1:{name}", "mine", {}, options)
        assert cluster.deleted_with is None
        assert cluster.capabilities.load_balancer
        assert cluster.capabilities.storage_class == "gp3"
        told = pulumi.Output.all(**cluster.capabilities.balancer_annotations)
        return pulumi.Output.all(cluster.kubeconfig, told)

    with in_moto():
        yield run_on_aws(with_objects)


def test_a_gateway_a_zone_is_in_the_zone_that_it_serves(other: RanOnAws) -> None:
    ec2 = other.aws.ec2
    zone_of = {s["SubnetId"]: s["AvailabilityZone"] for s in ec2.describe_subnets()["Subnets"]}
    private = subnets_of(other, "private")
    assert len(private) == 2
    for subnet in private:
        nat = way_out(other, subnet)["NatGatewayId"]
        [gateway] = ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"]
        assert zone_of[gateway["SubnetId"]] == zone_of[subnet]


def test_a_public_endpoint_is_limited_to_what_is_named(other: RanOnAws) -> None:
    network = other.aws.eks.describe_cluster(name="ml-platform")["cluster"]["resourcesVpcConfig"]
    assert network["endpointPublicAccess"] is True
    assert network["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_the_kubeconfig_is_secret_and_holds_no_credentials(other: RanOnAws) -> None:
    (text, _), secret = other.returned
    assert secret
    config = json.loads(text)
    [user] = config["users"]
    execute = user["user"]["exec"]
    assert execute["command"] == "aws" and execute["args"][2:4] == ["eks", "get-token"]
    assert execute["env"] == [{"name": "AWS_PROFILE", "value": "work"}]
    live = other.aws.eks.describe_cluster(name="ml-platform")["cluster"]
    [entry] = config["clusters"]
    assert entry["cluster"] == {
        "server": live["endpoint"],
        "certificate-authority-data": live["certificateAuthority"]["data"],
    }


def test_by_default_only_the_network_reaches_load_balancers(other: RanOnAws) -> None:
    (_, told), _ = other.returned
    assert told[f"{TOLD}scheme"] == "internal"
    assert set(told[f"{TOLD}subnets"].split(",")) == subnets_of(other, "private")
    assert told["service.beta.kubernetes.io/load-balancer-source-ranges"] == "10.0.0.0/16"
    assert f"{TOLD}ssl-cert" not in told
    assert not [r for r in other.registered if r.type.startswith(("aws:acm", "aws:route53"))]


def test_nothing_is_kept_if_it_is_told_not_to_be(other: RanOnAws) -> None:
    assert not [key(r) for r in other.registered if r.request.protect]
    assert other.of(CLUSTER).inputs["deletionProtection"] is False


def test_objects_go_before_the_controllers_and_those_before_nodes_and_cluster(
    other: RanOnAws,
) -> None:
    """What controllers made (load balancers, volumes) is gone before they are."""
    graph = Graph(other.registered)
    gate = "mlplatform:kubernetes:CloudReleased::cluster-released"
    assert graph.resources[gate].inputs == {"drivers": ["ebs.csi.aws.com", "efs.csi.aws.com"]}
    for kind in OBJECTS:
        assert {
            gate,
            f"{RELEASE}::aws-load-balancer-controller",
            f"{RELEASE}::cluster-autoscaler",
            "kubernetes:storage.k8s.io/v1:StorageClass::gp3",
            f"{ADDON}::cluster-{versions.EBS}",
            f"{GROUP}::ml-platform-cpu",
            f"{CLUSTER}::cluster",
        } <= graph.needs(f"kubernetes:core/v1:{kind}::mine")
    # It waits for what controllers still have to delete, so they are there until it is gone.
    for controller in (*graph.of(RELEASE), f"{ADDON}::cluster-{versions.EBS}", *graph.of(GROUP)):
        assert controller in graph.needs(gate)
    for release in graph.of(RELEASE):
        assert set(graph.of(GROUP)) <= graph.needs(release)
    # Gateways and load balancers leave the network before it goes.
    assert "aws:ec2/internetGateway:InternetGateway::network-internet" in graph.needs(
        f"{CLUSTER}::cluster"
    )


def test_nothing_is_made_with_wrong_settings() -> None:
    with pytest.raises(ShapeError, match="eksNodesMax is 2, less than eksNodesMin 3"):
        program(eksNodesMax=2)
