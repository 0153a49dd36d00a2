"""What an AWS account has, asked by boto3; nothing is changed, and no secret is in an answer.

Identity and regions are asked in the partition's first region, so that a wrong region is told apart
from wrong credentials.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as NoConnection

from components.aws.permissions import ANY_ACCOUNT, Permission, by_resource, example
from components.aws.preflight import (
    ADDRESSES,
    LIMITS,
    VPCS,
    AccountError,
    Denied,
    Found,
    Identity,
    Needs,
    Quota,
    Zone,
    check,
    demand,
    limit_of,
)
from components.cluster.preflight import Problem

_HOME: Final = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}
)
_EXPIRED: Final = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_REFUSED: Final = (
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_LOGIN: Final = "aws sso login, or: aws configure; with a profile: export AWS_PROFILE=<name>"
_ASSUMED: Final = re.compile(r"arn:(?P<partition>[^:]+):sts::\d+:assumed-role/(?P<role>[^/]+)/.*")
# Actions in one request; it takes 128 KiB.
_BATCH: Final = 100
_RUNNING: Final = ("pending", "running")

_T = TypeVar("_T")


def require(
    needs: Needs, profile: str = "", session: boto3.Session | None = None
) -> tuple[str, ...]:
    """Look at the account, and return what should be told of it.

    `profile` is one of the AWS configuration; "" for the environment's credentials.

    Raises:
        AccountError: it isn't fit; the message is a line for every problem.
    """
    findings = check(needs, read(needs, profile, session))
    if findings.problems:
        raise AccountError(findings.problems)
    return findings.notes


def read(needs: Needs, profile: str = "", session: boto3.Session | None = None) -> Found:
    """Look at the account of the credentials; a profile that is not there is told as they are."""
    try:
        session = session or boto3.Session(profile_name=profile or None)
        home = _home(session, needs.region)
        sts = session.client("sts", region_name=home, config=_CONFIG)
        answer = sts.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return Found(None, _trouble(error))
    identity = Identity(answer["Account"], answer["Arn"])
    asked = _Questions(session, needs, identity, home)
    if needs.account not in ("", identity.account):
        return Found(identity, regions=asked.ask("regions", asked.regions), unknown=asked.unknown)
    regions = asked.ask("regions", asked.regions)
    known = regions is None or regions.get(needs.region, False)
    with ThreadPoolExecutor(8) as pool:
        denied = pool.submit(asked.ask, "permissions", asked.denied)
        zones = pool.submit(asked.ask, "zones", asked.zones) if known else None
        offered = pool.submit(asked.ask, "instance types", asked.offered) if known else None
        vcpus = asked.ask("vCPUs of instance types", asked.vcpus) if known else None
        quotas = asked.quotas(pool, vcpus or {}) if known else {}
        return Found(
            identity,
            regions=regions,
            zones=zones.result() if zones else None,
            offered=offered.result() if offered else None,
            vcpus=vcpus,
            quotas=quotas,
            denied=denied.result() or (),
            unknown=asked.unknown,
        )


class _Questions:
    """Everything that is asked once there is an identity."""

    def __init__(self, session: boto3.Session, needs: Needs, identity: Identity, home: str) -> None:
        self.needs, self.identity = needs, identity
        self.unknown: dict[str, str] = {}

        def client(service: str, region: str = needs.region) -> Any:  # noqa: ANN401
            return session.client(service, region_name=region, config=_CONFIG)

        # A session is not for several threads; its clients are.
        self._ec2_home, self._iam = client("ec2", home), client("iam", home)
        self._ec2, self._quotas = client("ec2"), client("service-quotas")

    def ask(self, what: str, question: Callable[[], _T]) -> _T | None:
        """The answer; None if there is none, and then `unknown` says why."""
        try:
            return question()
        except ClientError as error:
            self.unknown[what] = f"{error.operation_name} is answered with {_code(error)}"
        except BotoCoreError as error:
            self.unknown[what] = str(error)
        return None

    def regions(self) -> dict[str, bool]:
        answer = self._ec2_home.describe_regions(AllRegions=True)
        return {r["RegionName"]: r["OptInStatus"] != "not-opted-in" for r in answer["Regions"]}

    def zones(self) -> tuple[Zone, ...]:
        answer = self._ec2.describe_availability_zones(
            Filters=[
                {"Name": "state", "Values": ["available"]},
                {"Name": "zone-type", "Values": ["availability-zone"]},
            ]
        )
        return tuple(Zone(z["ZoneName"], z["ZoneId"]) for z in answer["AvailabilityZones"])

    def offered(self) -> dict[str, frozenset[str]]:
        if not self.needs.instance_types:
            return {}
        found: dict[str, set[str]] = {name: set() for name in self.needs.instance_types}
        for offer in _pages(
            self._ec2,
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": list(self.needs.instance_types)}],
        ):
            found[offer["InstanceType"]].add(offer["Location"])
        return {name: frozenset(zones) for name, zones in found.items()}

    def vcpus(self, types: Sequence[str] = ()) -> dict[str, int]:
        """By a filter: a request by names fails as a whole if one does not exist."""
        names = list(types or self.needs.instance_types)
        if not names:
            return {}
        return {
            entry["InstanceType"]: entry["VCpuInfo"]["DefaultVCpus"]
            for entry in _pages(
                self._ec2,
                "describe_instance_types",
                "InstanceTypes",
                Filters=[{"Name": "instance-type", "Values": names}],
            )
        }

    def quotas(self, pool: ThreadPoolExecutor, vcpus: Mapping[str, int]) -> dict[str, Quota]:
        """Of the quotas that the stack counts against: value and use."""
        needs = self.needs
        wanted = [*demand(needs.node_groups, vcpus, most=True)]
        wanted += [
            name for name, count in ((ADDRESSES, needs.addresses), (VPCS, needs.vpcs)) if count
        ]
        limits = {
            name: pool.submit(self.ask, f"quota of {name}", lambda name=name: self._limit(name))
            for name in wanted
        }
        uses: dict[str, Callable[[], Mapping[str, int]]] = {}
        if needs.addresses:
            uses["use of Elastic IP addresses"] = self._addresses
        if needs.vpcs:
            uses["use of VPCs"] = self._vpcs
        if needs.node_groups:
            uses["use of vCPUs"] = self._running
        answers = [pool.submit(self.ask, what, question) for what, question in uses.items()]
        used: dict[str, int] = {}
        for answer in answers:
            used |= answer.result() or {}
        found = {name: limit.result() for name, limit in limits.items()}
        return {
            name: Quota(limit, used.get(name, 0))
            for name, limit in found.items()
            if limit is not None
        }

    def denied(self) -> tuple[Denied, ...]:
        """What a simulation of the identity's policies denies; the root user is denied nothing."""
        arn = self.identity.arn
        if not self.needs.permissions or arn.endswith(":root"):
            return ()
        if assumed := _ASSUMED.fullmatch(arn):
            # The role's own ARN: the session's lacks its path.
            arn = self._iam.get_role(RoleName=assumed["role"])["Role"]["Arn"]
        found = []
        for resource, actions in by_resource(self.needs.permissions).items():
            arn_of_one = example(resource).replace(ANY_ACCOUNT, self.identity.account)
            for start in range(0, len(actions), _BATCH):
                results = _pages(
                    self._iam,
                    "simulate_principal_policy",
                    "EvaluationResults",
                    PolicySourceArn=arn,
                    ActionNames=actions[start : start + _BATCH],
                    ResourceArns=[arn_of_one],
                    ContextEntries=[
                        {
                            "ContextKeyName": "aws:RequestedRegion",
                            "ContextKeyValues": [self.needs.region],
                            "ContextKeyType": "string",
                        }
                    ],
                )
                found += [
                    Denied(Permission(result["EvalActionName"], resource), _why(result))
                    for result in results
                    if result["EvalDecision"] != "allowed"
                ]
        return tuple(found)

    def _limit(self, name: str) -> float:
        limit = LIMITS[name]
        key = {"ServiceCode": limit.service, "QuotaCode": limit.code}
        try:
            answer = self._quotas.get_service_quota(**key)
        except ClientError as error:
            if _code(error) != "NoSuchResourceException":
                raise
            # The account has the default, and no value of its own.
            answer = self._quotas.get_aws_default_service_quota(**key)
        return float(answer["Quota"]["Value"])

    def _addresses(self) -> dict[str, int]:
        answer = self._ec2.describe_addresses()["Addresses"]
        return {ADDRESSES: sum(not self._is_own(address) for address in answer)}

    def _vpcs(self) -> dict[str, int]:
        answer = _pages(self._ec2, "describe_vpcs", "Vpcs")
        return {VPCS: sum(not self._is_own(vpc) for vpc in answer)}

    def _running(self) -> dict[str, int]:
        """vCPUs that run, by name of their quota."""
        running = [
            (instance["InstanceType"], instance.get("InstanceLifecycle") == "spot")
            for reservation in _pages(
                self._ec2,
                "describe_instances",
                "Reservations",
                Filters=[{"Name": "instance-state-name", "Values": list(_RUNNING)}],
            )
            for instance in reservation["Instances"]
            if not self._is_own(instance)
        ]
        sizes = self.vcpus(sorted({name for name, _ in running})) if running else {}
        used: Counter[str] = Counter()
        for name, spot in running:
            used[limit_of(name, spot=spot)] += sizes.get(name, 0)
        return dict(used)

    def _is_own(self, resource: Mapping[str, Any]) -> bool:
        tags = {tag["Key"]: tag["Value"] for tag in resource.get("Tags", ())}
        return any(tags.get(key) == value for key, value in self.needs.own_tags.items())


def _home(session: boto3.Session, region: str) -> str:
    """The region of the partition in which every account is."""
    try:
        partition = session.get_partition_for_region(region)
    except BotoCoreError:
        partition = "aws"
    return _HOME.get(partition, region)


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:  # noqa: ANN401
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[key]


def _why(result: Mapping[str, Any]) -> str:
    """What denies an action; an organization's policies and boundaries are not the identity's."""
    if not result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return "a policy of the organization denies it"
    boundary = result.get("PermissionsBoundaryDecisionDetail", {})
    if not boundary.get("AllowedByPermissionsBoundary", True):
        return "its permissions boundary does not allow it"
    if result["EvalDecision"] == "explicitDeny":
        return "a policy denies it"
    return "no policy allows it"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "an error"))


def _trouble(error: BotoCoreError | ClientError) -> Problem:
    """Why there is no identity. AWS's own message is left out: it can repeat what was sent."""
    needed = "credentials that AWS accepts"
    if isinstance(error, ClientError):
        code = _code(error)
        if code in _EXPIRED:
            return Problem("credentials", f"expired ({code})", needed, _LOGIN)
        if code in _REFUSED:
            return Problem("credentials", f"refused ({code})", needed, _LOGIN)
        return Problem("identity", f"sts:GetCallerIdentity answered {code}", needed, _LOGIN)
    if isinstance(error, NoCredentialsError):
        return Problem("credentials", "none", needed, _LOGIN)
    if isinstance(error, ProfileNotFound):
        profile = error.kwargs.get("profile")
        fix = "aws configure list-profiles, then: export AWS_PROFILE=<one of them>"
        return Problem("AWS_PROFILE", f"{profile!r}, which is not configured", "a profile", fix)
    if isinstance(error, PartialCredentialsError):
        return Problem("credentials", str(error), needed, _LOGIN)
    if isinstance(error, (SSOError, TokenRetrievalError, UnauthorizedSSOTokenError)):
        return Problem("credentials", "an SSO session that is over", needed, "aws sso login")
    if isinstance(error, (NoConnection, HTTPClientError)):
        fix = "check the network, HTTPS_PROXY, and AWS_ENDPOINT_URL if it is set"
        return Problem("connection", "no answer of AWS STS", "a connection to AWS", fix)
    return Problem("AWS configuration", type(error).__name__, "one that can be read", _LOGIN)
