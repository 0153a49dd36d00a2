"""Alerts and the dashboard: their metrics are the real exporter's, and their expressions parse."""

import itertools
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest

from components.redis import monitoring
from components.redis.topology import RedisTopology, parse
from tests.support.redis_processes import (
    PASSWORDS,
    PORT,
    Pods,
    environment,
    eventually,
    exporter,
    layout,
    shards,
)

# https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/cronjob-metrics.md
KUBE_STATE_METRICS = {
    "kube_cronjob_next_schedule_time",
    "kube_cronjob_status_last_schedule_time",
    "kube_cronjob_status_last_successful_time",
}
BACKUP = {
    "redisBackupUrl": "s3://backups/redis",
    "redisBackupAccessKey": "id",
    "redisBackupSecretKey": "key",
}
TOPOLOGIES = ("standalone", "replicated", "sharded")


def topology(name: str, **more: object) -> RedisTopology:
    found = parse({"redisTopology": name, **BACKUP, **more})
    assert found is not None
    return found


def expressions(of: RedisTopology) -> list[str]:
    found = [alert.expression for alert in monitoring.alerts(of, 3)]
    for panel in monitoring.dashboard(of)["panels"]:
        found += [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]
    return found


def metrics(expression: str) -> set[str]:
    """Names of the metrics of an expression."""
    found: set[str] = set()

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.add(node.vector_selector.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def exported(pods: Pods, name: str, folder: Path) -> set[str]:
    """Names of the metrics that the exporter, set as in a pod, has of one Redis."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = environment(
        REDIS_ADDR=f"rediss://{pods.addresses[name]}:{PORT}",
        REDIS_USER="exporter",
        REDIS_PASSWORD=PASSWORDS["exporter"],
        REDIS_EXPORTER_TLS_CA_CERT_FILE=f"{pods.folder}/ca.crt",
        REDIS_EXPORTER_SKIP_TLS_VERIFICATION="true",  # of the name: this one has an address
        REDIS_EXPORTER_CONFIG_COMMAND="-",
        REDIS_EXPORTER_INCL_SYSTEM_METRICS="true",
        REDIS_EXPORTER_WEB_LISTEN_ADDRESS=f"127.0.0.1:{port}",
    )
    with (folder / "exporter.log").open("ab") as log:
        process = subprocess.Popen([str(exporter())], env=variables, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        text = eventually(lambda: urllib.request.urlopen(url).read().decode())
    finally:
        process.kill()
        process.wait()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert any(line.startswith("redis_up 1") for line in lines)
    return {line.partition(" ")[0].partition("{")[0] for line in lines}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """What the exporter has of a master and of a replica of a cluster."""
    folder = tmp_path_factory.mktemp("exported")
    with Pods(folder, tls=True, extra=["repl-diskless-sync-delay 0"]) as pods:
        members = shards(3)
        for name in itertools.chain(*members):
            pods.start(name)
        assert pods.run("cluster-layout.sh", *layout(members)).returncode == 0
        yield exported(pods, members[0][0], folder) | exported(pods, members[0][1], folder)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_metric_is_one_of_the_real_exporter(real: set[str], name: str):
    used = set.union(*map(metrics, expressions(topology(name))))
    assert len(used) > 15
    assert used - KUBE_STATE_METRICS <= real


def test_a_metric_that_is_not_there_would_be_found(real: set[str]):
    assert metrics("rate(redis_no_such{a='b'}[5m]) > 1") - real == {"redis_no_such"}


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_expressions_are_of_the_own_namespace(name: str, policy: str):
    of = topology(name, redisNamespace="cache", redisEvictionPolicy=policy)
    for expression in expressions(of):
        selectors = expression.count('namespace="cache"')
        assert selectors >= len(metrics(expression)) > 0, expression


def test_what_is_watched_of_each_topology():
    def named(name: str, **more: object) -> set[str]:
        return {alert.name for alert in monitoring.alerts(topology(name, **more), 3)}

    always = {"RedisDown", "RedisMissing", "RedisMemoryFull", "RedisEvicting", "RedisBackupTooOld"}
    copied = {"RedisReplicaLagging", "RedisReplicaUnlinked"}
    assert named("standalone") >= always
    assert not named("standalone") & copied
    assert named("replicated") >= always | copied | {"RedisMasters"}
    assert named("sharded") >= always | copied | {"RedisSlotsUncovered"}
    none = parse({"redisTopology": "standalone", "redisPersistence": "none"})
    assert none is not None
    assert not {a.name for a in monitoring.alerts(none, 1)} & {"RedisBackupTooOld", "RedisNotSaved"}


def test_without_the_operator_rules_are_a_file():
    dashboard, rules = monitoring.objects(topology("sharded"), 6)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = dashboard["data"].values()
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert rules["kind"] == "ConfigMap"
    (group,) = json.loads(rules["data"]["redis.rules.json"])["groups"]
    assert {"alert", "expr", "for", "labels", "annotations"} == set(group["rules"][0])


def test_with_the_operator_rules_are_its_own():
    found = monitoring.objects(topology("sharded", redisPrometheusOperator=True), 6)
    assert [body["kind"] for body in found] == ["ConfigMap", "PrometheusRule", "ServiceMonitor"]
    assert found[1]["spec"]["groups"][0]["name"] == "redis"
