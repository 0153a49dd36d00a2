"""The stack with an edge, as tests run it."""

from __future__ import annotations

from typing import Any

import pulumi

from components.cluster.base import Backend
from tests.aws.aws_stack import program
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.aws.moto_mocks import REGION, Aws

NAMED = {"awsDomain": "ml.example.com", "awsHostedZone": "example.com"}
OURS = ("203.0.113.0/24", "198.51.100.0/24")
EVERYBODY = ("0.0.0.0/0",)
SERVICE = "kubernetes:core/v1:Service::gateway"


def run_edge(region: str = REGION, **settings: Any) -> RanOnAws:
    """The stack with a gateway's Service, which the edge leads to."""

    def with_gateway() -> pulumi.Output[Any]:
        cluster = program(awsZones=2, awsEdge="cloudfront", awsRegion=region, **settings)
        assert cluster.capabilities.fronted
        options = pulumi.ResourceOptions(provider=cluster.provider)
        service = pulumi.CustomResource("kubernetes:core/v1:Service", "gateway", {}, options)
        cluster.front(Backend("nginx-ingress", "nginx-ingress", 443, 8443, service))
        return pulumi.Output.all(**cluster.capabilities.balancer_annotations)

    Aws().route53.create_hosted_zone(Name="example.com", CallerReference="one")
    return run_on_aws(with_gateway, region)


def acl_of(ran: RanOnAws) -> dict[str, Any]:
    """The web ACL that the distribution has, of the one region where that can be."""
    [made] = ran.aws.cloudfront.list_distributions()["DistributionList"]["Items"]
    waf = ran.aws.in_region("us-east-1").wafv2
    [listed] = waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    assert made["WebACLId"] == listed["ARN"]
    found: dict[str, Any] = waf.get_web_acl(
        Name=listed["Name"], Id=listed["Id"], Scope="CLOUDFRONT"
    )["WebACL"]
    return found
