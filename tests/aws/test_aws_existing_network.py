"""The stack in a network that is there already, each time in an AWS of its own."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from tests.aws.aws_stack import run_stack
from tests.aws.moto_mocks import Aws


def existing_vpc(aws: Aws, zones: int = 2) -> dict[str, Any]:
    vpc = aws.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    names = [z["ZoneName"] for z in aws.ec2.describe_availability_zones()["AvailabilityZones"]]
    ids = tuple(
        aws.ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.9.{index}.0/24", AvailabilityZone=names[index % zones]
        )["Subnet"]["SubnetId"]
        for index in range(2)
    )
    return {"awsVpc": vpc, "awsPrivateSubnets": ids}


def test_an_existing_network_is_used_and_not_changed(aws: Aws) -> None:
    settings = existing_vpc(aws)
    ran = run_stack(**settings)
    made = {type_ for type_, _, _ in ran.mocks.created}
    assert {t for t in made if t.startswith(("aws:ec2", "aws:vpc"))} == {
        "aws:ec2/launchTemplate:LaunchTemplate"
    }
    network = ran.aws.eks.describe_cluster(name="ml-platform")["cluster"]["resourcesVpcConfig"]
    assert set(network["subnetIds"]) == set(settings["awsPrivateSubnets"])


def test_subnets_of_another_network_or_of_one_zone_are_refused(aws: Aws) -> None:
    mine, other = existing_vpc(aws), existing_vpc(aws)
    with pytest.raises(pulumi.RunError, match=r"awsPrivateSubnets has .* not of awsVpc") as error:
        run_stack(awsVpc=mine["awsVpc"], awsPrivateSubnets=other["awsPrivateSubnets"])
    assert other["awsPrivateSubnets"][0] in str(error.value)
    with pytest.raises(pulumi.RunError, match="awsPrivateSubnets are all in zone"):
        run_stack(**existing_vpc(aws, zones=1))


def test_two_subnets_of_a_zone_can_not_both_have_a_mount_target_of_efs(aws: Aws) -> None:
    settings = existing_vpc(aws)
    names = [z["ZoneName"] for z in aws.ec2.describe_availability_zones()["AvailabilityZones"]]
    third = aws.ec2.create_subnet(
        VpcId=settings["awsVpc"], CidrBlock="10.9.9.0/24", AvailabilityZone=names[0]
    )["Subnet"]["SubnetId"]
    subnets = (*settings["awsPrivateSubnets"], third)
    with pytest.raises(pulumi.RunError, match=r"awsEfs is true, .* name one of each zone") as error:
        run_stack(awsEfs=True, awsVpc=settings["awsVpc"], awsPrivateSubnets=subnets)
    assert third in str(error.value)
