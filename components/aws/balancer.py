"""The load balancer that the AWS Load Balancer Controller made for a Service, found by its tags.

https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/annotations/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.lb.get_listener import get_listener_output
from pulumi_aws.lb.get_load_balancer import get_load_balancer_output

from components.aws.policies import CLUSTER_TAG
from components.aws.site import Site
from components.cluster.base import Balanced

STACK_TAG = "service.k8s.aws/stack"
"""What the controller puts on all it makes for a Service: `namespace/name`."""


@dataclass(frozen=True)
class Balancer:
    """A load balancer: its ARN, and a security group that it is in."""

    arn: pulumi.Output[str]
    security_group: pulumi.Output[str]
    _options: pulumi.InvokeOutputOptions

    def listener(self, port: int) -> pulumi.Output[str]:
        """The ARN of its listener at a port."""
        found: pulumi.Output[str] = get_listener_output(
            load_balancer_arn=self.arn, port=port, opts=self._options
        ).arn
        return found


def balancer_of(site: Site, service: Balanced) -> Balancer:
    """The one of a Service, which AWS is asked for once the Service has it: not in the preview that
    is to make it."""
    options = pulumi.InvokeOutputOptions(provider=site.provider, depends_on=[service.resource])
    found = get_load_balancer_output(
        tags={CLUSTER_TAG: site.name, STACK_TAG: f"{service.namespace}/{service.name}"},
        opts=options,
    )
    return Balancer(found.arn, found.security_groups.apply(_first), options)


def _first(groups: Sequence[str]) -> str:
    if not groups:
        raise pulumi.RunError(
            "the load balancer is in no security group, of which the AWS Load Balancer Controller "
            "gives one to each; delete the Service and run `pulumi up` again"
        )
    return min(groups)
