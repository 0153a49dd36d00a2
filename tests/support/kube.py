"""kubectl on a sandbox, and waiting for what it says."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from sandbox.controlplane import RunningSandbox
from toolchain.tools import find


class Kubectl:
    """kubectl as a sandbox's administrator."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.kubeconfig = sandbox.admin_kubeconfig

    def command(self, *words: str) -> list[str]:
        """The command line, for one that is to go on in the background."""
        return [str(find("kubectl")), f"--kubeconfig={self.kubeconfig}", *words]

    def run(self, *words: str, text: str = "", timeout: float = 120.0) -> str:
        """What it prints; fails with what it says."""
        done = self.try_(*words, text=text, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def try_(
        self, *words: str, text: str = "", timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """How it ends, whatever that is."""
        return subprocess.run(
            self.command(*words),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def apply(self, *objects: dict[str, Any]) -> None:
        """Server-side apply of objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--server-side", "-f", "-", text=json.dumps(listed))

    def get(self, *words: str) -> dict[str, Any]:
        """An object or a list."""
        found: dict[str, Any] = json.loads(self.run("get", *words, "--output=json"))
        return found


def eventually(check: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until `check` gives something true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"not so after {seconds:.0f} s: {what}, but {found!r}"
        time.sleep(0.2)
