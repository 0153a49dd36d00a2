"""Amazon API Gateway (HTTP APIs), and the load balancer that a controller made, in moto."""

from __future__ import annotations

import hashlib
from typing import Any

from components.aws.policies import CLUSTER_TAG
from tests.aws.moto_mocks import (
    ARNS,
    CONTROLLERS,
    Aws,
    Inputs,
    Made,
    answers,
    backs,
    pascal,
    tag_list,
)

_PREFIX = "service.beta.kubernetes.io/aws-load-balancer-"
_ZONE = "Z1U9ULNL0V5AJ3"


def balancer_name(namespace: str, name: str) -> str:
    """As the AWS Load Balancer Controller forms it."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:10]
    return f"k8s-{namespace[:8]}-{name[:8]}-{digest}"


def make_balancer(aws: Aws, service: Inputs) -> None:
    """What the AWS Load Balancer Controller makes of a Service whose annotations are its own."""
    meta = service.get("metadata") or {}
    told = {
        key.removeprefix(_PREFIX): value for key, value in (meta.get("annotations") or {}).items()
    }
    if told.get("type") != "external":
        return
    subnets = aws.ec2.describe_subnets(SubnetIds=told["subnets"].split(","))["Subnets"]
    name, vpc = balancer_name(meta["namespace"], meta["name"]), subnets[0]["VpcId"]
    group = aws.ec2.create_security_group(GroupName=name, Description="k8s", VpcId=vpc)["GroupId"]
    [cluster] = aws.eks.list_clusters()["clusters"]
    tags = {CLUSTER_TAG: cluster, "service.k8s.aws/stack": f"{meta['namespace']}/{meta['name']}"}
    arn = aws.elbv2.create_load_balancer(
        Name=name,
        Type="network",
        Scheme=told["scheme"],
        Subnets=[one["SubnetId"] for one in subnets],
        SecurityGroups=[group],
        Tags=tag_list({"tags": tags}),
    )["LoadBalancers"][0]["LoadBalancerArn"]
    for number, port in enumerate(service["spec"]["ports"]):
        secure = str(int(port["port"])) in told.get("ssl-ports", "").split(",")
        target = aws.elbv2.create_target_group(
            Name=f"k8s-{number}", Protocol="TCP", Port=1, VpcId=vpc, TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        aws.elbv2.create_listener(
            LoadBalancerArn=arn,
            Protocol="TLS" if secure else "TCP",
            Port=int(port["port"]),
            **({"Certificates": [{"CertificateArn": told["ssl-cert"]}]} if secure else {}),
            DefaultActions=[{"Type": "forward", "TargetGroupArn": target}],
        )


CONTROLLERS["kubernetes:core/v1:Service"] = make_balancer


@answers("aws:lb/getLoadBalancer:getLoadBalancer")
def get_load_balancer(aws: Aws, args: Inputs) -> dict[str, Any]:
    """As the provider: exactly one must have all of the tags."""
    wanted = args["tags"].items()
    found = []
    for one in aws.elbv2.describe_load_balancers()["LoadBalancers"]:
        arn = one["LoadBalancerArn"]
        [tags] = aws.elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        if wanted <= {tag["Key"]: tag["Value"] for tag in tags["Tags"]}.items():
            found.append(one)
    [one] = found
    return {
        "id": one["LoadBalancerArn"],
        "arn": one["LoadBalancerArn"],
        "dnsName": one["DNSName"],
        "securityGroups": one["SecurityGroups"],
    }


@answers("aws:lb/getListener:getListener")
def get_listener(aws: Aws, args: Inputs) -> dict[str, Any]:
    listeners = aws.elbv2.describe_listeners(LoadBalancerArn=args["loadBalancerArn"])["Listeners"]
    [one] = [one for one in listeners if one["Port"] == args["port"]]
    return {"id": one["ListenerArn"], "arn": one["ListenerArn"]}


@backs("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule")
def egress(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.authorize_security_group_egress(
        GroupId=inputs["securityGroupId"],
        IpPermissions=[
            {
                "IpProtocol": inputs["ipProtocol"],
                **pascal(inputs, "fromPort", "toPort"),
                "UserIdGroupPairs": [{"GroupId": inputs["referencedSecurityGroupId"]}],
            }
        ],
    )
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}


@backs("aws:apigatewayv2/vpcLink:VpcLink")
def vpc_link(aws: Aws, inputs: Inputs) -> Made:
    made = aws.apigatewayv2.create_vpc_link(
        **pascal(inputs, "name", "subnetIds", "securityGroupIds"), Tags=inputs["tags"]
    )
    return made["VpcLinkId"], {}


@backs("aws:apigatewayv2/api:Api")
def api(aws: Aws, inputs: Inputs) -> Made:
    cors = {}
    if inputs.get("corsConfiguration"):
        names = ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge")
        cors["CorsConfiguration"] = pascal(inputs["corsConfiguration"], *names, "allowCredentials")
    made = aws.apigatewayv2.create_api(
        **pascal(inputs, "name", "protocolType", "disableExecuteApiEndpoint"),
        **cors,
        Tags=inputs["tags"],
    )
    return made["ApiId"], {"apiEndpoint": made["ApiEndpoint"]}


@backs("aws:apigatewayv2/authorizer:Authorizer")
def authorizer(aws: Aws, inputs: Inputs) -> Made:
    configuration = inputs["jwtConfiguration"]
    made = aws.apigatewayv2.create_authorizer(
        **pascal(inputs, "apiId", "authorizerType", "name"),
        IdentitySource=inputs["identitySources"],
        JwtConfiguration={
            "Issuer": configuration["issuer"],
            "Audience": configuration["audiences"],
        },
    )
    return made["AuthorizerId"], {}


@backs("aws:apigatewayv2/integration:Integration")
def integration(aws: Aws, inputs: Inputs) -> Made:
    links = [link["VpcLinkId"] for link in aws.apigatewayv2.get_vpc_links()["Items"]]
    assert inputs["connectionId"] in links
    names = ("apiId", "integrationType", "integrationMethod", "connectionType", "connectionId")
    made = aws.apigatewayv2.create_integration(
        **pascal(inputs, *names, "integrationUri", "payloadFormatVersion", "requestParameters"),
        TimeoutInMillis=inputs["timeoutMilliseconds"],
        TlsConfig={"ServerNameToVerify": inputs["tlsConfig"]["serverNameToVerify"]},
    )
    return made["IntegrationId"], {}


@backs("aws:apigatewayv2/route:Route")
def route(aws: Aws, inputs: Inputs) -> Made:
    api_id = inputs["apiId"]
    aws.apigatewayv2.get_integration(
        ApiId=api_id, IntegrationId=inputs["target"].removeprefix("integrations/")
    )
    if inputs.get("authorizerId"):
        aws.apigatewayv2.get_authorizer(ApiId=api_id, AuthorizerId=inputs["authorizerId"])
    made = aws.apigatewayv2.create_route(
        **pascal(inputs, "apiId", "routeKey", "target", "authorizationType", "authorizerId")
    )
    return made["RouteId"], {}


@backs("aws:apigatewayv2/stage:Stage")
def stage(aws: Aws, inputs: Inputs) -> Made:
    keys = {one["RouteKey"] for one in aws.apigatewayv2.get_routes(ApiId=inputs["apiId"])["Items"]}
    settings = {
        one["routeKey"]: pascal(one, "throttlingRateLimit", "throttlingBurstLimit")
        for one in inputs.get("routeSettings") or []
    }
    assert set(settings) <= keys, "AWS refuses settings of a route that is not there"
    logs = inputs.get("accessLogSettings")
    aws.apigatewayv2.create_stage(
        ApiId=inputs["apiId"],
        StageName=inputs["name"],
        AutoDeploy=inputs["autoDeploy"],
        RouteSettings=settings,
        Tags=inputs["tags"],
        **({"AccessLogSettings": pascal(logs, "destinationArn", "format")} if logs else {}),
    )
    return inputs["name"], {}


@backs("aws:apigatewayv2/domainName:DomainName")
def domain_name(aws: Aws, inputs: Inputs) -> Made:
    configuration = inputs["domainNameConfiguration"]
    aws.apigatewayv2.create_domain_name(
        DomainName=inputs["domainName"],
        DomainNameConfigurations=[
            pascal(configuration, "certificateArn", "endpointType", "securityPolicy")
        ],
        Tags=inputs["tags"],
    )
    # moto gives no address; this has the form of AWS's.
    target = f"d-0123456789.execute-api.{aws.region}.amazonaws.com"
    return inputs["domainName"], {
        "domainNameConfiguration": {
            **configuration,
            "targetDomainName": target,
            "hostedZoneId": _ZONE,
        }
    }


@backs("aws:apigatewayv2/apiMapping:ApiMapping")
def api_mapping(aws: Aws, inputs: Inputs) -> Made:
    aws.apigatewayv2.get_stage(ApiId=inputs["apiId"], StageName=inputs["stage"])
    made = aws.apigatewayv2.create_api_mapping(**pascal(inputs, "apiId", "domainName", "stage"))
    return made["ApiMappingId"], {}


def _listener(aws: Aws, arn: str) -> Any:
    return aws.elbv2.describe_listeners(ListenerArns=[arn])["Listeners"]


ARNS |= {
    "elasticloadbalancing:loadbalancer": lambda aws, arn: aws.elbv2.describe_load_balancers(
        LoadBalancerArns=[arn]
    )["LoadBalancers"],
    "elasticloadbalancing:listener": _listener,
}
