"""Backups to S3-compatible storage, and their restore. Bodies are pure; `protect` registers them.

A backup is one RDB file a shard and a list of digests, which goes last. A restore sends keys to
whoever owns them by now, so it fits any topology and any number of shards. How, and what is
promised: docs/decisions/redis-backup.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from components.redis import config, images, names, parts
from components.redis.component import Redis, digest
from components.redis.monitoring import BACKUP
from components.redis.topology import Backup, RedisTopology

Object = dict[str, Any]
RESTORE: Final = "redis-restore"
"""Beginning of the restore Job's name."""
_STORE: Final = "redis-backup-store"
_SCRIPTS: Final = "redis-backup-scripts"
_FILES: Final = (
    "backup-dump.sh",
    "backup-upload.sh",
    "restore-fetch.sh",
    "restore-load.sh",
    "restore.lua",
)
_FOLDER: Final = "/backup"
_REMOTE: Final = "store"
"""rclone's name of the storage."""
_TRIES: Final = 3


def protect(redis: Redis) -> None:
    """Register the backup of a Redis, and the restore that its topology asks for."""
    topology, members = redis.topology, redis.members
    backup = topology.backup
    if backup is None:
        return
    namespace = topology.namespace
    scripts = {name: parts.script(name) for name in _FILES}
    needed = [
        redis.add(parts.config_map(_SCRIPTS, namespace, scripts)),
        redis.add(
            parts.secret(
                _STORE,
                namespace,
                {"access-key": backup.access_key, "secret-key": backup.secret_key},
            )
        ),
        redis.add(store_policy(namespace)),
        *redis.basis,
    ]
    redis.add(cron_job(topology, backup, members), *needed)
    if topology.restore_backup:
        redis.add(restore_job(topology, backup, members), *needed, redis.ready)


def store_policy(namespace: str) -> Object:
    """Lets backups out to the storage, wherever and at whatever port that is."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.metadata(BACKUP, namespace, BACKUP),
        "spec": {
            "podSelector": {"matchLabels": names.selector(BACKUP)},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    }


def cron_job(topology: RedisTopology, backup: Backup, members: Sequence[Sequence[str]]) -> Object:
    """Copies every shard and uploads the copies, at the times that the settings say."""
    shards = [",".join(hosts) for hosts in members]
    dump = _redis(
        topology,
        "dump",
        parts.run("backup-dump.sh", _FOLDER, *shards),
        [
            {"name": "LOOK_USER", "value": "exporter"},
            parts.password_variable("LOOK_PASSWORD", "exporter"),
            {"name": "COPY_USER", "value": "replica"},
            parts.password_variable("COPY_PASSWORD", "replica"),
            _tls_arguments(),
        ],
        memory_mib=64,
    )
    upload = _rclone("upload", backup, parts.run("backup-upload.sh", _FOLDER, _remote(backup)))
    template = _template([dump], upload)
    # Another try starts with an empty folder.
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": names.metadata(BACKUP, topology.namespace, BACKUP),
        "spec": {
            "schedule": backup.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "jobTemplate": {
                "metadata": {"labels": names.labels(BACKUP)},
                "spec": {"backoffLimit": _TRIES, "template": template},
            },
        },
    }


def restore_job(
    topology: RedisTopology, backup: Backup, members: Sequence[Sequence[str]]
) -> Object:
    """Restores the backup that the settings name, once; another name is another Job."""
    hosts = ",".join(host for shard in members for host in shard)
    overwrite = "true" if topology.restore_overwrite else "false"
    wanted = digest([json.dumps([backup.url, topology.restore_backup, overwrite])])
    tls = "\n".join(("tls-cluster yes", *config.TLS))
    environment = [
        *parts.client_environment(),
        {"name": "OVERWRITE", "value": overwrite},
        {"name": "REDIS_TLS_CONFIG", "value": tls},
        {"name": "SCRIPT", "value": f"{config.SCRIPTS_PATH}/restore.lua"},
    ]
    fetch = _rclone(
        "fetch",
        backup,
        parts.run("restore-fetch.sh", _FOLDER, _remote(backup), topology.restore_backup),
    )
    # Once, before anything is written: a second try of `load` finds what the first one restored.
    check = _redis(
        topology,
        "check",
        parts.run("restore-load.sh", "check", _FOLDER, hosts),
        environment,
        memory_mib=64,
    )
    load = _redis(
        topology,
        "load",
        parts.run("restore-load.sh", "load", _FOLDER, hosts),
        environment,
        # It holds one shard at a time.
        memory_mib=topology.memory,
    )
    template = _template([fetch, check], load)
    template["spec"]["restartPolicy"] = "OnFailure"
    metadata = names.metadata(f"{RESTORE}-{wanted}", topology.namespace, BACKUP)
    metadata["annotations"] = {"pulumi.com/replaceUnready": "true"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": _TRIES, "template": template},
    }


def _remote(backup: Backup) -> str:
    return f"{_REMOTE}:{backup.url.removeprefix('s3://').rstrip('/')}"


def _tls_arguments() -> Object:
    return {"name": "REDIS_TLS_ARGS", "value": f"--tls --cacert {config.TLS_PATH}/ca.crt"}


def _container(
    name: str,
    image: str,
    command: Sequence[str],
    environment: Sequence[Object],
    memory_mib: int,
) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": list(environment),
        "resources": parts.resources(memory_mib, 0.1),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": parts.container_security(),
        "volumeMounts": [
            parts.mount("scripts", config.SCRIPTS_PATH),
            parts.mount("tls", config.TLS_PATH),
            parts.mount("backup", _FOLDER, read_only=False),
            parts.mount("tmp", "/tmp", read_only=False),  # noqa: S108 - the pod's own
        ],
    }


def _redis(
    topology: RedisTopology,
    name: str,
    command: Sequence[str],
    environment: Sequence[Object],
    *,
    memory_mib: int,
) -> Object:
    return _container(name, topology.image, command, environment, memory_mib)


def _rclone(name: str, backup: Backup, command: Sequence[str]) -> Object:
    """rclone, configured by variables: https://rclone.org/docs/#environment-variables."""
    prefix = f"RCLONE_CONFIG_{_REMOTE.upper()}"
    plain = {
        f"{prefix}_TYPE": "s3",
        f"{prefix}_PROVIDER": "Other" if backup.endpoint else "AWS",
        # It may write, and need not be allowed to make buckets.
        f"{prefix}_NO_CHECK_BUCKET": "true",
        **({f"{prefix}_ENDPOINT": backup.endpoint} if backup.endpoint else {}),
    }
    secret = {f"{prefix}_ACCESS_KEY_ID": "access-key", f"{prefix}_SECRET_ACCESS_KEY": "secret-key"}
    environment: list[Object] = [
        *({"name": variable, "value": value} for variable, value in plain.items()),
        *(
            {"name": variable, "valueFrom": {"secretKeyRef": {"name": _STORE, "key": key}}}
            for variable, key in secret.items()
        ),
    ]
    return _container(name, images.RCLONE, command, environment, memory_mib=256)


def _template(first: Sequence[Object], last: Object) -> Object:
    """A pod that runs containers one after the other on a folder of its own."""
    kept = ("tls", "scripts", "tmp")
    volumes = [v for v in parts.volumes(scripts_name=_SCRIPTS) if v["name"] in kept]
    template = parts.pod_template(
        BACKUP,
        [last],
        [*volumes, {"name": "backup", "emptyDir": {}}],
        user=images.REDIS_UID,
        annotations={},
    )
    template["spec"]["initContainers"] = list(first)
    return template
