"""What is built from the model: configuration, pods, network policies, the proxy's checks. Pure."""

import re
from itertools import chain
from typing import Any

import pytest

from components.redis import config, images, names, parts, replicated
from components.redis.haproxy import at_least, at_most, haproxy_cfg
from components.redis.topology import Replicated, Sharded, Standalone, parse


def settings_of(text: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines() if line)
    return {name: value for name, _, value in pairs}


# --- redis.conf ----------------------------------------------------------------------------------


def test_redis_listens_with_tls_only_and_knows_users_only():
    conf = settings_of(config.redis_conf(Standalone()))
    assert conf["port"] == "0" and conf["tls-port"] == "6379"
    assert conf["aclfile"] == "/etc/redis/access/users.acl"
    assert conf["tls-replication"] == "yes"
    assert "requirepass" not in conf and "masterauth" not in conf


@pytest.mark.parametrize(
    ("persistence", "expected"),
    [
        ("none", {"save": '""', "appendonly": "no", "shutdown-on-sigterm": "nosave"}),
        ("rdb", {"save": "300 1 60 1000", "appendonly": "no", "shutdown-on-sigterm": "save"}),
        ("aof", {"save": '""', "appendonly": "yes", "appendfsync": "everysec"}),
    ],
)
def test_persistence(persistence, expected):
    conf = settings_of(config.redis_conf(Standalone(persistence=persistence)))
    assert {name: conf.get(name) for name in expected} == expected


def test_memory_and_threads_follow_the_model():
    conf = settings_of(
        config.redis_conf(Standalone(memory=4096, cpus=8, eviction_policy="allkeys-lru"))
    )
    assert conf["maxmemory"] == f"{Standalone(memory=4096).maxmemory_mib}mb"
    assert conf["maxmemory-policy"] == "allkeys-lru" and conf["io-threads"] == "6"


def test_a_master_cut_off_refuses_writes():
    conf = settings_of(config.redis_conf(Replicated(replicas=4, max_lag=3)))
    assert conf["min-replicas-to-write"] == "2" and conf["min-replicas-max-lag"] == "3"
    # Otherwise a lag of some seconds could not be told from silence.
    assert conf["repl-ping-replica-period"] == "1"
    assert "min-replicas-to-write" not in config.redis_conf(Standalone())


def test_sentinels_know_names_not_addresses():
    conf = config.sentinel_conf()
    assert "sentinel resolve-hostnames yes" in conf and "sentinel announce-hostnames yes" in conf


# --- the proxy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0, 1, 3, 9, 10, 19, 20, 99, 100, 105, 3600])
def test_numbers_by_regular_expression(bound):
    below = re.compile(at_most(bound))
    for number in chain(range(300), range(3500, 3700)):
        assert bool(below.fullmatch(str(number))) == (number <= bound)
        if bound:
            above = re.compile(at_least(bound) + "\r")
            assert bool(above.fullmatch(f"{number}\r")) == (number >= bound)


def expected(cfg: str, backend: str) -> re.Pattern[str]:
    block = cfg.split(f"\nbackend {backend}\n")[1].partition("\n\n")[0]
    return re.compile(re.search(r"rstring '(.*)'", block)[1])


def info(**fields: object) -> str:
    return "".join(f"{name}:{value}\r\n" for name, value in fields.items())


def replica(status: str = "up", last: int = 0, syncing: int = 0, down: int | None = None) -> str:
    head = info(
        role="slave",
        master_host="redis-0.redis-nodes.redis.svc.cluster.local",
        master_port=6379,
        master_link_status=status,
        master_last_io_seconds_ago=last,
        master_sync_in_progress=syncing,
        slave_read_repl_offset=10,
        slave_repl_offset=10,
    )
    return head + ("" if down is None else info(master_link_down_since_seconds=down))


def test_only_a_master_with_enough_replicas_gets_writes():
    found = expected(haproxy_cfg("a", required_replicas=2, read_lag=10), "master")

    def master(good: int) -> str:
        return info(role="master", connected_slaves=4, min_slaves_good_slaves=good, slave0="x")

    assert [good for good in range(12) if found.search(master(good))] == list(range(2, 12))
    assert not found.search(replica())
    alone = expected(haproxy_cfg("a", required_replicas=0, read_lag=10), "master")
    assert alone.search(info(role="master", connected_slaves=0, master_failover_state="no"))


def test_only_a_replica_that_is_not_behind_gets_reads():
    found = expected(haproxy_cfg("a", required_replicas=1, read_lag=10), "replicas")
    assert found.search(replica(last=0)) and found.search(replica(last=10))
    assert not found.search(replica(last=11)) and not found.search(replica(last=100))
    assert not found.search(replica(syncing=1))
    assert found.search(replica("down", -1, down=10))
    assert not found.search(replica("down", -1, down=11))
    assert not found.search(replica("down", -1, down=-1))
    assert not found.search(info(role="master", connected_slaves=0, min_slaves_good_slaves=0))


def test_with_nobody_else_a_master_is_read_that_may_take_no_writes():
    cfg = haproxy_cfg("a", required_replicas=1, read_lag=10)
    found = expected(cfg, "alone")
    assert found.search(info(role="master", connected_slaves=0, min_slaves_good_slaves=0))
    assert not found.search(replica())
    order = ["use_backend replicas if", "use_backend master if", "default_backend alone"]
    assert [line for line in order if line in cfg.split("frontend read")[1]] == order


def test_no_password_is_in_the_proxys_configuration():
    cfg = haproxy_cfg("redis-nodes.redis.svc.cluster.local", required_replicas=1, read_lag=10)
    assert 'send "AUTH health ${HEALTH_PASSWORD}\\r\\n"' in cfg
    assert cfg.count("check-ssl verify required ca-file") == 3
    assert cfg.count("server-template redis- 17 redis-nodes.redis.svc.cluster.local:6379") == 3


# --- pods ----------------------------------------------------------------------------------------

TOPOLOGY = Replicated(clients=("team", "apps/app=web"), storage_class="fast")


def workloads() -> list[dict[str, Any]]:
    container = parts.redis_container(TOPOLOGY, ["true"], ready=["true"])
    return [
        parts.redis_set(TOPOLOGY, 3, container, {}),
        replicated.sentinel_set(TOPOLOGY, {}),
        replicated.proxy_deployment(TOPOLOGY, {}),
    ]


@pytest.mark.parametrize("body", workloads(), ids=lambda body: body["metadata"]["name"])
def test_pods_pass_the_restricted_standard(body):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod = body["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.get("hostNetwork") and not pod.get("hostPID")
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("body", workloads(), ids=lambda body: body["metadata"]["name"])
def test_pods_are_pinned_probed_bounded_and_spread(body):
    pod = body["spec"]["template"]["spec"]
    for container in pod["containers"]:
        assert "@sha256:" in container["image"] and container["imagePullPolicy"] == "IfNotPresent"
        assert "readinessProbe" in container
        assert container["resources"]["limits"]["memory"]
    selector = {"matchLabels": body["spec"]["selector"]["matchLabels"]}
    labels = body["spec"]["template"]["metadata"]["labels"]
    assert selector["matchLabels"].items() <= labels.items()
    spread = {entry["topologyKey"] for entry in pod["topologySpreadConstraints"]}
    assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert pod["automountServiceAccountToken"] is False


def test_the_volume_grows_without_its_statefulset():
    def parts_of(storage: int) -> tuple[Any, Any]:
        topology = Standalone(storage=storage)
        container = parts.redis_container(topology, ["true"], ready=["true"])
        return parts.redis_set(topology, 1, container, {}), parts.claims(topology, 1)

    (before, _), (after, claims) = parts_of(8), parts_of(80)
    assert before == after
    [claim] = claims
    [template] = after["spec"]["volumeClaimTemplates"]
    workload = after["metadata"]["name"]
    assert claim["metadata"]["name"] == f"{template['metadata']['name']}-{workload}-0"
    assert claim["spec"]["resources"]["requests"]["storage"] == "80Gi"


def test_no_volume_without_persistence():
    topology = Standalone(persistence="none")
    container = parts.redis_container(topology, ["true"], ready=["true"])
    body = parts.redis_set(topology, 1, container, {})
    assert "volumeClaimTemplates" not in body["spec"] and parts.claims(topology, 1) == []
    assert {"name": "data", "emptyDir": {}} in body["spec"]["template"]["spec"]["volumes"]


def test_scripts_that_pods_run_are_there_and_are_shell():
    for name in (*replicated._SCRIPTS, *replicated._SENTINEL_SCRIPTS):
        assert parts.script(name).startswith("#")


def test_the_sentinels_settings():
    body = replicated.sentinel_set(Replicated(sentinels=5, down_after=8000), {})
    variables = {
        entry["name"]: entry.get("value")
        for entry in body["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert body["spec"]["replicas"] == 5 and variables["QUORUM"] == "3"
    assert variables["DOWN_AFTER"] == "8000" and variables["FAILOVER_TIMEOUT"] == "32000"


def test_another_number_of_pods_restarts_none_of_those_that_run():
    def template(topology: Replicated) -> Any:
        environment = replicated.member_environment(topology, names.NODES)
        container = parts.redis_container(topology, [], ready=[], environment=environment)
        return parts.redis_set(topology, topology.replicas + 1, container, {})["spec"]["template"]

    assert template(Replicated(replicas=3)) == template(Replicated(replicas=4))
    file = replicated.members_file(Replicated(replicas=4, sentinels=5))["members"]
    servers, sentinels = file.splitlines()
    assert len(servers.split()) == 5 and len(sentinels.split()) == 5


# --- who may connect -----------------------------------------------------------------------------


def policies(**settings: Any) -> dict[str, Any]:
    found = parts.network_policies(Standalone(**settings))
    return {body["metadata"]["name"]: body["spec"] for body in found}


def test_nobody_outside_without_a_setting():
    found = policies(monitors=())
    assert found["redis-clients"] == {
        "podSelector": {"matchLabels": {names.PART_OF: "redis"}},
        "policyTypes": ["Ingress"],
        "ingress": [],
    }
    assert found["redis-monitors"]["ingress"] == []
    [inside] = found["redis-inside"]["ingress"]
    assert inside == {"from": [{"podSelector": {"matchLabels": {names.PART_OF: "redis"}}}]}
    assert "namespaceSelector" not in str(found["redis-inside"])


def test_clients_are_let_in_to_redis_only_and_monitors_to_metrics_only():
    found = policies(clients=("team", "apps/app=web,x=y", "*"), monitors=("monitoring",))
    [rule] = found["redis-clients"]["ingress"]
    name = "kubernetes.io/metadata.name"
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {name: "team"}}},
        {
            "namespaceSelector": {"matchLabels": {name: "apps"}},
            "podSelector": {"matchLabels": {"app": "web", "x": "y"}},
        },
        {"namespaceSelector": {}},
    ]
    assert {port["port"] for port in rule["ports"]} == {6379, 6380, 26379}
    [rule] = found["redis-monitors"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == {9121, 8404}


# --- names ---------------------------------------------------------------------------------------


def test_the_certificate_is_for_every_name_that_is_dialled():
    for namespace in ("redis", "cache-1"):
        known = names.certificate_names(namespace)
        dialled = [
            "localhost",
            *names.server_hosts(3, namespace),
            *names.sentinel_hosts(3, namespace),
            names.service_host(names.WRITE, namespace),
            names.service_host(names.READ, namespace),
        ]
        for host in dialled:
            assert host in known or f"*.{host.partition('.')[2]}" in known, host


def test_users_of_images():
    assert images.REDIS_UID == 999 and images.HAPROXY_UID == 99


def test_every_topology_is_configured():
    for topology in (Standalone(), Replicated(), Sharded()):
        assert config.redis_conf(topology)
    assert "cluster-enabled yes" in config.redis_conf(parse({"redisTopology": "sharded"}))
