"""Kong's side of a gateway in tests: where it is rendered to, and files that a person can read."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gateway.rendering import Pods, Target
from components.gateway.routes import Gateway, parse
from components.kubeflow.yamljson import load_all
from toolchain.build import find_go
from toolchain.pins import TOOLS

CONTROLLER = "kong-ingress-controller"
GOLDEN = Path(__file__).parents[1] / "unit" / "golden" / "kong"
EXAMPLES = sorted(path.name.removesuffix(".routes.yaml") for path in GOLDEN.glob("*.routes.yaml"))


def example(name: str) -> Gateway:
    """The gateway of a file beside the golden ones."""
    return parse((GOLDEN / f"{name}.routes.yaml").read_text(), name)


def target(gateway: Gateway, **more: Any) -> Target:
    """Where the tests render to: as the component does, on a cluster that has all the Services."""
    services = [backend.service for backend in gateway.backends if backend.service]
    return Target(
        namespace="kong",
        ingress_class="kong",
        tls_secrets={host.name: "gateway-tls" for host in gateway.hosts if host.tls},
        redis="redis.redis.svc:6379",
        redis_secret="redis-access",
        **{
            "pods": {
                f"{one.namespace}/{one.name}:{one.port}": Pods({"app": one.name}, 8080)
                for one in services
            },
            **more,
        },
    )


class _Readable(yaml.SafeDumper):
    """Without anchors, and with texts of several lines as they are."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def readable(documents: Iterable[Any]) -> str:
    """Documents of YAML, as in the golden files."""
    return yaml.dump_all(documents, Dumper=_Readable, sort_keys=False, width=100)


def assert_golden(found: str, file: Path) -> None:
    """See that a file holds what was found; `GOLDEN=write` has it written instead."""
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
    assert found == (file.read_text() if file.exists() else ""), f"see {file}; GOLDEN=write"


# --- definitions of kinds ------------------------------------------------------------------------


@cache
def definitions() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of the Gateway API (experimental) and of Kong.

    They are in Go's modules, which the build of Kong's controller fetches.
    """
    folders = [
        module("sigs.k8s.io/gateway-api") / "config/crd/experimental",
        module("github.com/kong/kubernetes-configuration") / "config/crd/ingress-controller",
    ]
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            found += load_all(path.read_text())
    return [one for one in found if one.get("kind") == "CustomResourceDefinition"]


def module(path: str) -> Path:
    """The folder of a Go module at the controller's version; the test is skipped without one."""
    source = TOOLS[CONTROLLER].source
    go = find_go()
    if source is None or go is None:
        pytest.skip(f"needs Go, and its module {path}")
    done = subprocess.run(
        [go.path, "list", "-m", "-json", path],
        cwd=source.module,
        env={**os.environ, "GOFLAGS": "", "GOPROXY": "off", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    folder = json.loads(done.stdout or "{}").get("Dir")
    if not folder:
        pytest.skip(f"needs the Go module {path}: make setup-real-nodes")
    return Path(folder)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of OpenAPI as one of JSON Schema that takes no field it does not know."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    for key in ("properties", "additionalProperties", "items"):
        inner = schema.get(key)
        if key == "properties" and inner:
            found[key] = {name: strict(value) for name, value in inner.items()}
        elif isinstance(inner, dict):
            found[key] = strict(inner)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and "additionalProperties" not in schema and not open_ended:
        found["additionalProperties"] = False
    return found


def schemas() -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """The schema of each version of each kind, by `apiVersion` and `kind`."""
    for one in definitions():
        spec = one["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # An object's own fields, which each API has.
            schema["properties"]["metadata"] = {"type": "object"}
            yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema
