"""Runs a program against Pulumi's mocks: what it would register, without an engine or plugins."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack, wait_for_rpcs

from components.platform_provider import Credentials, GatewayAccess, RedisAccess


def existing_kubeconfig(folder: Path) -> Path:
    """The kubeconfig, in a folder, of a cluster that nobody will ask anything."""
    entry = {"name": "one"}
    content = {
        "current-context": "one",
        "contexts": [{**entry, "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{**entry, "cluster": {"server": "https://one:6443"}}],
        "users": [{**entry, "user": {"token": "hush"}}],
    }
    path = folder / "config"
    path.write_text(json.dumps(content))
    return path


@dataclasses.dataclass
class Registered:
    """One resource: its token, name, inputs, and the engine's request."""

    type: str
    name: str
    inputs: dict[str, Any]
    request: Any

    @property
    def urn_of_parent(self) -> str:
        return self.request.parent


class Monitor(mocks.MockMonitor):
    """Keeps every request: the mocks themselves see no options."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.registered: list[Registered] = []

    def RegisterResource(self, request):
        if request.type != "pulumi:pulumi:Stack":
            inputs = pulumi.runtime.rpc.deserialize_properties(request.object, keep_unknowns=True)
            self.registered.append(Registered(request.type, request.name, inputs, request))
        return super().RegisterResource(request)


class Echo(mocks.Mocks):
    """Every resource gets its inputs as outputs; commands print, credentials are generated."""

    def new_resource(self, args):
        outputs = dict(args.inputs)
        if args.typ == "command:local:Command":
            outputs |= {"stdout": f"stdout of {args.name}", "stderr": ""}
        if args.typ == "mlplatform:access:Credentials":
            outputs = dict.fromkeys(Credentials.__annotations__, "made")
        if args.typ == "mlplatform:redis:Access":
            outputs |= {name: f"made-{name}" for name in RedisAccess.__annotations__}
        if args.typ == "mlplatform:gateway:Access":
            made = [*args.inputs["credentials"], *GatewayAccess.__annotations__]
            outputs |= {name: f"made-{name}" for name in made}
        return f"{args.name}-id", outputs

    def call(self, args):
        return {}


@dataclasses.dataclass
class Ran:
    """What a program registered and what it returned."""

    registered: list[Registered]
    returned: Any

    def of(self, type_: str, name: str = "") -> Registered:
        """The one resource of a type (and name)."""
        (found,) = [r for r in self.registered if r.type == type_ and name in ("", r.name)]
        return found


def run(program: Callable[[], Any], answers: mocks.Mocks, *, preview: bool = False) -> Ran:
    """Run a program to its end; an output that it returns becomes (value, whether secret)."""
    monitor = Monitor(answers)
    pulumi.runtime.set_mocks(answers, "ml-platform", "test", preview, monitor=monitor)
    # The mocks come with a stack whose program is over; this one is run in a stack of its own.
    loop = asyncio.get_event_loop()
    loop.run_until_complete(wait_for_rpcs())
    set_root_resource(None)
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    result: dict[str, Any] = {}

    async def resolve(output: pulumi.Output[Any]) -> None:
        result["value"] = await output.future()
        result["secret"] = await output.is_secret()

    def body() -> Any:
        returned = program()
        result["returned"] = returned
        return resolve(returned) if isinstance(returned, pulumi.Output) else None

    loop.run_until_complete(run_in_stack(body))
    returned = result["returned"]
    if isinstance(returned, pulumi.Output):
        returned = (result["value"], result["secret"])
    return Ran(monitor.registered, returned)
