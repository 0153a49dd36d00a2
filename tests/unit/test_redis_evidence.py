"""What the logs of clients prove: a lost write is seen as lost, two masters as two."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.redis_evidence import (
    Attempt,
    as_json,
    judge,
    longest_gap,
    overlaps,
    read_logs,
    table,
)
from tests.support.redis_load import CONFIRMED, READ, UNCONFIRMED, WRITE


def attempt(sent: float, reign: str = "a", **more: object) -> Attempt:
    plain = Attempt(WRITE, "write-0", int(sent * 10), sent, sent + 0.01, True, reign, "")
    return dataclasses.replace(plain, **more)


def failed(sent: float, error: str = "ConnectionError: refused") -> Attempt:
    return attempt(sent, "", ok=False, error=error)


def test_reigns_one_after_the_other_are_no_overlap():
    assert not overlaps([*(attempt(n) for n in range(5)), *(attempt(n, "b") for n in range(5, 9))])


def test_two_masters_are_seen_as_two():
    both = [attempt(1), attempt(2, "b"), attempt(3), attempt(4, "b")]
    [found] = overlaps(both)
    assert found.reigns == ("a", "b")
    assert found.seconds == pytest.approx(0.99)


def test_an_old_master_that_still_takes_one_write_is_seen():
    [found] = overlaps([attempt(1), attempt(2, "b"), attempt(2.5)])
    assert set(found.reigns) == {"a", "b"}


def test_writes_that_were_under_way_together_prove_nothing():
    assert not overlaps([attempt(1, done=3.0), attempt(2, "b", done=3.0)])


def test_masters_of_other_keys_are_not_compared():
    other = [attempt(n, "b", worker="write-1") for n in (1.5, 2.5)]
    assert not overlaps([attempt(1), attempt(2), *other])


def test_one_process_is_never_two_masters():
    assert not overlaps(
        [attempt(1, "a/1"), attempt(2, "a/2"), attempt(3, "a/1"), attempt(4, "a/2")]
    )
    assert overlaps([attempt(1, "a/1"), attempt(2, "b/2"), attempt(3, "a/1")])


def test_a_read_is_no_reign():
    assert not overlaps(
        [attempt(1), attempt(2, "b", kind=READ), attempt(3), attempt(4, "b", kind=READ)]
    )


def test_a_write_that_no_replica_confirmed_was_taken_all_the_same():
    taken = attempt(2.5, kind=CONFIRMED, ok=False, error=UNCONFIRMED)
    assert overlaps([attempt(1), attempt(2, "b"), taken])


def test_the_gap_is_from_success_to_success():
    series = [attempt(1), failed(1.5), failed(3), attempt(4.5), attempt(5)]
    assert longest_gap(series, 0.9, 5.2) == pytest.approx(3.5)


def test_a_gap_that_never_ends_is_as_long_as_the_span():
    assert longest_gap([attempt(1), failed(2)], 0.9, 9) == pytest.approx(9 - 1.01)


def test_each_worker_has_gaps_of_its_own():
    mine = [attempt(n) for n in (1, 2, 3)]
    theirs = [attempt(n, worker="write-1") for n in (1, 3)]
    assert longest_gap([*mine, *theirs], 1, 3.01) == pytest.approx(2)


def test_lost_writes_are_counted_with_how_old_they_were():
    series = [*(attempt(n) for n in range(1, 5)), attempt(6, "b")]
    found = judge("kill", series, {"write-0": [30, 40]}, 0, 6.01)
    assert (found.acknowledged, found.lost, found.masters) == (5, 2, 2)
    assert found.lost_seconds == pytest.approx(1)
    assert found.writes_down == pytest.approx(2)


def test_a_lost_write_that_was_confirmed_stands_out():
    series = [attempt(1, kind=CONFIRMED), attempt(2, kind=CONFIRMED)]
    found = judge("kill", series, {"write-0": [20]}, 0, 3)
    assert (found.confirmed, found.confirmed_lost) == (2, 1)


def test_a_failed_write_that_is_not_there_is_not_lost():
    found = judge("kill", [attempt(1), failed(2)], {"write-0": [20]}, 0, 3)
    assert found.lost == 0
    assert found.errors == {"ConnectionError": 1}


def test_redis_own_words_tell_its_errors_apart():
    series = [failed(1, "ResponseError: NOREPLICAS Not enough"), failed(2, "not confirmed")]
    found = judge("cut", series, {}, 0, 3)
    assert found.errors == {"ResponseError NOREPLICAS": 1, "not confirmed": 1}


def test_logs_are_read_in_the_order_of_time_without_a_line_cut_short(tmp_path: Path):
    one, two = attempt(2), attempt(1, worker="write-1")
    for name, known in (("x", one), ("y", two)):
        line = json.dumps(list(dataclasses.astuple(known)))
        (tmp_path / f"{name}.jsonl").write_text(f"{line}\n{line[:20]}")
    assert read_logs(tmp_path) == [two, one]


def test_the_report_says_two_masters_aloud():
    found = judge("cut", [attempt(1), attempt(2, "b"), attempt(3)], {}, 0, 3)
    assert "| cut | 3 | 0 |" in table([found])
    assert "1 times" in table([found])
    assert json.loads(as_json([found]))[0]["overlaps"][0]["keys"] == "0"
