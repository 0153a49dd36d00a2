"""Security groups of the services beside a cluster."""

from __future__ import annotations

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule


def for_cluster_alone(
    name: str,
    group_name: str,
    service: str,
    port: int,
    *,
    vpc: pulumi.Input[str],
    clients: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> tuple[SecurityGroup, SecurityGroupIngressRule]:
    """A group that lets the cluster's nodes and pods in to one TCP port, and its rule.

    Args:
        name: of both resources.
        group_name: of the group, at AWS.
        service: what the port is of, in words.
        port: of TCP.
        vpc: its id.
        clients: id of the security group of nodes and pods.
        opts: of both resources.
    """
    group = SecurityGroup(
        name,
        name=group_name,
        description=f"{service}: from the cluster's nodes and pods alone",
        vpc_id=vpc,
        opts=opts,
    )
    rule = SecurityGroupIngressRule(
        name,
        security_group_id=group.id,
        referenced_security_group_id=clients,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        description="Nodes and pods of the cluster",
        opts=opts,
    )
    return group, rule
