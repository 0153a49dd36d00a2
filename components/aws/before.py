"""Before anything is made on AWS: what it will cost, and whether the account is fit for it."""

from __future__ import annotations

from typing import Final

import pulumi

from components.aws import account, checks, cost
from components.aws.budget import BudgetArgs, budget
from components.aws.shape import Aws, Eks
from components.aws.site import MANAGED_BY
from components.cluster.eks import Eks as EksCluster
from components.redis.managed import Managed
from components.redis.topology import RedisTopology

COST: Final = "monthlyCost"
"""The stack output with the estimate's sum."""


def check(aws: Aws, eks: Eks, redis: RedisTopology | None) -> None:
    """Tell the cost, and refuse an account that is not fit.

    Raises:
        components.aws.preflight.AccountError: a line for everything that is amiss.
    """
    service = redis if isinstance(redis, Managed) else None
    found = cost.estimate(checks.stack(aws, eks, service))
    pulumi.log.info(cost.as_table(found))
    pulumi.export(COST, found.sentence)
    if not aws.preflight:
        return
    own = {MANAGED_BY: f"{pulumi.get_project()}/{pulumi.get_stack()}"}
    for note in account.require(checks.needs(aws, eks, service, own), aws.profile):
        pulumi.log.warn(note)


def limit(cluster: EksCluster) -> None:
    """The budget, if there is to be one."""
    site = cluster.args.site
    if site.aws.budget:
        budget(
            BudgetArgs(
                f"{site.name}-monthly",
                site.aws.budget,
                site.aws.budget_email,
                {MANAGED_BY: site.tags[MANAGED_BY]},
            ),
            pulumi.ResourceOptions(provider=site.provider),
        )
