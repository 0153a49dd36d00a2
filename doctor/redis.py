"""Redis: whether its servers, Sentinels and proxies are enough for what it promises. Pure.

It reads what the readiness probes of the pods say (components/redis/scripts): a Redis is ready when
it answers and, as a replica, is in step with its master; a Sentinel when enough others are there to
agree. How many replicas a master needs to take a write is in its configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from components.redis import names
from doctor.model import Finding, Object, Snapshot, name_of, namespace_of, place

_REQUIRED: Final = re.compile(r"^min-replicas-to-write (\d+)$", re.MULTILINE)
_PODS: Final = "see what is said about its pods here"
_SCALED: Final = "it is scaled to 0"


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each installation."""
    for body in snapshot.stateful_sets:
        if _is(body, names.SERVER):
            yield from _servers(snapshot, body)
        elif _is(body, names.SENTINEL):
            yield from _sentinels(body)
    for body in snapshot.deployments:
        if _is(body, names.PROXY):
            yield from _proxy(body)


def _servers(snapshot: Snapshot, body: Object) -> Iterator[Finding]:
    """Of a StatefulSet of Redis: all of them, or a shard's."""
    wanted, ready = _counts(body)
    where = place("StatefulSet", body)
    whole = name_of(body) == names.SERVER
    lost = f"no client reaches {'Redis' if whole else 'the keys of this shard'}"
    required = _required_replicas(snapshot, namespace_of(body))
    if not wanted:
        yield Finding("error", "redis-down", where, f"{_SCALED}: {lost}", _scale(where))
    elif ready >= wanted:
        return
    elif not ready:
        problem = f"none of {wanted} Redis is ready: {lost}"
        yield Finding("error", "redis-down", where, problem, _PODS)
    elif whole and _no_proxy(snapshot, namespace_of(body)):
        yield Finding(
            "error",
            "redis-no-master",
            where,
            f"{ready} of {wanted} Redis are ready, and no proxy finds a master among them",
            "see the pods of Redis, and the log of a Sentinel",
        )
    elif ready <= required:
        yield Finding(
            "error",
            "redis-no-writes",
            where,
            f"{ready} of {wanted} Redis are ready: a master refuses writes until {required} of its "
            "replicas are in step (redisMinReplicasToWrite)",
            f"bring the others back: {_PODS}",
        )
    else:
        yield _fewer(where, f"{ready} of {wanted} Redis are ready, so copies of data are missing")


def _sentinels(body: Object) -> Iterator[Finding]:
    wanted, ready = _counts(body)
    where = place("StatefulSet", body)
    if not wanted or ready <= wanted // 2:
        found = f"{ready} of {wanted} Sentinels are ready" if wanted else _SCALED
        yield Finding(
            "error",
            "redis-no-majority",
            where,
            f"{found}: no majority, so no dead master is replaced",
            "bring the other Sentinels back: see their pods" if wanted else _scale(where),
        )
    elif ready < wanted:
        yield _fewer(where, f"{ready} of {wanted} Sentinels are ready")


def _fewer(where: str, problem: str) -> Finding:
    return Finding("warning", "redis-degraded", where, problem, "see the pods that are not ready")


def _proxy(body: Object) -> Iterator[Finding]:
    wanted, ready = _counts(body)
    where = place("Deployment", body)
    if not ready:
        found = f"none of {wanted} proxies is ready" if wanted else _SCALED
        yield Finding(
            "error",
            "redis-unreachable",
            where,
            f"{found}: no client reaches Redis",
            "see their pods; they start once they find a master" if wanted else _scale(where),
        )


def _scale(where: str) -> str:
    kind, _, path = where.partition(" ")
    namespace, _, name = path.partition("/")
    return f"kubectl scale -n {namespace} {kind.lower()} {name} --replicas=N, N as in the settings"


def _no_proxy(snapshot: Snapshot, namespace: str) -> bool:
    """Whether an installation has proxies, and none of those that it wants is ready."""
    return any(
        _is(proxy, names.PROXY) and namespace_of(proxy) == namespace and wanted and not ready
        for proxy in snapshot.deployments
        for wanted, ready in (_counts(proxy),)
    )


def _required_replicas(snapshot: Snapshot, namespace: str) -> int:
    """How many replicas a master of an installation needs to take a write; 0 if none is told."""
    for body in snapshot.redis_configs:
        if namespace_of(body) == namespace and name_of(body) == names.CONFIG:
            text = str((body.get("data") or {}).get("redis.conf", ""))
            if found := _REQUIRED.search(text):
                return int(found[1])
    return 0


def _counts(body: Object) -> tuple[int, int]:
    wanted = (body.get("spec") or {}).get("replicas", 1)
    return int(wanted), int((body.get("status") or {}).get("readyReplicas") or 0)


def _is(body: Object, component: str) -> bool:
    """Whether a workload is that part of an installation of this project's."""
    labels = (body.get("metadata") or {}).get("labels") or {}
    return bool(labels.get(names.PART_OF) == "redis" and labels.get(names.COMPONENT) == component)
