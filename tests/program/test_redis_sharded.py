"""Redis Cluster against Pulumi's mocks: the order that makes scaling safe, what is asked for."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.cluster.base import AMD64, Capabilities, Cluster
from components.redis import sharded
from components.redis import topology as model
from components.redis.component import guard
from components.redis.create import create

JOB = "kubernetes:batch/v1:Job::redis/redis-layout"
SET = "kubernetes:apps/v1:StatefulSet::redis/redis-shard-{}"
PROXY = "kubernetes:apps/v1:Deployment::redis/redis-proxy"
BACKUP = {
    "redisBackupUrl": "s3://backups/redis",
    "redisBackupAccessKey": "id",
    "redisBackupSecretKey": "hush",
}
Found = dict[str, Any]
Register = Callable[..., Found]


class Fixed(Cluster):
    def __init__(self) -> None:
        super().__init__("Fixed", "cluster")
        self._offer("cluster", "{}", "fixed", Capabilities(False, "", AMD64))


def topology(**settings: object) -> model.Sharded:
    found = model.parse({"redisTopology": "sharded", **settings})
    assert isinstance(found, model.Sharded)
    return found


@pytest.fixture
def register(run_program) -> Register:
    def run(**settings: object) -> Found:
        def program() -> None:
            cluster = Fixed()
            wanted = topology(**settings)
            checked = guard("redis", cluster, wanted, allow_data_loss=False)
            create("redis", cluster, wanted, checked)

        ran = run_program(program)
        return {f"{r.type}::{r.name}": r for r in ran.registered}

    return run


def needs(found: Found, name: str) -> set[str]:
    """Everything that a resource comes after."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        for urn in found[todo.pop()].request.dependencies:
            _, _, types, last = urn.split("::", 3)
            needed = f"{types.rpartition('$')[2]}::{last}"
            if needed not in seen:
                seen.add(needed)
                todo.append(needed)
    return seen


def job(found: Found) -> Any:
    return found[JOB].inputs["spec"]["template"]


def test_the_layout_comes_after_all_wanted_shards_and_before_the_proxy(register: Register):
    found = register(redisShards=5)
    assert {SET.format(n) for n in range(5)} <= needs(found, JOB)
    assert JOB in needs(found, PROXY)


def test_a_shard_that_is_not_wanted_outlives_the_layout_that_empties_it(register: Register):
    """The engine deletes what a program no longer registers after it has made and changed the
    rest (https://www.pulumi.com/docs/iac/concepts/how-pulumi-works/), so: after the Job.
    """
    five, three = register(redisShards=5), register(redisShards=3)
    gone = set(five) - set(three)
    assert gone == {
        name
        for shard in (3, 4)
        for name in (
            SET.format(shard),
            *(
                f"kubernetes:core/v1:PersistentVolumeClaim::redis/data-redis-shard-{shard}-{pod}"
                for pod in (0, 1)
            ),
        )
    }
    # Nothing that stays is replaced but the Job, and that one does change.
    changed = {
        name
        for name in three
        if name.startswith("kubernetes:") and three[name].inputs != five[name].inputs
    }
    assert changed == {JOB, "kubernetes:core/v1:ConfigMap::redis/redis-rules"}
    # A volume goes after the pods that use it.
    claim = "kubernetes:core/v1:PersistentVolumeClaim::redis/data-redis-shard-4-1"
    assert claim in needs(five, SET.format(4))


def test_one_job_at_a_time_and_a_new_one_for_another_layout(register: Register):
    three, five, same = register(), register(redisShards=5), register()
    # One name: the provider deletes the old one, with its pods, before it makes the new one.
    assert three[JOB].inputs["metadata"]["name"] == five[JOB].inputs["metadata"]["name"]
    digest = "ml-platform/layout"
    assert (
        job(three)["metadata"]["annotations"][digest]
        != job(five)["metadata"]["annotations"][digest]
    )
    assert three[JOB].inputs == same[JOB].inputs
    spec = three[JOB].inputs["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert three[JOB].inputs["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"


def test_the_layout_names_every_pod_of_every_shard(register: Register):
    found = register(redisShards=3, redisReplicas=2)
    (container,) = job(found)["spec"]["containers"]
    members = container["command"][2:]
    assert members == [",".join(hosts) for hosts in sharded.shard_hosts(topology(redisReplicas=2))]
    host = "redis-shard-2-1.redis-nodes.redis.svc.cluster.local"
    assert host in members[2].split(",")
    sets = [found[SET.format(n)].inputs for n in range(3)]
    assert [s["spec"]["replicas"] for s in sets] == [3, 3, 3]
    # Each StatefulSet finds its own pods only.
    selectors = [json.dumps(s["spec"]["selector"], sort_keys=True) for s in sets]
    assert len(set(selectors)) == 3
    for one in sets:
        assert one["spec"]["selector"]["matchLabels"].items() <= (
            one["spec"]["template"]["metadata"]["labels"].items()
        )


def test_the_exit_code_that_ends_the_job_is_the_scripts(register: Register):
    (rule,) = register()[JOB].inputs["spec"]["podFailurePolicy"]["rules"]
    (code,) = rule["onExitCodes"]["values"]
    script = Path(sharded.__file__).parent / "scripts" / "cluster-layout.sh"
    done = subprocess.run(["sh", str(script)], capture_output=True, check=False)
    assert (rule["action"], done.returncode) == ("FailJob", code)


def test_uris_say_what_the_proxy_speaks(run_program):
    def program() -> pulumi.Output[str]:
        cluster = Fixed()
        wanted = topology()
        checked = guard("redis", cluster, wanted, allow_data_loss=False)
        return create("redis", cluster, wanted, checked).write_uri

    value, secret = run_program(program).returned
    assert secret
    assert re.fullmatch(
        r"rediss://app:[^@]+@redis\.redis\.svc\.cluster\.local:6379/0\?protocol=2", value
    )


def test_backups_of_every_shard_and_a_restore_only_where_asked(register: Register):
    found = register(**BACKUP)
    cron = found["kubernetes:batch/v1:CronJob::redis/redis-backup"]
    pod = cron.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (dump,) = pod["initContainers"]
    assert dump["command"][3:] == [",".join(hosts) for hosts in sharded.shard_hosts(topology())]
    assert not [name for name in found if "redis-restore" in name]
    text = json.dumps(cron.inputs)
    assert "hush" not in text and "s3" in text

    restoring = register(**BACKUP, redisRestoreBackup="latest")
    (name,) = [name for name in restoring if "redis-restore" in name]
    assert {JOB, PROXY} <= needs(restoring, name)
    other = register(**BACKUP, redisRestoreBackup="2026-01-01T000000Z")
    assert name not in other
    for one in restoring[name].inputs["spec"]["template"]["spec"]["initContainers"]:
        assert "hush" not in json.dumps(one)


def test_backups_may_go_out_and_nothing_else_may(register: Register):
    found = register(**BACKUP)
    policy = found["kubernetes:networking.k8s.io/v1:NetworkPolicy::redis/redis-backup"].inputs
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == (
        "redis-backup"
    )
    assert policy["spec"]["policyTypes"] == ["Egress"]


@pytest.mark.parametrize("settings", [{}, BACKUP, {**BACKUP, "redisRestoreBackup": "latest"}])
def test_every_pod_is_restricted(register: Register, settings: dict[str, object]):
    count = 0
    for name, resource in register(**settings).items():
        spec = resource.inputs.get("spec") or {}
        spec = spec.get("jobTemplate", {}).get("spec", spec) if isinstance(spec, dict) else {}
        pod = spec.get("template", {}).get("spec") if isinstance(spec, dict) else None
        if not pod:
            continue
        count += 1
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert "@sha256:" in container["image"], name
            assert container["resources"]["limits"]["memory"], name
    assert count >= 5
