"""What creates in moto the types of CloudFront, WAF and the load balancer between them and pods."""

from __future__ import annotations

from typing import Any

from tests.aws.moto_mocks import (
    ARNS,
    Aws,
    Inputs,
    Made,
    answers,
    backs,
    not_backed,
    pascal,
    picked,
    tag_list,
)


@answers("aws:ec2/getManagedPrefixList:getManagedPrefixList")
def prefix_list(aws: Aws, args: Inputs) -> dict[str, Any]:
    [found] = aws.ec2.describe_managed_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": [args["name"]]}]
    )["PrefixLists"]
    return {"id": found["PrefixListId"], "name": found["PrefixListName"]}


# --- the load balancer ---------------------------------------------------------------------------


@backs("aws:lb/loadBalancer:LoadBalancer")
def load_balancer(aws: Aws, inputs: Inputs) -> Made:
    made = aws.elbv2.create_load_balancer(
        Name=inputs["name"],
        Type=inputs["loadBalancerType"],
        Scheme="internal" if inputs["internal"] else "internet-facing",
        **pascal(inputs, "subnets", "securityGroups"),
        Tags=tag_list(inputs),
    )["LoadBalancers"][0]
    attributes = {
        "idle_timeout.timeout_seconds": inputs["idleTimeout"],
        "routing.http.drop_invalid_header_fields.enabled": inputs["dropInvalidHeaderFields"],
        "routing.http.preserve_host_header.enabled": inputs["preserveHostHeader"],
    }
    aws.elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=made["LoadBalancerArn"],
        Attributes=[{"Key": k, "Value": str(v).lower()} for k, v in attributes.items()],
    )
    return made["LoadBalancerArn"], {"arn": made["LoadBalancerArn"], "dnsName": made["DNSName"]}


@backs("aws:lb/targetGroup:TargetGroup")
def target_group(aws: Aws, inputs: Inputs) -> Made:
    health = inputs["healthCheck"]
    made = aws.elbv2.create_target_group(
        Name=f"{inputs['namePrefix']}made",
        **pascal(inputs, "protocol", "port", "vpcId", "targetType"),
        HealthCheckProtocol=health["protocol"],
        HealthCheckPath=health["path"],
        Matcher={"HttpCode": health["matcher"]},
        Tags=tag_list(inputs),
    )["TargetGroups"][0]
    return made["TargetGroupArn"], {"arn": made["TargetGroupArn"]}


@backs("aws:lb/listener:Listener")
def listener(aws: Aws, inputs: Inputs) -> Made:
    made = aws.elbv2.create_listener(
        **pascal(inputs, "loadBalancerArn", "protocol", "port", "sslPolicy"),
        Certificates=[{"CertificateArn": inputs["certificateArn"]}],
        DefaultActions=[
            {"Type": action["type"], "TargetGroupArn": action["targetGroupArn"]}
            for action in inputs["defaultActions"]
        ],
        Tags=tag_list(inputs),
    )["Listeners"][0]
    return made["ListenerArn"], {"arn": made["ListenerArn"]}


# --- WAF -----------------------------------------------------------------------------------------


def api(value: Any) -> Any:
    """The same with the names of AWS's API, which begin with a capital; `arn` is one of its own."""
    if isinstance(value, dict):
        return {_API.get(key, key[0].upper() + key[1:]): api(entry) for key, entry in value.items()}
    return [api(entry) for entry in value] if isinstance(value, list) else value


_API = {
    "arn": "ARN",
    "ipSetReferenceStatement": "IPSetReferenceStatement",
    "cloudwatchMetricsEnabled": "CloudWatchMetricsEnabled",
}


@backs("aws:wafv2/ipSet:IpSet")
def ip_set(aws: Aws, inputs: Inputs) -> Made:
    made = aws.wafv2.create_ip_set(
        **pascal(inputs, "name", "scope", "description", "addresses"),
        IPAddressVersion=inputs["ipAddressVersion"],
        Tags=tag_list(inputs),
    )["Summary"]
    return made["Id"], {"arn": made["ARN"]}


@backs("aws:wafv2/webAcl:WebAcl")
def web_acl(aws: Aws, inputs: Inputs) -> Made:
    names = ("name", "scope", "defaultAction", "rules", "visibilityConfig")
    made = aws.wafv2.create_web_acl(**api(picked(inputs, *names)), Tags=tag_list(inputs))["Summary"]
    return made["Id"], {"arn": made["ARN"]}


@backs("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
def web_acl_logging(aws: Aws, inputs: Inputs) -> Made:
    names = ("resourceArn", "logDestinationConfigs", "redactedFields", "loggingFilter")
    aws.wafv2.put_logging_configuration(LoggingConfiguration=api(picked(inputs, *names)))
    return inputs["resourceArn"], {}


# --- CloudFront ----------------------------------------------------------------------------------


@backs("aws:cloudfront/function:Function")
def function(aws: Aws, inputs: Inputs) -> Made:
    made = aws.cloudfront.create_function(
        Name=inputs["name"],
        FunctionConfig=pascal(inputs, "comment", "runtime"),
        FunctionCode=inputs["code"].encode(),
    )
    # moto 5.2 has no publish_function, without which a distribution can't have it.
    assert inputs["publish"]
    return inputs["name"], {"arn": made["FunctionSummary"]["FunctionMetadata"]["FunctionARN"]}


@backs("aws:cloudfront/distribution:Distribution")
def distribution(aws: Aws, inputs: Inputs) -> Made:
    behavior, certificate = inputs["defaultCacheBehavior"], inputs["viewerCertificate"]

    def counted(items: list[Any]) -> dict[str, Any]:
        return {"Quantity": len(items), "Items": items}

    made = aws.cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": inputs["comment"],
            "Comment": inputs["comment"],
            "Enabled": inputs["enabled"],
            "Aliases": counted(inputs["aliases"]),
            "HttpVersion": inputs["httpVersion"],
            "IsIPV6Enabled": inputs["isIpv6Enabled"],
            "WebACLId": inputs["webAclId"],
            "Origins": counted(
                [
                    {
                        "Id": origin["originId"],
                        "DomainName": origin["domainName"],
                        "VpcOriginConfig": pascal(
                            origin["vpcOriginConfig"],
                            "vpcOriginId",
                            "originReadTimeout",
                            "originKeepaliveTimeout",
                        ),
                    }
                    for origin in inputs["origins"]
                ]
            ),
            "DefaultCacheBehavior": {
                **pascal(behavior, "targetOriginId", "viewerProtocolPolicy", "compress"),
                **pascal(behavior, "cachePolicyId", "originRequestPolicyId"),
                **pascal(behavior, "responseHeadersPolicyId"),
                "AllowedMethods": {
                    **counted(behavior["allowedMethods"]),
                    "CachedMethods": counted(behavior["cachedMethods"]),
                },
                "FunctionAssociations": counted(
                    [
                        {"EventType": entry["eventType"], "FunctionARN": entry["functionArn"]}
                        for entry in behavior["functionAssociations"]
                    ]
                ),
            },
            "ViewerCertificate": {
                "CloudFrontDefaultCertificate": False,
                "ACMCertificateArn": certificate["acmCertificateArn"],
                "SSLSupportMethod": certificate["sslSupportMethod"],
                "MinimumProtocolVersion": certificate["minimumProtocolVersion"],
            },
        }
    )["Distribution"]
    return made["Id"], {
        "arn": made["ARN"],
        "domainName": made["DomainName"],
        # Of all distributions.
        "hostedZoneId": "Z2FDTNDATAQYW2",
    }


not_backed(
    "aws:cloudfront/vpcOrigin:VpcOrigin",
    "moto 5.2 has no create_vpc_origin",
    lambda inputs: (
        "vo_Abc123",
        {"arn": f"{inputs['vpcOriginEndpointConfig']['arn']}/vpcorigin"},
    ),
)


# --- what an ARN names ---------------------------------------------------------------------------


def _waf(aws: Aws, arn: str) -> bool:
    sets = aws.wafv2.list_ip_sets(Scope="CLOUDFRONT")["IPSets"]
    acls = aws.wafv2.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    return arn in {one["ARN"] for one in (*sets, *acls)}


def _function(aws: Aws, arn: str) -> Any:
    return aws.cloudfront.describe_function(Name=arn.rpartition("/")[2])


ARNS |= {
    "wafv2": _waf,
    "cloudfront:function": _function,
    "elasticloadbalancing:targetgroup": lambda aws, arn: aws.elbv2.describe_target_groups(
        TargetGroupArns=[arn]
    ),
}
