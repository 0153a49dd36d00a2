"""Is the account fit for the stack? Asked before anything is created, and answered at once. Pure.

`check` compares what the stack needs with what was found; `components.aws.account` finds it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from components.aws.permissions import Permission
from components.cluster.base import ClusterError
from components.cluster.preflight import Problem

ADDRESSES, VPCS = "Elastic IP addresses", "VPCs"
"""Names of limits, as those of vCPUs are in `VCPUS`."""
CONTROL_PLANE_REFUSES: Final = ("use1-az3", "usw1-az2", "cac1-az3")
"""Ids of zones that take no control plane of EKS:
https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html"""
_SHOWN: Final = 8


@dataclass(frozen=True)
class Limit:
    """A quota: its service and code in Service Quotas."""

    service: str
    code: str


LIMITS: Final[Mapping[str, Limit]] = {
    ADDRESSES: Limit("ec2", "L-0263D0A3"),
    VPCS: Limit("vpc", "L-F678F1CE"),
    "on-demand vCPUs (standard families)": Limit("ec2", "L-1216C47A"),
    "on-demand vCPUs (G and VT)": Limit("ec2", "L-DB2E81BA"),
    "on-demand vCPUs (P)": Limit("ec2", "L-417A185B"),
    "on-demand vCPUs (Inf)": Limit("ec2", "L-1945791B"),
    "on-demand vCPUs (Trn)": Limit("ec2", "L-2C3B7624"),
    "on-demand vCPUs (X)": Limit("ec2", "L-7295265B"),
    "spot vCPUs (standard families)": Limit("ec2", "L-34B43A08"),
    "spot vCPUs (G and VT)": Limit("ec2", "L-3819A6DF"),
    "spot vCPUs (P)": Limit("ec2", "L-7212CCBC"),
    "spot vCPUs (P5)": Limit("ec2", "L-C4BD4855"),
    "spot vCPUs (Inf)": Limit("ec2", "L-B5D1601B"),
    "spot vCPUs (X)": Limit("ec2", "L-E3A00192"),
}
"""Quotas by name: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html"""
_STANDARD: Final = "acdhimrtz"
_FAMILIES: Final = {"g": "G and VT", "vt": "G and VT", "p": "P", "inf": "Inf", "trn": "Trn"}
# Families of their own that begin like standard ones.
_OTHERS: Final = ("dl", "hpc", "mac", "inf", "trn")


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind: how many are made at once, and the most that autoscaling may make.

    Any of `instance_types` may be taken.
    """

    name: str
    instance_types: tuple[str, ...]
    nodes: int
    most: int
    spot: bool = False


@dataclass(frozen=True)
class Needs:
    """What the stack takes from the account.

    Args:
        region: where everything is made.
        account: the account's number; "" for whichever it is.
        zones: least number of zones.
        zone_names: zones by name; () for any.
        node_groups: the nodes.
        vpcs, addresses: VPCs and Elastic IP addresses; 0 where those that are there are used.
        permissions: what the identity must be allowed.
        own_tags: tags that mark what this stack made; it is not counted as used.
    """

    region: str
    account: str = ""
    zones: int = 2
    zone_names: tuple[str, ...] = ()
    node_groups: tuple[NodeGroup, ...] = ()
    vpcs: int = 1
    addresses: int = 1
    permissions: tuple[Permission, ...] = ()
    own_tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def instance_types(self) -> tuple[str, ...]:
        """All types of instances, each once."""
        types = (name for group in self.node_groups for name in group.instance_types)
        return tuple(dict.fromkeys(types))


@dataclass(frozen=True)
class Identity:
    """Whose credentials they are: the account's number and the ARN."""

    account: str
    arn: str


@dataclass(frozen=True)
class Zone:
    """An availability zone: its name here (`eu-central-1a`), its id everywhere (`euc1-az2`)."""

    name: str
    id: str


@dataclass(frozen=True)
class Quota:
    """A quota's value, and how much of it others than this stack use."""

    limit: float
    used: float

    @property
    def left(self) -> float:
        """What may still be taken."""
        return self.limit - self.used


@dataclass(frozen=True)
class Denied:
    """A permission that is not there, and what denies it."""

    permission: Permission
    why: str


@dataclass(frozen=True)
class Found:
    """What the account has.

    Args:
        identity: None if credentials are not accepted; `trouble` says why.
        trouble: what is amiss with credentials, or with the way to AWS.
        regions: regions by name, and whether the account has enabled them; None if not known.
        zones: available zones of the region, without local and wavelength zones.
        offered: zones' names by type of instance.
        vcpus: vCPUs by type of instance.
        quotas: quotas by their names in `LIMITS`.
        denied: permissions that are not there.
        unknown: what could not be asked, and why not.
    """

    identity: Identity | None
    trouble: Problem | None = None
    regions: Mapping[str, bool] | None = None
    zones: tuple[Zone, ...] | None = None
    offered: Mapping[str, frozenset[str]] | None = None
    vcpus: Mapping[str, int] | None = None
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    denied: tuple[Denied, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """`problems` end the program; `notes` are what it should be told."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


class AccountError(ClusterError):
    """The account isn't fit; every problem is a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(("the AWS account is not ready:", *map(line, problems))))


def line(problem: Problem) -> str:
    """A problem in one line."""
    return (
        f"  {problem.what}: found {problem.found}, needed {problem.needed}; "
        f"to mend it: {problem.fix}"
    )


def check(needs: Needs, found: Found) -> Findings:
    """Everything that is amiss, and what could not be looked at.

    Of another account than the one that is meant nothing else is told: it would be of no use.
    """
    if found.identity is None:
        return Findings((found.trouble,) if found.trouble else ())
    if wrong := _account(needs, found.identity):
        return Findings((*wrong, *_region(needs, found)))
    quotas, notes = _quotas(needs, found)
    return Findings(
        (
            *_region(needs, found),
            *_zones(needs, found),
            *_instance_types(needs, found),
            *quotas,
            *_permissions(found),
        ),
        (*notes, *(f"{what} could not be checked: {why}" for what, why in found.unknown.items())),
    )


def demand(
    groups: Sequence[NodeGroup], vcpus: Mapping[str, int], *, most: bool = False
) -> dict[str, int]:
    """vCPUs by name of their quota: of the first nodes, or of the most that may be made.

    A group may get any of its types, so the largest of each quota counts. A type whose vCPUs or
    whose quota is not known is left out.
    """
    total: Counter[str] = Counter()
    for group in groups:
        largest: dict[str, int] = {}
        for name in group.instance_types:
            limit = limit_of(name, spot=group.spot)
            if limit and name in vcpus:
                largest[limit] = max(largest.get(limit, 0), vcpus[name])
        nodes = group.most if most else group.nodes
        total.update({limit: nodes * count for limit, count in largest.items()})
    return {limit: count for limit, count in total.items() if count}


def limit_of(instance_type: str, *, spot: bool) -> str:
    """Name of the quota that an instance counts against; "" for one of another kind."""
    match = re.match(r"([a-z]+)(\d+)", instance_type)
    letters, generation = match.groups() if match else ("", "")
    market = "spot" if spot else "on-demand"
    family = _FAMILIES.get(letters, "")
    if not family and letters.startswith("x"):
        family = "X"
    elif not family and letters[:1] in _STANDARD and not letters.startswith(_OTHERS):
        family = "standard families"
    if spot and family == "P" and int(generation) >= 5:
        family = "P5"
    name = f"{market} vCPUs ({family})"
    return name if letters and name in LIMITS else ""


def _account(needs: Needs, identity: Identity) -> list[Problem]:
    if needs.account in ("", identity.account):
        return []
    return [
        Problem(
            "account",
            f"{identity.account} ({identity.arn})",
            f"{needs.account} (awsAccount)",
            f"export AWS_PROFILE=<a profile of {needs.account}>, or: "
            f"pulumi config set awsAccount {identity.account}",
        )
    ]


def _region(needs: Needs, found: Found) -> list[Problem]:
    if found.regions is None or found.regions.get(needs.region):
        return []
    if needs.region in found.regions:
        fix = f"aws account enable-region --region-name {needs.region}"
        return [Problem("region", f"{needs.region} (not enabled)", "an enabled region", fix)]
    enabled = sorted(name for name, on in found.regions.items() if on)
    (near,) = difflib.get_close_matches(needs.region, enabled, n=1, cutoff=0) or ("us-east-1",)
    fix = f"pulumi config set awsRegion {near}"
    return [Problem("region", f"{needs.region} (no such region)", ", ".join(enabled), fix)]


def _zones(needs: Needs, found: Found) -> list[Problem]:
    if found.zones is None:
        return []
    fit = [zone.name for zone in found.zones if zone.id not in CONTROL_PLANE_REFUSES]
    listed = ", ".join(fit) or "none"
    problems = [
        Problem(
            "zone",
            f"{name} (no such zone of {needs.region}, or EKS can't use it)",
            f"one of {listed}",
            f"pulumi config set --path 'awsZones[{needs.zone_names.index(name)}]' <one of them>",
        )
        for name in needs.zone_names
        if name not in fit
    ]
    if not problems and len(fit) < needs.zones:
        fix = "pulumi config set awsRegion <a region with more zones>"
        found_text = f"{len(fit)} in {needs.region} ({listed})"
        problems.append(Problem("zones", found_text, str(needs.zones), fix))
    return problems


def _instance_types(needs: Needs, found: Found) -> list[Problem]:
    """In every zone that is named some type of the group must be offered."""
    if found.offered is None:
        return []
    problems = []
    for group in needs.node_groups:
        zones: set[str] = set().union(*(found.offered.get(t, ()) for t in group.instance_types))
        wanted = set(needs.zone_names)
        if zones and zones >= wanted:
            continue
        problems.append(
            Problem(
                f"instance types of {group.name}",
                f"{', '.join(group.instance_types)} in {', '.join(sorted(zones)) or 'no zone'}",
                f"offered in {', '.join(needs.zone_names) or needs.region}",
                "aws ec2 describe-instance-type-offerings --location-type availability-zone "
                f"--region {needs.region} --filters Name=instance-type,"
                f"Values={','.join(group.instance_types)}  (then choose others or other zones)",
            )
        )
    return problems


def _quotas(needs: Needs, found: Found) -> tuple[list[Problem], list[str]]:
    vcpus = found.vcpus or {}
    needed = {
        ADDRESSES: needs.addresses,
        VPCS: needs.vpcs,
        **demand(needs.node_groups, vcpus),
    }
    most = demand(needs.node_groups, vcpus, most=True)
    problems, notes = [], []
    for name, quota in found.quotas.items():
        limit, count = LIMITS[name], needed.get(name, 0)
        desired = math.ceil(quota.used + max(count, most.get(name, 0)))
        raise_it = (
            f"aws service-quotas request-service-quota-increase --region {needs.region} "
            f"--service-code {limit.service} --quota-code {limit.code} --desired-value {desired}"
        )
        found_text = f"{quota.left:g} left of {quota.limit:g} ({quota.used:g} used)"
        if count > quota.left:
            problems.append(Problem(f"quota of {name}", found_text, str(count), raise_it))
        elif most.get(name, 0) > quota.left:
            notes.append(
                f"quota of {name}: {found_text}; the stack starts, but autoscaling may want "
                f"{most[name]}: {raise_it}"
            )
    notes += [
        f"quota of {name}: which one counts for it is not known, so it was not checked"
        for group in needs.node_groups
        for name in group.instance_types
        if not limit_of(name, spot=group.spot)
    ]
    return problems, notes


def _permissions(found: Found) -> list[Problem]:
    """Denied actions, together where the same thing denies them."""
    by_reason: dict[str, list[str]] = {}
    for denied in found.denied:
        by_reason.setdefault(denied.why, []).append(denied.permission.action)
    arn = found.identity.arn if found.identity else ""
    problems = []
    for why, actions in by_reason.items():
        names = list(dict.fromkeys(actions))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        problems.append(
            Problem(
                "permissions",
                f"{len(names)} denied to {arn}: {why}",
                ", ".join(names[:_SHOWN]) + more,
                "have them allowed; docs/aws-preflight.md tells how to print the whole policy",
            )
        )
    return problems
