"""The edge with other settings, and settings that give none."""

from __future__ import annotations

from typing import Any

import pytest

from components.aws import checks, cost, firewall
from components.aws.permissions import permissions
from components.aws.shape import ShapeError, parse
from tests.aws.edge_stack import EVERYBODY, NAMED, OURS, acl_of, run_edge
from tests.aws.moto_mocks import ACCOUNT, REGION, Aws


def test_everybody_may_come_if_it_is_said_and_rates_still_hold(aws: Aws) -> None:
    ran = run_edge(**NAMED, awsEntryCidrs=EVERYBODY, awsEdgeRate=500)
    found = acl_of(ran)
    assert found["DefaultAction"] == {"Allow": {}}
    assert [r["Name"] for r in found["Rules"]][1:] == [group.name for group in firewall.GROUPS]
    [rate] = [r for r in found["Rules"] if "RateBasedStatement" in r["Statement"]]
    assert rate["Action"] == {"Block": {}}
    assert rate["Statement"]["RateBasedStatement"]["Limit"] == 500
    assert not ran.aws.in_region("us-east-1").wafv2.list_ip_sets(Scope="CLOUDFRONT")["IPSets"]
    # What is on the cluster besides stays the network's own.
    told = ran.returned[0]["service.beta.kubernetes.io/load-balancer-source-ranges"]
    assert told == "10.0.0.0/16"


def test_in_the_region_of_cloudfront_one_certificate_serves_both(aws: Aws) -> None:
    ran = run_edge("us-east-1", **NAMED, awsEntryCidrs=OURS)
    assert len([r for r in ran.registered if r.type == "aws:acm/certificate:Certificate"]) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"awsEntryCidrs": OURS}, r"awsEdge is 'cloudfront', but awsDomain is empty: set it and"),
        (NAMED, r"awsEdge is 'cloudfront', but awsEntryCidrs is empty: name who may come"),
        (
            {**NAMED, "awsEntryCidrs": OURS, "awsEntry": "internet"},
            r"awsEdge is 'cloudfront', and awsEntry is 'internet': .* remove awsEntry",
        ),
        (
            {**NAMED, "awsEntryCidrs": ("10.1.0.0/16",)},
            r"awsEntryCidrs has '10.1.0.0/16': CloudFront sees public addresses only",
        ),
        (
            {**NAMED, "awsEntryCidrs": OURS, "awsRegion": "us-gov-west-1"},
            r"awsRegion is 'us-gov-west-1', which has no CloudFront",
        ),
        (
            {**NAMED, "awsEntryCidrs": OURS, "awsApiHosts": ("api.example.com",)},
            r"awsEdge is 'cloudfront', and awsApiHosts is set: .* remove one of them",
        ),
        ({"awsEdge": "none", "awsEdgeRate": 50}, r"awsEdgeRate is 50, but awsEdge is 'none'"),
        (
            {**NAMED, "awsEntryCidrs": OURS, "awsEdgeRate": 9},
            r"awsEdgeRate is 9: .*greater than or equal to 10",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(settings: dict[str, Any], told: str) -> None:
    values = {"awsRegion": REGION, "awsEdge": "cloudfront", **settings}
    with pytest.raises(ShapeError, match=told) as refused:
        parse(values, {}, "v1.10.2")
    assert len(str(refused.value).splitlines()) == 1


def of(**settings: Any) -> tuple[Any, Any]:
    values = {"awsRegion": REGION, "awsEntryCidrs": OURS, **NAMED, **settings}
    return parse(values, {}, "v1.10.2")


def test_it_is_asked_for_and_paid_for_only_where_it_is() -> None:
    plain, with_edge = of(), of(awsEdge="cloudfront")
    asked = {
        name: {p.action for p in permissions(checks.place(*stack, ACCOUNT, None))}
        for name, stack in (("plain", plain), ("edge", with_edge))
    }
    more = asked["edge"] - asked["plain"]
    assert {action.partition(":")[0] for action in more} == {
        "cloudfront",
        "wafv2",
        "elasticloadbalancing",
        "ec2",
        "logs",
    }
    lines = {
        line.what: line.monthly for line in cost.estimate(checks.stack(*with_edge, None)).lines
    }
    assert lines["web ACLs of WAF"] == 5
    assert lines["rules of WAF"] == len(firewall.GROUPS) + 2
    assert lines["application load balancers"] == pytest.approx(0.027 * 730)
    assert "network load balancers" not in lines
    before = {line.what for line in cost.estimate(checks.stack(*plain, None)).lines}
    assert "network load balancers" in before and "rules of WAF" not in before


def test_an_existing_network_trusts_private_addresses() -> None:
    """Its own are not known before AWS is asked."""
    subnets = ("subnet-0123456a", "subnet-0123456b")
    aws, _ = of(awsEdge="cloudfront", awsVpc="vpc-01234567", awsPrivateSubnets=subnets)
    assert "10.0.0.0/8" in aws.front and "0.0.0.0/0" not in aws.front
    assert of(awsEdge="cloudfront", awsVpcCidr="10.3.0.0/16")[0].front == ("10.3.0.0/16",)
    assert of()[0].front == ()
