"""Each benchmark's own code, on a platform of a few objects; the figures mean nothing."""

import json
import tempfile
from pathlib import Path

import psutil
import pytest

from benchmarks import cli, copies, up, where

pytestmark = pytest.mark.engine

LABELS = {"app": "server"}
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tiny"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "tiny"},
        "data": {"key": "value"},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server", "namespace": "tiny"},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "server", "image": "server"}]},
            },
        },
    },
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    copies.write({"server": OBJECTS}, folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []
    left = [p for p in psutil.process_iter(["cmdline"]) if _mentions(p, str(scratch))]
    assert left == []


def _mentions(process: psutil.Process, path: str) -> bool:
    return any(path in argument for argument in process.info["cmdline"] or ())


def run(tmp_path: Path, verb: str, *options: str) -> dict:
    file = tmp_path / f"{verb}.json"
    assert cli.main([verb, "--runs", "1", "--json", str(file), *options]) == 0
    return json.loads(file.read_text())


def test_up_compares_with_upstream_and_with_itself(source, tmp_path, capsys):
    found = run(tmp_path, "up", "--source", str(source))
    [record] = found["rounds"]
    assert record[up.UPSTREAM]["writes"] == 3
    assert record[up.FIRST]["objects"] >= 3
    for name in (up.AGAIN, up.FULL, up.EMPTY):
        assert record[name]["writes"] == 0, name
    results = found["results"]
    assert results["objects"] == 3
    assert results[up.FIRST]["ratio"] == pytest.approx(
        record[up.FIRST]["seconds"] / record[up.UPSTREAM]["seconds"]
    )
    assert f"| {up.AGAIN}" in capsys.readouterr().out


def test_growth_of_a_platform_and_its_copies(source, tmp_path, capsys):
    found = run(tmp_path, "growth", "--source", str(source), "--sizes", "3", "6")
    assert [n for n, _ in found["results"]["points"][up.FIRST]] == [3, 6]
    assert (tmp_path / "growth.svg").read_text().startswith("<svg")
    assert "x linear" in capsys.readouterr().out


def test_where_the_time_and_the_bytes_go(source, tmp_path):
    found = run(tmp_path, "where", "--source", str(source), "--as-it-comes", "60")["results"]
    ours, plain = found[where.FIRST], found[where.AS_IT_COMES]
    for kind in ("Python program", "engine", "provider kubernetes", "provider mlplatform"):
        assert ours["usage"]["clients"][kind]["cpu"] > 0, kind
    assert ours["usage"]["servers"]["kube-apiserver"] > 0
    assert 50e6 < ours["usage"]["peak"] < 2e9
    assert 0 < ours["requests"] <= ours["first_write"] <= ours["last_write"]
    # What the engine writes by itself is many times that: its whole state at every step.
    assert 0 < 5 * ours["written"]["bytes"] < plain["written"]["bytes"]


def test_a_setting_alone_off(source, tmp_path):
    found = run(tmp_path, "settings", "--source", str(source), "--setting", "GOGC")["results"]
    assert set(found) == {"all on", "without GOGC"}


def test_a_run_that_takes_too_long_is_an_error(source, tmp_path, capsys):
    assert cli.main(["up", "--source", str(source), "--runs", "1", "--limit", "1"]) == 1
    assert "did not end within 1 s; give it a longer --limit" in capsys.readouterr().err
