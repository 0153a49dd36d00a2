"""Redis as a service of AWS with settings that are not the default ones, in moto."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from moto import mock_aws

from components.redis import wiring
from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.aws.moto_mocks import Aws
from tests.aws.redis_stack import GROUP, MEMORYDB, USER, made, parsed
from tests.aws.store_rules import violations

MULTI_REGION = "aws:memorydb/multiRegionCluster:MultiRegionCluster"


@pytest.fixture
def run_redis() -> Callable[..., RanOnAws]:
    """Run it in an AWS that is empty, and gone afterwards."""

    def run(*, protect: bool = True, **settings: Any) -> RanOnAws:
        with mock_aws():
            return run_on_aws(lambda: made(parsed(**settings), protect=protect))

    return run


def test_more_shards_change_their_number_and_nothing_else(run_redis):
    before, after = (
        run_redis(Topology="sharded", Shards=shards).of(GROUP).inputs for shards in (3, 5)
    )
    assert (before["numNodeGroups"], after["numNodeGroups"]) == (3, 5)
    # Made by moto, another one each time.
    others = ("numNodeGroups", "kmsKeyId", "securityGroupIds")
    same = [{k: v for k, v in inputs.items() if k not in others} for inputs in (before, after)]
    assert same[0] == same[1] and before["applyImmediately"] is True


def test_another_region_joins(run_redis):
    other = run_redis(Topology="active-active", MultiRegion="ldgnf-ml-redis")
    assert not [r for r in other.registered if r.type == MULTI_REGION]
    assert other.of(MEMORYDB).inputs["multiRegionClusterName"] == "ldgnf-ml-redis"


def test_without_protection_and_without_persistence(run_redis):
    ran = run_redis(Topology="replicated", Persistence="none", protect=False)
    assert violations(ran.registered, protected=False) == []
    inputs = ran.of(GROUP).inputs
    assert inputs["snapshotRetentionLimit"] == 0
    assert not inputs.get("finalSnapshotIdentifier")


def test_of_redis_the_default_user_is_turned_off(run_redis):
    ran = run_redis(Topology="replicated", Engine="redis")
    default = ran.of(USER, "redis-default").inputs
    assert default["userName"] == "default" and default["accessString"] == "off -@all"
    group = ran.of("aws:elasticache/userGroup:UserGroup").inputs
    assert "ml-redis-default" in group["userIds"] and len(group["userIds"]) == 4


def test_alarms_tell_a_topic():
    with mock_aws():
        topic = Aws().sns.create_topic(Name="alarms")["TopicArn"]
        ran = run_on_aws(lambda: made(parsed(Topology="replicated", AlarmTopic=topic)))
        alarms = ran.aws.cloudwatch.describe_alarms()["MetricAlarms"]
    assert len(alarms) == 4
    for alarm in alarms:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_a_profile_is_given_what_it_takes_and_only_the_authority_is_no_secret():
    def program() -> pulumi.Output[str]:
        redis = made(parsed(Topology="standalone", Profiles=("team-a",)))
        wiring.offer(redis, "team-a", {})
        return redis.ca_certificate

    with mock_aws():
        ran = run_on_aws(program)
    assert ran.returned[1] is False
    secret = ran.of("kubernetes:core/v1:Secret", "team-a/redis-client")
    values = secret.request.object.fields["stringData"].struct_value.fields
    assert set(values) == {"REDIS_URL", "REDIS_READ_URL", "ca.crt"}
    for value in values.values():
        assert value.struct_value.fields[SIGNATURE].string_value == SECRET_MARK
