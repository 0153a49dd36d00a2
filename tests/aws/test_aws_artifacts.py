"""The bucket of artefacts, made in moto: closed, kept, and each profile in its own part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.aws.checks import stack
from components.aws.cost import estimate
from components.aws.shape import ShapeError, parse
from tests.aws.aws_stack import CLUSTER, run_stack
from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.moto_mocks import ACCOUNT, REGION
from tests.aws.store_rules import violations
from tests.aws.test_aws_stack import risks
from tests.support.graph import Graph

BUCKET = f"ml-platform-artifacts-{ACCOUNT}"
ROLE = "ml-platform-artifacts"
ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
PROFILES = ("team-a", "team-b")
NAMESPACE = "${aws:PrincipalTag/kubernetes-namespace}"


@pytest.fixture(scope="module")
def ran() -> Iterator[RanOnAws]:
    with in_moto():
        yield run_stack(awsArtifactProfiles=PROFILES)


def test_the_bucket_is_versioned_encrypted_and_closed(ran: RanOnAws) -> None:
    s3 = ran.aws.s3
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    [rule] = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    default = rule["ApplyServerSideEncryptionByDefault"]
    key = ran.id_of("aws:kms/key:Key", "ml-platform-data")
    assert default["SSEAlgorithm"] == "aws:kms"
    assert default["KMSMasterKeyID"].endswith(f":key/{key}")
    block = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(block) == 4 and all(block.values())
    [statement] = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    [old] = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert old["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "Expiration" not in old


def test_the_key_lets_the_bucket_use_it(ran: RanOnAws) -> None:
    key = ran.id_of("aws:kms/key:Key", "ml-platform-data")
    policy = json.loads(ran.aws.kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    [through] = [s for s in policy["Statement"] if s["Sid"] == "ThroughServices"]
    assert f"s3.{REGION}.amazonaws.com" in through["Condition"]["StringEquals"]["kms:ViaService"]
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(through["Action"])


def test_pods_reach_what_is_below_their_namespace_and_delete_nothing(ran: RanOnAws) -> None:
    policy = ran.aws.iam.get_role_policy(RoleName=ROLE, PolicyName="keep")["PolicyDocument"]
    assert not risks(policy)
    listing, objects = policy["Statement"]
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": f"{NAMESPACE}/*"}}
    assert objects["Resource"] == f"arn:aws:s3:::{BUCKET}/{NAMESPACE}/*"
    assert set(objects["Action"]) == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    }


def test_the_role_is_for_pods_of_the_profiles_alone(ran: RanOnAws) -> None:
    found = ran.aws.iam.get_role(RoleName=ROLE)["Role"]
    [statement] = found["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {
        "aws:RequestTag/eks-cluster-name": "ml-platform",
        "aws:RequestTag/kubernetes-namespace": list(PROFILES),
        "aws:RequestTag/kubernetes-service-account": "default-editor",
    }
    # Without the tag of the session no prefix would be named.
    assert statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    taken = {
        (r.inputs["namespace"], r.inputs["serviceAccount"])
        for r in ran.registered
        if r.type == ASSOCIATION and r.inputs["roleArn"] == found["Arn"]
    }
    assert taken == {(profile, "default-editor") for profile in PROFILES}


def test_pods_have_the_role_before_anything_of_the_platform_starts(ran: RanOnAws) -> None:
    graph = Graph(ran.registered)
    provider = "pulumi:providers:kubernetes::cluster"
    for profile in PROFILES:
        association = f"{ASSOCIATION}::cluster-artifacts-{profile}"
        assert association in graph.needs(provider)
        assert "aws:iam/rolePolicy:RolePolicy::ml-platform-artifacts-keep" in graph.needs(
            association
        )
        assert f"{CLUSTER}::cluster" in graph.needs(association)


def test_what_holds_artefacts_is_protected(ran: RanOnAws) -> None:
    assert not violations(ran.registered)


@pytest.mark.parametrize(
    ("profiles", "told"),
    [(("Team",), "'Team' is not the name of a profile"), (("a", "a"), "named twice")],
)
def test_a_bad_profile_is_told(profiles: tuple[str, ...], told: str) -> None:
    with pytest.raises(ShapeError, match=r"^awsArtifactProfiles is ") as error:
        parse({"awsRegion": REGION, "awsArtifactProfiles": profiles}, {}, "v1.10.2")
    assert told in str(error.value)


def test_the_estimate_says_that_artefacts_are_not_in_it() -> None:
    def told(**settings: Any) -> str:
        return str(estimate(stack(*parse({"awsRegion": REGION, **settings}, {}, "v1"), None)))

    assert "artefacts in S3" in told(awsArtifactProfiles=PROFILES)
    assert "artefacts in S3" not in told()
