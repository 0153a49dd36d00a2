"""Active-active on a real API server that holds Redis Enterprise's definitions, by the real engine.

No operator runs here, so nothing becomes a Redis: what is tested is that the objects are admitted,
in order and each written once, and that the schemas refuse what is wrong.
"""

import copy
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from components.cluster.sandbox import Sandbox, SandboxArgs
from components.redis import active_active
from components.redis.component import guard
from components.redis.create import create
from components.redis.topology import ActiveActive, parse
from sandbox import audit, controlplane
from sandbox.api import ApiError, Client
from sandbox.audit import AuditSummary
from sandbox.controlplane import RunningSandbox, SandboxOptions
from sandbox.engine import open_stack
from sandbox.parts import DEPLOYER

pytestmark = pytest.mark.engine

DEFINITIONS = (
    Path(__file__).resolve().parents[3] / "shared" / "sources" / "redis-enterprise" / "crds"
)
API = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HUSH = {"redisLicence": "-----licence-----", "redisClusterPassword": "hush-of-all-places"}
SETTINGS = {
    "redisTopology": "active-active",
    "redisPlace": "london=api-london.example.com",
    "redisPeers": ("paris=api-paris.example.com", "rome=api-rome.example.com"),
    "redisStorageClass": "standard",
    "redisBackupUrl": "s3://backups/redis",
    "redisBackupAccessKey": "id",
    "redisBackupSecretKey": "hush-of-the-store",
    **HUSH,
}


def model(**more: Any) -> ActiveActive:
    found = parse({**SETTINGS, **more})
    assert isinstance(found, ActiveActive)
    return found


class Place:
    """The sandbox, and a stack with nothing but Redis on it."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = Client(sandbox.admin_kubeconfig, "test")
        self.said: list[str] = []

    def run(self, verb: str, **more: Any) -> AuditSummary:
        def program() -> None:
            cluster = Sandbox("cluster", SandboxArgs(self.sandbox.name, self.sandbox.data_dir))
            topology = model(**more)
            checked = guard("redis", cluster, topology, allow_data_loss=True)
            create("redis", cluster, topology, checked)

        since = self.sandbox.audit_log.stat().st_size
        home = self.sandbox.data_dir / "pulumi"
        with mock.patch.dict(os.environ):
            stack = open_stack("active", home, {}, self.said.append, program)
            getattr(stack, verb)(on_output=self.said.append, on_error=self.said.append)
        return audit.summarise(list(audit.read(self.sandbox.audit_log, since)), DEPLOYER)

    def get(self, version: str, plural: str, name: str = "") -> Any:
        path = f"/apis/app.redislabs.com/{version}/namespaces/redis/{plural}"
        return self.client.request("GET", f"{path}/{name}" if name else path)

    def try_out(self, body: dict[str, Any], plural: str) -> None:
        version = body["apiVersion"].partition("/")[2]
        path = f"/apis/app.redislabs.com/{version}/namespaces/redis/{plural}"
        body = {**body, "metadata": {**body["metadata"], "name": "other"}}
        self.client.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", body)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("active") / "data"
    sandbox = controlplane.start(SandboxOptions("test-active", data_dir=folder))
    try:
        place = Place(sandbox)
        for file in sorted(DEFINITIONS.glob("*.yaml")):
            place.client.request("POST", API, yaml.safe_load(file.read_text()))
        yield place
    finally:
        sandbox.stop()


def test_the_life_of_an_active_active_redis(place: Place):
    up = place.run("up")
    assert not up.failed and not up.repeated
    cluster = place.get("v1", "redisenterpriseclusters", "redis-london")["spec"]
    assert cluster["nodes"] == 3
    assert cluster["licenseSecretName"] == "redis-licence"
    remotes = place.get("v1alpha1", "redisenterpriseremoteclusters")["items"]
    assert {r["metadata"]["name"]: r["spec"]["apiFqdnUrl"] for r in remotes} == {
        "london": "api-london.example.com",
        "paris": "api-paris.example.com",
        "rome": "api-rome.example.com",
    }
    database = place.get("v1alpha1", "redisenterpriseactiveactivedatabases", "redis")["spec"]
    assert [p["name"] for p in database["participatingClusters"]] == ["london", "paris", "rome"]
    assert database["globalConfigurations"]["tlsMode"] == "enabled"
    secrets = place.client.request("GET", "/api/v1/namespaces/redis/secrets")["items"]
    names = {item["metadata"]["name"] for item in secrets}
    assert {remote["spec"]["secretName"] for remote in remotes} <= names
    assert {database["globalConfigurations"]["databaseSecretName"], "redis-licence"} <= names

    # No secret in what the engine printed or in the state.
    [file] = (place.sandbox.data_dir / "pulumi" / ".pulumi" / "stacks").rglob("active.json.gz")
    state = gzip.decompress(file.read_bytes()).decode()
    assert "api-london.example.com" in state
    password = active_active.database_password(HUSH["redisClusterPassword"])
    for secret in (*HUSH.values(), "hush-of-the-store", password):
        assert secret not in "\n".join(place.said)
        assert secret not in state

    again = place.run("up")
    assert again.writes == 0
    fewer = place.run("up", redisPeers=SETTINGS["redisPeers"][:1])
    assert not fewer.failed
    assert len(place.get("v1alpha1", "redisenterpriseremoteclusters")["items"]) == 2
    gone = place.run("destroy")
    assert not gone.failed


def _wrong(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    *folders, last = path.split(".")
    inner = changed["spec"]
    for folder in folders:
        inner = inner[folder]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("make", "plural", "path", "value"),
    [
        ("enterprise_cluster", "redisenterpriseclusters", "nodes", "three"),
        ("enterprise_cluster", "redisenterpriseclusters", "ingressOrRouteSpec.method", "magic"),
        ("enterprise_cluster", "redisenterpriseclusters", "ingressOrRouteSpec.apiFqdnUrl", None),
        ("enterprise_cluster", "redisenterpriseclusters", "persistentSpec.volumeSize", "big"),
        ("enterprise_cluster", "redisenterpriseclusters", "licenceSecretName", "misspelt"),
        ("database", "redisenterpriseactiveactivedatabases", "globalConfigurations.tlsMode", "on"),
        ("database", "redisenterpriseactiveactivedatabases", "participatingClusters", None),
        (
            "database",
            "redisenterpriseactiveactivedatabases",
            "globalConfigurations.persistence",
            "aof",
        ),
        ("remote_cluster", "redisenterpriseremoteclusters", "recName", None),
        ("remote_cluster", "redisenterpriseremoteclusters", "apiFqdnUrl", 1),
    ],
)
def test_the_schemas_refuse_what_is_wrong(
    place: Place, make: str, plural: str, path: str, value: object
):
    topology = model()
    more = (topology.here,) if make == "remote_cluster" else ()
    body = getattr(active_active, make)(topology, *more)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "redis"}}
    try:
        place.client.request("POST", "/api/v1/namespaces", namespace)
    except ApiError as error:
        assert error.code == 409
    place.try_out(body, plural)
    with pytest.raises(ApiError) as refused:
        place.try_out(_wrong(body, path, value), plural)
    assert refused.value.code in (400, 422)
    assert path.rpartition(".")[2] in str(refused.value)
