"""What redis-benchmark prints, and what a bed tells of a cluster."""

import pytest

from benchmarks.cli import build_parser
from benchmarks.redis import Load, parse
from benchmarks.redis_bed import _holds, client_pod

SAID = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","40000.00","0.300","0.100","0.250","0.500","0.900","4.000"
"GET","50000.50","0.200","0.100","0.150","0.400","0.700","3.000"
"""


def test_the_csv_of_redis_benchmark_is_read_by_test():
    warned = f"WARNING: Could not fetch server CONFIG\n{SAID}"
    assert parse(warned) == {"SET": Load(40000, 0.25, 0.9), "GET": Load(50000.5, 0.15, 0.7)}


@pytest.mark.parametrize(
    ("part", "slot", "there"),
    [("0-5460", 5460, True), ("0-5460", 5461, False), ("7", 7, True), ("[7->-x]", 7, False)],
)
def test_ranges_of_slots(part: str, slot: int, there: bool):
    assert _holds(part, slot) is there


def test_the_clients_pod_holds_no_password(tmp_path):
    body = client_pod("load", "clients", "x", tmp_path, tmp_path, secret="load")
    assert body["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "load"}}]
    assert "env" not in body["spec"]["containers"][0]


def test_the_verb_is_there():
    assert build_parser().parse_args(["redis", "--runs", "2"]).runs == 2
