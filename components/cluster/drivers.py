"""minikube's drivers: where each runs, how to tell that it works, and how to mend it.

Follows https://minikube.sigs.k8s.io/docs/drivers/ and the checks in minikube's own
pkg/minikube/registry/drvs. Windows is left out: there, use minikube inside WSL 2.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.cluster.base import AMD64, ARM64

AUTO = "auto"
"""Take the first driver that works."""
LINUX, MACOS = "Linux", "Darwin"
"""Systems, as `platform.system()` names them."""

_BOTH = frozenset({AMD64, ARM64})
_PATIENCE = 20.0  # seconds; minikube itself allows 6 to a loaded machine's 20
_MIB = 1 << 20
_DOWNLOADS = "https://minikube.sigs.k8s.io/docs/drivers"


@dataclass(frozen=True)
class Answer:
    """What a command gave: `code` None when it isn't installed or gave no answer in time."""

    code: int | None
    stdout: str = ""
    reason: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is no such command."""
        return self.code is None and not self.reason


Run = Callable[[Sequence[str]], Answer]


@dataclass(frozen=True)
class Driver:
    """A driver of minikube.

    Args:
        systems: architectures by system on which minikube has it.
        probe: commands that succeed where it works, by system; the last tells of the engine.
        install: a command that installs it, by system.
        repair: a command that mends an installed one that doesn't work, by system.
        engine: it is a container engine, which tells what the nodes can have.
        own_kernel: nodes have a kernel of their own; None where only the engine can tell.
        one_node: it can't have more nodes than one.
    """

    name: str
    systems: Mapping[str, frozenset[str]]
    probe: Mapping[str, tuple[tuple[str, ...], ...]]
    install: Mapping[str, str]
    repair: Mapping[str, str]
    engine: bool = False
    own_kernel: bool | None = True
    one_node: bool = False


@dataclass(frozen=True)
class Engine:
    """What a container engine says of the machine that it runs on; `storage` is its own folder."""

    name: str
    memory_mib: int
    cpus: int
    architecture: str
    kernel: str
    storage: Path | None


@dataclass(frozen=True)
class DriverState:
    """Whether a driver works here: if it doesn't, what was found, and the command that mends it."""

    name: str
    found: str = ""
    needed: str = ""
    fix: str = ""
    engine: Engine | None = field(default=None, compare=False)

    @property
    def works(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.found


def _both(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {LINUX: value, MACOS: value}


_LIBVIRT = "sudo systemctl enable --now libvirtd && sudo usermod -aG libvirt $USER"
_ENGINE_INFO = "--format={{json .}}"

DRIVERS: Mapping[str, Driver] = {
    driver.name: driver
    for driver in (
        Driver(
            "docker",
            systems=_both(_BOTH),
            probe=_both((("docker", "info", _ENGINE_INFO),)),
            install={
                LINUX: "curl -fsSL https://get.docker.com | sudo sh && "
                "sudo usermod -aG docker $USER && newgrp docker",
                MACOS: "brew install --cask docker && open -a Docker",
            },
            repair={
                LINUX: "sudo systemctl start docker && sudo usermod -aG docker $USER && "
                "newgrp docker",
                MACOS: "open -a Docker",
            },
            engine=True,
            own_kernel=None,
        ),
        Driver(
            "kvm2",
            systems={LINUX: frozenset({AMD64})},
            probe={
                LINUX: (("virsh", "--connect=qemu:///system", "domcapabilities", "--virttype=kvm"),)
            },
            install={
                LINUX: "sudo apt-get install qemu-kvm libvirt-daemon-system libvirt-clients && "
                "sudo usermod -aG libvirt $USER && newgrp libvirt"
            },
            repair={LINUX: f"{_LIBVIRT} && newgrp libvirt"},
        ),
        Driver(
            "vfkit",
            systems={MACOS: _BOTH},
            probe={MACOS: (("vfkit", "--version"),)},
            install={MACOS: "brew install vfkit"},
            repair={MACOS: "brew reinstall vfkit"},
            # More nodes need another network, which needs another program.
            one_node=True,
        ),
        Driver(
            "qemu2",
            systems=_both(_BOTH),
            probe={},  # depends on the architecture
            install={LINUX: "sudo apt-get install qemu-system", MACOS: "brew install qemu"},
            repair={LINUX: "sudo apt-get install qemu-system", MACOS: "brew reinstall qemu"},
        ),
        Driver(
            "podman",
            systems=_both(_BOTH),
            probe={
                # minikube runs it as root there, and asks for no password.
                LINUX: (("podman", "--version"), ("sudo", "-n", "podman", "info", _ENGINE_INFO)),
                MACOS: (("podman", "info", _ENGINE_INFO),),
            },
            install={
                LINUX: "sudo apt-get install podman",
                MACOS: "brew install podman && podman machine init --rootful && "
                "podman machine start",
            },
            repair={
                LINUX: 'echo "$USER ALL=(ALL) NOPASSWD: /usr/bin/podman" | '
                "sudo tee /etc/sudoers.d/podman",
                MACOS: "podman machine start",
            },
            engine=True,
            own_kernel=None,
        ),
        Driver(
            "virtualbox",
            systems=_both(_BOTH),
            probe=_both((("VBoxManage", "--version"),)),
            install={
                LINUX: "sudo apt-get install virtualbox",
                MACOS: "brew install --cask virtualbox",
            },
            repair={LINUX: "sudo /sbin/vboxconfig", MACOS: "brew reinstall --cask virtualbox"},
        ),
        Driver(
            "krunkit",
            systems={MACOS: frozenset({ARM64})},
            probe={MACOS: (("krunkit", "--version"),)},
            install={MACOS: "brew tap libkrun/krun && brew install krunkit"},
            repair={MACOS: "brew reinstall krunkit"},
            one_node=True,
        ),
        Driver(
            "hyperkit",
            systems={MACOS: frozenset({AMD64})},
            probe={MACOS: (("hyperkit", "-v"),)},
            install={MACOS: "brew install vfkit && pulumi config set minikubeDriver vfkit"},
            repair={MACOS: "brew install vfkit && pulumi config set minikubeDriver vfkit"},
        ),
        Driver(
            "none",
            systems={LINUX: _BOTH},
            probe={LINUX: (("sudo", "-n", "true"),)},
            install={LINUX: "pulumi config set minikubeDriver docker"},
            repair={
                LINUX: 'echo "$USER ALL=(ALL) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/minikube'
            },
            own_kernel=False,
            one_node=True,
        ),
    )
}
"""The drivers that this project knows, by name; `auto` tries them in this order."""

_AUTOMATIC = ("docker", "kvm2", "vfkit", "qemu2", "podman")


def known(system: str, architecture: str) -> list[str]:
    """Names of the drivers that a machine can have."""
    return [
        driver.name
        for driver in DRIVERS.values()
        if architecture in driver.systems.get(system, frozenset())
    ]


def examine(name: str, system: str, architecture: str, run: Run) -> DriverState:
    """Look whether a driver works on this machine.

    Args:
        name: a driver, or `auto` for the first that works.
        system: as `platform.system()` names it.
        architecture: `amd64` or `arm64`.
        run: runs a command.
    """
    possible = known(system, architecture)
    if name == AUTO:
        return _first(possible, system, architecture, run)
    if name not in possible:
        return DriverState(
            name,
            found=f"{name}, which minikube does not have on {system} {architecture}",
            needed=f"one of {', '.join([AUTO, *possible])}",
            fix=f"pulumi config set minikubeDriver {AUTO}",
        )
    return _examine_one(DRIVERS[name], system, architecture, run)


def _first(possible: Sequence[str], system: str, architecture: str, run: Run) -> DriverState:
    found = []
    for name in _AUTOMATIC:
        if name in possible:
            state = _examine_one(DRIVERS[name], system, architecture, run)
            if state.works:
                return state
            found.append(state)
    # The first of the installed ones is the nearest to working.
    nearest = min(found, key=lambda state: state.found == _MISSING, default=None)
    return DriverState(
        AUTO,
        found="; ".join(f"{state.name}: {state.found}" for state in found)
        or f"none for {system} {architecture}",
        needed="a driver that works",
        fix=nearest.fix if nearest else f"see {_DOWNLOADS}",
    )


_MISSING = "not installed"


def _examine_one(driver: Driver, system: str, architecture: str, run: Run) -> DriverState:
    answer = Answer(None)
    for command in driver.probe.get(system) or _qemu(architecture):
        answer = run(command)
        if answer.missing:
            return DriverState(
                driver.name,
                found=_MISSING,
                needed="installed and running",
                fix=driver.install[system],
            )
        if answer.code != 0:
            return DriverState(
                driver.name,
                found=f"does not work ({answer.reason or f'exit code {answer.code}'})",
                needed=f"`{shlex.join(command)}` to succeed",
                fix=driver.repair[system],
            )
    return DriverState(driver.name, engine=_engine(driver, answer.stdout))


def _qemu(architecture: str) -> tuple[tuple[str, ...], ...]:
    machine = {AMD64: "x86_64", ARM64: "aarch64"}[architecture]
    return ((f"qemu-system-{machine}", "--version"),)


def _engine(driver: Driver, text: str) -> Engine | None:
    """Facts from `docker info` or `podman info`; None when there are none to be had."""
    if not driver.engine:
        return None
    try:
        info = json.loads(text)
        if driver.name == "podman":
            host, store = info["host"], info["store"]
            return Engine(
                name="podman",
                memory_mib=int(host["memTotal"]) // _MIB,
                cpus=int(host["cpus"]),
                architecture=str(host["arch"]),
                kernel=str(host["kernel"]),
                storage=_folder(store.get("graphRoot")),
            )
        return Engine(
            name=str(info.get("OperatingSystem") or "docker"),
            memory_mib=int(info["MemTotal"]) // _MIB,
            cpus=int(info["NCPU"]),
            architecture=str(info["Architecture"]),
            kernel=str(info["KernelVersion"]),
            storage=_folder(info.get("DockerRootDir")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _folder(path: object) -> Path | None:
    return Path(str(path)) if path else None


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    patience: float = _PATIENCE,
) -> Answer:
    """Run a command and wait for it.

    Args:
        command: its words.
        environment: variables on top of this process's own.
        patience: seconds after which it is ended.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            timeout=patience,
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        return Answer(None)
    except subprocess.TimeoutExpired:
        return Answer(None, reason=f"no answer within {patience:.0f} s")
    complaint = [line for line in done.stderr.splitlines() if line.strip()]
    return Answer(done.returncode, done.stdout, complaint[-1].strip() if complaint else "")
