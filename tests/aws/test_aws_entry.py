"""The entry: who reaches the load balancer, how it is asked for, and the platform's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from components.cluster.base import Capabilities
from tests.aws.aws_stack import program, subnets_of
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.moto_mocks import Aws
from tests.support.graph import Graph

PREFIX = "service.beta.kubernetes.io/aws-load-balancer-"
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
HOST = "k8s-gateway-1234.elb.eu-central-1.amazonaws.com"
RECORD = "aws:route53/record:Record"


def run_entry(**settings: Any) -> tuple[RanOnAws, dict[str, str]]:
    """The stack, and what it asks of a load balancer that was given an address."""
    seen: dict[str, Capabilities] = {}

    def entry() -> pulumi.Output[Any]:
        cluster = program(awsZones=2, **settings)
        seen["capabilities"] = cluster.capabilities
        service = pulumi.CustomResource(
            "kubernetes:core/v1:Service",
            "gateway",
            {},
            pulumi.ResourceOptions(provider=cluster.provider),
        )
        cluster.announce(service.id.apply(lambda _: HOST))
        return pulumi.Output.all(**cluster.capabilities.balancer_annotations)

    ran = run_on_aws(entry)
    return ran, ran.returned[0]


@pytest.fixture(scope="module")
def internet() -> Iterator[tuple[RanOnAws, dict[str, str]]]:
    with in_moto():
        Aws().route53.create_hosted_zone(Name="example.com", CallerReference="one")
        yield run_entry(
            awsEntry="internet",
            awsDomain="ml.example.com",
            awsHostedZone="example.com",
            awsEntryCidrs=("203.0.113.0/24", "198.51.100.0/24"),
        )


def test_an_entry_from_the_internet_is_in_public_subnets_for_those_who_are_named(internet) -> None:
    ran, asked = internet
    assert asked[f"{PREFIX}type"] == "external"
    assert asked[f"{PREFIX}scheme"] == "internet-facing"
    assert set(asked[f"{PREFIX}subnets"].split(",")) == subnets_of(ran, "public")
    assert asked[RANGES] == "203.0.113.0/24,198.51.100.0/24"


def test_without_public_hosts_nothing_of_api_gateway_is_made(internet) -> None:
    ran, _ = internet
    assert subnets_of(ran, "link") == set()
    assert not [one.type for one in ran.registered if one.type.startswith("aws:apigatewayv2/")]


def test_the_certificate_is_issued_before_a_load_balancer_has_it(internet) -> None:
    ran, asked = internet
    arn = asked[f"{PREFIX}ssl-cert"]
    found = ran.aws.acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert found["DomainName"] == "ml.example.com"
    assert asked[f"{PREFIX}ssl-ports"] == "443"
    assert "TLS13" in asked[f"{PREFIX}ssl-negotiation-policy"]
    # Behind the load balancer it is TLS again.
    assert asked[f"{PREFIX}backend-protocol"] == "ssl"


def test_the_name_leads_to_the_load_balancer_and_goes_before_it(internet) -> None:
    ran, _ = internet
    zone = ran.aws.route53.list_hosted_zones()["HostedZones"][0]["Id"]
    sets = ran.aws.route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    [record] = [s for s in sets if s["Name"] == "ml.example.com."]
    assert (record["Type"], record["ResourceRecords"]) == ("CNAME", [{"Value": HOST}])
    needed = Graph(ran.registered).needs(f"{RECORD}::name")
    assert "kubernetes:core/v1:Service::gateway" in needed
    # Nothing of an edge, which was not asked for.
    parts = ("aws:cloudfront/", "aws:wafv2/", "aws:lb/")
    assert not [r for r in ran.registered if r.type.startswith(parts)]
