"""The clients that log their writes, against real Redis processes on loopback."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis_evidence import judge, read_logs
from tests.support.redis_load import CONFIRMED, READ, WRITE, Target, Worker, run, verify
from tests.support.redis_processes import environment, eventually, programs

RATE = 100


class Server:
    """A Redis without a disk, at a port of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.options = folder, options
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [programs() / "usr" / "bin" / "redis-server", *options, "--save", "", *self.options],
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(port=self.port)
        for _ in range(500):
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.01)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, "--repl-diskless-sync-delay", "0")
    yield found
    found.kill()


@pytest.fixture
def replica(server: Server, tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, "--replicaof", "127.0.0.1", str(server.port))
    client = redis.Redis(port=found.port)
    eventually(lambda: client.info("replication")["master_link_status"] == "up")
    yield found
    found.kill()


def team(*kinds: str) -> list[Worker]:
    return [Worker(f"{kind}-0", kind, "0", RATE) for kind in kinds or (WRITE, CONFIRMED, READ)]


def at_work(logs: list[Path]) -> None:
    """Half a second, and until each worker has made some attempts more: they may start late."""

    def lines(log: Path) -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    wanted = {log: lines(log) + 2 for log in logs}
    time.sleep(0.5)
    eventually(lambda: all(lines(log) >= number for log, number in wanted.items()))


@contextlib.contextmanager
def working(url: str, folder: Path, *kinds: str, **others: str) -> Iterator[None]:
    """Clients at work, at `url` or, by their kind, at another one."""

    def target(worker: Worker) -> Target:
        return Target(others.get(worker.kind, url), "", cluster=False)

    thread = threading.Thread(target=run, args=(team(*kinds), target, folder, 30))
    logs = [folder / f"{worker.name}.jsonl" for worker in team(*kinds)]
    thread.start()
    try:
        at_work(logs)
        yield
        at_work(logs)
    finally:
        (folder / "stop").touch()
        thread.join()


def evidence(url: str, folder: Path, *kinds: str):
    attempts = read_logs(folder)
    missing = verify(team(*kinds), Target(url, "", cluster=False), folder)
    return judge("test", attempts, missing, attempts[0].sent, attempts[-1].done)


def test_nothing_is_lost_when_nothing_happens(server: Server, replica: Server, tmp_path: Path):
    with working(server.url, tmp_path / "log"):
        pass
    found = evidence(server.url, tmp_path / "log")
    assert found.lost == found.confirmed_lost == 0
    assert found.confirmed > 20
    assert found.acknowledged > found.confirmed
    assert (found.masters, found.overlaps) == (1, ())
    assert max(found.writes_down, found.reads_down) < 0.4


def test_without_a_replica_no_write_is_confirmed(server: Server, tmp_path: Path):
    with working(server.url, tmp_path / "log"):
        pass
    found = evidence(server.url, tmp_path / "log")
    assert (found.confirmed, found.confirmed_lost) == (0, 0)
    assert found.errors == {"not confirmed": found.errors["not confirmed"]}


def test_lost_writes_are_seen_as_lost(server: Server, tmp_path: Path):
    with working(server.url, tmp_path / "log"):
        server.kill()
        time.sleep(1)
        server.start()
    found = evidence(server.url, tmp_path / "log")
    assert 20 < found.lost < found.acknowledged
    assert 1 <= found.writes_down < 4
    assert 1 <= found.reads_down < 4
    assert (found.masters, found.overlaps) == (2, ())


def test_one_deleted_write_is_seen_as_lost(server: Server, tmp_path: Path):
    with working(server.url, tmp_path / "log"):
        pass
    redis.Redis(port=server.port).delete("load:{0}:write-0:3")
    assert evidence(server.url, tmp_path / "log").lost == 1


def test_two_masters_are_seen_as_two(server: Server, tmp_path: Path):
    other = Server(tmp_path)
    try:
        with working(server.url, tmp_path / "log", WRITE, CONFIRMED, **{CONFIRMED: other.url}):
            pass
        found = evidence(server.url, tmp_path / "log", WRITE, CONFIRMED)
    finally:
        other.kill()
    [overlap] = found.overlaps
    assert overlap.seconds > 0.3
    assert found.masters == 2


def test_the_same_process_promoted_again_is_another_reign(
    server: Server, replica: Server, tmp_path: Path
):
    with working(server.url, tmp_path / "log"):
        client = redis.Redis(port=server.port)
        redis.Redis(port=replica.port).replicaof("NO", "ONE")
        client.replicaof("127.0.0.1", replica.port)
        time.sleep(0.5)
        client.replicaof("NO", "ONE")
    found = evidence(server.url, tmp_path / "log")
    assert (found.masters, found.overlaps) == (2, ())
    assert "ReadOnlyError" in found.errors
