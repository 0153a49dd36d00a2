"""Pulumi's plugin protocol: the generated stubs, the server, and a base class for plugins.

The stubs ship inside the Pulumi SDK, whose own import takes about a second; they are loaded from
its folder without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import grpc

from provider.lifetime import end_with_parent
from provider.values import from_struct, redact, to_struct

MAX_MESSAGE: Final = 400 * 1024 * 1024  # the engine's own limit
# A waiting resource holds a thread, and threads are made only as they are needed.
MAX_WORKERS: Final = 4096
_STUBS: Final = "pulumi_protocol"


def _load_stubs() -> None:
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package `pulumi` is not installed; run `make setup`")
    package = ModuleType(_STUBS)
    package.__path__ = [str(Path(spec.submodule_search_locations[0]) / "runtime" / "proto")]
    sys.modules[_STUBS] = package


if _STUBS not in sys.modules:
    _load_stubs()
provider_pb2: Final[Any] = importlib.import_module(f"{_STUBS}.provider_pb2")
provider_pb2_grpc: Final[Any] = importlib.import_module(f"{_STUBS}.provider_pb2_grpc")
plugin_pb2: Final[Any] = importlib.import_module(f"{_STUBS}.plugin_pb2")
engine_pb2: Final[Any] = importlib.import_module(f"{_STUBS}.engine_pb2")
engine_pb2_grpc: Final[Any] = importlib.import_module(f"{_STUBS}.engine_pb2_grpc")

Properties = dict[str, Any]


class PluginError(Exception):
    """Something to tell the user; the text is shown as it is, after secrets are removed."""


class InitFailed(PluginError):
    """The object exists but did not become ready: the engine records `properties` and tries again.

    `reasons` are shown one by one under the resource.
    """

    def __init__(
        self,
        message: str,
        identifier: str,
        properties: Properties,
        reasons: Sequence[str] = (),
        inputs: Properties | None = None,
    ) -> None:
        super().__init__(message)
        self.identifier = identifier
        self.properties = properties
        self.reasons = list(reasons)
        self.inputs = inputs


@dataclass(frozen=True, slots=True)
class Change:
    """One changed property: `path` as Pulumi writes it, `kind` of add, delete, update."""

    path: str
    kind: str
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Answer to Diff; no `changes` and no `replaces` means nothing to do."""

    changes: Sequence[Change] = ()
    replaces: Sequence[str] = ()
    delete_before_replace: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One bad input found by Check."""

    property: str
    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """What every operation on a resource says about it.

    `timeout` is the resource's custom timeout in seconds, 0 for none.
    """

    urn: str
    type: str
    name: str
    id: str = ""
    timeout: float = 0.0
    preview: bool = False
    ignore_changes: Sequence[str] = ()
    seed: bytes = b""
    proposed_name: str = ""
    autonaming: bool = True


@dataclass(slots=True)
class Engine:
    """The engine's log. Messages to a lost engine are dropped: the plugin is about to end."""

    address: str
    _stub: Any = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def _connect(self) -> Any:  # noqa: ANN401
        with self._lock:
            if self._stub is None and self.address:
                channel = grpc.insecure_channel(
                    self.address, options=[("grpc.max_send_message_length", MAX_MESSAGE)]
                )
                self._stub = engine_pb2_grpc.EngineStub(channel)
            return self._stub

    def _send(self, severity: int, message: str, urn: str, *, ephemeral: bool) -> None:
        stub = self._connect()
        if stub is None:
            return
        request = engine_pb2.LogRequest(
            severity=severity, message=message, urn=urn, ephemeral=ephemeral
        )
        try:
            stub.Log(request, timeout=5)
        except grpc.RpcError:
            return

    def info(self, urn: str, message: str) -> None:
        """A lasting message."""
        self._send(engine_pb2.INFO, message, urn, ephemeral=False)

    def warning(self, urn: str, message: str) -> None:
        """A lasting warning."""
        self._send(engine_pb2.WARNING, message, urn, ephemeral=False)

    def status(self, urn: str, message: str, *, warning: bool = False) -> None:
        """What the resource waits for now; replaces the previous status, empty clears it."""
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        self._send(severity, message, urn, ephemeral=True)


_KINDS: Final = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _struct(values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    from google.protobuf import struct_pb2

    return to_struct(values, struct_pb2.Struct())


def _type_of(request: Any) -> str:  # noqa: ANN401
    # Old engines don't send the type; it is the last part of the third field of the URN.
    declared: str = request.type
    return declared or request.urn.split("::")[2].rsplit("$", 1)[-1]


class Plugin(provider_pb2_grpc.ResourceProviderServicer):  # type: ignore[misc]
    """Translates the protocol to Python; a provider overrides the lower-case methods.

    They take and return plain Python mappings (`provider.values`) and may raise `PluginError`.
    """

    name = ""
    version = "0.0.0"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cancelled = threading.Event()

    # What a provider implements.

    def check_config(self, olds: Properties, news: Properties) -> Sequence[Failure]:
        """Problems of the provider's own configuration."""
        raise NotImplementedError

    def diff_config(self, olds: Properties, news: Properties) -> Difference:
        """Changes of the provider's own configuration."""
        raise NotImplementedError

    def configure(self, variables: Mapping[str, str]) -> None:
        """Take the configuration (names without prefix). Must not need the network."""
        raise NotImplementedError

    def check(
        self, call: Call, olds: Properties, news: Properties
    ) -> tuple[Properties, Sequence[Failure]]:
        """The inputs completed, and what is wrong with them."""
        raise NotImplementedError

    def diff(self, call: Call, olds: Properties, news: Properties) -> Difference:
        """Changes between a state and new inputs."""
        raise NotImplementedError

    def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Make the object; its id and outputs."""
        raise NotImplementedError

    def read(
        self, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The live id, outputs and inputs; an empty id says that it is gone."""
        raise NotImplementedError

    def update(self, call: Call, olds: Properties, news: Properties) -> Properties:
        """Change the object; its outputs."""
        raise NotImplementedError

    def delete(self, call: Call, state: Properties) -> None:
        """Remove the object and wait until it is gone."""
        raise NotImplementedError

    # The protocol.

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        if request.engine_address:
            self.engine.address = request.engine_address
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, supports_autonaming_configuration=True
        )

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        import orjson

        schema = {"name": self.name, "version": self.version}
        return provider_pb2.GetSchemaResponse(schema=orjson.dumps(schema).decode())

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        news = from_struct(request.news)
        with _Answering(context, news):
            failures = self.check_config(from_struct(request.olds), news)
            return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        olds, news = from_struct(request.olds), from_struct(request.news)
        with _Answering(context, olds, news):
            return _difference(self.diff_config(olds, news), detailed=False)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        prefix = f"{self.name}:config:"
        variables = {key.removeprefix(prefix): value for key, value in request.variables.items()}
        with _Answering(context, {"kind": "Secret", "data": variables.get("kubeconfig")}):
            self.configure(variables)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Check(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        olds, news = from_struct(request.olds), from_struct(request.news)
        autonaming = request.autonaming if request.HasField("autonaming") else None
        disabled = provider_pb2.CheckRequest.AutonamingOptions.DISABLE
        call = Call(
            urn=request.urn,
            type=_type_of(request),
            name=request.name or request.urn.rsplit("::", 1)[-1],
            seed=request.randomSeed,
            proposed_name=autonaming.proposed_name if autonaming else "",
            autonaming=autonaming is None or autonaming.mode != disabled,
        )
        with _Answering(context, olds, news):
            inputs, failures = self.check(call, olds, news)
            return provider_pb2.CheckResponse(inputs=_struct(inputs), failures=_failures(failures))

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        olds, news = from_struct(request.olds), from_struct(request.news)
        with _Answering(context, olds, news):
            return _difference(self.diff(self._call(request), olds, news), detailed=True)

    def Create(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        inputs = from_struct(request.properties)
        with _Answering(context, inputs):
            identifier, outputs = self.create(self._call(request), inputs)
            return provider_pb2.CreateResponse(id=identifier, properties=_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        state, inputs = from_struct(request.properties), from_struct(request.inputs)
        with _Answering(context, state, inputs):
            identifier, outputs, live = self.read(self._call(request), state, inputs)
            return provider_pb2.ReadResponse(
                id=identifier, properties=_struct(outputs), inputs=_struct(live)
            )

    def Update(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        olds, news = from_struct(request.olds), from_struct(request.news)
        with _Answering(context, olds, news):
            outputs = self.update(self._call(request), olds, news)
            return provider_pb2.UpdateResponse(properties=_struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        from google.protobuf import empty_pb2

        state = from_struct(request.properties)
        with _Answering(context, state):
            self.delete(self._call(request), state)
            return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        from google.protobuf import empty_pb2

        self.cancelled.set()
        return empty_pb2.Empty()

    def _call(self, request: Any) -> Call:  # noqa: ANN401
        return Call(
            urn=request.urn,
            type=_type_of(request),
            name=request.name or request.urn.rsplit("::", 1)[-1],
            id=getattr(request, "id", ""),
            timeout=getattr(request, "timeout", 0.0),
            preview=getattr(request, "preview", False),
            ignore_changes=tuple(getattr(request, "ignoreChanges", ())),
        )


def _failures(failures: Sequence[Failure]) -> list[Any]:
    return [provider_pb2.CheckFailure(property=f.property, reason=f.reason) for f in failures]


def _difference(difference: Difference, *, detailed: bool) -> Any:  # noqa: ANN401
    response = provider_pb2.DiffResponse
    changed = bool(difference.changes or difference.replaces)
    replaces = [change.path for change in difference.changes if change.replace]
    answer = response(
        changes=response.DIFF_SOME if changed else response.DIFF_NONE,
        replaces=[*replaces, *difference.replaces],
        deleteBeforeReplace=difference.delete_before_replace,
        diffs=[] if detailed else [change.path for change in difference.changes],
        hasDetailedDiff=detailed,
    )
    if detailed:
        for change in difference.changes:
            answer.detailedDiff[change.path].kind = _KINDS[change.kind, change.replace]
            answer.detailedDiff[change.path].inputDiff = change.kind == "delete"
    return answer


class _Answering:
    """Turns an exception into the protocol's error, without the secrets of `values`."""

    def __init__(self, context: Any, *values: Properties) -> None:  # noqa: ANN401
        self._context = context
        self._values = values

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:  # noqa: ANN401
        if error is None:
            return
        if isinstance(error, InitFailed):
            message = redact(str(error), *self._values, error.properties)
            reasons = [redact(reason, *self._values, error.properties) for reason in error.reasons]
            details = _init_failed(error, message, [message, *reasons])
            self._context.set_trailing_metadata((("grpc-status-details-bin", details),))
            self._context.abort(grpc.StatusCode.UNKNOWN, message)
        text = str(error)
        if not isinstance(error, PluginError):
            print(
                redact("".join(traceback.format_exception(error)), *self._values), file=sys.stderr
            )
            text = f"{type(error).__name__}: {text}"
        self._context.abort(grpc.StatusCode.UNKNOWN, redact(text, *self._values))


def _init_failed(error: InitFailed, message: str, reasons: Sequence[str]) -> bytes:
    from google.protobuf import any_pb2
    from google.rpc import status_pb2  # type: ignore[import-untyped]

    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identifier,
        properties=_struct(error.properties),
        reasons=reasons,
        inputs=_struct(error.inputs) if error.inputs is not None else None,
    )
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.append(packed)
    encoded: bytes = status.SerializeToString()
    return encoded


def serve(make: Callable[[Engine], Plugin], arguments: Sequence[str]) -> None:
    """Run a plugin until the engine ends it: listen on loopback and print the port.

    `arguments` are the command line's without its name; the engine passes its own address first.
    """
    # The engine interrupts a plugin that it needs no longer, and waits for its end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    address = next((a for a in arguments if not a.startswith("-")), "")
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", 16 * 1024 * 1024),
        ("grpc.so_reuseport", 0),
    ]
    workers = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="rpc")
    server = grpc.server(workers, options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(make(Engine(address)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    if address:
        end_with_parent()
    print(port, flush=True)
    server.wait_for_termination()
