"""The network: a VPC over two or three zones, or one that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.default_security_group import DefaultSecurityGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.flow_log import FlowLog
from pulumi_aws.ec2.get_subnet import get_subnet_output
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ec2.vpc_endpoint import VpcEndpoint
from pulumi_aws.get_availability_zones import get_availability_zones_output
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.aws import policies
from components.aws.iam import role
from components.aws.keys import Key
from components.aws.shape import EVERYWHERE
from components.aws.site import Site

ENDPOINTS = ("ecr.api", "ecr.dkr", "sts")
"""Services with an interface endpoint: images and credentials don't go through the NAT."""
_FLOW_LOG_DAYS = 30


@dataclass(frozen=True)
class Subnets:
    """Where things are: ids. `private` are in zones of their own; `ready` is what traffic needs.

    `link` are those of API Gateway's VPC link alone, if there is to be one.
    """

    vpc: pulumi.Output[str]
    private: Sequence[pulumi.Output[str]]
    public: Sequence[pulumi.Output[str]]
    ready: Sequence[pulumi.Resource]
    link: Sequence[pulumi.Output[str]] = ()


class Network(pulumi.ComponentResource):
    """A VPC of the stack's own.

    Private subnets have the nodes and reach out through a NAT gateway; public ones have only
    gateways and load balancers. The default security group is closed, rejected traffic is logged.
    """

    subnets: Subnets

    def __init__(
        self, name: str, site: Site, key: Key, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:aws:Network", name, None, opts)
        self._name, self._site = name, site
        self._child = pulumi.ResourceOptions(parent=self)
        aws = site.aws
        vpc = Vpc(
            name,
            cidr_block=aws.vpc_cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": site.name},
            opts=self._child,
        )
        self._vpc = vpc
        DefaultSecurityGroup(f"{name}-default", vpc_id=vpc.id, opts=self._child)
        zones = get_availability_zones_output(
            state="available",
            filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}],
            opts=pulumi.InvokeOutputOptions(provider=site.provider),
        ).names.apply(lambda names: _enough(names, aws.zones, aws.region))
        gateway = InternetGateway(f"{name}-internet", vpc_id=vpc.id, opts=self._child)
        public = self._subnet_of_each("public", aws.public_cidrs, zones, "elb")
        private = self._subnet_of_each("private", aws.private_cidrs, zones, "internal-elb")
        out = self._table("public", public, gateway_id=gateway.id)
        ready: list[pulumi.Resource] = [*out]
        tables: list[RouteTable] = []
        gateways = public[:1] if aws.nat == "single" else public
        for index, subnet in enumerate(gateways):
            address = Eip(f"{name}-nat-{index}", domain="vpc", opts=self._child)
            nat = NatGateway(
                f"{name}-nat-{index}",
                allocation_id=address.allocation_id,
                subnet_id=subnet.id,
                tags={"Name": f"{site.name}-{index}"},
                # It reaches the internet by the public route.
                opts=pulumi.ResourceOptions(parent=self, depends_on=out),
            )
            served = private if aws.nat == "single" else private[index : index + 1]
            table = self._table(f"private-{index}", served, nat_gateway_id=nat.id)
            tables += [entry for entry in table if isinstance(entry, RouteTable)]
            ready += table
        ready += self._endpoints(private, tables)
        self._flow_logs(key)
        # Nobody places anything there, and there is no way out.
        link = self._subnet_of_each("link", aws.link_cidrs, zones)
        self.subnets = Subnets(
            vpc.id,
            [subnet.id for subnet in private],
            [subnet.id for subnet in public],
            ready,
            [subnet.id for subnet in link],
        )
        self.register_outputs({"vpc": vpc.id})

    def _subnet_of_each(
        self, kind: str, cidrs: Sequence[str], zones: pulumi.Output[Sequence[str]], role: str = ""
    ) -> list[Subnet]:
        # By these, the AWS Load Balancer Controller finds subnets for what it makes.
        found = {
            f"kubernetes.io/role/{role}": "1",
            f"kubernetes.io/cluster/{self._site.name}": "shared",
        }
        return [
            Subnet(
                f"{self._name}-{kind}-{index}",
                vpc_id=self._vpc.id,
                cidr_block=cidr,
                availability_zone=zones[index],
                map_public_ip_on_launch=False,
                tags={"Name": f"{self._site.name}-{kind}-{index}", **(found if role else {})},
                opts=self._child,
            )
            for index, cidr in enumerate(cidrs)
        ]

    def _table(self, name: str, subnets: Sequence[Subnet], **target: Any) -> list[pulumi.Resource]:  # noqa: ANN401
        """A route table with a way out, for these subnets."""
        name = f"{self._name}-{name}"
        table = RouteTable(name, vpc_id=self._vpc.id, tags={"Name": name}, opts=self._child)
        route = Route(
            name,
            route_table_id=table.id,
            destination_cidr_block=EVERYWHERE,
            **target,
            opts=self._child,
        )
        associations = [
            RouteTableAssociation(
                f"{name}-{index}", route_table_id=table.id, subnet_id=subnet.id, opts=self._child
            )
            for index, subnet in enumerate(subnets)
        ]
        return [table, route, *associations]

    def _endpoints(
        self, private: Sequence[Subnet], tables: Sequence[RouteTable]
    ) -> list[pulumi.Resource]:
        aws = self._site.aws
        prefix = f"com.amazonaws.{aws.region}"
        group = SecurityGroup(
            f"{self._name}-endpoints",
            name=f"{self._site.name}-endpoints",
            description="Interface endpoints, for all of the VPC",
            vpc_id=self._vpc.id,
            opts=self._child,
        )
        rule = SecurityGroupIngressRule(
            f"{self._name}-endpoints",
            security_group_id=group.id,
            cidr_ipv4=aws.vpc_cidr,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="All of the VPC",
            opts=self._child,
        )
        gateway = VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self._vpc.id,
            service_name=f"{prefix}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            opts=self._child,
        )
        interfaces = [
            VpcEndpoint(
                f"{self._name}-{service.replace('.', '-')}",
                vpc_id=self._vpc.id,
                service_name=f"{prefix}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in private],
                security_group_ids=[group.id],
                opts=self._child,
            )
            for service in ENDPOINTS
        ]
        return [rule, gateway, *interfaces]

    def _flow_logs(self, key: Key) -> None:
        name = f"{self._name}-flow-logs"
        group = LogGroup(
            name,
            name=f"/{self._site.name}/vpc",
            retention_in_days=_FLOW_LOG_DAYS,
            kms_key_id=key.arn,
            opts=self._child,
        )
        writer = role(
            self._site,
            "flow-logs",
            policies.trust("vpc-flow-logs"),
            self,
            inline={"write": group.arn.apply(policies.flow_logs)},
        )
        FlowLog(
            name,
            vpc_id=self._vpc.id,
            traffic_type="REJECT",
            log_destination=group.arn,
            iam_role_arn=writer.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(writer.ready)),
        )


def existing(site: Site) -> Subnets:
    """Subnets of the VPC that is there; asked only whether they are of it, and in which zones."""
    aws = site.aws

    def checked(
        ids: Sequence[str], setting: str, *, apart: bool = False
    ) -> list[pulumi.Output[str]]:
        found = [
            get_subnet_output(id=id_, opts=pulumi.InvokeOutputOptions(provider=site.provider))
            for id_ in ids
        ]
        facts = pulumi.Output.all(
            *[pulumi.Output.all(one.id, one.vpc_id, one.availability_zone) for one in found]
        ).apply(lambda entries: _of_the_vpc(entries, aws.vpc, setting, apart=apart))
        return [facts[index] for index in range(len(ids))]

    return Subnets(
        pulumi.Output.from_input(aws.vpc),
        checked(aws.private_subnets, "awsPrivateSubnets", apart=aws.efs),
        checked(aws.public_subnets, "awsPublicSubnets") if aws.public_subnets else [],
        [],
    )


def _enough(names: Sequence[str], zones: int, region: str) -> Sequence[str]:
    if len(names) < zones:
        raise pulumi.RunError(f"awsZones is {zones}, but {region} gives this account {len(names)}")
    return sorted(names)[:zones]


def _of_the_vpc(
    entries: Sequence[Sequence[str]], vpc: str, setting: str, *, apart: bool
) -> list[str]:
    strangers = [f"{id_} (of {other})" for id_, other, _ in entries if other != vpc]
    if strangers:
        raise pulumi.RunError(f"{setting} has {', '.join(strangers)}, which is not of awsVpc {vpc}")
    zones = {zone for _, _, zone in entries}
    if len(zones) < 2:
        raise pulumi.RunError(
            f"{setting} are all in zone {entries[0][2]}; name some in two or more"
        )
    if apart and len(zones) < len(entries):
        shown = ", ".join(f"{id_} ({zone})" for id_, _, zone in entries)
        raise pulumi.RunError(
            f"{setting} has {shown}, but awsEfs is true, and a zone has one mount target: name one "
            "of each zone"
        )
    return [id_ for id_, _, _ in entries]
