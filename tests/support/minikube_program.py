"""A stack with a minikube cluster and something that lives on it, run by the real engine.

Each run is a process of its own, as it is for a user, and so can be killed.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi import automation
from pulumi_command import local

from components.cluster.minikube import Minikube
from sandbox.engine import open_stack
from tests.support.minikube_world import arguments

STACK = "test-minikube"
ROOT = Path(__file__).resolve().parents[2]


class RunFailed(Exception):
    """The engine failed; the text is all that it said."""


@dataclasses.dataclass
class Output:
    """An output of the stack."""

    value: Any
    secret: bool


class Deployment:
    """A stack whose state is below `home`; every run takes changes to the cluster's settings."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said = ""
        self.kubeconfig = Output("", secret=False)

    def process(self, verb: str, changes: dict[str, Any]) -> subprocess.Popen[str]:
        """Start a run."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.minikube_program"),
                *(str(self.home), verb, json.dumps(changes), str(self._result)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def _result(self) -> Path:
        # Not below `home`: it holds the kubeconfig in plain text.
        return self.home.parent / "result.json"

    def run(self, verb: str, changes: dict[str, Any]) -> dict[str, str]:
        """Run to the end; steps by resource, for those with which anything was done."""
        self._result.unlink(missing_ok=True)
        process = self.process(verb, changes)
        said, _ = process.communicate()
        self.said += said
        if process.returncode:
            raise RunFailed(said)
        result = json.loads(self._result.read_text())
        if "kubeconfig" in result["outputs"]:
            self.kubeconfig = Output(**result["outputs"]["kubeconfig"])
        steps: dict[str, str] = result["steps"]
        return steps

    def up(self, **changes: Any) -> dict[str, str]:
        """Bring it up. `kubeconfig` then is the output."""
        return self.run("up", changes)

    def preview(self, **changes: Any) -> dict[str, str]:
        """What an `up` would do."""
        return self.run("preview", changes)

    def destroy(self) -> dict[str, str]:
        """Take everything away."""
        return self.run("destroy", {})

    def workload(self) -> list[str]:
        """What was done to the workload since the last time this was called."""
        log = workload_log(self.home)
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def written(self) -> str:
        """Everything that the engine has written down or said."""
        files = [file for file in self.home.rglob("*") if file.is_file()]
        contents = [
            gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            for file in files
        ]
        return "\n".join([self.said, *(c.decode(errors="replace") for c in contents)])


def workload_log(home: Path) -> Path:
    """What was done to the thing that lives on the cluster."""
    return home / "workload.log"


def program(home: Path, changes: dict[str, Any]) -> None:
    """The program: a cluster, and below a component that goes with it a thing that lives on it."""
    cluster = Minikube("cluster", arguments(**changes))
    log = shlex.quote(str(workload_log(home)))
    platform = pulumi.ComponentResource(
        "test:index:Platform",
        "platform",
        opts=pulumi.ResourceOptions(deleted_with=cluster.deleted_with),
    )
    local.Command(
        "workload",
        create=f"echo created >> {log}",
        delete=f"echo deleted >> {log}",
        triggers=[cluster.identifier],
        opts=pulumi.ResourceOptions(parent=platform, depends_on=[cluster.provider]),
    )
    pulumi.export("kubeconfig", cluster.kubeconfig)


def _steps(events: Sequence[automation.EngineEvent]) -> Iterator[tuple[str, str]]:
    for event in events:
        if event.resource_pre_event:
            metadata = event.resource_pre_event.metadata
            if metadata.op.value not in ("same", "read", "refresh"):
                yield metadata.urn.rpartition("::")[2], metadata.op.value


def main(home: Path, verb: str, changes: dict[str, Any], result_file: Path) -> None:
    """One run."""
    # minikube refuses to run as root, as tests in a container do.
    os.geteuid = lambda: 1000
    stack = open_stack(STACK, home, {}, print, lambda: program(home, changes))
    events: list[automation.EngineEvent] = []
    try:
        result = getattr(stack, verb)(on_output=print, on_event=events.append)
    except automation.CommandError as error:
        sys.exit(str(error))
    outputs = getattr(result, "outputs", {})
    content = {
        "steps": dict(_steps(events)),
        "outputs": {
            name: {"value": output.value, "secret": output.secret}
            for name, output in outputs.items()
        },
    }
    result_file.write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), Path(sys.argv[4]))
