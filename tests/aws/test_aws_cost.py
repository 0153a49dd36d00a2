"""What a stack costs: by the checked-in table, and what is said where it has no price."""

import dataclasses
import datetime
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.aws.budget import BudgetArgs, budget
from components.aws.cost import (
    Database,
    Nodes,
    Price,
    Prices,
    Redis,
    Stack,
    Traffic,
    as_table,
    estimate,
    load,
)

TABLE = Prices(
    datetime.date(2026, 1, 2),
    {
        "here": {
            "eks/cluster": Price(0.10, "hour", "", ""),
            "ec2/m6i.large": Price(0.10, "hour", "", ""),
            "ebs/gp3": Price(0.08, "GB-month", "", ""),
            "kms/key": Price(1, "month", "", ""),
            "vpc/nat-data": Price(0.05, "GB", "", ""),
        },
        "there": {"rds/db.t4g.small": Price(0.03, "hour", "", "")},
    },
)


def lines(stack: Stack) -> dict[str, float | None]:
    return {line.what: line.monthly for line in estimate(stack, TABLE).lines}


def test_every_unit_is_counted_for_a_month():
    stack = Stack(
        "here",
        nodes=(Nodes("m6i.large", 3, 50),),
        keys=2,
        traffic=Traffic(nat=100),
    )
    found = lines(stack)
    assert found["EKS control plane"] == pytest.approx(73)
    assert found["nodes m6i.large"] == pytest.approx(219)
    assert found["disks of nodes (gp3)"] == pytest.approx(12)
    assert found["KMS keys"] == pytest.approx(2)
    assert found["traffic through NAT"] == pytest.approx(5)
    whole = estimate(stack, TABLE)
    assert whole.total == pytest.approx(311) and whole.complete
    assert whole.sentence == "311.00 USD a month, list prices of 2026-01-02, here"


def test_what_has_no_price_is_said_and_the_sum_is_a_lower_bound():
    stack = Stack(
        "here", nodes=(Nodes("p5.48xlarge", 1, 0),), database=Database("db.t4g.small", 20)
    )
    whole = estimate(stack, TABLE)
    assert not whole.complete and whole.sentence.startswith("at least 73.00 USD")
    text = as_table(whole)
    assert text.count("no price known") == 3
    # The unit is that of another region, its price is not.
    assert "MySQL db.t4g.small" in text and lines(stack)["MySQL db.t4g.small"] is None


def test_a_region_that_is_not_in_the_table_has_no_prices():
    whole = estimate(Stack("mars-1", keys=1), TABLE)
    assert whole.total == 0 and not whole.complete


def test_a_standby_costs_as_much_again():
    prices = Prices(
        TABLE.as_of,
        {"here": {"rds/x": Price(1, "hour", "", ""), "rds/gp3": Price(1, "GB-month", "", "")}},
    )
    one, two = (
        estimate(Stack("here", clusters=0, database=Database("x", 10, multi)), prices).total
        for multi in (False, True)
    )
    assert (one, two) == (740, 1480)


def test_what_is_not_counted_is_told():
    silent = estimate(Stack("here"), TABLE)
    assert any("through NAT" in text for text in silent.not_counted)
    told = estimate(Stack("here", traffic=Traffic(internet=1)), TABLE)
    assert not any("through NAT" in text for text in told.not_counted)
    spot = estimate(Stack("here", nodes=(Nodes("m6i.large", 1, 0, spot=True),)), TABLE)
    assert any("spot" in text for text in spot.not_counted)
    assert "Not counted: " in as_table(spot)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 500))
def test_more_of_anything_never_costs_less(first: int, more: int, disk: int):
    small = Stack("us-east-1", nodes=(Nodes("m6i.large", first, disk),))
    large = Stack("us-east-1", nodes=(Nodes("m6i.large", first + more, disk),))
    assert estimate(large).total >= estimate(small).total


# --- the checked-in table ------------------------------------------------------------------------


def test_the_table_is_sound():
    found = load()
    assert found.as_of <= datetime.date.today()
    for region, prices in found.regions.items():
        for name, price in prices.items():
            assert price.usd > 0, (region, name)
            assert price.source.startswith("https://aws.amazon.com/"), (region, name)
            assert price.taken, (region, name)


def test_a_valkey_node_costs_four_fifths_of_a_redis_node():
    prices = load().regions["us-east-1"]
    nodes = [name for name in prices if name.startswith("elasticache/valkey/")]
    assert nodes
    for name in nodes:
        other = prices[name.replace("valkey", "redis")]
        assert prices[name].usd == pytest.approx(0.8 * other.usd, rel=0.001)


def test_an_instance_of_twice_the_size_costs_twice_as_much():
    for prices in load().regions.values():
        for family in ("m5", "m6i", "m7i", "t3"):
            sizes = ("large", "xlarge", "2xlarge", "4xlarge")
            known = [prices.get(f"ec2/{family}.{size}") for size in sizes]
            for small, large in itertools.pairwise(known):
                if small and large:
                    assert large.usd == pytest.approx(2 * small.usd)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit: year\n      prices: {a: 1}", "unit 'year'"),
        ("unit: hour\n      prices: {a: 1}\n    - *group", "two prices of a"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str):
    file = tmp_path / "prices.yaml"
    group = f"    - &group\n      source: s\n      taken: t\n      {text}\n"
    file.write_text(f"asOf: 2026-01-01\nregions:\n  here:\n{group}")
    with pytest.raises(ValueError, match=message):
        load(file)


def test_a_whole_stack_by_the_checked_in_table():
    stack = Stack(
        "us-east-1",
        nodes=(Nodes("m6i.2xlarge", 3, 100), Nodes("g5.xlarge", 1, 200, spot=True)),
        nat_gateways=1,
        interface_endpoints=6,
        public_addresses=3,
        load_balancers=1,
        volumes_gib=100,
        files_gib=10,
        bucket_gib=100,
        database=Database("db.t4g.medium", 20, multi_az=True),
        redis=Redis("elasticache", "valkey", "cache.r7g.large", 3, 13),
        keys=3,
        alarms=9,
        logs_gb=10,
        traffic=Traffic(nat=100, endpoints=100, internet=10, zones=100),
    )
    whole = estimate(stack)
    assert whole.complete, as_table(whole)
    expected = {
        "EKS control plane": 73.0,
        "nodes m6i.2xlarge": 3 * 0.384 * 730,
        "NAT gateways": 32.85,
        "Redis nodes cache.r7g.large (valkey)": 3 * 0.1752 * 730,
        "MySQL db.t4g.medium and standby": 2 * 0.065 * 730,
    }
    found = {line.what: line.monthly for line in whole.lines}
    for what, monthly in expected.items():
        assert found[what] == pytest.approx(monthly)
    other = dataclasses.replace(stack, region="eu-central-1")
    assert not estimate(other).complete


# --- the budget ----------------------------------------------------------------------------------


def test_a_budget_warns_before_and_after(run_aws):
    args = BudgetArgs("ml", 500, "me@example.com", {"stack": "ml"})
    ran = run_aws(lambda: budget(args).id)
    made = ran.of("aws:budgets/budget:Budget")
    assert made.inputs["limitAmount"] == "500"
    assert made.inputs["costFilters"] == [{"name": "TagKeyValue", "values": ["user:stack$ml"]}]
    told = [(n["threshold"], n["notificationType"]) for n in made.inputs["notifications"]]
    assert told == [(80, "ACTUAL"), (100, "ACTUAL"), (100, "FORECASTED")]
