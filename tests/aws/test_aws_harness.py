"""The harness itself: a missing dependency, an unknown type and a refusal are seen."""

import ast
import importlib
from pathlib import Path

import pulumi
import pytest
from botocore.exceptions import ClientError
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.iam.role import Role
from pulumi_aws.provider import Provider
from pulumi_aws.sqs.queue import Queue

from tests.aws import backends, tested
from tests.aws.moto_mocks import ACCOUNT, BACKED, NOT_BACKED, MissingReference, references

ROOT = Path(__file__).parents[2]


def test_ids_and_defaults_are_motos(run_aws) -> None:
    def program() -> pulumi.Output[str]:
        vpc = Vpc("vpc", cidr_block="10.0.0.0/16")
        Subnet("subnet", vpc_id=vpc.id, cidr_block="10.0.0.0/24")
        return vpc.id

    ran = run_aws(program)
    vpcs = {vpc["VpcId"] for vpc in ran.aws.ec2.describe_vpcs()["Vpcs"]}
    assert ran.returned[0] in vpcs
    made = ran.id_of("aws:ec2/subnet:Subnet", "subnet")
    [subnet] = ran.aws.ec2.describe_subnets(SubnetIds=[made])["Subnets"]
    assert subnet["VpcId"] == ran.returned[0]


def test_a_reference_to_nothing_fails(run_aws) -> None:
    with pytest.raises(MissingReference, match="group names vpc-0123456789abcdef0"):
        run_aws(lambda: SecurityGroup("group", description="x", vpc_id="vpc-0123456789abcdef0"))
    trust = f'{{"Principal": {{"AWS": "arn:aws:iam::{ACCOUNT}:role/nobody"}}}}'
    with pytest.raises(MissingReference, match="role/nobody"):
        run_aws(lambda: Role("role", name="role", assume_role_policy=trust))


def test_what_moto_refuses_fails(run_aws) -> None:
    def program() -> None:
        vpc = Vpc("vpc", cidr_block="10.0.0.0/16")
        Subnet("subnet", vpc_id=vpc.id, cidr_block="10.9.0.0/24")

    with pytest.raises(ClientError, match=r"InvalidSubnet\.Range"):
        run_aws(program)


def test_an_unknown_type_fails(run_aws) -> None:
    with pytest.raises(LookupError, match=r"aws:sqs/queue:Queue is neither backed"):
        run_aws(lambda: Queue("queue"))


def test_default_tags_of_the_provider_reach_moto(run_aws) -> None:
    def program() -> None:
        provider = Provider("aws", region="eu-west-1", default_tags={"tags": {"team": "ml"}})
        Vpc("vpc", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(provider=provider))

    ran = run_aws(program)
    made = ran.id_of("aws:ec2/vpc:Vpc", "vpc")
    west = ran.aws.in_region("eu-west-1").ec2
    assert west.describe_vpcs(VpcIds=[made])["Vpcs"][0]["Tags"] == [{"Key": "team", "Value": "ml"}]


def test_references_are_found_in_policies_and_patterns_are_none() -> None:
    text = '{"Resource": ["arn:aws:s3:::bucket/*", "arn:aws:kms:eu-central-1:123456789012:key/x"]}'
    assert list(references({"policy": text, "ids": ["subnet-01234567", "not-an-id"]})) == [
        "arn:aws:kms:eu-central-1:123456789012:key/x",
        "subnet-01234567",
    ]


def test_the_page_is_current() -> None:
    assert tested.FILE.read_text() == tested.text(), "run: python -m tests.aws.tested"


def used() -> set[str]:
    """The types of AWS that the program imports."""
    found = set()
    for file in (ROOT / "components").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pulumi_aws."):
                module = importlib.import_module(node.module or "")
                names = [getattr(module, name.name) for name in node.names]
                found |= {n.pulumi_type for n in names if hasattr(n, "pulumi_type")}
    return {type_ for type_ in found if type_.startswith("aws:")}


def test_every_type_of_the_stack_is_backed_or_listed_and_no_other() -> None:
    assert backends.ALL
    assert not BACKED.keys() & NOT_BACKED.keys()
    assert used() == BACKED.keys() | NOT_BACKED.keys()
