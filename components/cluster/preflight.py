"""Is this machine fit for a cluster? Asked before anything is created, and answered at once.

`check` compares what a cluster needs with what was found; `read` finds it. What Kubeflow needs is
what its manifests' README recommends: 16 GB of memory, 8 CPUs and higher inotify limits
(https://github.com/kubeflow/manifests#prerequisites).
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from components.cluster.base import AMD64, ARM64, ClusterError
from components.cluster.drivers import (
    AUTO,
    DRIVERS,
    LINUX,
    MACOS,
    DriverState,
    Engine,
    Run,
    examine,
    run_command,
)

INOTIFY_INSTANCES = 2280
"""fs.inotify.max_user_instances; below it, pods fail with 'too many open files'."""
INOTIFY_WATCHES = 1_255_360
"""fs.inotify.max_user_watches."""

_INSTANCES, _WATCHES = "fs.inotify.max_user_instances", "fs.inotify.max_user_watches"
_MIB, _GIB = 1 << 20, 1 << 30
_OVERHEAD_MIB = 1024  # what minikube advises to leave to the system
_ARCHITECTURES = {"x86_64": AMD64, "amd64": AMD64, "arm64": ARM64, "aarch64": ARM64}
_INSTALL = {
    LINUX: "curl -LO https://github.com/kubernetes/minikube/releases/latest/download/"
    "minikube-linux-{architecture} && "
    "sudo install minikube-linux-{architecture} /usr/local/bin/minikube",
    MACOS: "brew install minikube",
}


@dataclass(frozen=True)
class Needs:
    """What a cluster takes from the machine.

    Args:
        nodes: number of nodes.
        memory_mib: memory of each node in MiB; nodes don't share it.
        cpus: CPUs of each node; nodes share them.
        disk_gib: disk of each node in GiB that is yet to be taken; 0 once the cluster is there.
    """

    nodes: int
    memory_mib: int
    cpus: int
    disk_gib: int


@dataclass(frozen=True)
class Found:
    """What the machine has.

    Args:
        system, machine: as `platform.system()` and `platform.machine()` name them.
        minikube: whether it is installed.
        root: whether this process has root's privileges.
        driver: the driver's state.
        memory_mib: all the memory that nodes can have in MiB, be it free or not: a cluster that
            runs must pass.
        cpus: CPUs that nodes can have.
        disk_gib: free disk where nodes are kept in GiB.
        engine: name of the container engine if that, not the machine, limits memory and CPUs.
        own_kernel: whether the nodes' kernel is another than this machine's; its inotify limits are
            then raised in the nodes.
        inotify_instances, inotify_watches: this machine's limits; None where they don't count.
    """

    system: str
    machine: str
    minikube: bool
    root: bool
    driver: DriverState
    memory_mib: int
    cpus: int
    disk_gib: int
    engine: str = ""
    own_kernel: bool = False
    inotify_instances: int | None = None
    inotify_watches: int | None = None

    @property
    def architecture(self) -> str:
        """`amd64`, `arm64`, or the machine's name for another one."""
        return _ARCHITECTURES.get(self.machine.lower(), self.machine)


@dataclass(frozen=True)
class Problem:
    """One thing that is amiss: `fix` is the command that mends it."""

    what: str
    found: str
    needed: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: found {self.found}, needed {self.needed}\n    to mend it: {self.fix}"


class PreflightError(ClusterError):
    """The machine isn't fit; every problem is listed."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"this machine is not ready for the cluster:\n{lines}")


def check(needs: Needs, found: Found) -> list[Problem]:
    """Everything that is amiss; nothing exactly if all that is found is as much as is needed."""
    return [
        *_architecture(found),
        *_minikube(found),
        *_driver(needs, found),
        *_root(found),
        *_memory(needs, found),
        *_cpus(needs, found),
        *_disk(needs, found),
        *_inotify(found),
    ]


def _architecture(found: Found) -> list[Problem]:
    if found.architecture in (AMD64, ARM64):
        return []
    fix = "pulumi config set cluster existing  (with a cluster on another machine)"
    return [Problem("architecture", found.machine, f"{AMD64} or {ARM64}", fix)]


def _minikube(found: Found) -> list[Problem]:
    if found.minikube:
        return []
    install = _INSTALL.get(found.system, "see https://minikube.sigs.k8s.io/docs/start/")
    fix = install.format(architecture=found.architecture)
    return [Problem("minikube", "not installed", "minikube on PATH", fix)]


def _driver(needs: Needs, found: Found) -> list[Problem]:
    state = found.driver
    if not state.works:
        return [Problem("minikubeDriver", state.found, state.needed, state.fix)]
    if needs.nodes > 1 and DRIVERS[state.name].one_node:
        fix = "pulumi config set minikubeNodes 1"
        return [Problem("minikubeNodes", str(needs.nodes), f"1 with driver {state.name}", fix)]
    return []


def _root(found: Found) -> list[Problem]:
    if not found.root or found.driver.name == "none":
        return []
    needed = "a user without root's privileges, as minikube asks"
    fix = "sudo --user=NAME --login  (then run Pulumi there)"
    return [Problem("user", "root", needed, fix)]


def _memory(needs: Needs, found: Found) -> list[Problem]:
    total = needs.nodes * needs.memory_mib
    if found.memory_mib >= total:
        return []
    most = max(0, found.memory_mib - _OVERHEAD_MIB) // needs.nodes
    return [
        Problem(
            _named("memory", found),
            f"{found.memory_mib} MiB",
            f"{total} MiB{_each(needs, f'{needs.memory_mib} MiB')}",
            _less("minikubeMemory", most, 2048, found),
        )
    ]


def _cpus(needs: Needs, found: Found) -> list[Problem]:
    if found.cpus >= needs.cpus:
        return []
    fix = _less("minikubeCpus", found.cpus, 2, found)
    return [Problem(_named("CPUs", found), str(found.cpus), str(needs.cpus), fix)]


def _disk(needs: Needs, found: Found) -> list[Problem]:
    total = needs.nodes * needs.disk_gib
    if found.disk_gib >= total:
        return []
    most = found.disk_gib // needs.nodes
    return [
        Problem(
            "disk",
            f"{found.disk_gib} GiB free",
            f"{total} GiB{_each(needs, f'{needs.disk_gib} GiB')}",
            _less("minikubeDisk", most, 20, found, desktop=False),
        )
    ]


def _inotify(found: Found) -> list[Problem]:
    problems = []
    for name, value, least in (
        (_INSTANCES, found.inotify_instances, INOTIFY_INSTANCES),
        (_WATCHES, found.inotify_watches, INOTIFY_WATCHES),
    ):
        if value is not None and value < least:
            fix = (
                f"sudo sysctl -w {name}={least}  (to keep it after a restart: "
                f"echo {name}={least} | sudo tee -a /etc/sysctl.d/99-kubeflow.conf)"
            )
            problems.append(Problem(name, str(value), str(least), fix))
    return problems


def _named(what: str, found: Found) -> str:
    return f"{what} of {found.engine}" if found.engine else what


def _each(needs: Needs, amount: str) -> str:
    return f" ({needs.nodes} nodes of {amount})" if needs.nodes > 1 else ""


def _less(setting: str, most: int, least: int, found: Found, *, desktop: bool = True) -> str:
    """The command that asks for less, where that much less would still do."""
    more = ""
    if desktop and found.engine and found.system == MACOS:
        more = f"more in the settings of {found.engine} (Resources)"
        if found.driver.name == "podman":
            what = "--memory" if setting == "minikubeMemory" else "--cpus"
            more = f"podman machine stop && podman machine set {what} N && podman machine start"
    less = f"pulumi config set {setting} {most}" if most >= least else ""
    return ", or: ".join(part for part in (more, less) if part) or (
        "pulumi config set cluster existing  (with a cluster on another machine)"
    )


def read(
    driver: str,
    run: Run = run_command,
    environ: Mapping[str, str] = os.environ,
    limits: Path = Path("/proc/sys/fs/inotify"),
) -> Found:
    """Look at this machine.

    Args:
        driver: the driver that is asked for, or `auto`.
        run: runs a command.
        environ: where minikube's own folder is set ($MINIKUBE_HOME).
        limits: folder of the kernel's inotify limits.
    """
    system, machine = platform.system(), _machine(run)
    architecture = _ARCHITECTURES.get(machine.lower(), machine)
    state = examine(driver, system, architecture, run)
    engine = state.engine
    shared = _shares_kernel(state, system)
    return Found(
        system=system,
        machine=engine.architecture if engine else machine,
        minikube=not run(("minikube", "version", "--short")).missing,
        root=os.geteuid() == 0,
        driver=state,
        memory_mib=engine.memory_mib if engine else psutil.virtual_memory().total // _MIB,
        cpus=engine.cpus if engine else psutil.cpu_count() or 1,
        disk_gib=_free_gib(engine, environ),
        engine=engine.name if engine and not shared else "",
        own_kernel=not shared,
        inotify_instances=_limit(limits / "max_user_instances") if shared else None,
        inotify_watches=_limit(limits / "max_user_watches") if shared else None,
    )


def _machine(run: Run) -> str:
    machine = platform.machine()
    if platform.system() == MACOS and machine == "x86_64":
        # An interpreter for Intel is told so on Apple silicon, too.
        answer = run(("sysctl", "-n", "hw.optional.arm64"))
        if answer.code == 0 and answer.stdout.strip() == "1":
            return ARM64
    return machine


def _shares_kernel(state: DriverState, system: str) -> bool:
    """Whether the nodes run on this machine's own kernel, and so under its inotify limits."""
    if system != LINUX or state.name not in (AUTO, *DRIVERS):
        return False
    own = DRIVERS["docker" if state.name == AUTO else state.name].own_kernel
    if own is not None:
        return not own
    # An engine in a virtual machine, or on another machine, has another kernel. One that gives no
    # answer yet is most likely neither.
    return state.engine is None or state.engine.kernel == platform.release()


def _free_gib(engine: Engine | None, environ: Mapping[str, str]) -> int:
    """Free disk where nodes are kept: the engine's folder if it is on this machine, else ours."""
    folder = engine.storage if engine and engine.storage and engine.storage.exists() else None
    if folder is None:
        folder = Path(environ.get("MINIKUBE_HOME") or Path.home())
        while not folder.exists():
            folder = folder.parent
    return shutil.disk_usage(folder).free // _GIB


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
