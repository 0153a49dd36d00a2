"""MySQL of RDS, made in moto beside the cluster: encrypted, closed, kept, fit for its clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from components.aws.checks import stack
from components.aws.cost import estimate
from components.aws.shape import ShapeError, parse
from components.cluster.base import Database
from tests.aws.aws_stack import CLUSTER, program, subnets_of
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.moto_mocks import REGION
from tests.aws.store_rules import violations
from tests.support.graph import Graph

INSTANCE = "aws:rds/instance:Instance"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
SETTINGS = {"awsDatabaseType": "db.t4g.medium", "awsDatabaseStandby": True}


def whole() -> Database:
    make = program(**SETTINGS).capabilities.database
    assert make is not None
    return make(pulumi.Output.secret("a-generated-password"))


@pytest.fixture(scope="module")
def ran() -> Iterator[RanOnAws]:
    with in_moto():
        yield run_on_aws(whole)


@pytest.fixture(scope="module")
def instance(ran: RanOnAws) -> dict[str, Any]:
    [found] = ran.aws.rds.describe_db_instances()["DBInstances"]
    return dict(found)


def test_the_database_is_encrypted_backed_up_and_not_public(
    ran: RanOnAws, instance: dict[str, Any]
) -> None:
    key = ran.id_of("aws:kms/key:Key", "ml-platform-data")
    assert instance["StorageEncrypted"] and instance["KmsKeyId"].endswith(f":key/{key}")
    assert instance["BackupRetentionPeriod"] == 7
    assert instance["DeletionProtection"] and instance["MultiAZ"]
    assert not instance["PubliclyAccessible"]
    assert instance["AutoMinorVersionUpgrade"]
    inputs = ran.of(INSTANCE).inputs
    assert inputs["skipFinalSnapshot"] is False
    assert inputs["finalSnapshotIdentifier"] == "ml-platform-mysql-final"
    assert violations(ran.registered) == []


def test_it_is_in_private_subnets_and_lets_in_the_cluster_alone(
    ran: RanOnAws, instance: dict[str, Any]
) -> None:
    placed = instance["DBSubnetGroup"]["Subnets"]
    assert {entry["SubnetIdentifier"] for entry in placed} == subnets_of(ran, "private")
    groups = ran.aws.ec2.describe_security_groups()["SecurityGroups"]
    [cluster] = [g for g in groups if g["GroupName"].startswith("eks-cluster-sg-")]
    [own] = [g for g in groups if g["GroupName"] == "ml-platform-mysql"]
    assert [entry["VpcSecurityGroupId"] for entry in instance["VpcSecurityGroups"]] == [
        own["GroupId"]
    ]
    [permission] = own["IpPermissions"]
    assert (permission["FromPort"], permission["ToPort"]) == (3306, 3306)
    assert [pair["GroupId"] for pair in permission["UserIdGroupPairs"]] == [cluster["GroupId"]]
    assert not permission["IpRanges"]


def test_it_speaks_as_the_metadata_server_does(ran: RanOnAws, instance: dict[str, Any]) -> None:
    assert (instance["Engine"], instance["EngineVersion"]) == ("mysql", "8.4")
    [group] = instance["DBParameterGroups"]
    name = group["DBParameterGroupName"]
    [found] = ran.aws.rds.describe_db_parameter_groups(DBParameterGroupName=name)[
        "DBParameterGroups"
    ]
    assert found["DBParameterGroupFamily"] == "mysql8.4"
    given = {
        entry["ParameterName"]: entry["ParameterValue"]
        for entry in ran.aws.rds.describe_db_parameters(DBParameterGroupName=name)["Parameters"]
    }
    assert given["authentication_policy"] == "*:mysql_native_password"


def test_its_log_expires_and_is_encrypted(ran: RanOnAws) -> None:
    [group] = ran.aws.logs.describe_log_groups(logGroupNamePrefix="/aws/rds/")["logGroups"]
    assert group["logGroupName"] == "/aws/rds/instance/ml-platform-mysql/error"
    assert group["retentionInDays"] == 90 and group["kmsKeyId"]


def test_who_asks_it_has_its_address_and_the_password_is_a_secret(
    ran: RanOnAws, instance: dict[str, Any]
) -> None:
    assert ran.returned.user == "platform"
    given = ran.of(INSTANCE)
    # The mark of a secret, as it goes over the wire.
    assert given.inputs["password"]["4dabf18193072939515e22adb298388d"]
    assert given.inputs["password"]["value"] == "a-generated-password"
    assert given.inputs["username"] == ran.returned.user == instance["MasterUsername"]


def test_it_is_gone_before_the_cluster_whose_group_it_lets_in(ran: RanOnAws) -> None:
    graph = Graph(ran.registered)
    assert f"{CLUSTER}::cluster" in graph.needs(f"{RULE}::database")
    assert "aws:kms/key:Key::ml-platform-data" in graph.needs(f"{INSTANCE}::database")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"awsDatabaseType": "t4g.medium"}, "awsDatabaseType is 't4g.medium'"),
        ({"awsDatabaseStandby": True}, "awsDatabaseStandby is set, but awsDatabaseType is empty"),
        ({"awsDatabaseType": "db.t4g.small", "awsDatabaseStorage": 5}, "awsDatabaseStorage is 5"),
    ],
)
def test_a_bad_setting_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ShapeError) as error:
        parse({"awsRegion": REGION, **settings}, {}, "v1.10.2")
    assert str(error.value).startswith(told)


def test_the_estimate_has_it_with_its_standby() -> None:
    lines = estimate(stack(*parse({"awsRegion": "us-east-1", **SETTINGS}, {}, "v1"), None)).lines
    [database] = [line for line in lines if line.what.startswith("MySQL db.t4g.medium")]
    assert (database.quantity, database.price) == (2, 0.065)
    [storage] = [line for line in lines if "storage of MySQL" in line.what]
    assert storage.quantity == 40
