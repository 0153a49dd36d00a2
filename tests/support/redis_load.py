"""Clients that write to and read from a Redis, and log each attempt with its outcome.

Runs alone, in a pod too: it needs nothing but Python and redis-py. Every write has a key of its
own, so that each acknowledged one can be looked for afterwards. The log has one JSON array a line,
in the order of `FIELDS`; a line is written before the next attempt begins.

    python redis_load.py run --log FOLDER [--cluster] [--seconds N]
    python redis_load.py verify --log FOLDER [--cluster]
    python redis_load.py fill|empty --log FOLDER [--cluster] --tag TAG

`REDIS_WRITE_URL` and `REDIS_READ_URL` say where, `REDIS_CA` is the file of the authority.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, OutOfMemoryError, ReadOnlyError
from redis.retry import Retry

FIELDS = ("kind", "worker", "number", "sent", "done", "ok", "reign", "error")
"""What a line of a log holds. `kind`: `write`, `confirmed` (a write that `WAIT` says is on a
replica) or `read`; `sent` and `done`: seconds since 1970; `reign`: which mastership of which
process answered."""
WRITE, CONFIRMED, READ = "write", "confirmed", "read"
UNCONFIRMED = "not confirmed"
"""The error of a write that the master took, and no replica in time."""
_STOP = "stop"
_TIMEOUT = 0.5
_CONFIRM_WITHIN_MS = 400
_LIFE = 1800
_BATCH = 500
_REFILL = 0.2
_MOST_MISSED = 100
_FILLING = (1 << 20, 1 << 16, 1 << 12, 1 << 8)
# Redis tells apart the reigns of one process by this: a promoted replica takes a new one.
_REIGN = ("run_id", "master_replid")


@dataclass
class Answerer:
    """Which connection answered last, and whom it leads to."""

    reign: str = ""
    connection: int = 0


class Target:
    """A Redis as one thread sees it.

    Args:
        url: `rediss://user:password@host:port` of an endpoint, or of any node of a cluster.
        authority: file of the certificate authority; "" for a connection without TLS.
        cluster: whether it is a Redis Cluster.
    """

    def __init__(self, url: str, authority: str, *, cluster: bool) -> None:
        self.answerer = Answerer()
        self._numbers = itertools.count(1)
        options: dict[str, Any] = {
            "socket_timeout": _TIMEOUT,
            "socket_connect_timeout": _TIMEOUT,
            "redis_connect_func": self._introduce,
            # An attempt is one attempt.
            "retry": Retry(NoBackoff(), 0),
        }
        if authority:
            options |= {"ssl_ca_certs": authority, "ssl_check_hostname": True}
        self._cluster = cluster
        self._connect: Callable[[], Any]
        if cluster:
            # Retries are a topology's: the client asks for it anew and tries again once.
            options |= {"retry": Retry(NoBackoff(), 1), "require_full_coverage": False}
            self._connect = lambda: redis.RedisCluster.from_url(url, **options)
        else:
            self._connect = lambda: redis.Redis.from_url(url, max_connections=1, **options)
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The client; a cluster's asks for the topology when it is made."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def write(self, key: str, value: str) -> None:
        """SET."""
        self.client.set(key, value, ex=_LIFE)

    def write_confirmed(self, key: str, value: str) -> bool:
        """SET, then WAIT for one replica on the same connection; whether it has the write."""
        self.write(key, value)
        written = (self.answerer.connection, self.answerer.reign)
        where = {"target_nodes": self.client.get_node_from_key(key)} if self._cluster else {}
        replicas = self.client.execute_command("WAIT", 1, _CONFIRM_WITHIN_MS, **where)
        # WAIT on another connection says nothing about this write.
        return replicas >= 1 and written == (self.answerer.connection, self.answerer.reign)

    def read(self, key: str) -> None:
        """GET; a missing key is an answer too."""
        self.client.get(key)

    def missing(self, keys: list[str]) -> list[str]:
        """Which of the keys are not there."""
        if self._cluster:
            pipe = self.client.pipeline()
            for key in keys:
                pipe.exists(key)
            found = pipe.execute()
        else:
            found = [value is not None for value in self.client.mget(keys)]
        return [key for key, there in zip(keys, found, strict=True) if not there]

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _introduce(self, connection: Any) -> None:
        """Ask whom a new connection leads to, and note from then on when it answers."""
        if not self._cluster:
            connection.on_connect()
        read = type(connection).read_response.__get__(connection)
        connection.read_response = read
        connection.send_command("INFO", "server", "replication")
        reply = read()
        text = reply.decode() if isinstance(reply, bytes) else str(reply)
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        reign = "/".join(facts[name][:12] for name in _REIGN)
        number = next(self._numbers)

        def noted(*words: Any, **named: Any) -> Any:
            try:
                answer = read(*words, **named)
            except (MovedError, ReadOnlyError):
                # It is no master any more, so its reign is over: ask anew.
                connection.disconnect()
                raise
            self.answerer.connection, self.answerer.reign = number, reign
            return answer

        connection.read_response = noted


@dataclass(frozen=True)
class Worker:
    """One thread's work: `rate` attempts a second of one kind, on keys with one hash tag."""

    name: str
    kind: str
    tag: str
    rate: float

    def key(self, number: int) -> str:
        """The key of an attempt."""
        return f"load:{{{self.tag}}}:{self.name}:{number}"


def workers(tags: int, rate: float) -> list[Worker]:
    """For each of some hash tags a writer, a writer that waits for a replica, and a reader."""
    return [
        Worker(f"{kind}-{tag}", kind, str(tag), rate)
        for tag in range(tags)
        for kind in (WRITE, CONFIRMED, READ)
    ]


def work(worker: Worker, target: Target, log: Path, stopped: Callable[[], bool]) -> None:
    """Attempt after attempt, until it is to stop."""
    with log.open("a", buffering=1) as file:
        for number in itertools.count(1):
            if stopped():
                break
            sent = time.time()
            answered, error = False, ""
            target.answerer.reign = ""
            try:
                if worker.kind == READ:
                    target.read(worker.key(0))
                    answered = True
                elif worker.kind == WRITE:
                    target.write(worker.key(number), str(number))
                    answered = True
                else:
                    answered = target.write_confirmed(worker.key(number), str(number))
                    error = "" if answered else UNCONFIRMED
            # Anything: redis-py's cluster client lets some out that are no errors of Redis.
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"[:120]
            done = time.time()
            line = (
                worker.kind,
                worker.name,
                number,
                sent,
                done,
                answered,
                target.answerer.reign,
                error,
            )
            file.write(json.dumps(line) + "\n")
            time.sleep(max(0.0, 1 / worker.rate - (time.time() - sent)))
    target.close()


def run(
    team: list[Worker], target: Callable[[Worker], Target], folder: Path, seconds: float
) -> None:
    """Let all workers work for some seconds, or until there is a file `stop` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.time() + seconds

    def stopped() -> bool:
        return time.time() > end or (folder / _STOP).exists()

    threads = [
        threading.Thread(
            target=work, args=(worker, target(worker), folder / f"{worker.name}.jsonl", stopped)
        )
        for worker in team
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def taken(ok: bool, error: str) -> bool:
    """Whether a master took a write, as far as an attempt's outcome tells."""
    return ok or error == UNCONFIRMED


def verify(team: list[Worker], target: Target, folder: Path) -> dict[str, list[int]]:
    """For each writer, the numbers of acknowledged writes that are not there."""
    lost: dict[str, list[int]] = {}
    for worker in team:
        if worker.kind == READ:
            continue
        lines = _lines(folder / f"{worker.name}.jsonl")
        numbers = [line["number"] for line in lines if taken(line["ok"], line["error"])]
        missing: set[str] = set()
        for start in range(0, len(numbers), _BATCH):
            keys = [worker.key(number) for number in numbers[start : start + _BATCH]]
            missing.update(target.missing(keys))
        lost[worker.name] = [number for number in numbers if worker.key(number) in missing]
    return lost


def fill(target: Target, tag: str, seconds: float) -> None:
    """Write values until there is no memory left, large ones first, and keep it so for a time."""
    numbers = itertools.count()
    sizes = itertools.chain(_FILLING, itertools.repeat(_FILLING[-1]))
    end = 0.0
    for step, size in enumerate(sizes):
        if step == len(_FILLING):
            end = time.time() + seconds
        if end and time.time() > end:
            break
        # What a connection has buffered is memory too, which it gives back at its end.
        target.close()
        with contextlib.suppress(OutOfMemoryError):
            for number in numbers:
                target.client.set(_filling(tag, number), "x" * size)
        time.sleep(_REFILL if end else 0)


def empty(target: Target, tag: str) -> None:
    """Remove what `fill` wrote."""
    missed = 0
    for number in itertools.count():
        missed = 0 if target.client.delete(_filling(tag, number)) else missed + 1
        # A number is left out whenever its value did not fit any more.
        if missed > _MOST_MISSED:
            break


def _filling(tag: str, number: int) -> str:
    return f"fill:{{{tag}}}:{number}"


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    with log.open() as file:
        for line in file:
            yield dict(zip(FIELDS, json.loads(line), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Run a verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["run", "verify", "fill", "empty"])
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--tags", type=int, default=4)
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--tag", default="0")
    given = parser.parse_args(arguments)
    team = workers(given.tags, given.rate)
    authority = os.environ.get("REDIS_CA", "")

    def target(worker: Worker | None) -> Target:
        reads = worker is not None and worker.kind == READ
        name = "REDIS_READ_URL" if reads else "REDIS_WRITE_URL"
        return Target(os.environ[name], authority, cluster=given.cluster)

    if given.verb == "run":
        run(team, target, given.log, given.seconds)
    elif given.verb == "fill":
        fill(target(None), given.tag, given.seconds)
    elif given.verb == "empty":
        empty(target(None), given.tag)
    else:
        json.dump(verify(team, target(None), given.log), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
