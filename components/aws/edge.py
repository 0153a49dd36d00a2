"""CloudFront with AWS WAF in front of the gateway, which has no address of the internet then.

CloudFront comes by a VPC origin to an internal Application Load Balancer. Not to a Service's
Network Load Balancer: one with a TLS listener can't be a VPC origin, and without it CloudFront
would have to trust the gateway's own certificate (docs/decisions/aws-edge.md).
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-vpc-origins.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_aws.cloudfront.distribution import Distribution
from pulumi_aws.cloudfront.function import Function
from pulumi_aws.cloudfront.vpc_origin import VpcOrigin
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.get_managed_prefix_list import get_managed_prefix_list_output
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.lb.listener import Listener
from pulumi_aws.lb.load_balancer import LoadBalancer
from pulumi_aws.lb.target_group import TargetGroup
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule
from pulumi_aws.wafv2.ip_set import IpSet
from pulumi_aws.wafv2.web_acl import WebAcl
from pulumi_aws.wafv2.web_acl_logging_configuration import WebAclLoggingConfiguration

from components.aws import firewall
from components.aws.entry import TLS_POLICY, Name
from components.aws.network import Subnets
from components.aws.shape import CLIENT_HEADER
from components.aws.site import Site
from components.cluster.base import Backend

GLOBAL: Final = "us-east-1"
"""The region of all that CloudFront uses: its certificate, its web ACL, and their logs."""
PREFIX_LIST: Final = "com.amazonaws.global.cloudfront.origin-facing"
"""The addresses that CloudFront comes from."""
NOT_CACHED: Final = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""CachingDisabled: nothing of the platform is the same for two users."""
ALL_OF_THE_VIEWER: Final = "216adef6-5c7f-47e4-b989-5492eafa07d3"
"""AllViewer: every header, cookie and query; Host, too, which the origin's certificate is of."""
SECURITY_HEADERS: Final = "67f7725c-6f97-4210-82d7-5512b31e9d03"
"""SecurityHeadersPolicy: HSTS and the like, where the platform sends none of its own.

These three are managed policies of CloudFront, the same in all accounts:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html"""
_LOG_DAYS: Final = 30
_HTTPS: Final = 443
_IDLE: Final = 3600  # seconds; notebooks may be silent for as long as the gateway lets them
_ANSWER: Final = 60  # seconds; more than that is a quota of CloudFront's
_CLIENT: Final = """function handler(event) {
    var request = event.request;
    request.headers['%s'] = {value: event.viewer.ip};
    return request;
}
"""


@dataclass(frozen=True)
class EdgeArgs:
    """Where it is, under which name, and what it leads to.

    `nodes_group` is the security group of the nodes, with the pods of `backend`; `provider` is
    the cluster's.
    """

    site: Site
    subnets: Subnets
    name: Name
    nodes_group: pulumi.Output[str]
    backend: Backend
    provider: pulumi.ProviderResource


class Edge(pulumi.ComponentResource):
    """CloudFront, its web ACL, and the load balancer that it comes to."""

    def __init__(
        self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:aws:Edge", name, None, opts)
        self._name, self._args, self._site = name, args, args.site
        self._child = pulumi.ResourceOptions(parent=self)
        # One account may have the same name in two regions, but CloudFront is in none.
        self._global_name = f"{args.site.name}-{args.site.aws.region}"
        balancer, listener = self._balancer()
        distribution = self._distribution(balancer, listener, self._web_acl())
        args.name.alias(distribution.domain_name, distribution.hosted_zone_id)
        self.register_outputs({})

    def _balancer(self) -> tuple[LoadBalancer, Listener]:
        args, name = self._args, self._name
        group = self._security_group()
        balancer = LoadBalancer(
            name,
            name=self._site.name,
            load_balancer_type="application",
            internal=True,
            subnets=list(args.subnets.private),
            security_groups=[group.id],
            idle_timeout=_IDLE,
            drop_invalid_header_fields=True,
            preserve_host_header=True,
            opts=self._child,
        )
        targets = TargetGroup(
            name,
            # By this the controller's policy knows what it may fill.
            name_prefix="k8s-",
            vpc_id=args.subnets.vpc,
            target_type="ip",
            protocol="HTTPS",
            port=_HTTPS,
            # It asks for no host that is routed: any answer but a failure is one of the gateway.
            health_check={"protocol": "HTTPS", "path": "/", "matcher": "200-499"},
            opts=self._child,
        )
        listener = Listener(
            name,
            load_balancer_arn=balancer.arn,
            protocol="HTTPS",
            port=_HTTPS,
            ssl_policy=TLS_POLICY,
            certificate_arn=args.name.certificate_arn,
            default_actions=[{"type": "forward", "target_group_arn": targets.arn}],
            opts=self._child,
        )
        backend = args.backend
        # The controller keeps the gateway's pods among the targets. Its Service goes after this.
        pulumi.CustomResource(
            "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding",
            name,
            {
                "apiVersion": "elbv2.k8s.aws/v1beta1",
                "kind": "TargetGroupBinding",
                "metadata": {"name": name, "namespace": backend.namespace},
                "spec": {
                    "serviceRef": {"name": backend.service, "port": backend.port},
                    "targetGroupARN": targets.arn,
                    "targetType": "ip",
                },
            },
            pulumi.ResourceOptions(
                parent=self, provider=args.provider, depends_on=[backend.resource]
            ),
        )
        return balancer, listener

    def _security_group(self) -> SecurityGroup:
        """From CloudFront in, to the gateway's pods out, and nothing else."""
        args, name, target = self._args, self._name, self._args.backend.target
        group = SecurityGroup(
            name,
            name=f"{self._site.name}-edge",
            description="From CloudFront to the gateway",
            vpc_id=args.subnets.vpc,
            opts=self._child,
        )
        known = get_managed_prefix_list_output(
            name=PREFIX_LIST, opts=pulumi.InvokeOutputOptions(provider=self._site.provider)
        )
        # Not CloudFront's own group in this VPC, which is there only after the first VPC origin. An
        # internal load balancer is out of reach for what others have at CloudFront.
        SecurityGroupIngressRule(
            f"{name}-cloudfront",
            description="From CloudFront",
            security_group_id=group.id,
            prefix_list_id=known.id,
            ip_protocol="tcp",
            from_port=_HTTPS,
            to_port=_HTTPS,
            opts=self._child,
        )
        SecurityGroupEgressRule(
            f"{name}-gateway",
            description="To the gateway's pods",
            security_group_id=group.id,
            referenced_security_group_id=args.nodes_group,
            ip_protocol="tcp",
            from_port=target,
            to_port=target,
            opts=self._child,
        )
        SecurityGroupIngressRule(
            f"{name}-gateway",
            description="From the edge to the gateway's pods",
            security_group_id=args.nodes_group,
            referenced_security_group_id=group.id,
            ip_protocol="tcp",
            from_port=target,
            to_port=target,
            opts=self._child,
        )
        return group

    def _web_acl(self) -> WebAcl:
        aws, name = self._site.aws, self._name
        allowed = None
        if aws.limited:
            allowed = IpSet(
                name,
                name=f"{self._global_name}-allowed",
                description="awsEntryCidrs",
                scope="CLOUDFRONT",
                ip_address_version="IPV4",
                addresses=list(aws.entry_cidrs),
                region=GLOBAL,
                opts=self._child,
            ).arn
        default: dict[str, Any] = {"block": {}} if aws.limited else {"allow": {}}
        acl = WebAcl(
            name,
            name=self._global_name,
            scope="CLOUDFRONT",
            default_action=default,
            rules=firewall.rules(aws.edge_rate, allowed),
            visibility_config=firewall.visible(self._global_name),
            region=GLOBAL,
            opts=self._child,
        )
        # WAF takes no other beginning. The stack's key is of another region than this group.
        log = LogGroup(
            f"{name}-firewall",
            name=f"aws-waf-logs-{self._global_name}",
            retention_in_days=_LOG_DAYS,
            region=GLOBAL,
            opts=self._child,
        )
        WebAclLoggingConfiguration(
            name,
            resource_arn=acl.arn,
            log_destination_configs=[log.arn],
            logging_filter=firewall.log_filter(),
            redacted_fields=firewall.redacted(),
            region=GLOBAL,
            opts=self._child,
        )
        return acl

    def _distribution(
        self, balancer: LoadBalancer, listener: Listener, acl: WebAcl
    ) -> Distribution:
        args, name, aws = self._args, self._name, self._site.aws
        origin = VpcOrigin(
            name,
            vpc_origin_endpoint_config={
                "name": self._global_name,
                "arn": balancer.arn,
                "http_port": 80,
                "https_port": _HTTPS,
                "origin_protocol_policy": "https-only",
                "origin_ssl_protocols": {"items": ["TLSv1.2"], "quantity": 1},
            },
            # A VPC origin wants a VPC with an internet gateway, though nothing goes through it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[listener, *args.subnets.ready]),
        )
        client = Function(
            name,
            name=f"{self._global_name}-client",
            comment="Tells the gateway the address of the client",
            runtime="cloudfront-js-2.0",
            code=_CLIENT % CLIENT_HEADER.lower(),
            publish=True,
            opts=self._child,
        )
        return Distribution(
            name,
            comment=f"{self._site.name}: {aws.domain}",
            aliases=[aws.domain],
            enabled=True,
            # awsEntryCidrs are networks of IPv4.
            is_ipv6_enabled=False,
            http_version="http2and3",
            web_acl_id=acl.arn,
            origins=[
                {
                    "origin_id": "gateway",
                    "domain_name": balancer.dns_name,
                    "vpc_origin_config": {
                        "vpc_origin_id": origin.id,
                        "origin_read_timeout": _ANSWER,
                        "origin_keepalive_timeout": _ANSWER,
                    },
                }
            ],
            default_cache_behavior={
                "target_origin_id": "gateway",
                "viewer_protocol_policy": "redirect-to-https",
                "allowed_methods": ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
                "cached_methods": ["GET", "HEAD"],
                "compress": False,
                "cache_policy_id": NOT_CACHED,
                "origin_request_policy_id": ALL_OF_THE_VIEWER,
                "response_headers_policy_id": SECURITY_HEADERS,
                "function_associations": [
                    {"event_type": "viewer-request", "function_arn": client.arn}
                ],
            },
            restrictions={"geo_restriction": {"restriction_type": "none"}},
            viewer_certificate={
                "acm_certificate_arn": args.name.certificate_in(GLOBAL),
                "ssl_support_method": "sni-only",
                "minimum_protocol_version": "TLSv1.2_2021",
            },
            opts=self._child,
        )
