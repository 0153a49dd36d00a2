"""Roles of IAM, each with its policies; what needs a role waits for those, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from components.aws import policies
from components.aws.site import Site


@dataclass(frozen=True)
class Granted:
    """A role: `ready` are the resources without which it may do nothing."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]


def role(
    site: Site,
    purpose: str,
    trust: pulumi.Input[str],
    parent: pulumi.Resource,
    managed: Sequence[str] = (),
    inline: Mapping[str, pulumi.Input[str]] | None = None,
) -> Granted:
    """A role `<site>-<purpose>`.

    Args:
        trust: policy of who takes it.
        managed: names of policies that AWS manages, with their paths.
        inline: policies of its own, by name.
    """
    name = f"{site.name}-{purpose}"
    child = pulumi.ResourceOptions(parent=parent)
    made = Role(name, name=name, assume_role_policy=trust, opts=child)
    ready: list[pulumi.Resource] = [made]
    for policy in managed:
        short = policy.rpartition("/")[2]
        arn = site.arn_of_policy(policy)
        ready.append(
            RolePolicyAttachment(f"{name}-{short}", role=made.name, policy_arn=arn, opts=child)
        )
    for short, text in (inline or {}).items():
        ready.append(
            RolePolicy(f"{name}-{short}", name=short, role=made.name, policy=text, opts=child)
        )
    return Granted(made.arn, made.name, ready)


def pod_role(
    site: Site,
    purpose: str,
    namespace: str,
    service_account: str,
    parent: pulumi.Resource,
    managed: Sequence[str] = (),
    inline: Mapping[str, pulumi.Input[str]] | None = None,
) -> Granted:
    """A role that pods of one service account take, by EKS Pod Identity."""
    trust = site.scope.apply(
        lambda scope: policies.trust_of_pods(scope, namespace, service_account)
    )
    return role(site, purpose, trust, parent, managed, inline)
