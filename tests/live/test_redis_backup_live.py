"""Backup and restore on real nodes: of shards into a Redis alone, in another namespace."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pulumi.automation import CommandError

from benchmarks import redis_bed
from benchmarks.redis_bed import Bed
from components.redis.topology import Sharded, Standalone
from sandbox.controlplane import RunningSandbox

BUCKET = "backups"
SMALL: dict[str, Any] = {"storage": 1, "cpus": 0.2}
SOURCE, TARGET = "redis-kept", "redis-restored"


@pytest.fixture(scope="module")
def store(real_sandbox: RunningSandbox) -> Iterator[dict[str, str]]:
    """A bucket at this host's address on the nodes' network, as settings name it."""
    server = ThreadedMotoServer(api_address(real_sandbox), 0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
    ).create_bucket(Bucket=BUCKET)
    yield {
        "backup_url": f"s3://{BUCKET}/redis",
        "backup_endpoint": endpoint,
        "backup_access_key": "id",
        "backup_secret_key": "key",
    }
    server.stop()


def api_address(sandbox: RunningSandbox) -> str:
    """Where pods reach this host."""
    server = Path(sandbox.admin_kubeconfig).read_text().partition("https://")[2]
    return server.partition(":")[0]


def bed(sandbox: RunningSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: str) -> Bed:
    monkeypatch.setattr(redis_bed, "_STACK", stack)
    return Bed(sandbox, folder)


def test_shards_restored_into_a_redis_alone_once(
    real_sandbox: RunningSandbox,
    store: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    source = bed(real_sandbox, tmp_path / "source", monkeypatch, "kept")
    target = Bed(real_sandbox, tmp_path / "target")
    try:
        source.up(Sharded(namespace=SOURCE, memory=192, proxies=1, **SMALL, **store))
        for number in range(20):
            source.redis_cli("redis-shard-0-0", "-c", "SET", f"key-{number}", f"value-{number}")
        source.kubectl("create", "job", "-n", SOURCE, "--from=cronjob/redis-backup", "now")
        source.kubectl(
            *("wait", "-n", SOURCE, "--for=condition=Complete", "job/now", "--timeout=180s")
        )

        monkeypatch.setattr(redis_bed, "_STACK", "restored")
        wanted = {"namespace": TARGET, "memory": 256, **SMALL, **store}
        target.up(Standalone(restore_backup="latest", **wanted))
        assert target.redis_cli("redis-0", "DBSIZE").strip() == "20"
        assert target.redis_cli("redis-0", "GET", "key-19").strip() == "value-19"

        # By another name it is another restore, and nobody consented to that one.
        log = source.kubectl("logs", "-n", SOURCE, "job/now", "-c", "upload")
        name = log.split()[-1]
        target.redis_cli("redis-0", "SET", "key-19", "changed")
        with pytest.raises(CommandError, match="redis-restore"):
            target.up(Standalone(restore_backup=name, **wanted))
        assert target.redis_cli("redis-0", "GET", "key-19").strip() == "changed"
    finally:
        monkeypatch.setattr(redis_bed, "_STACK", "restored")
        target.destroy()
        monkeypatch.setattr(redis_bed, "_STACK", "kept")
        source.destroy()
