"""The edge: CloudFront and WAF in front of a load balancer that nobody else reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.aws import firewall
from tests.aws.aws_stack import subnets_of
from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.edge_stack import NAMED, OURS, SERVICE, acl_of, run_edge
from tests.aws.moto_mocks import REGION
from tests.support.graph import Graph

BINDING = "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding::edge"
DISTRIBUTION = "aws:cloudfront/distribution:Distribution::edge"
ORIGIN = "aws:cloudfront/vpcOrigin:VpcOrigin::edge"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"


@pytest.fixture(scope="module")
def edge() -> Iterator[RanOnAws]:
    with in_moto():
        yield run_edge(**NAMED, awsEntryCidrs=OURS)


@pytest.fixture(scope="module")
def acl(edge: RanOnAws) -> dict[str, Any]:
    return acl_of(edge)


def test_the_load_balancer_is_internal_and_only_cloudfront_and_the_pods_are_reached(edge) -> None:
    [balancer] = edge.aws.elbv2.describe_load_balancers()["LoadBalancers"]
    assert balancer["Scheme"] == "internal"
    assert {z["SubnetId"] for z in balancer["AvailabilityZones"]} == subnets_of(edge, "private")
    [group] = edge.aws.ec2.describe_security_groups(GroupIds=balancer["SecurityGroups"])[
        "SecurityGroups"
    ]
    [cloudfront] = group["IpPermissions"]
    [prefixes] = edge.aws.ec2.describe_managed_prefix_lists(
        PrefixListIds=[entry["PrefixListId"] for entry in cloudfront["PrefixListIds"]]
    )["PrefixLists"]
    assert prefixes["PrefixListName"] == "com.amazonaws.global.cloudfront.origin-facing"
    assert not cloudfront["IpRanges"] and not cloudfront["UserIdGroupPairs"]
    assert (cloudfront["FromPort"], cloudfront["ToPort"]) == (443, 443)
    [out] = group["IpPermissionsEgress"]
    [nodes] = out["UserIdGroupPairs"]
    assert (out["FromPort"], out["ToPort"], out["IpRanges"]) == (8443, 8443, [])
    [opened] = edge.aws.ec2.describe_security_groups(GroupIds=[nodes["GroupId"]])["SecurityGroups"]
    assert [
        (p["FromPort"], p["ToPort"], [pair["GroupId"] for pair in p["UserIdGroupPairs"]])
        for p in opened["IpPermissions"]
    ] == [(8443, 8443, [group["GroupId"]])]


def test_tls_all_the_way_and_each_certificate_where_it_has_to_be(edge) -> None:
    [made] = edge.aws.cloudfront.list_distributions()["DistributionList"]["Items"]
    shown = made["ViewerCertificate"]
    assert shown["ACMCertificateArn"].split(":")[3] == "us-east-1"
    assert shown["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert made["Aliases"]["Items"] == ["ml.example.com"]
    assert made["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    config = edge.of("aws:cloudfront/vpcOrigin:VpcOrigin").inputs["vpcOriginEndpointConfig"]
    [balancer] = edge.aws.elbv2.describe_load_balancers()["LoadBalancers"]
    assert config["arn"] == balancer["LoadBalancerArn"]
    assert config["originProtocolPolicy"] == "https-only"
    [listener] = edge.aws.elbv2.describe_listeners(LoadBalancerArn=config["arn"])["Listeners"]
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    [own] = listener["Certificates"]
    assert own["CertificateArn"].split(":")[3] == REGION
    # CloudFront holds the origin's certificate to the host, which it passes on.
    certificate = edge.aws.acm.describe_certificate(CertificateArn=own["CertificateArn"])
    assert certificate["Certificate"]["DomainName"] == "ml.example.com"
    [targets] = edge.aws.elbv2.describe_target_groups()["TargetGroups"]
    assert (targets["Protocol"], targets["TargetType"]) == ("HTTPS", "ip")


def test_one_record_proves_both_certificates(edge) -> None:
    zone = edge.aws.route53.list_hosted_zones()["HostedZones"][0]["Id"]
    sets = edge.aws.route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    names = [s["Name"] for s in sets if s["Type"] == "CNAME"]
    assert len(names) == 1 and names[0].startswith("_")
    proven = {r.inputs["certificateArn"].split(":")[3] for r in edge.registered if issued(r)}
    assert proven == {REGION, "us-east-1"}


def issued(resource: Any) -> bool:
    return bool(resource.type == "aws:acm/certificateValidation:CertificateValidation")


def test_nothing_is_cached_and_everything_is_passed_on(edge) -> None:
    """Hosts, cookies and all other headers: by policies of AWS, whose ids are of all accounts."""
    behavior = edge.of("aws:cloudfront/distribution:Distribution").inputs["defaultCacheBehavior"]
    assert behavior["cachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    assert behavior["originRequestPolicyId"] == "216adef6-5c7f-47e4-b989-5492eafa07d3"
    assert {"PUT", "POST", "DELETE", "PATCH"} < set(behavior["allowedMethods"])
    [used] = behavior["functionAssociations"]
    assert used["eventType"] == "viewer-request"
    name = used["functionArn"].rpartition("/")[2]
    code = edge.aws.cloudfront.get_function(Name=name)["FunctionCode"].read()
    assert b"headers['true-client-ip'] = {value: event.viewer.ip}" in code


def test_who_is_not_named_is_blocked(edge, acl) -> None:
    assert acl["DefaultAction"] == {"Block": {}}
    last = max(acl["Rules"], key=lambda rule: rule["Priority"])
    assert last["Action"] == {"Allow": {}}
    waf = edge.aws.in_region("us-east-1").wafv2
    [listed] = waf.list_ip_sets(Scope="CLOUDFRONT")["IPSets"]
    assert last["Statement"] == {"IPSetReferenceStatement": {"ARN": listed["ARN"]}}
    found = waf.get_ip_set(Name=listed["Name"], Id=listed["Id"], Scope="CLOUDFRONT")["IPSet"]
    assert sorted(found["Addresses"]) == sorted(OURS)
    # An address of IPv6 could not be named.
    assert edge.of("aws:cloudfront/distribution:Distribution").inputs["isIpv6Enabled"] is False


def test_no_other_rule_lets_anybody_past_the_rest(acl) -> None:
    rules = sorted(acl["Rules"], key=lambda rule: rule["Priority"])
    assert len({rule["Priority"] for rule in rules}) == len(rules)
    assert rules[0]["Action"] == {"Block": {}}
    assert rules[0]["Statement"]["RateBasedStatement"]["Limit"] == 10000
    assert [r["Name"] for r in rules if r.get("Action") == {"Allow": {}}] == [rules[-1]["Name"]]
    assert all(rule["OverrideAction"] == {"None": {}} for rule in rules[1:-1])


def test_what_notebooks_send_is_counted_and_the_rest_of_the_core_rules_blocks(acl) -> None:
    groups = {
        rule["Name"]: rule["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
        for rule in acl["Rules"]
        if "ManagedRuleGroupStatement" in rule["Statement"]
    }
    counted = {entry["Name"] for entry in groups["AWSManagedRulesCommonRuleSet"]}
    assert "SizeRestrictions_BODY" in counted
    assert counted < CORE_RULES
    assert all(e["ActionToUse"] == {"Count": {}} for group in groups.values() for e in group)
    assert not groups["AWSManagedRulesKnownBadInputsRuleSet"]
    assert all(why for group in firewall.GROUPS for why in group.counted.values())


# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
CORE_RULES = {
    "NoUserAgent_HEADER",
    "UserAgent_BadBots_HEADER",
    *(f"SizeRestrictions_{part}" for part in ("QUERYSTRING", "Cookie_HEADER", "BODY", "URIPATH")),
    *(f"EC2MetaDataSSRF_{part}" for part in ("BODY", "COOKIE", "URIPATH", "QUERYARGUMENTS")),
    *(f"GenericLFI_{part}" for part in ("QUERYARGUMENTS", "URIPATH", "BODY")),
    *(f"GenericRFI_{part}" for part in ("QUERYARGUMENTS", "BODY", "URIPATH")),
    *(f"RestrictedExtensions_{part}" for part in ("URIPATH", "QUERYARGUMENTS")),
    *(f"CrossSiteScripting_{part}" for part in ("COOKIE", "QUERYARGUMENTS", "BODY", "URIPATH")),
}


def test_the_log_has_what_was_refused_and_no_sessions(edge, acl) -> None:
    waf = edge.aws.in_region("us-east-1").wafv2
    log = waf.get_logging_configuration(ResourceArn=acl["ARN"])["LoggingConfiguration"]
    [destination] = log["LogDestinationConfigs"]
    assert destination.split(":")[3] == "us-east-1"
    assert destination.partition(":log-group:")[2].startswith("aws-waf-logs-")
    assert {"SingleHeader": {"Name": "cookie"}} in log["RedactedFields"]
    assert {"SingleHeader": {"Name": "authorization"}} in log["RedactedFields"]
    assert {"QueryString": {}} in log["RedactedFields"]
    assert log["LoggingFilter"]["DefaultBehavior"] == "DROP"
    shown = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in acl["Rules"])]
    assert not any(entry["SampledRequestsEnabled"] for entry in shown)


def test_the_name_leads_to_cloudfront(edge) -> None:
    zone = edge.aws.route53.list_hosted_zones()["HostedZones"][0]["Id"]
    sets = edge.aws.route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    [record] = [s for s in sets if s["Name"] == "ml.example.com."]
    [made] = edge.aws.cloudfront.list_distributions()["DistributionList"]["Items"]
    assert record["Type"] == "A"
    assert record["AliasTarget"]["DNSName"].rstrip(".") == made["DomainName"]


def test_pods_are_targets_for_as_long_as_the_service_and_the_controller_are_there(edge) -> None:
    binding = edge.of("kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding").inputs
    [targets] = edge.aws.elbv2.describe_target_groups()["TargetGroups"]
    assert binding["spec"] == {
        "serviceRef": {"name": "nginx-ingress", "port": 443},
        "targetGroupARN": targets["TargetGroupArn"],
        "targetType": "ip",
    }
    # The policy of the controller is for groups of such names alone.
    assert targets["TargetGroupName"].startswith("k8s-")
    needed = Graph(edge.registered).needs(BINDING)
    assert SERVICE in needed
    assert "kubernetes:helm.sh/v3:Release::aws-load-balancer-controller" in needed
    assert "mlplatform:kubernetes:CloudReleased::cluster-released" in needed


def test_destroy_takes_it_down_from_the_outside_in(edge) -> None:
    """Name, distribution, VPC origin, load balancer; and all of it before the network."""
    graph = Graph(edge.registered)
    assert DISTRIBUTION in graph.needs("aws:route53/record:Record::name")
    assert ORIGIN in graph.needs(DISTRIBUTION)
    assert "aws:wafv2/webAcl:WebAcl::edge" in graph.needs(DISTRIBUTION)
    assert "aws:wafv2/ipSet:IpSet::edge" in graph.needs("aws:wafv2/webAcl:WebAcl::edge")
    needed = graph.needs(ORIGIN)
    assert {f"{BALANCER}::edge", "aws:lb/listener:Listener::edge"} <= needed
    assert "aws:ec2/internetGateway:InternetGateway::network-internet" in needed
    assert {"aws:ec2/subnet:Subnet::network-private-0", "aws:ec2/vpc:Vpc::network"} <= needed
    # It waits for nothing on the cluster, and nothing on the cluster waits for it.
    assert SERVICE not in needed
