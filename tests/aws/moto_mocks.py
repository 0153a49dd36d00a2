"""Pulumi's mocks, answered by moto: each `aws:*` resource is created there by boto3.

So ids, ARNs, defaults and refusals are those of a second implementation, not an echo of the
program. Three rules:

- A type is backed by a function (`backs`), or it is listed with a reason (`not_backed`); any other
  fails the program.
- Whatever looks like an id or ARN of AWS in a resource's inputs, policies included, must be
  something that exists in moto by then; this holds for the types that are not backed, too.
- Invokes are answered from moto.

A new type: in a module of its own beside this one, imported by `BACKENDS` in conftest.py:

    @backs("aws:ec2/vpc:Vpc")
    def vpc(aws: Aws, inputs: Inputs) -> Made:
        made = aws.ec2.create_vpc(CidrBlock=inputs["cidrBlock"])["Vpc"]
        return made["VpcId"], {"arn": aws.arn("ec2", f"vpc/{made['VpcId']}")}

Inputs have the names of Pulumi's schema (camel case), and tags are merged with the provider's
default ones, as the provider does. What is returned is the id, and the outputs over the inputs.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import boto3
from pulumi.runtime import mocks

from tests.support.programs import Echo

Inputs = Mapping[str, Any]
Made = tuple[str, dict[str, Any]]
Create = Callable[["Aws", Inputs], Made]
Answer = Callable[["Aws", Inputs], dict[str, Any]]

ACCOUNT = "123456789012"
"""The account of everything in moto."""
REGION = "eu-central-1"

BACKED: dict[str, Create] = {}
NOT_BACKED: dict[str, str] = {}
"""Types that moto has not, by the reason. Their references are checked all the same."""
OUTPUTS: dict[str, Callable[[Inputs], Made]] = {}
"""What a type that is not backed gives back."""
INVOKES: dict[str, Answer] = {}
CONTROLLERS: dict[str, Callable[[Aws, Inputs], None]] = {}
"""What a controller on the cluster makes on AWS once there is an object of a type."""


def backs(type_: str) -> Callable[[Create], Create]:
    """Register the function that creates a type in moto."""

    def register(create: Create) -> Create:
        assert type_ not in BACKED and type_ not in NOT_BACKED, type_
        BACKED[type_] = create
        return create

    return register


def not_backed(type_: str, reason: str, outputs: Callable[[Inputs], Made] | None = None) -> None:
    """List a type that moto can't create; `outputs` makes its id and what it gives back."""
    assert type_ not in BACKED and type_ not in NOT_BACKED, type_
    NOT_BACKED[type_] = reason
    if outputs is not None:
        OUTPUTS[type_] = outputs


def answers(token: str) -> Callable[[Answer], Answer]:
    """Register what answers an invoke."""

    def register(answer: Answer) -> Answer:
        INVOKES[token] = answer
        return answer

    return register


@functools.cache
def client(service: str, region: str) -> Any:
    """A client of moto: good for every later start of it, too."""
    return boto3.client(
        service,
        region_name=region,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        aws_session_token="testing",
    )


class Aws:
    """Clients by service: `aws.ec2`, `aws.eks`; `in_region` for another region than its own."""

    def __init__(self, region: str = REGION) -> None:
        self.region = region

    def __getattr__(self, service: str) -> Any:
        return client(service.replace("_", "-"), self.region)

    def in_region(self, region: str) -> Aws:
        return Aws(region)

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{rest}"


def tag_list(inputs: Inputs) -> list[dict[str, str]]:
    """Tags as most APIs take them."""
    return [{"Key": key, "Value": value} for key, value in (inputs.get("tags") or {}).items()]


def ec2_tags(kind: str, inputs: Inputs) -> list[dict[str, Any]]:
    """Tags as EC2's calls of creation take them; `kind` is EC2's name of the resource."""
    tags = tag_list(inputs)
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def pascal(inputs: Inputs, *names: str) -> dict[str, Any]:
    """The named inputs that are set, with a capital first letter, as most APIs have them."""
    return {
        name[0].upper() + name[1:]: inputs[name] for name in names if inputs.get(name) is not None
    }


def picked(inputs: Inputs, *names: str) -> dict[str, Any]:
    """The named inputs that are set, as they are."""
    return {name: inputs[name] for name in names if inputs.get(name) is not None}


def whole(value: Any) -> Any:
    """The same, with whole numbers as such: all that came by protobuf are floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: whole(entry) for key, entry in value.items()}
    return [whole(entry) for entry in value] if isinstance(value, list) else value


class MissingReference(AssertionError):
    """An input names something of AWS that does not exist in moto."""


class MotoMocks(Echo):
    """See the module. `created` holds (type, name, id) in the order of creation."""

    def __init__(self, region: str = REGION) -> None:
        self.aws = Aws(region)
        self.created: list[tuple[str, str, str]] = []
        self.outputs: dict[tuple[str, str], dict[str, Any]] = {}
        """What each resource of AWS gave back over its inputs, and its id, by type and name."""
        self.errors: list[BaseException] = []
        self.over = False
        """Once it is, what threads of a program that failed still ask for is refused."""
        self._default_tags: dict[str, dict[str, str]] = {}
        self._regions: dict[str, str] = {}
        # Registrations come from many threads, and moto is made for one.
        self._lock = threading.Lock()

    def new_resource(self, args: mocks.MockResourceArgs) -> Made:
        """Create it in moto; what isn't of AWS is echoed.

        Raises:
            LookupError: the type is neither backed nor listed.
            MissingReference: an input names what doesn't exist.
            botocore.exceptions.ClientError: moto refuses.
        """
        with self._lock:
            if self.over:
                raise RuntimeError("the program is over")
            try:
                return self._create(args)
            except BaseException as error:
                # The SDK logs it and goes on to whatever else fails then; a test wants this one.
                self.errors.append(error)
                raise

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        """Answer an invoke."""
        with self._lock:
            if args.token not in INVOKES:
                if args.token.startswith("aws:"):
                    raise LookupError(f"nothing answers {args.token}; see tests/aws/moto_mocks.py")
                return dict(super().call(args))
            region = self._regions.get((args.provider or "").rpartition("::")[0], self.aws.region)
            return INVOKES[args.token](self.aws.in_region(region), args.args)

    def _create(self, args: mocks.MockResourceArgs) -> Made:
        if args.typ == "pulumi:providers:aws":
            self._remember_provider(args)
        if args.typ in CONTROLLERS:
            CONTROLLERS[args.typ](self.aws, args.inputs)
        if not args.typ.startswith("aws:"):
            return super().new_resource(args)
        provider = (args.provider or "").rpartition("::")[0]
        name_of_provider = provider.rpartition("::")[2]
        inputs = {name: whole(value) for name, value in args.inputs.items()}
        tags = {**self._default_tags.get(name_of_provider, {}), **(inputs.get("tags") or {})}
        inputs["tags"] = tags
        region = inputs.get("region") or self._regions.get(name_of_provider, self.aws.region)
        aws = self.aws.in_region(region)
        for reference in references(args.inputs):
            if not exists(aws, reference):
                raise MissingReference(
                    f"{args.typ} {args.name} names {reference}, which does not exist"
                )
        if args.typ in BACKED:
            id_, outputs = BACKED[args.typ](aws, inputs)
        elif args.typ in NOT_BACKED:
            id_, outputs = OUTPUTS.get(args.typ, lambda _: (f"{args.name}-id", {}))(inputs)
        else:
            raise LookupError(f"{args.typ} is neither backed by moto nor listed as not backed")
        self.created.append((args.typ, args.name, id_))
        self.outputs[args.typ, args.name] = {**outputs, "id": id_}
        return id_, {**args.inputs, "tagsAll": tags, "region": region, **outputs}

    def _remember_provider(self, args: mocks.MockResourceArgs) -> None:
        defaults = args.inputs.get("defaultTags")
        defaults = json.loads(defaults) if isinstance(defaults, str) else defaults
        self._default_tags[args.name] = dict((defaults or {}).get("tags") or {})
        if args.inputs.get("region"):
            self._regions[args.name] = args.inputs["region"]


# --- references ----------------------------------------------------------------------------------

_ID = re.compile(r"\b(?:vpc|subnet|sg|sgr|igw|nat|eipalloc|rtb|vpce|lt|pl)-[0-9a-f]{8,17}\b")
_ARN = re.compile(r"arn:aws[\w-]*:[\w-]+:[\w-]*:(?:\d{12}|aws)?:[^\s\"',\\]+")

_DESCRIBE: dict[str, tuple[str, str]] = {
    "vpc": ("describe_vpcs", "VpcIds"),
    "subnet": ("describe_subnets", "SubnetIds"),
    "sg": ("describe_security_groups", "GroupIds"),
    "igw": ("describe_internet_gateways", "InternetGatewayIds"),
    "nat": ("describe_nat_gateways", "NatGatewayIds"),
    "eipalloc": ("describe_addresses", "AllocationIds"),
    "rtb": ("describe_route_tables", "RouteTableIds"),
    "vpce": ("describe_vpc_endpoints", "VpcEndpointIds"),
    "lt": ("describe_launch_templates", "LaunchTemplateIds"),
    "pl": ("describe_managed_prefix_lists", "PrefixListIds"),
}
Exists = Callable[[Aws, str], Any]
ARNS: dict[str, Exists] = {}
"""What looks an ARN up, by service and kind (`iam:role`), or by service alone; it gives something
true, or raises an error of boto3 or a KeyError, an IndexError. Other modules add theirs."""


def references(value: Any) -> Iterator[str]:
    """Ids and ARNs anywhere in inputs; patterns with wildcards name nothing in particular."""
    if isinstance(value, str):
        yield from _ID.findall(value)
        yield from (arn for arn in _ARN.findall(value) if "*" not in arn and "${" not in arn)
    elif isinstance(value, Mapping):
        yield from _of_all(value.values())
    elif isinstance(value, Iterable):
        yield from _of_all(value)


def _of_all(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from references(value)


def exists(aws: Aws, reference: str) -> bool:
    """Whether moto has it.

    Raises:
        LookupError: nothing here can look such an ARN up.
    """
    from botocore.exceptions import ClientError

    try:
        if not reference.startswith("arn:"):
            call, parameter = _DESCRIBE[reference.partition("-")[0]]
            answer = getattr(aws.ec2, call)(**{parameter: [reference]})
            return any(value for key, value in answer.items() if key != "ResponseMetadata")
        service, rest = reference.split(":")[2], reference.split(":", 5)[5]
        look_up = ARNS.get(f"{service}:{re.split('[/:]', rest)[0]}") or ARNS.get(service)
        if look_up is None:
            raise LookupError(f"no look-up for {reference}: add one to ARNS")
        region = reference.split(":")[3]
        return bool(look_up(aws.in_region(region) if region else aws, reference))
    except (ClientError, KeyError, IndexError):
        return False


def resource_of(arn: str) -> str:
    """The name at an ARN's end, paths included: `a/b` of `...:role/a/b`."""
    return re.split("[/:]", arn.split(":", 5)[5], maxsplit=1)[-1]
