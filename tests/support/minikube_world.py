"""A machine with stand-ins for minikube and docker, in a folder of its own."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from components.cluster.minikube import MinikubeArgs, default_folder
from toolchain.tools import cache_folder

SUPPORT = Path(__file__).parent
STAND_INS = SUPPORT / "bin"
PROFILE = "test-cluster"
SECRET = "private-key-of"
USERS_OWN = "the user's own kubeconfig\n"


class World:
    """The machine: what minikube was asked, which clusters there are, the user's kubeconfig."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.minikube = root / "minikube"
        self.minikube.mkdir(parents=True)
        self.home = root / "home"
        (self.home / ".kube").mkdir(parents=True)
        self.users_kubeconfig.write_text(USERS_OWN)
        monkeypatch.setenv("PATH", f"{STAND_INS}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_MINIKUBE", str(self.minikube))
        monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder().parent))
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.delenv("KUBECONFIG", raising=False)
        # minikube refuses to run as root, as tests in a container do.
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        self.docker()

    @property
    def users_kubeconfig(self) -> Path:
        """The file that nothing may touch."""
        return self.home / ".kube" / "config"

    @property
    def folder(self) -> Path:
        """The cluster's folder."""
        return default_folder(PROFILE)

    def docker(self, **facts: object) -> None:
        """What `docker info` says."""
        known = {
            "MemTotal": 64 << 30,
            "NCPU": 16,
            "Architecture": "aarch64",
            "KernelVersion": f"{platform.release()}-of-a-virtual-machine",
            "OperatingSystem": "Docker Desktop",
            "DockerRootDir": "/does/not/exist",
        }
        (self.minikube / "docker.json").write_text(json.dumps(known | facts))

    def control(self, name: str, value: str | None) -> None:
        """Write a control file of the stand-in, or take it away."""
        file = self.minikube / name
        if value is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(value)

    def calls(self) -> list[list[str]]:
        """What minikube was asked since the last time this was called, without questions."""
        log = self.minikube / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        assert {line["kubeconfig"] for line in lines} <= {str(self.folder / "kubeconfig")}
        asked = [line["words"] for line in lines]
        questions = (["version"], ["profile", "list"], ["status"], ["node", "list"])
        return [words for words in asked if not any(words[: len(q)] == q for q in questions)]

    def cluster(self, profile: str = PROFILE) -> dict[str, Any] | None:
        """A cluster as minikube has it."""
        file = self.minikube / "profiles" / f"{profile}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def nodes(self) -> dict[str, str]:
        """State of each node by name."""
        cluster = self.cluster()
        return {node["Name"]: node["Host"] for node in cluster["Nodes"]} if cluster else {}


def arguments(**changes: Any) -> MinikubeArgs:
    """A small cluster."""
    settings: dict[str, Any] = {
        "profile": PROFILE,
        "cpus": 2,
        "memory_mib": 4096,
        "disk_gib": 1,
        "kubernetes_version": "v1.33.1",
    }
    return MinikubeArgs(**(settings | changes))
