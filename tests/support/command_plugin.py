"""A stand-in for the plugin `pulumi-resource-command`, where the official one can't be downloaded.

It has `command:local:Command` with what the program uses of it, and behaves as the official one
v1.2.1 by its sources (provider/pkg/provider/local and pulumi-go-provider's infer): which command
runs when, its environment, what becomes of its output, and what a preview and a diff tell.
Left out: `assetPaths`, `archivePaths`, the remote resources and the functions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from provider.rpc import Call, Change, Difference, Failure, Plugin, PluginError, Properties, serve
from provider.values import UNKNOWN, plain

TYPE = "command:local:Command"
INPUTS = (
    "addPreviousOutputInEnv",
    "create",
    "delete",
    "dir",
    "environment",
    "interpreter",
    "logging",
    "stdin",
    "triggers",
    "update",
)
OUTPUTS = ("stderr", "stdout")


def changes(old: Any, new: Any, path: str) -> Iterator[Change]:
    """Every difference of two values, by path."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else key
            if key not in new:
                yield Change(inner, "delete", replace=inner == "triggers")
            elif key not in old:
                yield Change(inner, "add", replace=inner == "triggers")
            else:
                yield from changes(old[key], new[key], inner)
        return
    if isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            inner = f"{path}[{index}]"
            if index >= len(new):
                yield Change(inner, "delete")
            elif index >= len(old):
                yield Change(inner, "add")
            else:
                yield from changes(old[index], new[index], inner)
        return
    # The schema has `triggers` replace; a path inside it is none of the schema's.
    yield Change(path, "update", replace=path == "triggers")


class Command(Plugin):
    """The provider."""

    name = "command"
    version = "1.2.1"

    def check_config(self, olds: Properties, news: Properties) -> Sequence[Failure]:
        return []

    def diff_config(self, olds: Properties, news: Properties) -> Difference:
        return Difference()

    def configure(self, variables: Mapping[str, str]) -> None:
        """There is nothing to configure."""

    def check(
        self, call: Call, olds: Properties, news: Properties
    ) -> tuple[Properties, Sequence[Failure]]:
        failures = [
            Failure(name, f"unexpected property {name}") for name in news if name not in INPUTS
        ]
        if call.type != TYPE:
            failures.append(Failure("", f"this stand-in has no {call.type}"))
        return news, failures

    def diff(self, call: Call, olds: Properties, news: Properties) -> Difference:
        old = {key: value for key, value in plain(olds).items() if key in INPUTS}
        return Difference(list(changes(old, plain(news), "")))

    def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        if call.preview:
            return "", {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
        outputs = {"stdout": "", "stderr": ""}
        if command := plain(inputs.get("create")):
            outputs = self.run(call, command, inputs, {})
        return f"{call.name}{uuid.uuid4().hex[:8]}", {**inputs, **outputs}

    def update(self, call: Call, olds: Properties, news: Properties) -> Properties:
        kept = {key: olds[key] for key in OUTPUTS if key in olds}
        if call.preview:
            old = {key: value for key, value in plain(olds).items() if key in INPUTS}
            # Every output is taken to depend on every input.
            return {**news, **(kept if old == plain(news) else dict.fromkeys(OUTPUTS, UNKNOWN))}
        command = plain(news.get("update")) or plain(news.get("create"))
        return {**news, **(self.run(call, command, news, olds) if command else kept)}

    def read(
        self, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        return call.id, state, inputs

    def delete(self, call: Call, state: Properties) -> None:
        if command := plain(state.get("delete")):
            self.run(call, command, state, state)

    def run(
        self, call: Call, command: str, inputs: Properties, previous: Properties
    ) -> dict[str, str]:
        """Run a command; its output without the last newline."""
        given, before = plain(inputs), plain(previous)
        environment = {**os.environ, **(given.get("environment") or {})}
        if given.get("addPreviousOutputInEnv", True):
            for key in OUTPUTS:
                if before.get(key):
                    environment[f"PULUMI_COMMAND_{key.upper()}"] = before[key]
        process = subprocess.Popen(
            [*(given.get("interpreter") or ["/bin/sh", "-c"]), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=given.get("dir"),
            env=environment,
            text=True,
        )
        said: dict[str, list[str]] = {key: [] for key in OUTPUTS}
        logging = given.get("logging", "stdoutAndStderr").lower()

        def follow(stream: IO[str], name: str) -> None:
            for line in stream:
                said[name].append(line)
                if name in logging:
                    self.engine.status(call.urn, line.rstrip("\n"))

        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        followers = [
            threading.Thread(target=follow, args=(stream, name))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for follower in followers:
            follower.start()
        process.stdin.write(given.get("stdin") or "")
        process.stdin.close()
        for follower in followers:
            follower.join()
        code = process.wait()
        output = {name: "".join(lines).removesuffix("\n") for name, lines in said.items()}
        if code:
            raise PluginError(
                f"exit status {code}: running {command!r}:\n{output['stdout']}{output['stderr']}"
            )
        return output


if __name__ == "__main__":
    serve(Command, sys.argv[1:])
