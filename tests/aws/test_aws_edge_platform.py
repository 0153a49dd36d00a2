"""The whole program with an edge: the gateway is told of it, and has no load balancer."""

from __future__ import annotations

import json

from tests.aws.conftest import in_moto
from tests.aws.moto_mocks import Aws
from tests.aws.platform import GATEWAY, run_platform
from tests.support.graph import Graph, key

BINDING = "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding::edge"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
SERVICE = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"


def test_with_an_edge_the_gateway_has_no_load_balancer_of_its_own() -> None:
    edge = {
        "awsPreflight": False,
        "awsEdge": "cloudfront",
        "awsDomain": "ml.example.com",
        "awsHostedZone": "example.com",
        "awsEntryCidrs": ["203.0.113.0/24"],
        "gatewayHost": "ml.example.com",
    }
    with in_moto():
        Aws().route53.create_hosted_zone(Name="example.com", CallerReference="one")
        ran = run_platform("aws", {**GATEWAY, **edge})
    made = {key(r): r.inputs for r in ran.registered if r.type.startswith("kubernetes:")}
    service = made[SERVICE]
    assert service["spec"]["type"] == "NodePort"
    assert not any("load-balancer" in name for name in service["metadata"]["annotations"])
    assert not [name for name in made if "LoadBalancer" in json.dumps(made[name].get("spec"))]
    assert made[BINDING]["metadata"]["namespace"] == "nginx-ingress"
    wanted = made[BINDING]["spec"]["serviceRef"]
    assert wanted["name"] == "nginx-ingress"
    [port] = [port for port in service["spec"]["ports"] if port["port"] == wanted["port"]]
    opened = ran.of(RULE, "edge-gateway").inputs
    assert opened["fromPort"] == opened["toPort"] == port["targetPort"]
    assert SERVICE in Graph(ran.registered).needs(BINDING)
    # What the gateway goes by for rates and lists of addresses.
    settings = made["kubernetes:core/v1:ConfigMap::nginx-ingress/nginx-config"]["data"]
    assert settings["real-ip-header"] == "True-Client-IP"
    assert settings["set-real-ip-from"] == "10.0.0.0/16"
