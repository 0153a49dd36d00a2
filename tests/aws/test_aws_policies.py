"""What the project itself makes on AWS keeps to its policies."""

from __future__ import annotations

from policy.exemptions import exemptions
from policy.resource import Resource
from policy.rules import violations
from tests.aws.aws_stack import run_stack
from tests.aws.conftest import in_moto

BUCKET = "aws:s3/bucket:Bucket"


def test_only_what_its_settings_leave_unprotected_is_a_violation() -> None:
    with in_moto():
        ran = run_stack(awsProtect=False, awsArtifactProfiles=("team",))
    found: dict[bool, set[tuple[str, str]]] = {}
    for protect in (False, True):
        found[protect] = {
            (rule.name, registered.type)
            for registered in ran.registered
            for rule, _ in violations(
                Resource(
                    registered.type,
                    registered.name,
                    registered.inputs,
                    protect or registered.request.protect,
                ),
                exemptions(),
            )
        }
    expected = {"aws:eks/cluster:Cluster", "aws:kms/key:Key", BUCKET}
    assert found[False] == {("protected-data", type_) for type_ in expected}
    assert found[True] == set()
    # As the setting says, `destroy` may then take the artefacts, too.
    assert ran.of(BUCKET).inputs["forceDestroy"] is True
