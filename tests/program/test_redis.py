"""Redis's components against Pulumi's mocks: what they register, in which order, what is secret."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pulumi
import pulumi.runtime.config as runtime_config
import pytest

from components.cluster.base import AMD64, Capabilities, Cluster
from components.redis import topology as model
from components.redis.component import Redis, guard
from components.redis.create import create
from provider.values import SECRET_MARK, SIGNATURE
from tests.support.programs import existing_kubeconfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
GUARD = "mlplatform:redis:Topology::redis"
ACCESS = "mlplatform:redis:Access::redis-access"


class Fixed(Cluster):
    def __init__(self) -> None:
        super().__init__("Fixed", "cluster")
        self._offer("cluster", "{}", "fixed", Capabilities(False, "", AMD64))


def made(topology: model.RedisTopology) -> Redis:
    cluster = Fixed()
    checked = guard("redis", cluster, topology, allow_data_loss=False)
    return create("redis", cluster, topology, checked)


def named(ran) -> dict[str, object]:
    found = {f"{r.type}::{r.name}": r for r in ran.registered}
    assert len(found) == len(ran.registered)
    return found


def tail(urn: str) -> str:
    _, _, types, name = urn.split("::", 3)
    return f"{types.rpartition('$')[2]}::{name}"


def waits(found, name: str) -> set[str]:
    """Everything that a resource comes after."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        for urn in found[todo.pop()].request.dependencies:
            if (needed := tail(urn)) not in seen:
                seen.add(needed)
                todo.append(needed)
    return seen


@pytest.fixture
def register(run_program) -> Callable[[dict[str, object]], dict[str, object]]:
    def run(**settings: object):
        topology = model.parse({f"redis{key}": value for key, value in settings.items()})
        return named(run_program(lambda: made(topology)))

    return run


def on_cluster(found) -> dict[str, object]:
    return {name: r for name, r in found.items() if name.startswith("kubernetes:")}


@pytest.mark.parametrize("topology", ["standalone", "replicated", "sharded"])
def test_nothing_is_made_before_the_guard_and_no_pod_before_what_it_needs(register, topology: str):
    found = register(Topology=topology)
    for name in [*on_cluster(found), ACCESS]:
        assert GUARD in waits(found, name), name
    pods = [n for n in found if n.split("::")[0].endswith((":StatefulSet", ":Deployment"))]
    assert pods
    for name in pods:
        needed = waits(found, name)
        for secret in ("redis-tls", "redis-access"):
            assert f"kubernetes:core/v1:Secret::redis/{secret}" in needed
        assert any("NetworkPolicy" in entry for entry in needed)
        assert "kubernetes:core/v1:ServiceAccount::redis/redis" in needed


def test_sentinels_come_after_redis_and_the_proxy_after_them(register):
    found = register(Topology="replicated", Replicas=3)
    server, sentinel = (
        f"kubernetes:apps/v1:StatefulSet::redis/{name}" for name in ("redis", "redis-sentinel")
    )
    proxy = "kubernetes:apps/v1:Deployment::redis/redis-proxy"
    assert server in waits(found, sentinel) and sentinel in waits(found, proxy)
    for ordinal in range(4):
        claim = f"kubernetes:core/v1:PersistentVolumeClaim::redis/data-redis-{ordinal}"
        assert claim in waits(found, server)


def test_no_secret_is_in_plain(register):
    found = register(Topology="replicated")
    for name, resource in on_cluster(found).items():
        text = json.dumps(resource.inputs, default=str)
        if "::redis/redis-access" in name or "::redis/redis-tls" in name:
            data = resource.request.object.fields["stringData"].struct_value.fields
            for value in data.values():
                assert value.struct_value.fields[SIGNATURE].string_value == SECRET_MARK, name
        else:
            assert "made-" not in text, name


@pytest.mark.parametrize("topology", ["standalone", "replicated", "sharded"])
def test_every_topology_has_the_same_outputs(run_program, topology: str):
    def program():
        redis = made(model.parse({"redisTopology": topology}))
        return pulumi.Output.all(**redis.outputs)

    values, secret = run_program(program).returned
    assert secret
    assert values["redisWriteEndpoint"] == "redis.redis.svc.cluster.local:6379"
    assert values["redisReadEndpoint"] == "redis-read.redis.svc.cluster.local:6379"
    assert values["redisWriteUri"].startswith(
        "rediss://app:made-app_password@redis.redis.svc.cluster.local:6379/0"
    )
    assert values["redisReadUri"].startswith("rediss://reader:made-reader_password@redis-read.")
    assert values["redisMetricsEndpoint"].endswith(":9121/metrics")
    assert values["redisCaCertificate"] == "made-ca_certificate"


def test_the_uris_are_secret_and_the_authority_is_not(run_program):
    for name, expected in (("write_uri", True), ("read_uri", True), ("ca_certificate", False)):
        ran = run_program(
            lambda name=name: getattr(made(model.parse({"redisTopology": "standalone"})), name)
        )
        assert ran.returned[1] is expected, name


def test_a_change_of_topology_keeps_what_is_there(register):
    """The same resources by alias: else the old component would delete what the new one made."""
    one, other = register(Topology="standalone"), register(Topology="replicated")
    shared = set(on_cluster(one)) & set(on_cluster(other))
    assert "kubernetes:apps/v1:StatefulSet::redis/redis" in shared
    assert "kubernetes:core/v1:PersistentVolumeClaim::redis/data-redis-0" in shared
    component = next(r for n, r in other.items() if n.startswith("mlplatform:redis:Replicated"))
    aliases = {alias.spec.type for alias in component.request.aliases}
    assert {"mlplatform:redis:Standalone", "mlplatform:redis:Sharded"} <= aliases


# --- the whole program ---------------------------------------------------------------------------


@pytest.fixture
def main(run_program, tmp_path: Path):
    kubeconfig = existing_kubeconfig(tmp_path)

    def run(**settings: str):
        values = {
            "cluster": "existing",
            "kubeconfig": str(kubeconfig),
            "kubeflowPath": str(SOURCE),
            **settings,
        }
        runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in values.items()}, [])
        return named(
            run_program(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"))
        )

    yield run
    runtime_config.set_all_config({}, [])


def test_a_stack_without_redis_has_its_guard_and_nothing_else_of_it(main):
    found = main(kubeflowComponents='["dex"]')
    assert [name for name in found if "redis" in name] == [GUARD]
    assert found[GUARD].inputs == {"shape": {"topology": "none"}, "allowDataLoss": False}


def test_a_profile_is_given_redis(main):
    found = main(
        redisTopology="replicated",
        redisProfiles='["kubeflow-user-example-com"]',
        kubeflowComponents='["admission-webhook", "user-namespace"]',
    )
    secret = "kubernetes:core/v1:Secret::kubeflow-user-example-com/redis-client"
    default = "kubernetes:kubeflow.org/v1alpha1:PodDefault::kubeflow-user-example-com/redis-client"
    owner = "kubernetes:kubeflow.org/v1beta1:Profile::kubeflow-user-example-com"
    kind = "mlplatform:kubernetes:CustomResourceDefinition::poddefaults.kubeflow.org"
    assert owner in waits(found, secret)
    assert {secret, kind, owner} <= waits(found, default)
    clients = found["kubernetes:networking.k8s.io/v1:NetworkPolicy::redis/redis-clients"]
    assert "kubeflow-user-example-com" in json.dumps(clients.inputs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"redisTopology": "replicated", "redisSentinels": "2"}, "redisSentinels is 2"),
        ({"redisTopology": "sharded", "redisShards": "1"}, "redisShards is 1"),
        ({"redisTopology": "active-active"}, "needs a licence"),
        (
            {"redisTopology": "standalone", "redisLicence": "x"},
            "redisLicence is in plain text|redisLicence is set, but redisTopology is 'standalone'",
        ),
    ],
)
def test_a_bad_setting_is_an_error_before_anything_is_registered(main, settings, message):
    with pytest.raises(pulumi.RunError, match=message):
        main(**settings)
