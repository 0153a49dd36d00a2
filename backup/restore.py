"""Puts a backup into a platform that is up. May be killed at any time and run again.

What is done, and what had begun, is kept in a ConfigMap of the cluster until all is done. What is
stopped meanwhile says in an annotation how many replicas it had.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backup import pods, select
from backup.cluster import MANAGER, Cluster
from backup.create import images_of
from backup.crypt import decrypted
from backup.folder import manifest_digest
from backup.model import (
    BackupError,
    Item,
    Manifest,
    Object,
    human,
    listed,
    other_images,
)
from backup.select import PLATFORM, REPLICAS, Database, Mount, mount_like, place
from components.kubeflow.objects import group_of
from provider.client import ApiError

Say = Callable[[str], object]
RECORD: Final = "ml-platform-restore"
"""The ConfigMap of a restore that has not come to its end."""
_STOPPED: Final = "kubeflow-resource-stopped"
"""Annotation by which Kubeflow's notebook controller stops a notebook."""
_RECORD_PATH: Final = f"/api/v1/namespaces/{PLATFORM}/configmaps/{RECORD}"
_ANSWER: Final = 120.0  # seconds, in which a webhook that comes up is asked again
_COME_BACK: Final = 600.0
_PAUSE: Final = 1.0
_WORKLOADS: Final = ("Deployment", "StatefulSet")
_KEPT: Final = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Kinds that are never written over: what matters of them is in them."""


@dataclass(frozen=True)
class Consent:
    """What a restore may do.

    Args:
        overwrite: replace databases and volumes that hold something, and objects that are there.
        other_release: go on though parts of the platform run in another version.
        passphrase: of the backup's Secrets; without one they are not restored.
    """

    overwrite: bool = False
    other_release: bool = False
    passphrase: str = ""


class Restore:
    """One restore of one backup, whose files have been verified.

    Args:
        cluster: where to.
        folder: the backup.
        manifest: its manifest.
        consent: what it may do.
        say: takes a line of progress.
    """

    def __init__(
        self, cluster: Cluster, folder: Path, manifest: Manifest, consent: Consent, say: Say
    ) -> None:
        self._cluster, self._folder, self._manifest = cluster, folder, manifest
        self._consent, self._say = consent, say
        self._digest = manifest_digest(folder)
        self._progress: dict[str, str] = {}
        content = self._read(manifest.of("objects"))
        self._first, self._rest = select.in_order(content)
        self._secrets = self._unlocked()
        self._databases: dict[str, Database] = {}

    def run(self) -> None:
        """Check, then restore.

        Raises:
            BackupError: something speaks against it, of which all is in the message, and nothing
                was touched; or a part failed, and running it again goes on there.
        """
        if problems := self._problems():
            raise BackupError(
                f"{self._folder} is not restored, and nothing was touched:{listed(problems)}"
            )
        self._note()
        self._make(self._first, "namespaces, claims, databases and what they need")
        self._make(self._secrets, "Secrets")
        parts = [item for item in self._manifest.items if item.kind in ("volume", "database")]
        # The platform's own last: what it serves is needed to start pods in profiles.
        for namespace in sorted(
            {item.namespace for item in parts}, key=lambda n: (n == PLATFORM, n)
        ):
            self._fill(namespace, [item for item in parts if item.namespace == namespace])
        self._make(self._rest, "objects")
        self._cluster.client.request("DELETE", _RECORD_PATH)

    # Before anything is touched.

    def _problems(self) -> list[str]:
        cluster, allowed = self._cluster, self._consent
        if not cluster.exists(f"/api/v1/namespaces/{PLATFORM}"):
            raise BackupError(
                f"there is no namespace {PLATFORM} at {cluster.server}; bring the platform up "
                "first (pulumi up), then restore into it"
            )
        problems = list(self._recall())
        workloads = cluster.workloads()
        if not allowed.other_release and (
            others := other_images(self._manifest.images, images_of(workloads))
        ):
            problems += [*others, "  that is another release; to go on: --other-release"]
        problems += self._kinds_lacking()
        problems += self._classes_lacking()
        spaces = {item.namespace for item in self._manifest.of("database")}
        there = _by_key(select.databases(workloads, spaces))
        workloads_here = [body for body in self._first if body["kind"] in _WORKLOADS]
        self._databases = _by_key(select.databases(workloads_here, spaces)) | there
        for item in self._manifest.of("database"):
            problems += self._database_problems(item, there)
        claims = {place(claim): claim for claim in cluster.claims()}
        made = {place(body) for body in self._first if body["kind"] == "PersistentVolumeClaim"}
        everyone = cluster.pods()
        for item in self._manifest.of("volume"):
            here = (item.namespace, item.name)
            if here in claims:
                problems += self._volume_problems(item, claims[here], everyone)
            elif here not in made:
                problems.append(
                    f"{item.key}: there is no such claim, and the program makes it; "
                    "bring the platform up with the same components first (pulumi up)"
                )
        return problems

    def _recall(self) -> Iterable[str]:
        """Take up the record of an earlier run; that of another backup speaks against this one."""
        if not self._cluster.exists(_RECORD_PATH):
            return
        record = self._cluster.client.request("GET", _RECORD_PATH)["data"]
        if record["backup"] == self._digest:
            self._progress = json.loads(record["items"])
            self._say(f"goes on with the restore that was begun {record['begun']}")
        elif not self._consent.overwrite:
            yield (
                f"the restore of another backup, of {record['created']}, was not brought to its "
                "end; run that one again, or give it up for this one by --overwrite"
            )

    def _kinds_lacking(self) -> Iterable[str]:
        bodies = [*self._first, *self._secrets, *self._rest]
        for version, kind in sorted({(body["apiVersion"], body["kind"]) for body in bodies}):
            if not self._cluster.client.serves(version, kind):
                yield (
                    f"objects of {kind} ({version}): the cluster does not serve that kind; "
                    "bring the platform up with the same components first (pulumi up)"
                )

    def _classes_lacking(self) -> Iterable[str]:
        wanted = {
            (body["spec"].get("storageClassName") or "", "/".join(place(body)))
            for body in self._first
            if body["kind"] == "PersistentVolumeClaim"
        }
        for name, claim in sorted(wanted):
            path = f"/apis/storage.k8s.io/v1/storageclasses/{name}"
            if name and not self._cluster.exists(path):
                yield (
                    f"the claim {claim} wants the storage class {name}, which is not there; "
                    "make a StorageClass of that name"
                )

    def _database_problems(self, item: Item, there: Mapping[str, Database]) -> Iterable[str]:
        if item.key not in self._databases:
            yield (
                f"{item.key}: there is no such server of MySQL or MariaDB; "
                "bring the platform up with the same components first (pulumi up)"
            )
        if (database := there.get(item.key)) is None:
            return
        pod = self._cluster.database_pod(database)
        if self._consent.overwrite or item.key in self._progress:
            return
        where = (database.namespace, pod, database.container)
        tables = self._cluster.ask(where, ["sh", "-c", pods.QUERY, "sh", pods.TABLES]).splitlines()
        if tables:
            yield (
                f"{item.key} holds {len(tables)} tables ({tables[0]}, ...); "
                "to replace what is there: --overwrite"
            )

    def _volume_problems(
        self, item: Item, claim: Object, everyone: Sequence[Object]
    ) -> Iterable[str]:
        mount = select.mount_of(claim, everyone)
        for pod in everyone:
            name = pod["metadata"]["name"]
            if pod["metadata"].get("namespace") != item.namespace or name not in mount.users:
                continue
            owners = pod["metadata"].get("ownerReferences") or ()
            if not any(owner["kind"] in ("ReplicaSet", "StatefulSet") for owner in owners):
                yield f"{item.key} is used by the pod {name}, which does not come back; delete it"
        if self._consent.overwrite or item.key in self._progress:
            return
        if (claim.get("status") or {}).get("phase") != "Bound":
            return  # nobody has used it yet
        if mount.users and select.is_exclusive(claim):
            yield f"{item.key} is in use; to replace what is there: --overwrite"
            return
        with self._cluster.volume_pod(mount, read_only=True) as pod_name:
            where = (item.namespace, pod_name, pods.CONTAINER)
            found = self._cluster.ask(where, ["sh", "-c", pods.FIRST_FILE]).strip("\n")
        if found:
            yield (
                f"{item.key} holds files ({found!r}, ...); to replace what is there: --overwrite"
            )

    # Volumes and databases.

    def _fill(self, namespace: str, items: Sequence[Item]) -> None:
        left = [item for item in items if self._progress.get(item.key) != "done"]
        if left:
            self._stop(namespace, left)
        # Files first: then whatever a database names in the object store is there.
        for item in sorted(left, key=lambda one: one.kind == "database"):
            self._note(item.key, "begun")
            began = time.monotonic()
            self._say(f"{item.key}: {human(item.holds)}")
            if item.kind == "volume":
                self._fill_volume(item)
            else:
                self._load(item)
            self._note(item.key, "done")
            self._say(f"{item.key}: done in {time.monotonic() - began:.1f} s")
        self._start(namespace)

    def _fill_volume(self, item: Item) -> None:
        claim = self._cluster.client.request(
            "GET", f"/api/v1/namespaces/{item.namespace}/persistentvolumeclaims/{item.name}"
        )
        with (
            self._cluster.volume_pod(self._mount(claim), read_only=False) as pod,
            (self._folder / item.file).open("rb") as content,
        ):
            where = (item.namespace, pod, pods.CONTAINER)
            ended = self._cluster.write(where, ["bash", "-c", pods.FILL_VOLUME], content)
        if ended.code:
            raise BackupError(f"{item.key} could not be filled: {ended.said}")

    def _mount(self, claim: Object) -> Mount:
        """How the pod is run that fills a volume, whose users have been stopped: as they were."""
        namespace, name = place(claim)
        for body in self._cluster.workloads():
            if place(body)[0] == namespace and name in _claims(body):
                return mount_like(namespace, name, body["spec"]["template"]["spec"])
        return Mount(namespace, name)

    def _load(self, item: Item) -> None:
        database = self._databases[item.key]
        self._cluster.until(lambda: self._answers(database), f"{item.key} answers")
        where = (item.namespace, self._cluster.database_pod(database), database.container)
        with gzip.open(self._folder / item.file) as content:
            ended = self._cluster.write(where, ["sh", "-c", pods.LOAD], content)
        if ended.code:
            raise BackupError(f"{item.key} could not be loaded: {ended.said}")

    def _answers(self, database: Database) -> bool:
        """Whether a database does; one that was made a moment ago takes a while."""
        try:
            where = (database.namespace, self._cluster.database_pod(database), database.container)
            self._cluster.ask(where, ["sh", "-c", pods.QUERY, "sh", pods.TABLES])
        except BackupError:
            return False
        return True

    # Who writes to them.

    def _stop(self, namespace: str, items: Sequence[Item]) -> None:
        """Stop what uses the volumes; before a database is loaded, all that could be its client."""
        wanted = {item.name for item in items if item.kind == "volume"}
        loads = any(item.kind == "database" for item in items)
        kept = {_key(one.owner, one.namespace, one.name) for one in self._databases.values()}
        stopped = []
        for body in self._cluster.workloads():
            if place(body)[0] != namespace or _of(body) in kept:
                continue
            # What another controller than the notebooks' makes is that one's to stop.
            owned = body["metadata"].get("ownerReferences") and not _notebooks(body)
            if not (wanted & _claims(body) or (loads and not owned)):
                continue
            stopped.append(body)
            if body["spec"].get("replicas", 1) and REPLICAS not in _annotations(body):
                self._say(f"stops {_of(body)}")
                self._stop_notebook(body)
                self._scale(body, 0, str(body["spec"].get("replicas", 1)))

        def gone() -> bool:
            living = self._cluster.pods(namespace)
            return not any(_runs(body, pod) for body in stopped for pod in living) and not any(
                select.uses(pod, name) for name in wanted for pod in living
            )

        self._cluster.until(gone, f"the pods that write to {', '.join(i.key for i in items)} end")

    def _start(self, namespace: str) -> None:
        """Start again what was stopped, by this run or one that was killed."""
        started = []
        for body in self._cluster.workloads():
            if place(body)[0] == namespace and (before := _annotations(body).get(REPLICAS)):
                self._say(f"starts {_of(body)}")
                self._scale(body, int(before), None)
                self._start_notebook(body)
                started.append(_path(body))

        def back() -> bool:
            bodies = [self._cluster.client.request("GET", path) for path in started]
            return all(
                (body.get("status") or {}).get("readyReplicas", 0) >= body["spec"]["replicas"]
                for body in bodies
            )

        try:
            self._cluster.until(back, "what was stopped is ready again", _COME_BACK)
        except BackupError as error:
            self._say(f"{namespace}: {error}; `python -m doctor` tells why")

    def _scale(self, body: Object, replicas: int, before: str | None) -> None:
        self._cluster.merge(
            _path(body),
            {
                "metadata": {"annotations": {REPLICAS: before}},
                "spec": {"replicas": replicas},
            },
        )

    def _stop_notebook(self, body: Object) -> None:
        """Stop the Notebook of a StatefulSet, as the dashboard does; or it would be undone."""
        for path in _notebooks(body):
            notebook = self._cluster.client.request("GET", path)
            if _STOPPED not in _annotations(notebook):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self._cluster.merge(
                    path, {"metadata": {"annotations": {_STOPPED: now, REPLICAS: "1"}}}
                )

    def _start_notebook(self, body: Object) -> None:
        for path in _notebooks(body):
            if REPLICAS in _annotations(self._cluster.client.request("GET", path)):
                self._cluster.merge(
                    path, {"metadata": {"annotations": {_STOPPED: None, REPLICAS: None}}}
                )

    # Objects.

    def _make(self, bodies: Sequence[Object], what: str) -> None:
        made, there, failed = 0, 0, list[str]()
        for body in bodies:
            try:
                if self._make_one(body):
                    made += 1
                else:
                    there += 1
            except ApiError as error:
                failed.append(f"{_of(body)}: {error.message}")
        if bodies:
            self._say(f"{what}: {made} made or set, {there} were there")
        if failed:
            raise BackupError(
                f"{len(failed)} objects are refused; mend that, and run it again:{listed(failed)}"
            )

    def _make_one(self, body: Object) -> bool:
        """Whether an object was made or replaced; False where it was there and stays."""
        client = self._cluster.client
        namespace, name = place(body)
        resource = client.resource(body["apiVersion"], body["kind"])
        end = time.monotonic() + _ANSWER
        while True:
            try:
                client.create(resource, self._owned(body), namespace, field_manager=MANAGER)
                return True
            except ApiError as error:
                if error.code == 409 and error.reason == "AlreadyExists":
                    break
                if error.code < 500 or time.monotonic() > end:
                    raise
            time.sleep(_PAUSE)
        if not self._consent.overwrite or body["kind"] in _KEPT:
            return False
        client.apply(resource, body, namespace, name, field_manager=MANAGER, force=True)
        return True

    def _owned(self, body: Object) -> Object:
        """The object with its owners' present UIDs; an owner that is not there owns nothing."""
        owners = []
        for owner in body["metadata"].get("ownerReferences") or ():
            resource = self._cluster.client.resource(owner["apiVersion"], owner["kind"])
            path = resource.path(name=owner["name"])
            if self._cluster.exists(path):
                uid = self._cluster.client.request("GET", path)["metadata"]["uid"]
                owners.append({**owner, "uid": uid})
        return {**body, "metadata": {**body["metadata"], "ownerReferences": owners}}

    # What is read, and what is noted.

    def _read(self, items: Sequence[Item]) -> list[Object]:
        found: list[Object] = []
        for item in items:
            with gzip.open(self._folder / item.file) as content:
                found += json.load(content)["objects"]
        return found

    def _unlocked(self) -> list[Object]:
        found: list[Object] = []
        for item in self._manifest.of("secrets"):
            if self._consent.passphrase:
                content = (self._folder / item.file).read_bytes()
                found += json.loads(decrypted(content, self._consent.passphrase))
            else:
                self._say(f"{item.holds} Secrets stay out: they need --passphrase-file")
        return found

    def _note(self, key: str = "", state: str = "") -> None:
        """Write down in the cluster how far this is."""
        if key:
            self._progress[key] = state
        data = {
            "backup": self._digest,
            "created": self._manifest.created,
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "items": json.dumps(self._progress),
        }
        client = self._cluster.client
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": RECORD, "namespace": PLATFORM},
            "data": data,
        }
        resource = client.resource("v1", "ConfigMap")
        client.apply(resource, body, PLATFORM, RECORD, field_manager=MANAGER, force=True)


def _by_key(found: Iterable[Database]) -> dict[str, Database]:
    return {f"database/{one.namespace}/{one.name}": one for one in found}


def _annotations(body: Object) -> dict[str, str]:
    return body["metadata"].get("annotations") or {}


def _key(kind: str, namespace: str, name: str) -> str:
    return "/".join(part for part in (kind, namespace, name) if part)


def _of(body: Object) -> str:
    return _key(body["kind"], *place(body))


def _path(body: Object) -> str:
    namespace, name = place(body)
    return f"/apis/apps/v1/namespaces/{namespace}/{body['kind'].lower()}s/{name}"


def _claims(body: Object) -> set[str]:
    return set(select.claims_of(body))


def _runs(body: Object, pod: Object) -> bool:
    """Whether a pod is one of a workload's."""
    labels = body["spec"]["selector"].get("matchLabels") or {}
    living = (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    return living and labels.items() <= (pod["metadata"].get("labels") or {}).items()


def _notebooks(body: Object) -> list[str]:
    """The paths of the Notebooks that own a StatefulSet."""
    namespace = place(body)[0]
    return [
        f"/apis/{owner['apiVersion']}/namespaces/{namespace}/notebooks/{owner['name']}"
        for owner in body["metadata"].get("ownerReferences") or ()
        if owner["kind"] == "Notebook" and group_of(owner["apiVersion"]) == "kubeflow.org"
    ]
