"""Pulumi's resource plugins, in the versions of the Python packages that are installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from toolchain.pins import Plugin
from toolchain.tools import pulumi_home


class PluginError(RuntimeError):
    """Pulumi does not take a plugin, or its version is unknown; the message says why."""


def wanted_version(plugin: Plugin) -> str:
    """The version that a program of this environment asks for.

    Raises PluginError when the Python package is not installed.
    """
    try:
        return package_version(plugin.distribution)
    except PackageNotFoundError as error:
        raise PluginError(
            f"the Python package {plugin.distribution} is not installed for {sys.executable}; "
            "use the project's environment: make setup"
        ) from error


def plugin_folder(plugin: Plugin, version: str) -> Path:
    """Where Pulumi keeps a plugin."""
    home = pulumi_home()
    return home / "plugins" / f"resource-{plugin.name}-v{version}"


def plugin_installed(plugin: Plugin, version: str) -> bool:
    """Whether Pulumi has a plugin whole."""
    folder = plugin_folder(plugin, version)
    # The mark of an installation that was interrupted: PartialFilePath of sdk/go/common/workspace.
    partial = folder.with_name(f"{folder.name}.partial")
    return (folder / f"pulumi-resource-{plugin.name}").exists() and not partial.exists()


def install_plugin(pulumi: Path, plugin: Plugin, version: str, archive: Path) -> None:
    """Have Pulumi install a plugin from a verified archive. Raises PluginError."""
    command = ["plugin", "install", "resource", plugin.name, version, "--exact", "--file"]
    # Away from the project: its settings have no say in this.
    with tempfile.TemporaryDirectory() as nowhere:
        result = subprocess.run(
            [str(pulumi), *command, str(archive), "--non-interactive"],
            cwd=nowhere,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise PluginError(
            f"`{pulumi} plugin install resource {plugin.name} {version}` ended with exit code "
            f"{result.returncode}: {result.stderr.strip()}"
        )
