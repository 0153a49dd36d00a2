"""The program of the AWS stack in a preview, against mocks: what `benchmarks.aws` times.

`python -m benchmarks.aws_program SETTINGS` runs `__main__.py` with settings by name (JSON, a text
each) and prints the number of resources, and the program's seconds and CPU seconds.
Everything that a provider would answer is echoed or unknown, so the time is the program's own.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import sys
import time
from typing import Any

import pulumi.runtime.config as runtime_config
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack, wait_for_rpcs

from sandbox.engine import PROJECT
from toolchain.environment import PROJECT_NAME

ACCOUNT = "123456789012"
_ZONES = {"names": ["eu-central-1a", "eu-central-1b", "eu-central-1c"], "zoneIds": []}
_IDENTITY = {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "userId": "me"}


class _Echo(mocks.Mocks):
    """Resources give back their inputs; functions of AWS what every account has."""

    def __init__(self) -> None:
        self.count = 0

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.count += 1
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: mocks.MockCallArgs) -> Any:  # noqa: ANN401
        answer = _ZONES if "getAvailabilityZones" in args.token else _IDENTITY
        return {"id": "id", **answer}


def main() -> int:
    """Run it once."""
    settings: dict[str, str] = json.loads(sys.argv[1])
    echo = _Echo()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(echo, PROJECT_NAME, "aws", True)
    loop.run_until_complete(wait_for_rpcs())
    # The mocks come with a stack whose program is over.
    set_root_resource(None)  # type: ignore[arg-type]
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    runtime_config.set_all_config({f"{PROJECT_NAME}:{k}": v for k, v in settings.items()}, [])
    start, cpu = time.perf_counter(), time.process_time()

    def program() -> None:
        runpy.run_path(str(PROJECT / "__main__.py"), run_name="__main__")

    loop.run_until_complete(run_in_stack(program))
    found = {
        "resources": echo.count,
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
