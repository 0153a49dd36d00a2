"""Redis by the real engine on a real API server: its topologies one after the other, its guard, its
secrets. Pods are simulated; what they do is tested on real nodes.
"""

import gzip
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pulumi
import pytest
from pulumi import automation

from components.cluster.sandbox import Sandbox, SandboxArgs
from components.redis.component import guard
from components.redis.create import create
from components.redis.topology import parse
from provider.redis import secret_name
from sandbox import audit, controlplane
from sandbox.api import ApiError, Client
from sandbox.audit import AuditSummary
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.engine import open_stack
from sandbox.parts import DEPLOYER

pytestmark = pytest.mark.engine


class Installation:
    """A stack with nothing but Redis."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = Client(sandbox.admin_kubeconfig, "test")
        self.said: list[str] = []
        self.outputs: dict[str, Any] = {}

    def run(self, verb: str, topology: str = "none", *, lose: bool = False, **more: Any):
        """Run a verb of Pulumi's; what the API server was asked to write."""
        chosen = {f"redis{name}": value for name, value in more.items()}
        model = parse({"redisTopology": topology, **chosen})
        self.said.clear()

        def program() -> None:
            cluster = Sandbox("cluster", SandboxArgs(self.sandbox.name, self.sandbox.data_dir))
            checked = guard("redis", cluster, model, allow_data_loss=lose)
            if model is not None:
                redis = create("redis", cluster, model, checked)
                for name, value in redis.outputs.items():
                    pulumi.export(name, value)

        since = self.sandbox.audit_log.stat().st_size
        with mock.patch.dict(os.environ):
            stack = self._stack(program)
            getattr(stack, verb)(on_output=self.said.append, on_error=self.said.append)
            self.outputs = stack.outputs()
        return self.written(since)

    def _stack(self, program) -> automation.Stack:
        return open_stack("redis", self.sandbox.data_dir / "pulumi", {}, self.said.append, program)

    def written(self, since: int) -> AuditSummary:
        return audit.summarise(list(audit.read(self.sandbox.audit_log, since)), DEPLOYER)

    def get(self, path: str) -> Any:
        return self.client.request("GET", path)

    def state(self) -> str:
        """All that Pulumi keeps, as it is on the disk."""
        kept = [file.read_bytes() for file in (self.sandbox.data_dir / "pulumi").rglob("*.json.gz")]
        assert kept
        return b"".join(map(gzip.decompress, kept)).decode()

    def statefulset(self) -> dict[str, Any]:
        return self.get("/apis/apps/v1/namespaces/redis/statefulsets/redis")

    def claims(self) -> dict[str, tuple[str, str]]:
        """Volumes: their UID, so that a new one of the same name is told apart, and their size."""
        found = self.get("/api/v1/namespaces/redis/persistentvolumeclaims")["items"]
        return {
            claim["metadata"]["name"]: (
                claim["metadata"]["uid"],
                claim["spec"]["resources"]["requests"]["storage"],
            )
            for claim in found
        }

    def access(self) -> dict[str, str]:
        return self.get(f"/api/v1/namespaces/kube-system/secrets/{secret_name('redis')}")["data"]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("redis") / "data"
    sandbox = controlplane.start(SandboxOptions("test-redis", 3, data_dir=folder))
    try:
        yield Installation(sandbox)
    finally:
        sandbox.stop()


def test_from_one_redis_to_many_and_what_would_lose_data(redis: Installation) -> None:
    wrote = redis.run("up", "standalone")
    assert wrote.failed == [] and wrote.repeated == []
    first, claims, access = redis.statefulset(), redis.claims(), redis.access()

    # Nothing to do: nothing is written.
    assert redis.run("up", "standalone").writes == 0

    # Larger: the volume is the same and grows, and so does the limit.
    redis.run("up", "standalone", Storage=9, Memory=2048)
    assert redis.claims() == {"data-redis-0": (claims["data-redis-0"][0], "9Gi")}
    container = redis.statefulset()["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "2Gi"

    # One becomes the master of three: the same StatefulSet, volume and passwords.
    wrote = redis.run("up", "replicated", Storage=9)
    assert wrote.failed == [] and wrote.repeated == []
    assert redis.statefulset()["metadata"]["uid"] == first["metadata"]["uid"]
    assert redis.claims()["data-redis-0"] == (claims["data-redis-0"][0], "9Gi")
    assert len(redis.claims()) == 3 and redis.access() == access
    assert redis.run("up", "replicated", Storage=9).writes == 0

    # What loses data is refused by a preview and by an update, which writes nothing.
    before = redis.statefulset()["metadata"]["resourceVersion"]
    for topology, more, sentence in (
        ("sharded", {"Storage": 9}, "redisTopology was 'replicated' and is 'sharded'"),
        ("standalone", {"Storage": 9}, "redisTopology was 'replicated' and is 'standalone'"),
        ("none", {}, "redisTopology was 'replicated' and is 'none'"),
        ("replicated", {"Storage": 9, "Persistence": "none"}, "redisPersistence was 'aof'"),
        ("replicated", {"Storage": 8}, "redisStorage was 9 and is 8 GiB: volumes only grow"),
    ):
        for verb in ("preview", "up"):
            since = redis.sandbox.audit_log.stat().st_size
            with pytest.raises(automation.CommandError):
                redis.run(verb, topology, **more)
            said = "".join(redis.said)
            assert sentence in said, said
            assert redis.written(since).writes == 0, (verb, topology)
    assert redis.statefulset()["metadata"]["resourceVersion"] == before

    # No password is in what was shown, or in the state.
    words = [value.value for name, value in redis.outputs.items() if name.endswith("Uri")]
    assert len(words) == 2
    for uri in words:
        assert uri.split(":")[2].split("@")[0] not in redis.state() + "".join(redis.said)

    # With consent.
    redis.run("up", "sharded", lose=True)
    with pytest.raises(ApiError):
        redis.statefulset()
    assert redis.access() == access

    redis.run("destroy", "sharded")
    with pytest.raises(ApiError):
        redis.access()
