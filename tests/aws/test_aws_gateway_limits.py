"""Rate limits that all pods of the gateway share, counted in Redis at a service of AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.gateway.rendering import AWAITED
from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.platform import run_platform
from tests.support.gateway_sources import MANIFESTS, small_definitions
from tests.support.graph import Graph

GROUP = "aws:elasticache/replicationGroup:ReplicationGroup"
ROUTES = {
    "hosts": [{"name": "app.example.com", "tls": {"type": "ownCa"}}],
    "backends": [{"name": "app", "service": {"name": "app", "namespace": "apps", "port": 80}}],
    "policies": [{"type": "rateLimit", "name": "few", "requests": 5, "scope": "redis"}],
    "routes": [
        {
            "name": "app",
            "hosts": ["app.example.com"],
            "backends": [{"name": "app"}],
            "policies": ["few"],
        }
    ],
}
Load = Callable[[Mapping[str, Any]], RanOnAws]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    file = tmp_path / "routes.yaml"
    file.write_text(yaml.safe_dump(ROUTES))
    definitions = small_definitions(tmp_path / "definitions")

    def run(settings: Mapping[str, Any]) -> RanOnAws:
        implementation = settings.get("gateway", "kong")
        return run_platform(
            "aws",
            {
                "awsPreflight": False,
                "gateway": implementation,
                "gatewayPath": str(MANIFESTS[implementation]),
                "gatewayRoutes": str(file),
                "gatewayDefinitionsPath": str(definitions),
                "kubeflowComponents": ["dex"],
                **settings,
            },
        )

    with in_moto():
        yield run


def test_kong_counts_at_the_service_and_checks_who_it_is(load: Load) -> None:
    ran = load({"redisProvider": "aws", "redisTopology": "replicated"})
    assert AWAITED not in json.dumps([r.inputs for r in ran.registered], default=str)
    [plugin] = [
        r
        for r in ran.registered
        if r.type.endswith(":KongPlugin") and r.inputs["config"].get("policy") == "redis"
    ]
    redis = plugin.inputs["config"]["redis"]
    [group] = ran.aws.elasticache.describe_replication_groups()["ReplicationGroups"]
    address = group["NodeGroups"][0]["PrimaryEndpoint"]["Address"]
    assert (redis["host"], redis["server_name"], redis["port"]) == (address, address, 6379)
    assert redis["ssl"] is True and redis["ssl_verify"] is True
    assert redis["username"] == ran.of("aws:elasticache/user:User", "redis-app").inputs["userName"]
    assert f"{GROUP}::redis" in Graph(ran.registered).needs(f"{plugin.type}::{plugin.name}")

    secret = ran.of("kubernetes:core/v1:Secret", "kong/gateway-redis")
    data = secret.request.object.fields["stringData"].struct_value.fields
    password = data["password"].struct_value.fields
    assert password[SIGNATURE].string_value == SECRET_MARK
    assert password["value"].string_value == "made-app_password"
    assert "made-app_password" not in json.dumps(plugin.inputs)
    assert data["ca.crt"].string_value.count("BEGIN CERTIFICATE") == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "policies few have scope 'redis', but redisTopology is 'none'"),
        (
            {"redisProvider": "aws", "redisTopology": "sharded"},
            r"redisTopology is 'sharded' at redisProvider 'aws', .* set redisTopology to "
            "standalone or replicated, redisProvider to cluster, or scope to local",
        ),
        ({"redisProvider": "aws", "redisTopology": "active-active"}, "is 'active-active' at"),
        (
            {"redisProvider": "aws", "redisTopology": "replicated", "gateway": "nginx"},
            "NGINX Plus shares them",
        ),
    ],
)
def test_what_can_not_be_counted_is_told_before_anything_is_made(
    load: Load, settings: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        load(settings)
