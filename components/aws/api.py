"""Amazon API Gateway before the gateway: HTTP APIs, a VPC link to the load balancer, public names.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-private.html
What it carries of the routes is planned by `components.gateway.aws`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.apigatewayv2.api import Api as HttpApi
from pulumi_aws.apigatewayv2.api_mapping import ApiMapping
from pulumi_aws.apigatewayv2.authorizer import Authorizer
from pulumi_aws.apigatewayv2.domain_name import DomainName
from pulumi_aws.apigatewayv2.integration import Integration
from pulumi_aws.apigatewayv2.route import Route
from pulumi_aws.apigatewayv2.stage import Stage
from pulumi_aws.apigatewayv2.vpc_link import VpcLink
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.route53.record import Record
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule

from components.aws.balancer import balancer_of
from components.aws.entry import HTTPS, Name, certificate
from components.aws.keys import Key
from components.aws.network import Subnets
from components.aws.site import Site
from components.cluster.base import Balanced
from components.gateway.aws import LOG, Api
from components.gateway.aws_features import MOST_TIME

_STAGE = "$default"
_LOG_DAYS = 30


@dataclass(frozen=True)
class ApisArgs:
    """`name` is the platform's, whose certificate the load balancer of `service` shows; `key`
    encrypts logs."""

    site: Site
    subnets: Subnets
    key: Key
    name: Name
    service: Balanced
    apis: Sequence[Api]


class Apis(pulumi.ComponentResource):
    """An HTTP API for each host, and the VPC link by which all reach the load balancer."""

    def __init__(
        self, name: str, args: ApisArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:aws:Apis", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        balancer = balancer_of(args.site, args.service)
        self._listener = balancer.listener(int(HTTPS))
        self._link = self._vpc_link(name, balancer.security_group)
        for api in args.apis:
            self._api(f"{name}-{api.host}", api)
        self.register_outputs({})

    def _vpc_link(self, name: str, balancer: pulumi.Output[str]) -> VpcLink:
        site = self._args.site
        group = SecurityGroup(
            f"{name}-link",
            name=f"{site.name}-api-link",
            description="API Gateway to the load balancer, and nothing else",
            vpc_id=self._args.subnets.vpc,
            opts=self._child,
        )
        rule = SecurityGroupEgressRule(
            f"{name}-link",
            security_group_id=group.id,
            description="The listener that integrations name",
            referenced_security_group_id=balancer,
            ip_protocol="tcp",
            from_port=int(HTTPS),
            to_port=int(HTTPS),
            opts=self._child,
        )
        return VpcLink(
            name,
            name=site.name,
            subnet_ids=list(self._args.subnets.link),
            security_group_ids=[group.id],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rule]),
        )

    def _api(self, name: str, api: Api) -> None:
        made = HttpApi(
            name,
            name=f"{self._args.site.name}-{api.host}",
            protocol_type="HTTP",
            # The host is the only way in.
            disable_execute_api_endpoint=True,
            cors_configuration=dict(api.cors) if api.cors else None,
            opts=self._child,
        )
        routes = self._routes(name, api, made)
        stage = Stage(
            name,
            api_id=made.id,
            name=_STAGE,
            auto_deploy=True,
            access_log_settings=self._log(name, api) if api.logs else None,
            route_settings=[
                {
                    "route_key": way.key,
                    "throttling_rate_limit": way.throttle.rate,
                    "throttling_burst_limit": way.throttle.burst,
                }
                for way in api.ways
                if way.throttle
            ],
            # Of its settings, AWS refuses those of a route that is not there.
            opts=pulumi.ResourceOptions(parent=self, depends_on=routes),
        )
        self._named(name, api, made, stage)

    def _routes(self, name: str, api: Api, made: HttpApi) -> list[Route]:
        authorizers = {
            one.name: Authorizer(
                f"{name}-{one.name}",
                name=one.name,
                api_id=made.id,
                authorizer_type="JWT",
                identity_sources=["$request.header.Authorization"],
                jwt_configuration={"issuer": one.issuer, "audiences": list(one.audiences)},
                opts=self._child,
            )
            for one in api.authorizers
        }
        integrations = {
            policy: Integration(
                f"{name}-{policy or 'open'}",
                api_id=made.id,
                integration_type="HTTP_PROXY",
                integration_method="ANY",
                connection_type="VPC_LINK",
                connection_id=self._link.id,
                integration_uri=self._listener,
                payload_format_version="1.0",
                timeout_milliseconds=MOST_TIME,
                tls_config={"server_name_to_verify": self._args.site.aws.domain},
                request_parameters=dict(api.parameters(policy)),
                opts=self._child,
            )
            for policy in api.policies
        }
        return [
            Route(
                f"{name} {way.key}",
                api_id=made.id,
                route_key=way.key,
                target=integrations[way.policy].id.apply(lambda id_: f"integrations/{id_}"),
                authorization_type="JWT" if way.policy else "NONE",
                authorizer_id=authorizers[way.policy].id if way.policy else None,
                opts=self._child,
            )
            for way in api.ways
        ]

    def _log(self, name: str, api: Api) -> dict[str, pulumi.Input[str]]:
        group = LogGroup(
            name,
            # AWS writes to groups of this name by one resource policy, whose size has a limit.
            name=f"/aws/vendedlogs/{self._args.site.name}/{api.host}",
            retention_in_days=_LOG_DAYS,
            kms_key_id=self._args.key.arn,
            opts=self._child,
        )
        return {"destination_arn": group.arn, "format": LOG}

    def _named(self, name: str, api: Api, made: HttpApi, stage: Stage) -> None:
        zone = self._args.name.zone
        domain = DomainName(
            name,
            domain_name=api.host,
            domain_name_configuration={
                "certificate_arn": certificate(name, api.host, zone, self._child),
                "endpoint_type": "REGIONAL",
                "security_policy": "TLS_1_2",
            },
            opts=self._child,
        )
        ApiMapping(name, api_id=made.id, domain_name=domain.id, stage=stage.name, opts=self._child)
        Record(
            name,
            zone_id=zone,
            name=api.host,
            type="A",
            aliases=[
                {
                    "name": domain.domain_name_configuration.target_domain_name,
                    "zone_id": domain.domain_name_configuration.hosted_zone_id,
                    "evaluate_target_health": False,
                }
            ],
            opts=self._child,
        )
