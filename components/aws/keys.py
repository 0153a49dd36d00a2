"""Keys of KMS."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key as KmsKey

from components.aws.site import Site

_WAIT_DAYS = 30
"""How long a deleted key can still be had back; without it, what it encrypted is lost."""


@dataclass(frozen=True)
class Key:
    """A key, and the name that people see."""

    arn: pulumi.Output[str]
    resource: pulumi.Resource


def key(
    site: Site,
    purpose: str,
    policy: pulumi.Input[str],
    description: str,
    opts: pulumi.ResourceOptions | None = None,
) -> Key:
    """A key `alias/<site>-<purpose>`, rotated each year."""
    name = f"{site.name}-{purpose}"
    made = KmsKey(
        name,
        description=description,
        policy=policy,
        enable_key_rotation=True,
        deletion_window_in_days=_WAIT_DAYS,
        opts=pulumi.ResourceOptions.merge(
            opts or pulumi.ResourceOptions(), pulumi.ResourceOptions(protect=site.aws.protect)
        ),
    )
    Alias(name, name=f"alias/{name}", target_key_id=made.key_id, opts=opts)
    return Key(made.arn, made)
