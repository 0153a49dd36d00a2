"""What settings mean for preflight and cost, and what is printed before anything is made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import settings as configuration
from components.aws import before, checks
from components.aws import cost as costs
from components.aws.__main__ import main
from components.aws.preflight import AccountError, demand
from components.aws.shape import ShapeError, parse
from components.redis import topology as model
from components.redis.managed import KINDS, Managed
from components.settings import SettingsError
from tests.aws.aws_server import Server, serve
from tests.aws.moto_mocks import ACCOUNT, REGION
from tests.support.programs import Echo, run


def stack(**settings: Any) -> Any:
    values = {"awsRegion": REGION, **settings}
    aws = {name: value for name, value in values.items() if name.startswith("aws")}
    eks = {name: value for name, value in values.items() if name.startswith("eks")}
    return parse(aws, eks, "v1.10.2")


def redis(**settings: Any) -> Managed:
    values = {f"redis{key}": value for key, value in settings.items()}
    found = model.parse({"redisProvider": "aws", **values}, KINDS)
    assert isinstance(found, Managed)
    return found


def test_needs_are_those_of_the_network_and_the_first_nodes():
    found = checks.needs(*stack(eksGpuTypes=("g5.xlarge",), awsNat="per-zone"), None, {"a": "b"})
    assert (found.vpcs, found.addresses, found.zones) == (1, 3, 3)
    assert found.own_tags == {"a": "b", "eks:cluster-name": "ml-platform"}
    vcpus = {"m6i.2xlarge": 8, "g5.xlarge": 4}
    gpu = "on-demand vCPUs (G and VT)"
    assert gpu not in demand(found.node_groups, vcpus)
    assert demand(found.node_groups, vcpus, most=True)[gpu] == 8


def test_an_existing_network_takes_nothing_of_its_own():
    subnets = ("subnet-00000000", "subnet-00000001")
    found = checks.needs(*stack(awsVpc="vpc-00000000", awsPrivateSubnets=subnets), None, {})
    assert (found.vpcs, found.addresses) == (0, 0)


def test_permissions_are_those_of_the_parts():
    def actions(service: Managed | None) -> set[str]:
        needed = checks.needs(*stack(), service, {}).permissions
        return {permission.action.partition(":")[0] for permission in needed}

    assert {"eks", "ec2", "iam", "kms"} <= actions(None)
    assert "elasticache" not in actions(None)
    assert "elasticache" in actions(redis(Topology="replicated"))
    assert "memorydb" in actions(redis(Topology="active-active"))


def test_cost_counts_nodes_gateways_and_redis():
    found = checks.stack(*stack(awsNat="per-zone"), redis(Topology="sharded", Shards=3))
    assert found.nat_gateways == 3 and found.interface_endpoints == 9
    assert found.nodes == (costs.Nodes("m6i.2xlarge", 3, 100),)
    assert found.redis is not None and found.redis.nodes == 6
    assert found.alarms == 6 * 4
    assert checks.stack(*stack(), None).redis is None


def test_a_budget_needs_an_address():
    with pytest.raises(ShapeError, match="awsBudget is 100 and awsBudgetEmail ''"):
        stack(awsBudget=100)


def test_redis_at_aws_needs_eks():
    with pytest.raises(SettingsError, match="the cluster is 'minikube'; set cluster to eks"):
        configuration.parse({"redisProvider": "aws", "redisTopology": "replicated"})
    settings = configuration.parse(
        {
            "cluster": "eks",
            "awsRegion": REGION,
            "redisProvider": "aws",
            "redisTopology": "replicated",
            "redisNodeType": "r7g.large",
        }
    )
    found = settings.redis()
    assert isinstance(found, Managed) and found.node == "cache.r7g.large"


def test_what_does_not_fit_the_cluster_or_the_gateway_is_told():
    stack = {"cluster": "eks", "awsRegion": REGION, "redisTopology": "replicated"}
    for more, message in (
        ({"eksName": "a-very-long-name-of-a-cluster"}, "its name at AWS would be 'a-very-long"),
        ({"gateway": "nginx", "gatewayRedisPort": 6379}, "gatewayRedisPort is 6379"),
    ):
        with pytest.raises(SettingsError, match=message):
            configuration.parse({**stack, "redisProvider": "aws", **more})


def test_settings_of_the_service_need_the_service():
    with pytest.raises(SettingsError, match="redisNodeType is set"):
        configuration.parse({"redisTopology": "replicated", "redisNodeType": "r7g.large"})


# --- before anything is made ---------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Moto's server, with the credentials of somebody who may do everything."""
    with serve() as found:
        found.clean(monkeypatch, tmp_path)
        key, secret = found.user()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        yield found


def test_the_cost_is_an_output_and_the_account_is_looked_at(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    notes: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", notes.append)
    exported: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    run(lambda: before.check(*stack(), None), Echo())
    assert notes[0].startswith("Estimated cost: ")
    assert exported[before.COST].endswith(f", {REGION}")
    assert "SimulatePrincipalPolicy" in server.played.calls


def test_an_account_that_is_not_fit_ends_the_program(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(AccountError, match="needed 111122223333"):
        run(lambda: before.check(*stack(awsAccount="111122223333"), None), Echo())


def test_the_checks_can_be_left_out(server: Server, monkeypatch: pytest.MonkeyPatch):
    aws = {"awsAccount": "111122223333", "awsPreflight": False}
    run(lambda: before.check(*stack(**aws), None), Echo())
    assert not server.played.calls


def test_the_budget_is_of_the_stacks_own_tag(run_aws):
    from components.aws.create import eks

    def program() -> None:
        settings = stack(awsBudget=100, awsBudgetEmail="me@example.com")
        before.limit(eks("cluster", *settings))

    ran = run_aws(program)
    [made] = ran.aws.budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert made["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    assert made["CostFilters"] == {"TagKeyValue": ["user:ml-platform:stack$ml-platform/test"]}


# --- the command ---------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["components.aws", *arguments])
    return main()


def test_cost_and_policy_are_printed_without_aws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    more = ("--set", "redisTopology=replicated", "--set", "redisProvider=aws")
    assert command(monkeypatch, "cost", "-s", "aws", *more) == 0
    assert "Redis nodes cache.t4g.small (valkey)" in capsys.readouterr().out
    assert command(monkeypatch, "policy", "-s", "aws", "--set", "awsBudget=0") == 0
    statements = json.loads(capsys.readouterr().out)["Statement"]
    actions = {action for statement in statements for action in statement["Action"]}
    assert "eks:CreateCluster" in actions and "elasticache:CreateUser" not in actions


def test_a_stack_that_is_not_on_aws_has_neither(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert command(monkeypatch, "cost", "-s", "local") == 1
    assert "the cluster of local is 'minikube', not 'eks'" in capsys.readouterr().err
