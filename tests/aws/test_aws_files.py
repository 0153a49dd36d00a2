"""Shared files: a file system of EFS in moto, its rules, and its StorageClass."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pulumi
import pytest

from components.aws import checks, cost, versions
from components.aws.shape import parse
from tests.aws.aws_stack import ADDON, CLUSTER, GROUP, program, subnets_of
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.moto_mocks import REGION
from tests.aws.store_rules import violations
from tests.support.graph import Graph

SYSTEM, TARGET = "aws:efs/fileSystem:FileSystem", "aws:efs/mountTarget:MountTarget"
CLASS = "kubernetes:storage.k8s.io/v1:StorageClass"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
GATE = "mlplatform:kubernetes:CloudReleased::cluster-released"


@pytest.fixture(scope="module")
def ran() -> Iterator[RanOnAws]:
    """With a claim on the cluster."""

    def with_claim() -> None:
        cluster = program(awsEfs=True)
        pulumi.CustomResource(
            CLAIM, "shared", {}, pulumi.ResourceOptions(provider=cluster.provider)
        )

    with in_moto():
        yield run_on_aws(with_claim)


@pytest.fixture(scope="module")
def graph(ran: RanOnAws) -> Graph:
    return Graph(ran.registered)


def test_it_is_encrypted_by_the_stacks_key_and_moves_old_files(ran: RanOnAws) -> None:
    [made] = ran.aws.efs.describe_file_systems()["FileSystems"]
    key = ran.aws.kms.describe_key(KeyId="alias/ml-platform-data")["KeyMetadata"]["Arn"]
    assert (made["Encrypted"], made["KmsKeyId"]) == (True, key)
    moves = ran.aws.efs.describe_lifecycle_configuration(FileSystemId=made["FileSystemId"])
    assert {"TransitionToIA": "AFTER_30_DAYS"} in moves["LifecyclePolicies"]
    assert ran.of("aws:efs/backupPolicy:BackupPolicy").inputs["backupPolicy"] == {
        "status": "ENABLED"
    }
    assert violations(ran.registered) == []


def test_the_key_may_be_used_through_efs(ran: RanOnAws) -> None:
    policy = json.loads(ran.of("aws:kms/key:Key", "ml-platform-data").inputs["policy"])
    [use] = [one for one in policy["Statement"] if one["Sid"] == "ThroughServices"]
    via = use["Condition"]["StringEquals"]["kms:ViaService"]
    assert f"elasticfilesystem.{REGION}.amazonaws.com" in via


def test_a_mount_target_is_in_each_private_subnet_and_lets_in_the_cluster_alone(
    ran: RanOnAws,
) -> None:
    efs, ec2 = ran.aws.efs, ran.aws.ec2
    [system] = efs.describe_file_systems()["FileSystems"]
    targets = efs.describe_mount_targets(FileSystemId=system["FileSystemId"])["MountTargets"]
    assert {target["SubnetId"] for target in targets} == subnets_of(ran, "private")
    groups = {
        group
        for target in targets
        for group in efs.describe_mount_target_security_groups(
            MountTargetId=target["MountTargetId"]
        )["SecurityGroups"]
    }
    [group] = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    [rule] = group["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (2049, 2049, [])
    clusters = ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["eks-cluster-sg-ml-platform"]}]
    )["SecurityGroups"]
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [clusters[0]["GroupId"]]
    assert group["IpPermissionsEgress"] == []


def test_nobody_mounts_in_plain_nor_past_an_access_point_nor_as_root(ran: RanOnAws) -> None:
    [system] = ran.aws.efs.describe_file_systems()["FileSystems"]
    found = ran.aws.efs.describe_file_system_policy(FileSystemId=system["FileSystemId"])
    statements = json.loads(found["Policy"])["Statement"]
    allowed = [one for one in statements if one["Effect"] == "Allow"]
    denied = [one for one in statements if one["Effect"] == "Deny"]
    assert {action for one in allowed for action in one["Action"]} == {
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientWrite",
    }
    for one in allowed:
        [(_, pattern)] = one["Condition"]["ArnLike"].items()
        assert pattern.endswith(":access-point/*")
        assert one["Condition"]["Bool"] == {"elasticfilesystem:AccessedViaMountTarget": "true"}
    [plain] = denied
    assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert "elasticfilesystem:ClientMount" in plain["Action"]
    assert {one["Resource"] for one in statements} == {system["FileSystemArn"]}


def test_a_claim_is_a_directory_of_its_own(ran: RanOnAws) -> None:
    found = ran.of(CLASS, "efs").inputs
    parameters = found["parameters"]
    assert found["provisioner"] == "efs.csi.aws.com" and found["mountOptions"] == ["tls"]
    assert parameters["fileSystemId"] == ran.id_of(SYSTEM, "files")
    assert parameters["directoryPerms"] == "700" and parameters["provisioningMode"] == "efs-ap"
    assert int(parameters["gidRangeEnd"]) - int(parameters["gidRangeStart"]) == 9999
    assert "is-default-class" not in json.dumps(found)


def test_it_can_be_mounted_before_there_is_a_claim_and_goes_after_the_last_volume(
    graph: Graph,
) -> None:
    first = f"{CLASS}::efs"
    assert len(graph.of(TARGET)) == 3
    ready = {
        *graph.of(TARGET),
        "aws:efs/fileSystemPolicy:FileSystemPolicy::files",
        "aws:efs/backupPolicy:BackupPolicy::files",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule::files",
        f"{ADDON}::cluster-{versions.EFS}",
    }
    assert ready <= graph.needs(first)
    # The gate waits for volumes, whose access points the driver deletes: both are there until then.
    assert {first, *ready, *graph.of(GROUP), f"{CLUSTER}::cluster"} <= graph.needs(GATE)
    assert GATE in graph.needs(f"{CLAIM}::shared")
    for target in graph.of(TARGET):
        assert "aws:efs/fileSystemPolicy:FileSystemPolicy::files" in graph.needs(target)
        assert any(name.startswith("aws:ec2/subnet") for name in graph.needs(target))


def test_what_it_costs_is_told_by_the_gigabyte() -> None:
    told = {}
    for region in ("us-east-1", "eu-central-1"):
        for wanted in (True, False):
            stack = checks.stack(
                *parse({"awsRegion": region, "awsEfs": wanted}, {}, "v1.10.2"), None
            )
            text = "; ".join(cost.estimate(stack).not_counted)
            told[region, wanted] = "shared files (EFS)" in text, "0.3 USD" in text
    assert told == {
        ("us-east-1", True): (True, True),
        ("us-east-1", False): (False, False),
        ("eu-central-1", True): (True, False),
        ("eu-central-1", False): (False, False),
    }
