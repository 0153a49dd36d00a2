"""A running cluster: what is in it, pods beside its volumes, and programs run in its pods."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, cast

from backup import pods
from backup.model import BackupError, Object
from backup.select import Database, Mount, World
from provider.client import ApiError, Client, Resource
from provider.kubeconfig import connect
from toolchain.tools import find

MANAGER: Final = "ml-platform-backup"
"""The field manager of what is written here; not that of the platform's own objects."""
_AT_ONCE: Final = 8
_PAGE: Final = 500
_CHUNK: Final = 1 << 20
_PAUSE: Final = 0.5  # seconds between two looks
_PATIENCE: Final = 300.0  # seconds, in which a pod's image is pulled, too
_WORDS: Final = 800  # of what a program said last, in an error
_READ: Final = 1 << 16  # bytes of it that are looked at
_ADDRESS: Final = re.compile(r'\b(Get|Post) "[^"]*": ')
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE: Final = "application/merge-patch+json"
_CORE: Final = "/api/v1"


class Source(Protocol):
    """What can be read from, as files can."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most that many; none at the end."""


@dataclass(frozen=True)
class Ended:
    """How a program in a pod ended, and the last that it said on standard error."""

    code: int
    said: str


class Cluster:
    """One cluster.

    Args:
        kubeconfig: a file; empty for that of $KUBECONFIG or ~/.kube/config.
        context: of it; empty for its current one.

    Raises:
        PluginError: there is no such kubeconfig or context.
        ToolMissing: kubectl is not installed.
    """

    def __init__(self, kubeconfig: str, context: str) -> None:
        connection = connect(kubeconfig, context)
        self.server = connection.server
        self.client = Client(connection, "ml-platform-backup", threading.Event())
        self._kubectl = [str(find("kubectl"))]
        self._kubectl += [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        self._kubectl += [f"--context={context}"] if context else []

    # What is there.

    def uid(self) -> str:
        """What no other cluster has: the UID of the namespace `kube-system`."""
        body = self.client.request("GET", f"{_CORE}/namespaces/kube-system")
        return str(body["metadata"]["uid"])

    def world(self, users: Callable[[Sequence[Object]], Collection[str]]) -> World:
        """What `select` looks at; `users` tells whose namespaces are read whole."""
        namespaces = self.all_of(f"{_CORE}/namespaces")
        definitions = self.all_of(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _METADATA
        )
        custom = {body["metadata"]["name"] for body in definitions}
        paths = []
        for resource in self._resources():
            group = resource.api_version.rpartition("/")[0]
            if f"{resource.plural}.{group}" in custom:
                paths.append((resource, resource.path()))
            elif resource.namespaced:
                paths += [(resource, resource.path(name)) for name in users(namespaces)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda one: self._typed(*one), paths)
            objects = [body for bodies in found for body in bodies]
        return World(
            namespaces=[{**body, "apiVersion": "v1", "kind": "Namespace"} for body in namespaces],
            definitions=definitions,
            objects=objects,
            workloads=self.workloads(),
            claims=self.claims(),
            pods=self.pods(),
        )

    def workloads(self) -> list[Object]:
        """Deployments and StatefulSets of all namespaces."""
        return [
            {**body, "apiVersion": "apps/v1", "kind": kind}
            for kind, plural in (("Deployment", "deployments"), ("StatefulSet", "statefulsets"))
            for body in self.all_of(f"/apis/apps/v1/{plural}")
        ]

    def claims(self) -> list[Object]:
        """PersistentVolumeClaims of all namespaces."""
        claims = self.all_of(f"{_CORE}/persistentvolumeclaims")
        return [{**body, "apiVersion": "v1", "kind": "PersistentVolumeClaim"} for body in claims]

    def pods(self, namespace: str = "") -> list[Object]:
        """Pods, of all namespaces by default."""
        return self.all_of(f"{_CORE}{f'/namespaces/{namespace}' if namespace else ''}/pods")

    def secrets(self, namespaces: Collection[str]) -> list[Object]:
        """The Secrets of some namespaces."""
        return [
            {**body, "apiVersion": "v1", "kind": "Secret"}
            for name in namespaces
            for body in self.all_of(f"{_CORE}/namespaces/{name}/secrets")
        ]

    def all_of(self, path: str, accept: str = "application/json") -> list[Object]:
        """All objects of a collection."""
        found: list[Object] = []
        more: dict[str, Any] = {"limit": _PAGE}
        while True:
            answer = self.client.request("GET", path, more, accept=accept)
            found += answer.get("items") or []
            if not (token := (answer.get("metadata") or {}).get("continue")):
                return found
            more["continue"] = token

    def _typed(self, resource: Resource, path: str) -> list[Object]:
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**body, **head} for body in self.all_of(path)]

    def _resources(self) -> list[Resource]:
        """Every kind that can be listed and made, at the version that its group prefers."""
        groups = self.client.request("GET", "/apis").get("groups") or ()
        versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [one for found in pool.map(self._resources_of, versions) for one in found]

    def _resources_of(self, version: str) -> list[Resource]:
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            answer = self.client.request("GET", prefix)
        except ApiError as error:
            # Another server's, which is down: it keeps nothing in this cluster's own storage.
            if error.code == 503:
                return []
            raise
        return [
            Resource(version, one["kind"], prefix, one["name"], bool(one["namespaced"]))
            for one in answer.get("resources") or ()
            if "/" not in one["name"] and {"list", "create"} <= set(one.get("verbs") or ())
        ]

    # Changes.

    def merge(self, path: str, patch: Mapping[str, Any]) -> Object:
        """Change an object by a JSON merge patch (RFC 7386)."""
        query = {"fieldManager": MANAGER}
        content = json.dumps(patch).encode()
        return self.client.request("PATCH", path, query, content, content_type=_MERGE)

    # Programs in pods.

    def database_pod(self, database: Database) -> str:
        """The name of a pod of a database's in which its server runs.

        It need not be ready: Katib's is not without the very database that is to be restored.

        Raises:
            BackupError: there is none.
        """
        for pod in sorted(self.pods(database.namespace), key=lambda one: one["metadata"]["name"]):
            labels = pod["metadata"].get("labels") or {}
            statuses = (pod.get("status") or {}).get("containerStatuses") or ()
            runs = any(
                status["name"] == database.container and "running" in (status.get("state") or {})
                for status in statuses
            )
            mine = database.labels.items() <= labels.items()
            if mine and runs and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        raise BackupError(
            f"no pod of {database.owner}/{database.namespace}/{database.name} runs, "
            "so its databases can't be reached; `python -m doctor` tells why"
        )

    @contextmanager
    def volume_pod(self, mount: Mount, *, read_only: bool) -> Iterator[str]:
        """The name of a pod that has a volume, for as long as the block runs.

        Raises:
            BackupError: it does not start within 5 minutes; the message has the cluster's reason.
        """
        name = pods.pod_name(mount.namespace, mount.claim)
        path = f"{_CORE}/namespaces/{mount.namespace}/pods"
        account = f"{_CORE}/namespaces/{mount.namespace}/serviceaccounts/default"
        self.until(lambda: self.exists(account), f"the ServiceAccount of {mount.namespace}")
        self._remove(f"{path}/{name}")
        resource = Resource("v1", "Pod", _CORE, "pods", namespaced=True)

        def make(*, root: bool, dry_run: bool) -> None:
            body = pods.pod(mount, root=root, read_only=read_only)
            self.client.create(
                resource, body, mount.namespace, field_manager=MANAGER, dry_run=dry_run
            )

        root = True
        try:
            make(root=True, dry_run=True)
        except ApiError:
            root = False  # if it is for another reason, the pod itself will meet it
        try:
            make(root=root, dry_run=False)
        except ApiError as error:
            raise BackupError(
                f"the pod for the volume {mount.namespace}/{mount.claim} is refused: "
                f"{error.message}"
            ) from None
        try:
            self._wait_running(f"{path}/{name}", mount)
            yield name
        finally:
            self._remove(f"{path}/{name}")

    def _wait_running(self, path: str, mount: Mount) -> None:
        end, why = time.monotonic() + _PATIENCE, ""
        while time.monotonic() < end:
            status = self.client.request("GET", path).get("status") or {}
            if status.get("phase") == "Running":
                return
            why = _why_not(status) or why
            time.sleep(_PAUSE)
        raise BackupError(
            f"the pod for the volume {mount.namespace}/{mount.claim} did not start within "
            f"{_PATIENCE:.0f} s: {why or 'no reason is given'}"
        )

    def _remove(self, path: str) -> None:
        options = json.dumps({"gracePeriodSeconds": 0}).encode()
        try:
            self.client.request("DELETE", path, None, options, content_type="application/json")
        except ApiError as error:
            if error.code != 404:
                raise
        self.until(lambda: not self.exists(path), f"{path.rpartition('/')[2]} is deleted")

    def exists(self, path: str) -> bool:
        """Whether there is an object at a path."""
        try:
            self.client.request("GET", path)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    def until(self, so: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
        """Wait until something is so. Raises BackupError when it does not become so."""
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end:
                raise BackupError(f"waited {seconds:.0f} s in vain: {what}")
            time.sleep(_PAUSE)

    def read(
        self, where: tuple[str, str, str], command: Sequence[str], sink: Callable[[bytes], object]
    ) -> Ended:
        """Run a program in a container (namespace, pod, container); its output goes to `sink`."""
        with self._running(where, command, stdin=False) as (output, ended):
            while chunk := output.read(_CHUNK):
                sink(chunk)
            return ended()

    def write(self, where: tuple[str, str, str], command: Sequence[str], source: Source) -> Ended:
        """Run a program in a container, with `source` as its input."""
        with self._running(where, command, stdin=True) as (into, ended):
            with suppress(BrokenPipeError):  # it ended early, and says why
                while chunk := source.read(_CHUNK):
                    into.write(chunk)
                into.close()
            return ended()

    @contextmanager
    def _running(
        self, where: tuple[str, str, str], command: Sequence[str], *, stdin: bool
    ) -> Iterator[tuple[IO[bytes], Callable[[], Ended]]]:
        """A program's input or else its output, and what waits for its end; it ends here."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self._exec(where, command, stdin=stdin),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if stdin else subprocess.PIPE,
                stderr=said,
            )
            pipe = cast(IO[bytes], process.stdin if stdin else process.stdout)
            try:
                yield pipe, lambda: Ended(process.wait(), _last(said))
            finally:
                process.kill()
                process.wait()

    def ask(self, where: tuple[str, str, str], command: Sequence[str]) -> str:
        """What a program in a container prints. Raises BackupError when it fails."""
        said = bytearray()
        ended = self.read(where, command, said.extend)
        if ended.code:
            namespace, pod, _ = where
            raise BackupError(f"in the pod {namespace}/{pod}: {ended.said}")
        return said.decode(errors="surrogateescape")

    def _exec(
        self, where: tuple[str, str, str], command: Sequence[str], *, stdin: bool
    ) -> list[str]:
        namespace, pod, container = where
        words = ["exec", f"--namespace={namespace}", pod, f"--container={container}"]
        return [*self._kubectl, *words, *(["--stdin"] if stdin else []), "--", *command]


def _why_not(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        if waiting := (container.get("state") or {}).get("waiting"):
            return f"{waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return ""


def _last(file: IO[bytes]) -> str:
    size = file.seek(0, 2)
    file.seek(max(0, size - _READ))
    lines = file.read().decode(errors="replace").strip().splitlines()
    # kubectl's own, which says no more than the exit code.
    said = "; ".join(line for line in lines if not line.startswith("command terminated with"))
    # Where a node can't be reached: the whole command, escaped.
    return _ADDRESS.sub("", said)[-_WORDS:]
