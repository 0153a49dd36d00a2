"""What wrk prints, and the routes that are measured."""

import pytest

from benchmarks.cli import build_parser
from benchmarks.gateway import Load, many_routes, parsed
from benchmarks.gateway_bed import BedError
from components.gateway.routes import parse

SAID = """\
Running 4s test @ http://10.0.0.1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.71ms    1.05ms  21.20ms   92.01%
    Req/Sec    19.68k     1.61k   22.87k    72.50%
  Latency Distribution
     50%    1.50ms
     75%    1.83ms
     90%    2.30ms
     99%  900.00us
  78312 requests in 4.00s, 58.85MB read
Requests/sec:  19567.35
Transfer/sec:     14.70MB
"""


def test_the_report_of_wrk():
    assert parsed(SAID) == Load(19567.35, 1.5, 0.9, 78312)


@pytest.mark.parametrize(
    "more",
    ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"],
)
def test_a_run_in_which_requests_failed_is_no_measurement(more: str):
    with pytest.raises(BedError, match="wrk: "):
        parsed(SAID.replace("Requests/sec", f"{more}Requests/sec"))


@pytest.mark.parametrize("count", [1, 10, 25])
def test_there_are_as_many_routes_as_asked_for(count: int):
    model = parse(many_routes(count))
    assert len(model.routes) == count
    assert len(model.hosts) == len(model.backends) == -(-count // 10)


def test_the_verb_is_there():
    arguments = build_parser().parse_args(["gateway", "--runs", "2", "--sizes", "10", "20"])
    assert (arguments.runs, arguments.sizes) == (2, [10, 20])
