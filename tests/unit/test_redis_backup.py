"""Backup and restore: real Redis processes, real rclone, an S3 server on loopback."""

import itertools
import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.redis_processes import PASSWORDS, SCRIPTS, Pods, eventually, layout, shards

QUICK = ["repl-diskless-sync-delay 0"]
SINGLE = "cluster-enabled no"


class Store:
    """A bucket, and the backup's steps on it."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.bucket = f"backups-{secrets.token_hex(4)}"
        self.folder = folder
        self.remote = f"store:{self.bucket}/team/redis"
        self._keys = {"aws_access_key_id": "id", "aws_secret_access_key": "key"}
        self.client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", **self._keys
        )
        self.client.create_bucket(Bucket=self.bucket)
        self.variables = {
            "RCLONE_CONFIG": "/nowhere/rclone.conf",
            "RCLONE_CONFIG_STORE_TYPE": "s3",
            "RCLONE_CONFIG_STORE_PROVIDER": "Other",
            "RCLONE_CONFIG_STORE_ENDPOINT": endpoint,
            "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": "id",
            "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": "key",
        }

    def files(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def new_folder(self) -> str:
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        return str(folder)

    def backup(self, pods: Pods, members: list[list[str]]) -> str:
        """Back up; the name of the backup."""
        folder = self.new_folder()
        succeeded(dump(pods, folder, members))
        self.upload(pods, folder)
        return Path(folder, "NAME").read_text().strip()

    def upload(self, pods: Pods, folder: str) -> None:
        succeeded(pods.run("backup-upload.sh", folder, self.remote, **self.variables))

    def fetch(self, pods: Pods, name: str) -> subprocess.CompletedProcess[str]:
        self.fetched = self.new_folder()
        return pods.run("restore-fetch.sh", self.fetched, self.remote, name, **self.variables)

    def restore(
        self, pods: Pods, hosts: list[str], name: str = "latest", *, overwrite: bool = False
    ) -> str:
        """Restore; what was said."""
        succeeded(self.fetch(pods, name))
        succeeded(load(pods, "check", self.fetched, hosts, overwrite))
        return succeeded(load(pods, "load", self.fetched, hosts, overwrite))


def dump(
    pods: Pods, folder: str, members: list[list[str]], **more: str
) -> subprocess.CompletedProcess[str]:
    users = {
        "LOOK_USER": "exporter",
        "LOOK_PASSWORD": PASSWORDS["exporter"],
        "COPY_USER": "replica",
        "COPY_PASSWORD": PASSWORDS["replica"],
    }
    return pods.run("backup-dump.sh", folder, *layout(members), **{**users, **more})


def load(
    pods: Pods, what: str, folder: str, hosts: list[str], overwrite: bool
) -> subprocess.CompletedProcess[str]:
    config = ""
    if pods.tls:
        files = {"ca-cert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        lines = [f"tls-{option}-file {pods.folder}/{file}" for option, file in files.items()]
        config = "\n".join(["tls-cluster yes", *lines])
    return pods.run(
        "restore-load.sh",
        what,
        folder,
        ",".join(hosts),
        OVERWRITE="true" if overwrite else "false",
        REDIS_TLS_CONFIG=config,
        SCRIPT=str(SCRIPTS / "restore.lua"),
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(endpoint: str, tmp_path: Path) -> Store:
    return Store(endpoint, tmp_path)


def one(pods: Pods, name: str) -> None:
    pods.start(name, SINGLE)
    eventually(lambda: pods.client(name).ping())


def furnish(client) -> None:
    """Keys of every kind, of names and values that shells and texts trip over."""
    client.set("plain", "value")
    client.set("with space", "a\nb\r\n'\"$(x)\\")
    client.set(b"\xff\x00\n{tag", b"\x00\xfe\r\n")
    client.set("expires", "soon", ex=3600)
    client.hset("hash", mapping={"a": "1", "b": "2"})
    client.rpush("list", *range(300))
    client.zadd("ranks", {"a": 1.5, "b": -2})
    client.sadd("set", "x", "y")
    client.xadd("stream", {"field": "value"})
    client.set("{tag}one", "1")
    client.set("{tag}two", "2")
    for number in range(2000):
        client.set(f"key-{number}", f"value-{number}")


def assert_furnished(client) -> None:
    assert client.get("plain") == "value"
    assert client.get("with space") == "a\nb\r\n'\"$(x)\\"
    assert client.exists(b"\xff\x00\n{tag")
    assert 3000 < client.ttl("expires") <= 3600
    assert client.hgetall("hash") == {"a": "1", "b": "2"}
    assert client.lrange("list", 0, -1) == [str(n) for n in range(300)]
    assert client.zrange("ranks", 0, -1) == ["b", "a"]
    assert client.zscore("ranks", "a") == 1.5
    assert client.smembers("set") == {"x", "y"}
    assert client.xlen("stream") == 1
    assert [client.get("{tag}one"), client.get("{tag}two")] == ["1", "2"]
    assert all(client.get(f"key-{n}") == f"value-{n}" for n in range(2000))


@pytest.mark.parametrize("tls", [False, True])
def test_standalone_restored_into_an_empty_one(store: Store, tmp_path: Path, tls: bool):
    with Pods(tmp_path, tls=tls, extra=QUICK) as pods:
        one(pods, "redis-0.pods")
        client = pods.client("redis-0.pods")
        furnish(client)
        other = pods.client("redis-0.pods")
        other.select(3)
        other.set("elsewhere", "3")
        code = "redis.register_function('one', function() return 1 end)"
        client.function_load(f"#!lua name=mine\n{code}")
        name = store.backup(pods, [["redis-0.pods"]])
        assert store.files() == [f"team/redis/{name}/{f}" for f in ("SHA256SUMS", "shard-0.rdb")]

        one(pods, "fresh-0.pods")
        said = store.restore(pods, ["fresh-0.pods"])
        assert "kept 0" in said
        fresh = pods.client("fresh-0.pods")
        assert_furnished(fresh)
        assert fresh.dbsize() == client.dbsize()
        assert fresh.fcall("one", 0) == 1
        fresh.select(3)
        assert fresh.get("elsewhere") == "3"


def test_three_shards_restored_into_four(store: Store, tmp_path: Path):
    with Pods(tmp_path, tls=True, extra=QUICK) as pods:
        members = shards(3)
        for name in itertools.chain(*members):
            pods.start(name)
        succeeded(pods.run("cluster-layout.sh", *layout(members)))
        furnish(pods.cluster())
        store.backup(pods, members)
        assert len(store.files()) == 4
        for name in itertools.chain(*members):
            pods.kill(name)

        fresh = [[name.replace("redis", "fresh") for name in shard] for shard in shards(4)]
        for name in itertools.chain(*fresh):
            pods.start(name)
        succeeded(pods.run("cluster-layout.sh", *layout(fresh)))
        store.restore(pods, list(itertools.chain(*fresh)))
        assert_furnished(pods.cluster())


def test_a_replicated_one_is_copied_from_its_replica(store: Store, tmp_path: Path):
    with Pods(tmp_path, extra=QUICK) as pods:
        one(pods, "redis-0.pods")
        one(pods, "redis-1.pods")
        pods.client("redis-1.pods").replicaof(pods.addresses["redis-0.pods"], 6379)
        eventually(
            lambda: pods.client("redis-1.pods").info("replication")["master_link_status"] == "up"
        )
        pods.client("redis-0.pods").set("a", "b")
        pods.client("redis-0.pods").wait(1, 1000)
        folder = store.new_folder()
        assert "copying redis-1.pods" in succeeded(
            dump(pods, folder, [["redis-0.pods", "redis-1.pods"]])
        )
        pods.client("redis-0.pods").flushall()
        store.upload(pods, folder)
        # Whichever pod is asked, the master gets the keys.
        store.restore(pods, ["redis-1.pods", "redis-0.pods"])
        assert pods.client("redis-0.pods").get("a") == "b"


def test_nothing_is_overwritten_without_consent(store: Store, tmp_path: Path):
    with Pods(tmp_path) as pods:
        one(pods, "redis-0.pods")
        client = pods.client("redis-0.pods")
        client.mset({"a": "old", "b": "old"})
        store.backup(pods, [["redis-0.pods"]])
        client.mset({"a": "new", "c": "new"})
        client.delete("b")

        succeeded(store.fetch(pods, "latest"))
        refused = load(pods, "check", store.fetched, ["redis-0.pods"], False)
        assert refused.returncode == 1
        assert "error: the Redis to restore into holds 2 keys" in refused.stderr
        # Even where the check passed before somebody wrote.
        said = succeeded(load(pods, "load", store.fetched, ["redis-0.pods"], False))
        assert "restored 1 keys, kept 1 that were there" in said
        assert client.mget("a", "b", "c") == ["new", "old", "new"]

        assert "restored 2 keys, kept 0" in store.restore(pods, ["redis-0.pods"], overwrite=True)
        assert client.mget("a", "b", "c") == ["old", "old", "new"]


def test_a_backup_that_is_not_whole_is_not_restored(store: Store, tmp_path: Path):
    with Pods(tmp_path) as pods:
        one(pods, "redis-0.pods")
        pods.client("redis-0.pods").set("a", "b")
        good = store.backup(pods, [["redis-0.pods"]])
        late = "team/redis/2999-01-01T000000Z/shard-0.rdb"
        store.client.put_object(Bucket=store.bucket, Key=late, Body=b"REDIS0010")
        assert f"backup {good}" in succeeded(store.fetch(pods, "latest"))
        refused = store.fetch(pods, "2999-01-01T000000Z")
        assert refused.returncode == 1
        assert "has no whole backup 2999-01-01T000000Z" in refused.stderr
        store.client.put_object(
            Bucket=store.bucket, Key=f"team/redis/{good}/shard-0.rdb", Body=b"REDIS0010"
        )
        assert store.fetch(pods, good).returncode != 0


def test_a_backup_waits_for_what_does_not_answer_yet(store: Store, tmp_path: Path):
    """As a new pod, which network policies let in a moment late."""
    with Pods(tmp_path) as pods:
        later = threading.Timer(2, lambda: one(pods, "redis-0.pods"))
        later.start()
        succeeded(dump(pods, store.new_folder(), [["redis-0.pods"]]))
        later.join()


def test_no_backup_of_what_does_not_answer(store: Store, tmp_path: Path):
    with Pods(tmp_path) as pods:
        one(pods, "redis-0.pods")
        folder = store.new_folder()
        failed = dump(pods, folder, [["redis-0.pods"]], LOOK_PASSWORD="wrong", PATIENCE="1")
        assert failed.returncode == 1
        failed = dump(pods, folder, [["redis-0.pods"], ["gone.pods"]], PATIENCE="1")
        assert failed.returncode == 1
        assert "error: no pod of gone.pods answers" in failed.stderr
        failed = dump(pods, folder, [["redis-0.pods"]], COPY_PASSWORD="wrong")
        assert failed.returncode == 1
        assert not Path(folder, "NAME").exists()


def test_every_key_goes_to_the_shard_of_its_slot(tmp_path: Path):
    with Pods(tmp_path) as pods:
        one(pods, "redis-0.pods")
        pods.start("cluster-0.pods")
        asked = eventually(lambda: pods.client("cluster-0.pods"))
        source = (SCRIPTS / "restore.lua").read_text()
        function = source[source.index("local function slot_of") : source.index("local host_of")]
        client = pods.client("redis-0.pods")
        names = ["", "a", "{}", "{}a", "a{b}c", "{a}{b}", "{{a}}", "a{b", "}{", "123456789", "ä"]
        for name in [*names, *(secrets.token_hex(8) for _ in range(200))]:
            mine = client.eval(f"{function} return slot_of(ARGV[1])", 0, name)
            assert mine == asked.execute_command("CLUSTER KEYSLOT", name), name
