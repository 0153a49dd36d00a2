"""The checks before anything is created in AWS: pure, and against moto's server by HTTP."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID

from components.aws.account import read, require
from components.aws.permissions import PARTS, Permission, Place, by_resource, permissions, policy
from components.aws.preflight import (
    ADDRESSES,
    LIMITS,
    VPCS,
    AccountError,
    Denied,
    Found,
    Identity,
    Needs,
    NodeGroup,
    Quota,
    Zone,
    check,
    demand,
    limit_of,
    line,
)
from tests.aws.aws_server import Server, serve

REGION = "eu-central-1"
STANDARD = "on-demand vCPUs (standard families)"
GROUP = NodeGroup("cpu", ("m6i.xlarge", "m5.xlarge"), nodes=2, most=4)
NEEDS = Needs(REGION, account=DEFAULT_ACCOUNT_ID, node_groups=(GROUP,))
GOOD = Found(
    Identity(DEFAULT_ACCOUNT_ID, f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:user/builder"),
    regions={REGION: True, "us-east-1": True, "ap-east-1": False},
    zones=tuple(Zone(f"{REGION}{letter}", f"euc1-az{n}") for n, letter in enumerate("abc")),
    offered={"m6i.xlarge": frozenset({f"{REGION}a", f"{REGION}b"}), "m5.xlarge": frozenset()},
    vcpus={"m6i.xlarge": 4, "m5.xlarge": 4},
    quotas={ADDRESSES: Quota(5, 4), VPCS: Quota(5, 4), STANDARD: Quota(16, 0)},
)


def one(needs: Needs = NEEDS, **changes: object) -> str:
    (problem,) = check(needs, dataclasses.replace(GOOD, **changes)).problems
    return line(problem)


# --- pure ----------------------------------------------------------------------------------------


def test_an_account_that_has_just_enough_is_fit():
    assert check(NEEDS, GOOD) == check(NEEDS, GOOD).__class__()


def test_another_account_is_told_alone():
    needs = dataclasses.replace(NEEDS, account="111122223333")
    text = one(needs, quotas={VPCS: Quota(5, 5)}, zones=())
    assert text.startswith(f"  account: found {DEFAULT_ACCOUNT_ID} (arn:aws:iam::")
    assert "needed 111122223333" in text and "export AWS_PROFILE=" in text


def test_a_region_that_does_not_exist_gets_a_suggestion():
    text = one(dataclasses.replace(NEEDS, region="eu-centrall-1"), zones=None)
    assert "eu-centrall-1 (no such region)" in text
    assert text.endswith("pulumi config set awsRegion eu-central-1")


def test_a_region_that_is_not_enabled():
    text = one(dataclasses.replace(NEEDS, region="ap-east-1"), zones=None)
    assert text.endswith("aws account enable-region --region-name ap-east-1")


def test_zones_that_take_no_control_plane_do_not_count():
    zones = (Zone("us-east-1a", "use1-az3"), Zone("us-east-1b", "use1-az4"))
    assert "zones: found 1 in eu-central-1 (us-east-1b), needed 2" in one(zones=zones)


def test_a_zone_that_is_named_must_be_there():
    needs = dataclasses.replace(NEEDS, zone_names=(f"{REGION}a", f"{REGION}q"))
    texts = [line(problem) for problem in check(needs, GOOD).problems]
    assert "zone: found eu-central-1q" in texts[0] and "awsZones[1]" in texts[0]


def test_a_type_that_the_named_zones_do_not_offer():
    needs = dataclasses.replace(NEEDS, zone_names=(f"{REGION}c",))
    assert "instance types of cpu: found m6i.xlarge, m5.xlarge in eu-central-1a" in one(needs)
    assert "in no zone" in one(offered={})


@pytest.mark.parametrize(("name", "needed"), [(ADDRESSES, 1), (VPCS, 1), (STANDARD, 8)], ids=str)
def test_a_quota_that_is_used_up(name: str, needed: int):
    text = one(quotas={**GOOD.quotas, name: Quota(16, 16)})
    assert f"quota of {name}: found 0 left of 16 (16 used), needed {needed}" in text
    assert f"--quota-code {LIMITS[name].code} --desired-value {16 + max(needed, 1)}" in text or (
        # What autoscaling may want is asked for at once.
        name == STANDARD and text.endswith("--desired-value 32")
    )


def test_a_quota_that_only_autoscaling_meets_is_a_note():
    findings = check(NEEDS, dataclasses.replace(GOOD, quotas={STANDARD: Quota(8, 0)}))
    assert not findings.problems
    assert "autoscaling may want 16" in findings.notes[0]


def test_all_is_told_together():
    found = dataclasses.replace(
        GOOD,
        zones=(),
        offered={},
        quotas={name: Quota(0, 0) for name in GOOD.quotas},
        denied=(Denied(Permission("eks:CreateCluster"), "no policy allows it"),),
    )
    problems = check(NEEDS, found).problems
    assert len(problems) == 6
    text = str(AccountError(problems))
    assert text.count("\n") == len(problems) and text.count("; to mend it: ") == len(problems)


def test_what_could_not_be_asked_is_no_problem_but_is_told():
    unknown = {"zones": "DescribeAvailabilityZones is answered with UnauthorizedOperation"}
    findings = check(NEEDS, dataclasses.replace(GOOD, zones=None, unknown=unknown))
    assert not findings.problems
    assert findings.notes[0].startswith("zones could not be checked: DescribeAvailabilityZones")


@pytest.mark.parametrize(
    ("name", "spot", "limit"),
    [
        ("m6i.xlarge", False, STANDARD),
        ("inf2.xlarge", False, "on-demand vCPUs (Inf)"),
        ("im4gn.large", True, "spot vCPUs (standard families)"),
        ("g5.2xlarge", False, "on-demand vCPUs (G and VT)"),
        ("gr6.4xlarge", False, ""),
        ("p4d.24xlarge", True, "spot vCPUs (P)"),
        ("p5.48xlarge", True, "spot vCPUs (P5)"),
        ("p5.48xlarge", False, "on-demand vCPUs (P)"),
        ("x2idn.16xlarge", False, "on-demand vCPUs (X)"),
        ("dl1.24xlarge", False, ""),
        ("hpc7a.12xlarge", False, ""),
        ("", False, ""),
    ],
)
def test_what_an_instance_counts_against(name: str, spot: bool, limit: str):
    assert limit_of(name, spot=spot) == limit


def test_a_group_may_get_the_largest_of_its_types():
    groups = [NodeGroup("a", ("m5.xlarge", "m5.2xlarge", "g5.xlarge"), nodes=2, most=3)]
    vcpus = {"m5.xlarge": 4, "m5.2xlarge": 8, "g5.xlarge": 4}
    assert demand(groups, vcpus) == {STANDARD: 16, "on-demand vCPUs (G and VT)": 8}
    assert demand(groups, vcpus, most=True)[STANDARD] == 24


def test_permissions_name_resources_and_no_service_as_a_whole():
    place = Place(REGION, DEFAULT_ACCOUNT_ID, "ml", parts=frozenset(PARTS))
    needed = permissions(place)
    assert len(set(needed)) == len(needed) > 100
    for permission in needed:
        assert "*" not in permission.action and "{" not in permission.resource
    creating = [p for p in needed if p.action == "iam:CreateRole"]
    assert [p.resource for p in creating] == [f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/ml-*"]
    document = json.loads(policy(place))
    assert sum(len(s["Action"]) for s in document["Statement"]) == len(needed)


# --- against moto's server -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    running.clean(monkeypatch, tmp_path)
    return running


def user(server: Server, *args: Any, **named: Any) -> boto3.Session:
    """A session of a new user."""
    return server.session(*server.user(*args, **named))


def problems(needs: Needs, session: boto3.Session) -> list[str]:
    with pytest.raises(AccountError) as caught:
        require(needs, session=session)
    return [line(problem) for problem in caught.value.problems]


def test_a_fit_account(server: Server):
    needed = permissions(Place(REGION, DEFAULT_ACCOUNT_ID, "ml", parts=frozenset(PARTS)))
    assert require(dataclasses.replace(NEEDS, permissions=needed), session=user(server)) == ()
    # Every resource is asked for once, a hundred actions at a time.
    requests = sum(-(-len(actions) // 100) for actions in by_resource(needed).values())
    assert server.played.calls.count("SimulatePrincipalPolicy") == requests


def test_wrong_account(server: Server):
    needs = dataclasses.replace(NEEDS, account="111122223333")
    (text,) = problems(needs, user(server))
    assert f"account: found {DEFAULT_ACCOUNT_ID} (arn:aws:iam::" in text and "user/builder" in text


def test_wrong_region(server: Server):
    (text,) = problems(dataclasses.replace(NEEDS, region="eu-central-9"), user(server))
    assert "region: found eu-central-9 (no such region)" in text
    assert "pulumi config set awsRegion eu-central-" in text


def test_region_that_is_not_enabled(server: Server, monkeypatch: pytest.MonkeyPatch):
    regions = user(server).client("ec2", region_name="us-east-1").describe_regions()["Regions"]
    off = [r["RegionName"] for r in regions if r["OptInStatus"] == "not-opted-in"]
    if not off:
        pytest.skip("needs a moto that knows a region which is not enabled")
    (text,) = problems(dataclasses.replace(NEEDS, region=off[0]), user(server, name="other"))
    assert "(not enabled)" in text


def test_expired_credentials(server: Server):
    session = user(server)
    server.played.expired.add(session.get_credentials().access_key)
    (text,) = problems(NEEDS, session)
    assert "credentials: found expired (ExpiredToken)" in text and "aws sso login" in text


def test_credentials_that_aws_does_not_know(server: Server):
    user(server)
    server.post("reset-auth", "0")
    try:
        (text,) = problems(NEEDS, server.session("AKIANOBODY", "a-secret-of-nobody"))
    finally:
        server.post("reset-auth", "inf")
    assert "credentials: found refused (InvalidClientTokenId)" in text
    assert "AKIANOBODY" not in text and "a-secret-of-nobody" not in text


def test_no_credentials(server: Server):
    (text,) = problems(NEEDS, boto3.Session())
    assert "credentials: found none" in text


def test_a_profile_that_is_not_there(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(AccountError, match="'nowhere', which is not configured"):
        require(NEEDS)


def test_nothing_answers(server: Server, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    (text,) = problems(NEEDS, server.session("key", "secret"))
    assert "connection: found no answer of AWS STS" in text


def test_missing_permissions(server: Server):
    needed = permissions(Place(REGION, DEFAULT_ACCOUNT_ID, "ml"))
    document = {
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "eks:CreateCluster", "Resource": "*"},
        ]
    }
    (text,) = problems(dataclasses.replace(NEEDS, permissions=needed), user(server, document))
    assert "a policy denies it, needed eks:CreateCluster;" in text


def test_a_policy_that_allows_exactly_what_is_needed_is_enough(server: Server):
    place = Place(REGION, DEFAULT_ACCOUNT_ID, "ml", parts=frozenset(PARTS))
    needs = dataclasses.replace(NEEDS, permissions=permissions(place))
    assert require(needs, session=user(server, json.loads(policy(place)))) == ()
    another = dataclasses.replace(place, name="another")
    text = "\n".join(problems(needs, user(server, json.loads(policy(another)), "other")))
    assert "eks:CreateCluster" in text and "ec2:" not in text


def test_an_organization_that_denies_is_told_apart(server: Server):
    server.played.organization_denies.add("eks:CreateCluster")
    needs = dataclasses.replace(NEEDS, permissions=(Permission("eks:CreateCluster"),))
    (text,) = problems(needs, user(server))
    assert "a policy of the organization denies it" in text


def test_a_role_is_simulated_with_its_path(server: Server):
    root = server.session("root", "root", "us-east-1")
    role = root.client("iam").create_role(
        RoleName="builder",
        Path="/aws-reserved/sso/",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
    )["Role"]
    taken = root.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
    session = boto3.Session(
        taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"], REGION
    )
    needs = dataclasses.replace(NEEDS, permissions=(Permission("eks:CreateCluster"),))
    assert require(needs, session=session) == ()
    assert server.played.simulated == {role["Arn"]}


def test_what_the_identity_may_not_read_is_a_note(server: Server):
    """Moto itself denies here: its own check of policies is on."""
    allowed = ["sts:*", "iam:*", "servicequotas:*", "ec2:DescribeRegions"]
    session = user(server, {"Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]})
    server.post("reset-auth", "0")
    try:
        found = read(NEEDS, session=session)
    finally:
        server.post("reset-auth", "inf")
    assert found.regions and found.zones is None
    notes = "\n".join(check(NEEDS, found).notes)
    assert "zones could not be checked: DescribeAvailabilityZones is answered with" in notes


def test_exhausted_quotas_and_what_is_used_already(server: Server):
    session = user(server)
    ec2 = session.client("ec2", region_name=REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, InstanceType="m5.2xlarge", MinCount=3, MaxCount=3)
    own = ec2.run_instances(ImageId=image, InstanceType="m5.2xlarge", MinCount=1, MaxCount=1)
    for _ in range(2):
        ec2.allocate_address(Domain="vpc")
    used = len(ec2.describe_vpcs()["Vpcs"])
    ec2.create_tags(
        Resources=[own["Instances"][0]["InstanceId"]],
        Tags=[{"Key": "eks:cluster-name", "Value": "ml"}],
    )
    quotas = server.played.quotas
    for name, value in ((STANDARD, 31.0), (ADDRESSES, 2.0), (VPCS, float(used))):
        quotas[LIMITS[name].service, LIMITS[name].code] = value
    needs = dataclasses.replace(NEEDS, own_tags={"eks:cluster-name": "ml"})
    text = "\n".join(problems(needs, session))
    # Three instances of 8 vCPUs; the fourth one is the stack's own.
    assert f"quota of {STANDARD}: found 7 left of 31 (24 used), needed 8" in text
    assert f"quota of {ADDRESSES}: found 0 left of 2 (2 used), needed 1" in text
    assert f"quota of {VPCS}: found 0 left of {used} ({used} used), needed 1" in text


def test_a_quota_without_a_value_of_its_own_has_the_default(server: Server):
    key = LIMITS[ADDRESSES].service, LIMITS[ADDRESSES].code
    del server.played.quotas[key]
    server.played.defaults[key] = 5.0
    assert read(NEEDS, session=user(server)).quotas[ADDRESSES] == Quota(5, 0)


def test_types_and_zones_are_those_of_the_region(server: Server):
    found = read(NEEDS, session=user(server))
    assert found.vcpus == {"m6i.xlarge": 4, "m5.xlarge": 4}
    assert found.zones is not None and len(found.zones) == 3
    assert found.offered and found.offered["m5.xlarge"] <= {zone.name for zone in found.zones}


def test_a_type_that_does_not_exist(server: Server):
    group = dataclasses.replace(GROUP, instance_types=("m99.xlarge",))
    (text,) = problems(dataclasses.replace(NEEDS, node_groups=(group,)), user(server))
    assert "instance types of cpu: found m99.xlarge in no zone" in text
