"""What AWS WAF does with a request: its rules in their order, and why each blocks or counts. Pure.

Groups and names of rules are AWS's own:
https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW: Final = 300
"""Seconds over which requests of an address are counted."""
REDACTED: Final = ("authorization", "cookie")
"""Headers that are left out of the log; so is the query, in which sign-in has its codes."""
_NOTEBOOKS: Final = "notebooks and pipelines are saved and uploaded with code, HTML and addresses"
_SIGN_IN: Final = "sign-in and filters of pipelines have long ones"
_FILES: Final = "notebooks have files of any name, logs and settings among them"


@dataclass(frozen=True)
class Group:
    """A group of rules of AWS; those `counted` are told in the log only, for the reason given."""

    name: str
    counted: Mapping[str, str] = field(default_factory=dict)


GROUPS: Final = (
    Group("AWSManagedRulesAmazonIpReputationList"),
    Group("AWSManagedRulesKnownBadInputsRuleSet"),
    Group(
        "AWSManagedRulesCommonRuleSet",
        {
            "SizeRestrictions_BODY": "uploads are larger than its 8 KiB",
            "SizeRestrictions_QUERYSTRING": _SIGN_IN,
            "SizeRestrictions_Cookie_HEADER": "a session is kept in several cookies of 4 KiB",
            "CrossSiteScripting_BODY": _NOTEBOOKS,
            "EC2MetaDataSSRF_BODY": _NOTEBOOKS,
            "GenericLFI_BODY": _NOTEBOOKS,
            "GenericRFI_BODY": _NOTEBOOKS,
            "RestrictedExtensions_URIPATH": _FILES,
            "RestrictedExtensions_QUERYARGUMENTS": _FILES,
        },
    ),
)
"""In the order in which they look at a request.

Not the list of anonymous addresses: VPNs and machines of clouds are where such teams work from.
"""


def rules(rate: int, allowed: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - an output
    """The rules, as `aws:wafv2:WebAcl` takes them.

    Args:
        rate: requests from one address in `WINDOW`, above which it is refused.
        allowed: ARN of the set of addresses that may come; nothing for everybody.
    """
    count: dict[str, Any] = {"count": {}}
    found: list[dict[str, Any]] = [
        {
            # First: what is too much is not looked at any further.
            "name": "rate",
            "action": {"block": {}},
            "statement": {
                "rate_based_statement": {
                    "aggregate_key_type": "IP",
                    "limit": rate,
                    "evaluation_window_sec": WINDOW,
                }
            },
        }
    ]
    found += [
        {
            "name": group.name,
            "override_action": {"none": {}},
            "statement": {
                "managed_rule_group_statement": {
                    "vendor_name": "AWS",
                    "name": group.name,
                    "rule_action_overrides": [
                        {"name": rule, "action_to_use": count} for rule in group.counted
                    ],
                }
            },
        }
        for group in GROUPS
    ]
    if allowed:
        # Last: to allow ends the evaluation. Whoever is not in the set meets the default, a block.
        found.append(
            {
                "name": "allowed",
                "action": {"allow": {}},
                "statement": {"ip_set_reference_statement": {"arn": allowed}},
            }
        )
    return [
        {**rule, "priority": place, "visibility_config": visible(rule["name"])}
        for place, rule in enumerate(found)
    ]


def visible(metric: str) -> dict[str, Any]:
    """A metric in CloudWatch; no samples of requests, which would show sessions to the console."""
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }


def log_filter() -> dict[str, Any]:
    """What is logged: only requests that a rule blocked or counted."""
    return {
        "default_behavior": "DROP",
        "filters": [
            {
                "behavior": "KEEP",
                "requirement": "MEETS_ANY",
                "conditions": [
                    {"action_condition": {"action": action}}
                    for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
                ],
            }
        ],
    }


def redacted() -> list[dict[str, Any]]:
    """What of a request the log leaves out."""
    headers: list[dict[str, Any]] = [{"single_header": {"name": name}} for name in REDACTED]
    return [*headers, {"query_string": {}}]
