"""The machine that a measurement is of, and what else it was doing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil

from sandbox.engine import PROJECT
from toolchain.pins import TOOLS
from toolchain.standins import official_plugin
from toolchain.tools import installed, pulumi_home

_QUIET = 10.0
_VERSIONED = ("pulumi", "kubectl", "kustomize", "kube-apiserver", "etcd", "kwok")


def describe() -> dict[str, str]:
    """Name and value of everything that a figure depends on."""
    plugin = official_plugin(pulumi_home())
    facts = {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "pulumi (Python)": importlib.metadata.version("pulumi"),
        "Kubernetes provider": str(plugin) if plugin else "the project's stand-in (Python)",
        "commit": _commit(),
    }
    for name in _VERSIONED:
        if found := installed(TOOLS[name]):
            facts[name] = f"{found.tool.version}, {found.origin}"
    return facts


def busy(interval: float = 1.0) -> tuple[float, str]:
    """Percent of all cores in use over the next `interval` seconds, and that with the load as text.

    Called while nothing of the benchmark runs, so it is what others do.
    """
    percent = psutil.cpu_percent(interval)
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    remark = "; NOT QUIET, don't trust this round" if percent > _QUIET else ""
    return percent, f"cores {percent:.0f} % busy with other work, load {load}{remark}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
