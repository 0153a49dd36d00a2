"""Where the stack is: account, region and name, and the provider that all its resources have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.get_caller_identity import get_caller_identity_output
from pulumi_aws.provider import Provider

from components.aws.policies import Scope
from components.aws.shape import Aws

MANAGED_BY = "ml-platform:stack"
"""Tag with the stack that a resource is of."""


@dataclass(frozen=True)
class Site:
    """Args: `name` begins the name of everything; `tags` are on everything, `scope` is secretless.

    `tags` are the provider's default ones; what AWS or a controller makes by itself (volumes, load
    balancers, instances) is given them by name.
    """

    name: str
    aws: Aws
    provider: Provider
    tags: Mapping[str, str]
    scope: pulumi.Output[Scope]

    def options(self) -> pulumi.ResourceOptions:
        """Options of a component whose children are on this site."""
        return pulumi.ResourceOptions(providers=[self.provider])

    def arn_of_policy(self, name: str) -> str:
        """The ARN of a policy that AWS manages."""
        return f"arn:{self.aws.partition}:iam::aws:policy/{name}"


def site(name: str, aws: Aws) -> Site:
    """The site that the settings name; an account of another number is refused by the provider."""
    tags = {**aws.tag_map, MANAGED_BY: f"{pulumi.get_project()}/{pulumi.get_stack()}"}
    provider = Provider(
        "aws",
        region=aws.region,
        profile=aws.profile or None,
        allowed_account_ids=[aws.account] if aws.account else None,
        default_tags={"tags": tags},
    )
    identity = get_caller_identity_output(opts=pulumi.InvokeOutputOptions(provider=provider))
    scope = identity.account_id.apply(
        lambda account: Scope(aws.partition, aws.region, account, name)
    )
    return Site(name, aws, provider, tags, scope)
