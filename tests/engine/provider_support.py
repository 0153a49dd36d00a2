"""A provider plugin as the engine sees it: a process that is spoken to over gRPC."""

import base64
import contextlib
import itertools
import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from google.rpc import status_pb2

from provider.rpc import MAX_MESSAGE, engine_pb2_grpc, provider_pb2, provider_pb2_grpc
from provider.values import from_struct, to_struct
from sandbox import pki
from sandbox.api import ApiError, Client
from sandbox.controlplane import RunningSandbox
from sandbox.parts import Layout

Object = dict[str, Any]
T = TypeVar("T")
PROJECT = Path(__file__).resolve().parents[2]
STAND_IN = PROJECT / "sandbox" / "provider" / "bin" / "pulumi-resource-kubernetes"
MLPLATFORM = PROJECT / "provider" / "bin" / "pulumi-resource-mlplatform"
NOWHERE = "https://127.0.0.1:1"
_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 16 * 1024 * 1024),
]


def eventually(check: Callable[[], T], timeout: float = 20.0) -> T:
    """Wait until `check` gives something true, and give it; an API error counts as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            found = check()
        except (ApiError, OSError) as error:
            last = error
        else:
            if found:
                return found
            last = found
        assert time.monotonic() < deadline, last
        time.sleep(0.02)


# --- the engine ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """What a plugin said; `ephemeral` is a status that the next one replaces."""

    text: str
    urn: str
    severity: int
    ephemeral: bool


class Engine(engine_pb2_grpc.EngineServicer):
    """The part of the engine that plugins call: its log."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=_OPTIONS)
        engine_pb2_grpc.add_EngineServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Log(self, request, context):
        message = Message(request.message, request.urn, request.severity, request.ephemeral)
        self.messages.append(message)
        return empty_pb2.Empty()

    def said(self, urn: str = "") -> str:
        """All texts, of one resource or of all."""
        return "\n".join(m.text for m in self.messages if not urn or m.urn == urn)

    def stop(self) -> None:
        self._server.stop(None)


# --- the plugin ----------------------------------------------------------------------------------


class Refused(Exception):
    """An operation failed and left nothing that the engine would record."""


class InitFailed(Exception):
    """The object exists but is not ready: what the engine records of it."""

    def __init__(self, text: str, detail: Any) -> None:
        super().__init__(text)
        self.id = detail.id
        self.state = from_struct(detail.properties)
        self.inputs = from_struct(detail.inputs)
        self.reasons = list(detail.reasons)


@dataclass(frozen=True)
class Diff:
    """Answer to Diff; `changes` maps each property path to its kind, such as `UPDATE_REPLACE`."""

    some: bool
    changes: Mapping[str, str]
    replaces: Sequence[str]
    delete_before_replace: bool


@dataclass(frozen=True)
class Read:
    """Answer to Read; an empty `id` says that the object is gone."""

    id: str
    state: Object
    inputs: Object


class Plugin:
    """One plugin process, started and configured as the engine does.

    Args:
        binary: the executable.
        engine: takes its messages.
        folder: where its error output goes.
        config: the provider's configuration, without the package's name.
        environment: variables on top of this process's.
    """

    def __init__(
        self,
        binary: Path,
        engine: Engine,
        folder: Path,
        config: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.package = binary.name.removeprefix("pulumi-resource-").removesuffix(".exe")
        self.engine = engine
        self.log = folder / f"{self.package}-{secrets.token_hex(4)}.log"
        began = time.monotonic()
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [str(binary), engine.address],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        port = self.process.stdout.readline().decode().strip()
        assert port.isdigit(), f"{binary} printed {port!r} for a port: {self.log.read_text()}"
        self.start_seconds = time.monotonic() - began
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self.configure(config)

    def configure(self, config: Mapping[str, str]) -> None:
        request = provider_pb2.ConfigureRequest(
            variables={f"{self.package}:config:{key}": value for key, value in config.items()},
            args=to_struct(dict(config), struct_pb2.Struct()),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
        )
        self.stub.Configure(request, timeout=30)

    def cancel(self) -> None:
        self.stub.Cancel(empty_pb2.Empty(), timeout=30)

    def stop(self) -> None:
        self._channel.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def errors(self) -> str:
        """Its error output."""
        return self.log.read_text(errors="replace")

    def call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self.stub, method)(request, timeout=120)
        except grpc.RpcError as error:
            raise _failure(error) from None

    def resource(self, token: str, name: str = "it") -> "Resource":
        """A resource of this provider that is not in the state yet."""
        return Resource(self, token, name)


def _failure(error: Any) -> Exception:
    metadata = dict(error.trailing_metadata() or ())
    status = status_pb2.Status()
    status.ParseFromString(metadata.get("grpc-status-details-bin", b""))
    for packed in status.details:
        detail = provider_pb2.ErrorResourceInitFailed()
        if packed.Unpack(detail):
            return InitFailed(error.details(), detail)
    return Refused(error.details())


def struct(values: Mapping[str, Any]) -> Any:
    return to_struct(values, struct_pb2.Struct())


@dataclass
class Resource:
    """One resource, and what the engine would keep of it between operations.

    Methods that change it take the program's inputs, run Check on them and go on as the engine.
    """

    plugin: Plugin
    token: str
    name: str
    id: str = ""
    inputs: Object = field(default_factory=dict)
    state: Object = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:stack::contract::{self.token}::{self.name}"

    def _identity(self) -> dict[str, str]:
        return {"urn": self.urn, "name": self.name, "type": self.token}

    def check(
        self, program: Object, *, seed: bytes = b"seed", **options: Any
    ) -> tuple[Object, list[str]]:
        """Completed inputs, and the failures' reasons."""
        request = provider_pb2.CheckRequest(
            **self._identity(),
            olds=struct(self.inputs) if self.inputs else None,
            news=struct(program),
            randomSeed=seed,
            **options,
        )
        answer = self.plugin.call("Check", request)
        return from_struct(answer.inputs), [failure.reason for failure in answer.failures]

    def _checked(self, program: Object) -> Object:
        inputs, failures = self.check(program)
        assert not failures
        return inputs

    def create(self, program: Object, *, timeout: float = 0.0) -> "Resource":
        """Create it; a failed initialisation is recorded, and raised."""
        inputs = self._checked(program)
        request = provider_pb2.CreateRequest(
            **self._identity(), properties=struct(inputs), timeout=timeout
        )
        try:
            answer = self.plugin.call("Create", request)
        except InitFailed as failed:
            self.id, self.inputs, self.state = failed.id, inputs, failed.state
            raise
        self.id, self.inputs, self.state = answer.id, inputs, from_struct(answer.properties)
        return self

    def preview(self, program: Object) -> Object:
        """What a preview shows as outputs: of a creation, or of an update if it is there."""
        inputs = self._checked(program)
        if self.id:
            return from_struct(self._update(inputs, preview=True).properties)
        request = provider_pb2.CreateRequest(
            **self._identity(), properties=struct(inputs), preview=True
        )
        answer = self.plugin.call("Create", request)
        assert answer.id == ""
        return from_struct(answer.properties)

    def diff(self, program: Object, ignore: Sequence[str] = ()) -> Diff:
        inputs = self._checked(program)
        answer = self.plugin.call(
            "Diff",
            provider_pb2.DiffRequest(
                **self._identity(),
                id=self.id,
                olds=struct(self.state),
                news=struct(inputs),
                old_inputs=struct(self.inputs),
                ignoreChanges=ignore,
            ),
        )
        kinds = provider_pb2.PropertyDiff.Kind
        assert answer.hasDetailedDiff
        return Diff(
            some=answer.changes == provider_pb2.DiffResponse.DIFF_SOME,
            changes={path: kinds.Name(d.kind) for path, d in answer.detailedDiff.items()},
            replaces=list(answer.replaces),
            delete_before_replace=answer.deleteBeforeReplace,
        )

    def _update(
        self,
        inputs: Object,
        *,
        preview: bool = False,
        timeout: float = 0.0,
        ignore: Sequence[str] = (),
    ) -> Any:
        request = provider_pb2.UpdateRequest(
            **self._identity(),
            id=self.id,
            olds=struct(self.state),
            news=struct(inputs),
            old_inputs=struct(self.inputs),
            preview=preview,
            timeout=timeout,
            ignoreChanges=ignore,
        )
        return self.plugin.call("Update", request)

    def update(
        self, program: Object, *, timeout: float = 0.0, ignore: Sequence[str] = ()
    ) -> "Resource":
        """Update it; a failed initialisation is recorded, and raised."""
        inputs = self._checked(program)
        try:
            answer = self._update(inputs, timeout=timeout, ignore=ignore)
        except InitFailed as failed:
            self.inputs, self.state = inputs, failed.state
            raise
        self.inputs, self.state = inputs, from_struct(answer.properties)
        return self

    def read(self, identifier: str = "") -> Read:
        """Refresh it; with an `identifier`, import that object."""
        request = provider_pb2.ReadRequest(
            **self._identity(),
            id=identifier or self.id,
            properties=struct(self.state),
            inputs=struct(self.inputs),
        )
        answer = self.plugin.call("Read", request)
        return Read(answer.id, from_struct(answer.properties), from_struct(answer.inputs))

    def refresh(self) -> Read:
        """Refresh it and record what was found."""
        found = self.read()
        self.id, self.state, self.inputs = found.id, found.state, found.inputs
        return found

    def delete(self, *, timeout: float = 0.0) -> None:
        request = provider_pb2.DeleteRequest(
            **self._identity(),
            id=self.id,
            properties=struct(self.state),
            old_inputs=struct(self.inputs),
            timeout=timeout,
        )
        self.plugin.call("Delete", request)
        self.id, self.state, self.inputs = "", {}, {}


class Background(Generic[T]):
    """An operation that goes on while a test does something else."""

    def __init__(self, operation: Callable[[], T]) -> None:
        self._future: futures.Future[T] = futures.Future()
        self._operation = operation
        self.began = time.monotonic()
        self.seconds = 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            result = self._operation()
        except BaseException as error:
            self.seconds = time.monotonic() - self.began
            self._future.set_exception(error)
        else:
            self.seconds = time.monotonic() - self.began
            self._future.set_result(result)

    @property
    def done(self) -> bool:
        return self._future.done()

    def result(self, timeout: float = 60.0) -> T:
        """Its result, or what it raised."""
        return self._future.result(timeout)


Start = Callable[..., Plugin]


# --- the cluster ---------------------------------------------------------------------------------


class Cluster:
    """The sandbox as somebody else than the plugin sees and changes it."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = Client(sandbox.admin_kubeconfig, "contract-test")
        self._numbers = itertools.count()

    @property
    def kubeconfig(self) -> str:
        """Contents of the deployer's kubeconfig."""
        return self.sandbox.kubeconfig.read_text()

    def kubeconfig_of(self, user: str) -> str:
        """A kubeconfig of a user without any rights."""
        layout = Layout(self.sandbox.data_dir)
        authority = pki.KeyPair(
            (layout.pki / "ca.crt").read_bytes(), (layout.pki / "ca.key").read_bytes()
        )
        server = json.loads(self.kubeconfig)["clusters"][0]["cluster"]["server"]
        credentials = pki.issue(authority, user)
        return pki.kubeconfig(server, authority.certificate, user, credentials, "sandbox").decode()

    def namespace(self) -> str:
        """Make a namespace of its own for a test."""
        name = f"contract-{next(self._numbers)}-{secrets.token_hex(3)}"
        self.client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def get(self, path: str) -> Object:
        return self.client.request("GET", path)

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except ApiError as error:
            assert error.code == 404
            return False
        return True

    def post(self, path: str, body: Object) -> Object:
        return self.client.request("POST", path, body)

    def merge(self, path: str, patch: Object) -> Object:
        """Change an object by a JSON merge patch."""
        return self.client.request("PATCH", path, patch, "application/merge-patch+json")

    def apply(self, path: str, body: Object, manager: str) -> Object:
        """Change an object by server-side apply, taking over what others manage."""
        query = f"{path}?fieldManager={manager}&force=true"
        return self.client.request("PATCH", query, body, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        self.client.request("DELETE", path)

    def managers(self, path: str) -> set[tuple[str, str]]:
        """Who manages fields of an object, and by which kind of write."""
        entries = self.get(path)["metadata"]["managedFields"]
        return {(e["manager"], e["operation"]) for e in entries if not e.get("subresource")}


def condition(obj: Object, kind: str) -> str:
    """Status of a condition of a live object, empty if it has none such."""
    for item in obj.get("status", {}).get("conditions") or ():
        if item["type"] == kind:
            return item["status"]
    return ""


class Proxy:
    """A connection to the API server that a test can cut."""

    def __init__(self, kubeconfig: str) -> None:
        config = json.loads(kubeconfig)
        host, _, port = (
            config["clusters"][0]["cluster"]["server"].removeprefix("https://").partition(":")
        )
        self._target = (host, int(port))
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._address = ("127.0.0.1", 0)
        self.open()
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self._address[1]}"
        self.kubeconfig = json.dumps(config)

    def open(self) -> None:
        listener = socket.create_server(self._address)
        self._address = listener.getsockname()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        _shut(source, target)

    def cut(self) -> None:
        """Refuse new connections and end those that there are."""
        if self._listener is not None:
            _shut(self._listener)
            self._listener = None
        _shut(*self._sockets)
        self._sockets.clear()


def _shut(*sockets: socket.socket) -> None:
    for item in sockets:
        with contextlib.suppress(OSError):
            item.shutdown(socket.SHUT_RDWR)
        item.close()


# --- objects -------------------------------------------------------------------------------------


def obj(api_version: str, kind: str, namespace: str, name: str, **fields: Any) -> Object:
    """An object as a program gives it."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def annotated(body: Object, **annotations: str) -> Object:
    """A copy with annotations of Pulumi's: `skipAwait="true"`, `timeoutSeconds="2"`."""
    metadata = dict(body["metadata"])
    added = {f"pulumi.com/{key}": value for key, value in annotations.items()}
    metadata["annotations"] = {**metadata.get("annotations", {}), **added}
    return {**body, "metadata": metadata}


def config_map(namespace: str, name: str, data: Object | None = None, **metadata: Any) -> Object:
    return obj("v1", "ConfigMap", namespace, name, data=data or {"a": "1"}, metadata=metadata)


def workload(kind: str, namespace: str, name: str, **spec: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet; `pod` adds to its Pods' spec."""
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "example.org/none"}], **spec.pop("pod", {})}
    template = {"metadata": {"labels": labels}, "spec": pod}
    if kind == "StatefulSet":
        spec.setdefault("serviceName", name)
    return obj(
        "apps/v1",
        kind,
        namespace,
        name,
        spec={"selector": {"matchLabels": labels}, "template": template, **spec},
    )


# A Pod with such a gate stays pending until somebody takes it away.
HELD = {"schedulingGates": [{"name": "example.org/held"}]}


def release_pods(cluster: Cluster, namespace: str) -> None:
    """Take the gate from the Pods of a namespace, once there are any."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    for pod in eventually(lambda: cluster.get(path)["items"]):
        cluster.merge(f"{path}/{pod['metadata']['name']}", {"spec": {"schedulingGates": None}})


def definition(group: str, kind: str, versions: Sequence[str] = ("v1",), **spec: Any) -> Object:
    """A CustomResourceDefinition of a namespaced kind that takes anything."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": index == 0,
                    "schema": {"openAPIV3Schema": schema},
                }
                for index, version in enumerate(versions)
            ],
            **spec,
        },
    }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
