"""Amazon API Gateway before the gateway: what it is made of, what it tells, and the order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components import choose
from components.aws import checks, cost
from components.aws.create import eks
from components.aws.shape import ShapeError, parse
from components.choose import gateway_args, gateway_of
from components.settings import SettingsError
from components.settings import parse as parse_settings
from tests.aws.aws_stack import subnets_of
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.moto_api import balancer_name
from tests.aws.moto_mocks import REGION, Aws
from tests.support.gateway_sources import MANIFESTS
from tests.support.graph import Graph

ROUTES = Path(__file__).parents[1] / "support" / "gateway_aws_routes.yaml"
SETTINGS: dict[str, Any] = {
    "awsDomain": "ml.example.com",
    "awsHostedZone": "example.com",
    "awsApiHosts": ("models.example.com",),
}
SERVICE = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"
API = "aws:apigatewayv2/"


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the preview says."""
    return []


@pytest.fixture(scope="module")
def made(told: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RanOnAws]:
    """NGINX on the stack, with API Gateway before it; it returns what the Service is told."""
    values = {"cluster": "eks", "awsRegion": REGION, "gateway": "nginx", **SETTINGS}
    values |= {"awsZones": 2, "awsEntryCidrs": ["10.9.0.0/24"], "gatewayHost": "ml.example.com"}
    values |= {"gatewayRoutes": str(ROUTES), "gatewayPath": str(MANIFESTS["nginx"])}
    settings = parse_settings(values)

    def with_api() -> pulumi.Output[Any]:
        arguments = gateway_args(settings, [], told.append)
        cluster = eks("cluster", *(settings.aws() or ()))
        platform = SimpleNamespace(objects=[], resources={})
        gateway_of(arguments, cluster, platform, None)  # type: ignore[arg-type]
        return pulumi.Output.all(**cluster.capabilities.balancer_annotations)

    with in_moto(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "GATEWAY_LOCK_FILE", tmp_path_factory.mktemp("lock") / "lock.json")
        Aws().route53.create_hosted_zone(Name="example.com", CallerReference="one")
        yield run_on_aws(with_api)


def api_of(made: RanOnAws) -> tuple[Any, str]:
    client = made.aws.apigatewayv2
    [api] = client.get_apis()["Items"]
    return client, api["ApiId"]


def test_a_public_host_is_an_api_that_is_reached_by_its_name_alone(made: RanOnAws) -> None:
    client, api = api_of(made)
    assert client.get_api(ApiId=api)["DisableExecuteApiEndpoint"] is True
    [domain] = client.get_domain_names()["Items"]
    assert domain["DomainName"] == "models.example.com"
    [configuration] = domain["DomainNameConfigurations"]
    assert configuration["EndpointType"] == "REGIONAL"
    assert configuration["SecurityPolicy"] == "TLS_1_2"
    shown = made.aws.acm.describe_certificate(CertificateArn=configuration["CertificateArn"])
    assert shown["Certificate"]["DomainName"] == "models.example.com"
    [mapping] = client.get_api_mappings(DomainName="models.example.com")["Items"]
    assert (mapping["ApiId"], mapping["Stage"]) == (api, "$default")
    zone = made.aws.route53.list_hosted_zones()["HostedZones"][0]["Id"]
    sets = made.aws.route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    [record] = [one for one in sets if one["Name"] == "models.example.com."]
    assert record["AliasTarget"]["DNSName"].startswith("d-")


def test_requests_go_by_the_link_to_the_listener_whose_certificate_is_proven(
    made: RanOnAws,
) -> None:
    client, api = api_of(made)
    name = balancer_name("nginx-ingress", "nginx-ingress")
    [balancer] = made.aws.elbv2.describe_load_balancers(Names=[name])["LoadBalancers"]
    listeners = made.aws.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
    [listener] = [one for one in listeners["Listeners"] if one["Port"] == 443]
    assert listener["Protocol"] == "TLS"
    [link] = client.get_vpc_links()["Items"]
    for one in client.get_integrations(ApiId=api)["Items"]:
        assert one["ConnectionType"] == "VPC_LINK" and one["ConnectionId"] == link["VpcLinkId"]
        assert one["IntegrationUri"] == listener["ListenerArn"]
        assert one["TlsConfig"] == {"ServerNameToVerify": "ml.example.com"}
        assert one["TimeoutInMillis"] <= 30_000
        assert one["RequestParameters"]["overwrite:header.Host"] == "models.example.com"
    # Its own subnets, without a way out, and one way: to the load balancer.
    assert set(link["SubnetIds"]) == subnets_of(made, "link")
    tables = made.aws.ec2.describe_route_tables(
        Filters=[{"Name": "association.subnet-id", "Values": link["SubnetIds"]}]
    )["RouteTables"]
    assert tables == []
    [group] = made.aws.ec2.describe_security_groups(GroupIds=link["SecurityGroupIds"])[
        "SecurityGroups"
    ]
    assert group["IpPermissions"] == []
    [rule] = group["IpPermissionsEgress"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) == (443, 443, "tcp")
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == balancer["SecurityGroups"]
    assert not rule["IpRanges"]


def test_a_route_asks_for_tokens_as_its_policy_says(made: RanOnAws) -> None:
    client, api = api_of(made)
    id_ = made.id_of(f"{API}authorizer:Authorizer", "api-models.example.com-people")
    authorizer = client.get_authorizer(ApiId=api, AuthorizerId=id_)
    assert authorizer["JwtConfiguration"] == {
        "Issuer": "https://login.example.com/",
        "Audience": ["churn"],
    }
    routes = {one["RouteKey"]: one for one in client.get_routes(ApiId=api)["Items"]}
    asked = {key for key, one in routes.items() if one["AuthorizationType"] == "JWT"}
    assert asked == {"ANY /churn", "ANY /churn/{proxy+}"}
    assert {routes[key]["AuthorizerId"] for key in asked} == {authorizer["AuthorizerId"]}
    assert set(routes) - asked == {
        "GET /healthy",
        "HEAD /healthy",
        "OPTIONS /churn",
        "OPTIONS /churn/{proxy+}",
    }
    # What the gateway is told, the client can't say itself.
    for key, one in routes.items():
        told = client.get_integration(
            ApiId=api, IntegrationId=one["Target"].removeprefix("integrations/")
        )["RequestParameters"]
        assert told["overwrite:header.X-Real-IP"] == "$context.identity.sourceIp"
        expected = "people" if key in asked else "-"
        assert told["overwrite:header.X-Checked-Policy"] == expected, key


def test_it_throttles_answers_preflights_and_logs_without_secrets(made: RanOnAws) -> None:
    client, api = api_of(made)
    stage = client.get_stage(ApiId=api, StageName="$default")
    assert stage["AutoDeploy"] is True
    throttle = {"ThrottlingRateLimit": 10.0, "ThrottlingBurstLimit": 21}
    assert stage["RouteSettings"] == dict.fromkeys(
        ("ANY /churn", "ANY /churn/{proxy+}", "GET /healthy", "HEAD /healthy"), throttle
    )
    cors = client.get_api(ApiId=api)["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://app.example.com"]
    assert cors["AllowHeaders"] == ["Authorization"]
    log = stage["AccessLogSettings"]
    [group] = made.aws.logs.describe_log_groups(logGroupNamePrefix="/aws/vendedlogs/")["logGroups"]
    assert log["DestinationArn"] == group["arn"].removesuffix(":*")
    assert group["kmsKeyId"] and group["retentionInDays"]
    written = json.loads(log["Format"])
    assert written["client"] == "$context.identity.sourceIp"
    for secret in ("querystring", "uthorization", "header", "claims", "apiKey"):
        assert secret not in log["Format"]


def test_the_gateway_believes_the_link_and_nobody_else(made: RanOnAws) -> None:
    subnets = made.aws.ec2.describe_subnets(SubnetIds=sorted(subnets_of(made, "link")))["Subnets"]
    link = {one["CidrBlock"] for one in subnets}
    [told] = [
        one.inputs["data"] for one in made.registered if one.name == "nginx-ingress/nginx-config"
    ]
    assert set(told["set-real-ip-from"].split(",")) == link
    servers = {
        one.inputs["spec"]["host"]: one.inputs["spec"]
        for one in made.registered
        if one.type.endswith(":VirtualServer")
    }
    public, private = servers["models.example.com"], servers["ml.example.com"]
    believed = set(re.findall(r"(\S+) 1;", public["http-snippets"]))
    assert believed == link
    assert "gateway_fronted" not in json.dumps(private)


def test_the_preview_tells_who_carries_what(made: RanOnAws, told: list[str]) -> None:
    [line] = [one for one in told if "public" in one]
    carried, _, behind = line.partition("; the gateway behind it carries ")
    assert carried.startswith("models.example.com is public by Amazon API Gateway")
    assert "tokens of an issuer" in carried and "rate limits" in carried
    assert "rewriting a prefix" in behind and "header transformation" in behind


def test_all_of_it_goes_before_the_service_and_its_load_balancer(made: RanOnAws) -> None:
    graph = Graph(made.registered)
    for kind in ("vpcLink:VpcLink", "integration:Integration", "route:Route", "stage:Stage"):
        names = graph.of(f"{API}{kind}")
        assert names
        for name in names:
            assert SERVICE in graph.needs(name), name
    [mapping] = graph.of(f"{API}apiMapping:ApiMapping")
    assert SERVICE in graph.needs(mapping)
    rule = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule::api-link"
    assert SERVICE in graph.needs(rule)
    [link] = graph.of(f"{API}vpcLink:VpcLink")
    assert rule in graph.needs(link)


def test_the_load_balancer_lets_the_link_in_beside_those_who_are_named(made: RanOnAws) -> None:
    ranges = made.returned[0]["service.beta.kubernetes.io/load-balancer-source-ranges"]
    subnets = made.aws.ec2.describe_subnets(SubnetIds=sorted(subnets_of(made, "link")))["Subnets"]
    link = {one["CidrBlock"] for one in subnets}
    assert len(link) == 2
    assert set(ranges.split(",")) == {"10.9.0.0/24", *link}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"awsDomain": "", "awsHostedZone": ""}, "awsApiHosts is set, but awsDomain is empty"),
        (
            {"awsEntry": "internet", "awsEntryCidrs": ("0.0.0.0/0",)},
            "awsApiHosts is set, but awsEntry is 'internet'",
        ),
        (
            {
                "awsVpc": "vpc-0123456789abcdef0",
                "awsPrivateSubnets": ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
            },
            "awsApiHosts is set, but the VPC vpc-0123456789abcdef0 is there",
        ),
        ({"awsApiHosts": ("a.example.org",)}, "awsApiHosts has a.example.org, which is not below"),
        ({"awsApiHosts": ("ml.example.com",)}, "awsApiHosts has awsDomain 'ml.example.com'"),
        ({"awsApiHosts": ("*.example.com",)}, "'\\*.example.com' is not a name of DNS"),
        ({"awsApiHosts": ("a.example.com", "a.example.com")}, "names a host twice"),
    ],
)
def test_what_does_not_go_with_it_is_one_clear_error(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message) as error:
        parse({"awsRegion": REGION, **SETTINGS, **settings}, {}, "v1.10.2")
    assert len(str(error.value).splitlines()) == 1, error.value


def test_account_and_cost_are_told_of_it() -> None:
    with_it, shape = parse({"awsRegion": REGION, **SETTINGS}, {}, "v1.10.2")
    without, _ = parse({"awsRegion": REGION}, {}, "v1.10.2")
    asked = {one.action for one in checks.needs(with_it, shape, None, {}).permissions}
    usual = {one.action for one in checks.needs(without, shape, None, {}).permissions}
    assert {"apigateway:POST", "elasticloadbalancing:DescribeListeners"} <= asked - usual
    told = cost.estimate(checks.stack(with_it, shape, None)).not_counted
    assert any("API Gateway" in one for one in told)
    assert not any(
        "API Gateway" in one
        for one in cost.estimate(checks.stack(without, shape, None)).not_counted
    )


def test_subnets_of_the_link_hold_nothing_else() -> None:
    aws, _ = parse({"awsRegion": REGION, **SETTINGS}, {}, "v1.10.2")
    assert len(aws.link_cidrs) == 3
    assert not set(aws.link_cidrs) & {*aws.private_cidrs, *aws.public_cidrs}
    smallest, _ = parse(
        {"awsRegion": REGION, "awsVpcCidr": "10.0.0.0/20", **SETTINGS}, {}, "v1.10.2"
    )
    # AWS's smallest subnet is a /28.
    assert all(cidr.endswith("/26") for cidr in smallest.link_cidrs)


def test_public_hosts_need_the_cluster_on_aws() -> None:
    with pytest.raises(SettingsError, match="awsApiHosts is set, but the cluster is 'minikube'"):
        parse_settings({"awsApiHosts": ["a.example.com"]})
