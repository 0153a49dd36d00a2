"""Checkov, a scanner of policies, over a plan of Terraform: https://www.checkov.io

It pins a hundred packages of its own, some other than the project's, so it has an environment of
its own, made once from `checkov.txt`, whose hashes are checked. To move to a newer one:

    echo checkov==VERSION | uv pip compile - --universal --python-version 3.11 \\
        --generate-hashes --no-annotate --no-header --output-file tests/aws/checkov.txt
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from tests.aws import terraform
from toolchain.tools import cache_folder

REQUIREMENTS = Path(__file__).with_name("checkov.txt")
EXEMPTIONS = Path(__file__).with_name("checkov-exemptions.yaml")
_SECONDS = 300


@dataclass(frozen=True)
class Finding:
    """A check that a resource (`aws_vpc.network`) of a stack passes or fails."""

    stack: str
    check: str
    resource: str
    title: str

    def __str__(self) -> str:
        return f"{self.check} {self.resource} (stack {self.stack}): {self.title}"


@dataclass(frozen=True)
class Scan:
    """What Checkov said."""

    failed: Sequence[Finding]
    passed: Sequence[Finding]

    def of(self, stack: str) -> set[tuple[str, str]]:
        """The checks and resources that fail in a stack."""
        return {(one.check, one.resource) for one in self.failed if one.stack == stack}


@dataclass(frozen=True)
class Exemption:
    """What may fail one check: a pattern of a shell, and why."""

    check: str
    resource: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it lets it be."""
        return self.check == finding.check and fnmatchcase(finding.resource, self.resource)


def exemptions() -> list[Exemption]:
    """The written list, which groups them by check and reason."""
    return [
        Exemption(group["check"], resource, group["reason"])
        for group in yaml.safe_load(EXEMPTIONS.read_text())
        for resource in group["resources"]
    ]


def install(say: Callable[[str], None]) -> Path:
    """The Python that has Checkov; installs it from PyPI where it isn't there yet.

    Raises:
        subprocess.CalledProcessError: the packages can't be had; uv has said why.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    home = cache_folder() / "checkov" / f"{digest}-{version}"
    home.parent.mkdir(parents=True, exist_ok=True)
    python, done = home / "bin" / "python", home / ".complete"
    with Path(f"{home}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            say(f"installing {_version()} and what it needs from PyPI, once: {home}")
            uv = os.environ.get("UV") or shutil.which("uv") or cache_folder() / "uv" / "bin" / "uv"
            subprocess.run(
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True
            )
            sync = ["pip", "sync", "--quiet", "--require-hashes", "--python", python]
            subprocess.run([uv, *sync, REQUIREMENTS], check=True)
            done.touch()
    return python


def scan(python: Path, plan: dict[str, Any], folder: Path) -> Scan:
    """Run it on a plan; nothing is asked of or sent to anybody."""
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    options = [
        "--framework",
        "terraform_plan",
        "--output",
        "json",
        "--skip-download",
        "--soft-fail",
    ]
    ran = subprocess.run(
        [python, "-m", "checkov.main", "--file", file, *options, "--compact"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    assert ran.returncode == 0 and ran.stdout, ran.stderr
    answer = json.loads(ran.stdout)
    assert not answer["results"]["parsing_errors"], answer["results"]["parsing_errors"]
    return Scan(_findings(answer, "failed_checks"), _findings(answer, "passed_checks"))


def _findings(answer: dict[str, Any], kind: str) -> list[Finding]:
    return [
        Finding(stack, entry["check_id"], resource, entry["check_name"])
        for entry in answer["results"][kind]
        for stack, resource in [terraform.stack_of(entry["resource"])]
    ]


def _version() -> str:
    lines = REQUIREMENTS.read_text().splitlines()
    [found] = [line.split()[0] for line in lines if line.startswith("checkov==")]
    return found
