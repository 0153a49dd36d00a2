"""The typed model of the AWS stack: where it is, its network, its nodes and its entry. Pure.

Every field is a setting of the stack: `zones` of `Aws` is `awsZones`, `version` of `Eks` is
`eksVersion`. A bad value is an error that names the setting, before anything is created.

Sizes: disks in GiB.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_pascal

from components.aws import versions
from components.cluster.base import AMD64, ARM64, ClusterError
from components.problems import continued, told

EVERYWHERE: Final = "0.0.0.0/0"
"""Every address of IPv4."""
CLIENT_HEADER: Final = "True-Client-IP"
"""In which the edge tells the client's address. It writes it anew, whatever the client sent; the
usual X-Real-IP is one that CloudFront takes away, and X-Forwarded-For begins with what clients say.
"""
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""What networks of their own are made of (RFC 1918, and RFC 6598, which EKS may give pods)."""
GPU_LABEL: Final = "nvidia.com/gpu"
"""Taint and label of GPU nodes, and the resource that the device plugin offers."""

_REGION = r"^([a-z]{2}(-[a-z]+)+-\d)?$"
_NAME = r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$"
_PREFIX = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"
_RESERVED = ("aws", "amazon", "cognito")
"""What Cognito lets nobody have in the host of a sign-in page."""
_PROFILE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,}")
_PRINCIPAL = re.compile(r"arn:aws[\w-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+")
_TYPE = re.compile(r"(?P<family>[a-z]+)(?P<generation>\d+)(?P<options>[a-z-]*)\.[a-z0-9-]+")
_TAG = re.compile(r"(?P<key>[\w .:/+\-@]{1,128})=(?P<value>[\w .:/=+\-@]{0,256})")
# Bits of a subnet: 16 private ones of the VPC's first half, and public ones of a sixteenth each.
_PRIVATE_BITS, _PUBLIC_BITS = 3, 6
# Of the VPC's last quarter, which nothing else is in.
_LINK_FIRST = 48


class ShapeError(ClusterError, ValueError):
    """A stack that can't be had as the settings ask; one line for each setting."""


class _Model(BaseModel):
    model_config = ConfigDict(
        populate_by_name=True, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )


class Aws(_Model):
    """The account, the network and the entry."""

    model_config = ConfigDict(alias_generator=lambda name: f"aws{to_pascal(name)}")

    region: Annotated[str, Field(pattern=_REGION)] = ""
    account: Annotated[str, Field(pattern=r"^(\d{12})?$")] = ""
    """Its number, refused if it is another one; "" for whichever the credentials are of."""
    profile: str = ""
    """Of the AWS configuration; "" for the environment's."""
    tags: tuple[str, ...] = ()
    zones: Annotated[int, Field(ge=2, le=3)] = 3
    nat: Literal["single", "per-zone"] = "single"
    vpc_cidr: str = "10.0.0.0/16"
    vpc: Annotated[str, Field(pattern=r"^(vpc-[0-9a-f]{8,17})?$")] = ""
    """An existing VPC; "" makes one."""
    private_subnets: tuple[str, ...] = ()
    public_subnets: tuple[str, ...] = ()
    entry: Literal["internal", "internet"] = "internal"
    domain: str = ""
    hosted_zone: str = ""
    entry_cidrs: tuple[str, ...] = ()
    sign_in: Literal["dex", "cognito"] = "dex"
    """Who has the users."""
    sign_in_mfa: Literal["off", "optional", "required"] = "optional"
    sign_in_prefix: Annotated[str, Field(pattern=_PREFIX)] = ""
    """Of the sign-in page's host; "" for the stack's name and the account's number."""
    efs: bool = False
    """Whether there is a file system of EFS, for volumes that many pods share."""
    api_hosts: tuple[str, ...] = ()
    """Hosts of the gateway's routes that Amazon API Gateway makes public."""
    artifact_profiles: tuple[str, ...] = ()
    """Kubeflow's profiles whose pipelines keep their artefacts in S3."""
    database_type: Annotated[str, Field(pattern=r"^(db\.[a-z0-9]+\.[a-z0-9]+)?$")] = ""
    """Of the RDS that has pipelines' metadata; "" for MySQL on the cluster."""
    database_standby: bool = False
    """Whether a copy in another zone takes over."""
    database_storage: Annotated[int, Field(ge=20, le=13107)] = 20
    """GiB to begin with; RDS makes it up to five times as large."""
    edge: Literal["none", "cloudfront"] = "none"
    edge_rate: Annotated[int, Field(ge=10, le=2_000_000_000)] = 10_000
    """Requests from one address in 5 minutes, above which the edge refuses it."""
    protect: bool = True
    """Whether what holds data is kept from being deleted."""
    preflight: bool = True
    """Whether the account is checked before anything is made."""
    budget: Annotated[int, Field(ge=0)] = 0
    """USD a month at which `budget_email` is warned; 0 for no budget."""
    budget_email: str = ""

    @property
    def partition(self) -> str:
        """The partition that the region is in, as ARNs have it."""
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def tag_map(self) -> dict[str, str]:
        """`tags`, parsed."""
        return {m["key"]: m["value"] for tag in self.tags if (m := _TAG.fullmatch(tag))}

    @property
    def front(self) -> tuple[str, ...]:
        """The networks that the edge's load balancer comes to the gateway from; () without an edge.

        Of an existing VPC the settings know no addresses. Nobody but that load balancer and the
        cluster itself reaches the gateway's pods, by the security group of the nodes.
        """
        if self.edge == "none":
            return ()
        return PRIVATE if self.vpc else (self.vpc_cidr,)

    @property
    def limited(self) -> bool:
        """Whether only some may reach an entry on the internet."""
        return EVERYWHERE not in self.entry_cidrs

    @property
    def private_cidrs(self) -> tuple[str, ...]:
        """Private subnets, an eighth of the VPC each: pods have addresses of theirs."""
        return self._subnets(_PRIVATE_BITS, 0)

    @property
    def public_cidrs(self) -> tuple[str, ...]:
        """Public subnets, a 64th of the VPC each, from its second half."""
        return self._subnets(_PUBLIC_BITS, 1 << (_PUBLIC_BITS - 1))

    @property
    def link_cidrs(self) -> tuple[str, ...]:
        """Subnets of the VPC link alone, a 64th of the VPC each; none without `api_hosts`."""
        return self._subnets(_PUBLIC_BITS, _LINK_FIRST) if self.api_hosts else ()

    def _subnets(self, bits: int, first: int) -> tuple[str, ...]:
        blocks = list(ipaddress.IPv4Network(self.vpc_cidr).subnets(bits))
        return tuple(str(block) for block in blocks[first : first + self.zones])

    @field_validator("region")
    @classmethod
    def _is_named(cls, value: str) -> str:
        if not value:
            raise ValueError("name a region, like eu-central-1")
        if value.startswith("cn-"):
            raise ValueError("regions in China have services under other names, unknown here")
        return value

    @field_validator("sign_in_prefix")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if found := _reserved(value):
            raise ValueError(f"Cognito lets nobody have {found!r} in it")
        return value

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tag in value:
            if not _TAG.fullmatch(tag) or tag.lower().startswith("aws:"):
                raise ValueError(f"{tag!r} is not of the form key=value, without aws: in front")
        return value

    @field_validator("vpc_cidr")
    @classmethod
    def _is_private_range(cls, value: str) -> str:
        network = _network(value)
        if not 16 <= network.prefixlen <= 20 or not network.is_private:
            raise ValueError("give a private range between /16 and /20, like 10.0.0.0/16")
        return value

    @field_validator("entry_cidrs")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            _network(entry)
        return value

    @field_validator("private_subnets", "public_subnets")
    @classmethod
    def _are_subnets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not re.fullmatch(r"subnet-[0-9a-f]{8,17}", entry):
                raise ValueError(f"{entry!r} is not the id of a subnet")
        return value

    @field_validator("api_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not _HOST.fullmatch(entry):
                raise ValueError(f"{entry!r} is not a name of DNS in small letters")
        if len(set(value)) < len(value):
            raise ValueError("names a host twice; keep one")
        return value

    @field_validator("artifact_profiles")
    @classmethod
    def _are_profiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not _PROFILE.fullmatch(entry):
                raise ValueError(f"{entry!r} is not the name of a profile, like team-a")
        if len(set(value)) < len(value):
            raise ValueError("a profile is named twice")
        return value

    @field_validator("domain", "hosted_zone")
    @classmethod
    def _is_host(cls, value: str) -> str:
        if value and not _HOST.fullmatch(value):
            raise ValueError("give a name of DNS in small letters, like ml.example.com")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        problems = [
            *self._network_problems(),
            *self._entry_problems(),
            *self._sign_in_problems(),
            *self._api_problems(),
            *self._database_problems(),
            *self._edge_problems(),
        ]
        if bool(self.budget) != bool(self.budget_email):
            problems.append(
                f"awsBudget is {self.budget} and awsBudgetEmail {self.budget_email!r}: set both, "
                "or none"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _database_problems(self) -> list[str]:
        if self.database_type:
            return []
        return [
            f"aws{to_pascal(name)} is set, but awsDatabaseType is empty; name one, like "
            "db.t4g.medium, or remove it"
            for name in ("database_standby", "database_storage")
            if getattr(self, name) != Aws.model_fields[name].default
        ]

    def _network_problems(self) -> list[str]:
        if not self.vpc:
            given = [n for n in ("private_subnets", "public_subnets") if getattr(self, n)]
            return [f"aws{to_pascal(n)} is set, but awsVpc names no existing VPC" for n in given]
        problems = []
        if len(self.private_subnets) < 2:
            problems.append(
                f"awsPrivateSubnets has {len(self.private_subnets)} of the VPC {self.vpc}; "
                "name 2 or more, in zones of their own"
            )
        for name in ("zones", "nat", "vpc_cidr"):
            if getattr(self, name) != Aws.model_fields[name].default:
                problems.append(f"aws{to_pascal(name)} is set, but the VPC {self.vpc} is there")
        return problems

    def _entry_problems(self) -> list[str]:
        problems = []
        if bool(self.domain) != bool(self.hosted_zone):
            problems.append(
                f"awsDomain is {self.domain!r} and awsHostedZone {self.hosted_zone!r}: set both, "
                "the platform's name and the zone of Route 53 that it is in, or none"
            )
        elif self.domain and not self.domain.endswith(f".{self.hosted_zone}"):
            problems.append(
                f"awsDomain is {self.domain!r}, which is not below awsHostedZone "
                f"{self.hosted_zone!r}"
            )
        if self.entry == "internet" and not self.entry_cidrs:
            problems.append(
                "awsEntryCidrs is empty: name who may reach the entry from the internet, "
                f"[{EVERYWHERE!r}] for everybody"
            )
        if self.entry == "internet" and self.vpc and not self.public_subnets:
            problems.append("awsPublicSubnets is empty, but awsEntry is 'internet'")
        return problems

    def _sign_in_problems(self) -> list[str]:
        if self.sign_in == "cognito" and not self.domain:
            return [
                "awsSignIn is 'cognito', but awsDomain is empty: Cognito sends people back to a "
                "name that has a certificate; set awsDomain"
            ]
        if self.sign_in == "cognito":
            return []
        return [
            f"aws{to_pascal(name)} is set, but awsSignIn is {self.sign_in!r}, which does not use it"
            for name in ("sign_in_mfa", "sign_in_prefix")
            if getattr(self, name) != Aws.model_fields[name].default
        ]

    def _api_problems(self) -> list[str]:
        if not self.api_hosts:
            return []
        problems = []
        if not self.domain:
            problems.append(
                "awsApiHosts is set, but awsDomain is empty: API Gateway proves the load balancer "
                "by a certificate of that name; set awsDomain and awsHostedZone"
            )
        if self.entry == "internet":
            problems.append(
                "awsApiHosts is set, but awsEntry is 'internet': whoever goes around API Gateway "
                "would reach the same hosts; make it internal"
            )
        if self.vpc:
            problems.append(
                f"awsApiHosts is set, but the VPC {self.vpc} is there: the gateway knows API "
                "Gateway by subnets in which nothing else is; leave awsVpc empty"
            )
        strangers = [
            host
            for host in self.api_hosts
            if self.hosted_zone and not host.endswith(f".{self.hosted_zone}")
        ]
        if strangers:
            problems.append(
                f"awsApiHosts has {', '.join(strangers)}, which is not below awsHostedZone "
                f"{self.hosted_zone!r}"
            )
        if self.domain in self.api_hosts:
            problems.append(
                f"awsApiHosts has awsDomain {self.domain!r}, which leads to the load balancer; "
                "give what is to be public a host of its own in gatewayRoutes"
            )
        return problems

    def _edge_problems(self) -> list[str]:
        if self.edge == "none":
            if self.edge_rate != Aws.model_fields["edge_rate"].default:
                return [
                    f"awsEdgeRate is {self.edge_rate}, but awsEdge is 'none'; set it to cloudfront"
                ]
            return []
        problems = []
        edge = f"awsEdge is {self.edge!r}"
        if not self.domain:
            problems.append(
                f"{edge}, but awsDomain is empty: set it and awsHostedZone, for the name and the "
                "certificate that CloudFront answers with"
            )
        if self.entry == "internet":
            problems.append(
                f"{edge}, and awsEntry is 'internet': CloudFront comes to an internal load "
                "balancer; remove awsEntry"
            )
        elif not self.entry_cidrs:
            problems.append(
                f"{edge}, but awsEntryCidrs is empty: name who may come through it, "
                f"[{EVERYWHERE!r}] for everybody"
            )
        for entry in self.entry_cidrs:
            if any(_network(entry).subnet_of(_network(private)) for private in PRIVATE):
                problems.append(
                    f"{edge}, and awsEntryCidrs has {entry!r}: CloudFront sees public addresses "
                    "only; name those that your network has on the internet"
                )
        if self.api_hosts:
            problems.append(
                f"{edge}, and awsApiHosts is set: API Gateway leads to a load balancer of the "
                "gateway's Service, which has none behind CloudFront; remove one of them"
            )
        if self.partition != "aws":
            problems.append(f"{edge}, but awsRegion is {self.region!r}, which has no CloudFront")
        return problems


@dataclass(frozen=True)
class NodeGroup:
    """A managed node group; `taints` are (key, value, effect) as EKS has them."""

    name: str
    instance_types: tuple[str, ...]
    ami_type: str
    capacity_type: str
    least: int
    most: int
    disk: int
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...] = ()


class Eks(_Model):
    """The cluster and its nodes."""

    model_config = ConfigDict(alias_generator=lambda name: f"eks{to_pascal(name)}")

    name: Annotated[str, Field(pattern=_NAME)] = "ml-platform"
    version: str = versions.DEFAULT
    public_cidrs: tuple[str, ...] = ()
    """Who may reach the API server from the internet; empty turns the public endpoint off."""
    admins: tuple[str, ...] = ()
    """ARNs of roles and users who administer the cluster, besides who makes it."""
    log_days: Literal[30, 60, 90, 180, 365] = 90
    node_types: tuple[str, ...] = ("m6i.2xlarge",)
    nodes_min: Annotated[int, Field(ge=2, le=100)] = 3
    nodes_max: Annotated[int, Field(ge=2, le=450)] = 6
    node_disk: Annotated[int, Field(ge=30, le=16384)] = 100
    spot_types: tuple[str, ...] = ()
    spot_max: Annotated[int, Field(ge=1, le=450)] = 4
    gpu_types: tuple[str, ...] = ()
    gpu_max: Annotated[int, Field(ge=1, le=450)] = 2

    @property
    def architecture(self) -> str:
        """Of all nodes."""
        return architecture(self.node_types[0])

    @property
    def groups(self) -> tuple[NodeGroup, ...]:
        """The node groups; only that of CPUs has nodes at all times."""
        arm = self.architecture == ARM64
        standard = f"AL2023_{'ARM_64' if arm else 'x86_64'}_STANDARD"
        nvidia = f"AL2023_{'ARM_64' if arm else 'x86_64'}_NVIDIA"

        def group(name: str, types: tuple[str, ...], most: int, **other: Any) -> NodeGroup:  # noqa: ANN401
            values: dict[str, Any] = {
                "ami_type": standard,
                "capacity_type": "ON_DEMAND",
                "least": 0,
                "labels": {"ml-platform/nodes": name},
                "disk": self.node_disk,
            }
            return NodeGroup(name, types, most=most, **{**values, **other})

        groups = [group("cpu", self.node_types, self.nodes_max, least=self.nodes_min)]
        if self.spot_types:
            # A taint: what can't bear an interruption must not land there by accident.
            taint = ("ml-platform/spot", "true", "NO_SCHEDULE")
            spot = {"capacity_type": "SPOT", "taints": (taint,)}
            groups.append(group("spot", self.spot_types, self.spot_max, **spot))
        if self.gpu_types:
            labels = {"ml-platform/nodes": "gpu", f"{GPU_LABEL}.present": "true"}
            taint = (GPU_LABEL, "present", "NO_SCHEDULE")
            gpu = {"ami_type": nvidia, "labels": labels, "taints": (taint,)}
            groups.append(group("gpu", self.gpu_types, self.gpu_max, **gpu))
        return tuple(groups)

    @field_validator("version")
    @classmethod
    def _is_pinned(cls, value: str) -> str:
        if value not in versions.ADDONS:
            raise ValueError(f"add-ons are pinned for {', '.join(versions.ADDONS)}")
        return value

    @field_validator("public_cidrs")
    @classmethod
    def _are_limited(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if _network(entry).prefixlen < 8:
                raise ValueError(
                    f"{entry!r} opens the API server to the internet; name your own networks, or "
                    "none, which leaves it private"
                )
        return value

    @field_validator("admins")
    @classmethod
    def _are_principals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not _PRINCIPAL.fullmatch(entry):
                raise ValueError(f"{entry!r} is not the ARN of a role or user of IAM")
        return value

    @field_validator("node_types", "spot_types", "gpu_types")
    @classmethod
    def _are_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not _TYPE.fullmatch(entry):
                raise ValueError(f"{entry!r} is not a type of instance, like m6i.2xlarge")
        return value

    @model_validator(mode="after")
    def _fit(self) -> Self:
        problems = []
        if not self.node_types:
            problems.append("eksNodeTypes is empty: name a type of instance")
        if self.nodes_max < self.nodes_min:
            problems.append(
                f"eksNodesMax is {self.nodes_max}, less than eksNodesMin {self.nodes_min}"
            )
        kinds = {t: architecture(t) for t in (*self.node_types, *self.spot_types, *self.gpu_types)}
        if len(set(kinds.values())) > 1:
            shown = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            problems.append(f"eksNodeTypes, eksSpotTypes, eksGpuTypes mix architectures: {shown}")
        for name in self.gpu_types:
            if _family(name) not in ("p", "g"):
                problems.append(f"eksGpuTypes has {name!r}, which has no NVIDIA GPU")
        for setting in ("node", "spot"):
            for name in getattr(self, f"{setting}_types"):
                if _family(name) in ("p", "g"):
                    title = to_pascal(setting)
                    problems.append(f"eks{title}Types has {name!r}; GPUs belong to eksGpuTypes")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def architecture(instance_type: str) -> str:
    """Of a type of instance: a `g` after the generation is Graviton, and so is a1."""
    found = _TYPE.fullmatch(instance_type)
    if found is None:
        return AMD64
    graviton = "g" in found["options"] or found["family"] + found["generation"] == "a1"
    return ARM64 if graviton else AMD64


def parse(aws: Mapping[str, Any], eks: Mapping[str, Any], kubeflow_ref: str) -> tuple[Aws, Eks]:
    """Both from settings' names in camel case to values; what is not set is default.

    Raises:
        ShapeError: a line for every setting that can't be used.
    """
    lines: list[str] = []
    made = [
        _parsed(lambda: Aws.model_validate(_with(aws, "awsRegion", "")), aws, lines),
        _parsed(lambda: Eks.model_validate(dict(eks)), eks, lines),
    ]
    one, other = made
    if isinstance(other, Eks) and (why := versions.unsupported(other.version, kubeflow_ref)):
        lines.append(f"eksVersion is {other.version!r}: {why}")
    if isinstance(one, Aws) and one.sign_in == "cognito" and not one.sign_in_prefix:
        name = other.name if isinstance(other, Eks) else ""
        if found := _reserved(name):
            lines.append(
                f"eksName is {name!r}, with which the host of the sign-in page would begin, but "
                f"Cognito lets nobody have {found!r} in it: set awsSignInPrefix"
            )
    if lines or not isinstance(one, Aws) or not isinstance(other, Eks):
        raise ShapeError("\n".join(lines))
    return one, other


def _reserved(text: str) -> str:
    return next((word for word in _RESERVED if word in text), "")


def _with(values: Mapping[str, Any], name: str, default: object) -> dict[str, Any]:
    return {name: default, **values}


def _parsed(
    make: Callable[[], Aws | Eks], values: Mapping[str, Any], lines: list[str]
) -> Aws | Eks | None:
    try:
        return make()
    except ValidationError as error:
        for problem in error.errors():
            lines += _lines(problem, values)
        return None


def _lines(problem: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    if not problem["loc"]:
        return told(problem).splitlines()
    name = str(problem["loc"][0])
    value = values.get(name, "")
    shown = list(value) if isinstance(value, tuple) else value
    return [f"{name} is {shown!r}: {continued(problem)}"]


def _family(instance_type: str) -> str:
    found = _TYPE.fullmatch(instance_type)
    return found["family"] if found else ""


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a range of IPv4, like 203.0.113.0/24") from None
