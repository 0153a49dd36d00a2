"""A budget that warns by e-mail: https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws.budgets.budget import Budget

ACTUAL_PERCENT: Final = (80, 100)
"""Shares of the budget at which what was spent is told."""
FORECAST_PERCENT: Final = 100
"""The share at which a forecast is told."""


@dataclass(frozen=True)
class BudgetArgs:
    """A budget of `usd` a month.

    What is told goes to `email`. `tags` are those by which the stack's costs are known; they must
    be cost allocation tags of the account, else nothing is counted.
    """

    name: str
    usd: float
    email: str
    tags: dict[str, str]


def budget(args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> Budget:
    """The budget: a resource of the account, which no region has."""
    filters = [
        {"name": "TagKeyValue", "values": [f"user:{key}${value}"]}
        for key, value in sorted(args.tags.items())
    ]
    notifications = [
        *((percent, "ACTUAL") for percent in ACTUAL_PERCENT),
        (FORECAST_PERCENT, "FORECASTED"),
    ]
    return Budget(
        args.name,
        name=args.name,
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{args.usd:g}",
        limit_unit="USD",
        cost_filters=filters,
        notifications=[
            {
                "comparison_operator": "GREATER_THAN",
                "threshold": percent,
                "threshold_type": "PERCENTAGE",
                "notification_type": kind,
                "subscriber_email_addresses": [args.email],
            }
            for percent, kind in notifications
        ],
        opts=opts,
    )
