"""Redis: whether its servers, Sentinels and proxies are enough for what it promises. Pure.

It reads what the readiness probes of the pods say (components/redis/scripts): a Redis is ready when
it answers and, in a cluster, when that is whole; a Sentinel when it knows a master.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.redis import names
from doctor.model import Finding, Object, Snapshot, name_of, namespace_of, place


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each installation."""
    for body in snapshot.stateful_sets:
        if name_of(body) in (names.SERVER, names.SENTINEL) and _ours(body):
            yield from _set(snapshot, body)
    for body in snapshot.deployments:
        if name_of(body) == names.PROXY and _ours(body):
            yield from _proxy(body)


def _set(snapshot: Snapshot, body: Object) -> Iterator[Finding]:
    wanted, ready = _counts(body)
    where = place("StatefulSet", body)
    if ready >= wanted:
        return
    if name_of(body) == names.SENTINEL:
        if ready <= wanted // 2:
            yield Finding(
                "error",
                "redis-no-majority",
                where,
                f"{ready} of {wanted} Sentinels are ready: no majority, so no dead master is "
                "replaced",
                "bring the other Sentinels back: see their pods",
            )
        else:
            yield _fewer(where, f"{ready} of {wanted} Sentinels are ready")
        return
    if not ready:
        yield Finding(
            "error",
            "redis-down",
            where,
            f"none of {wanted} Redis is ready",
            "see their pods; of a cluster (sharded) all shards must be there",
        )
    elif any(
        _ours(proxy) and name_of(proxy) == names.PROXY and not _counts(proxy)[1]
        for proxy in snapshot.deployments
        if namespace_of(proxy) == namespace_of(body)
    ):
        yield Finding(
            "error",
            "redis-no-master",
            where,
            f"{ready} of {wanted} Redis are ready, and no proxy finds a master among them",
            "see the pods of Redis, and the log of a Sentinel",
        )
    else:
        yield _fewer(where, f"{ready} of {wanted} Redis are ready, so copies of data are missing")


def _fewer(where: str, problem: str) -> Finding:
    return Finding("warning", "redis-degraded", where, problem, "see the pods that are not ready")


def _proxy(body: Object) -> Iterator[Finding]:
    wanted, ready = _counts(body)
    if wanted and not ready:
        yield Finding(
            "error",
            "redis-unreachable",
            place("Deployment", body),
            f"none of {wanted} proxies is ready: no client reaches Redis",
            "see their pods; they are ready once they find a master",
        )


def _counts(body: Object) -> tuple[int, int]:
    wanted = (body.get("spec") or {}).get("replicas", 1)
    return int(wanted), int((body.get("status") or {}).get("readyReplicas") or 0)


def _ours(body: Object) -> bool:
    labels = (body.get("metadata") or {}).get("labels") or {}
    return bool(labels.get(names.PART_OF) == "redis")
