"""Pulumi's engine on the sandbox: the same program as `pulumi up`, through the Automation API.

The Automation API runs the program in this process, so no language host is needed.
"""

from __future__ import annotations

import os
import runpy
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from pulumi import automation

from components.settings import SECRETS
from sandbox.controlplane import SandboxError
from toolchain import standins
from toolchain.environment import PROJECT_NAME, engine_environment
from toolchain.launcher import MARK
from toolchain.locks import stale, taken_away
from toolchain.tools import find, pulumi_home

PROJECT = Path(__file__).resolve().parents[1]
Say = Callable[[str], None]
_PASSPHRASES = frozenset({"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"})


def open_stack(
    name: str,
    home: Path,
    config: Mapping[str, object],
    say: Say,
    program: Callable[[], None] | None = None,
) -> automation.Stack:
    """The stack of that name, created if it is not there yet.

    Args:
        name: the stack's name; its settings are in `Pulumi.<name>.yaml`.
        home: the folder for its state and passphrase, made private if it is not there.
        config: settings on top of the file's (keys without the project's name); secrets among
            them are encrypted.
        say: where to tell which plugin serves Kubernetes.
        program: run instead of `__main__.py`.

    Raises:
        toolchain.tools.ToolMissing: the Pulumi CLI is not installed.
        sandbox.controlplane.SandboxError: the stack's file has encrypted settings, and no
            passphrase for them is in the environment.
    """
    environment = _environment(home, say)
    # The program runs in this process.
    os.environ[MARK] = "1"
    # The SDK starts `pulumi` from PATH; the venv's own launcher must not come first.
    os.environ["PATH"] = os.pathsep.join([str(find("pulumi").parent), environment["PATH"]])
    environment["PATH"] = os.environ["PATH"]
    plain = {key: value for key, value in config.items() if key not in SECRETS}
    workspace = _workspace(name, home, plain)
    stack = automation.create_or_select_stack(
        stack_name=name,
        project_name=PROJECT_NAME,
        program=program or _main,
        opts=automation.LocalWorkspaceOptions(work_dir=str(workspace), env_vars=environment),
    )
    for name_of_secret in SECRETS:
        if secret := config.get(name_of_secret):
            value = automation.ConfigValue(str(secret), secret=True)
            stack.set_config(f"{PROJECT_NAME}:{name_of_secret}", value)
    if killed := stale(home, PROJECT_NAME):
        say("a run was killed: reading its resources again")
        with taken_away(killed):
            stack.refresh(on_output=say, run_program=True)
    return stack


def _workspace(name: str, home: Path, config: Mapping[str, object]) -> Path:
    """A private copy of the project's settings: the engine writes its salt beside them."""
    workspace = home / "workspace"
    workspace.mkdir(exist_ok=True)
    project = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())
    for plugins in project["plugins"].values():
        for plugin in plugins:
            plugin["path"] = str(PROJECT / plugin["path"])
    (workspace / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    given, kept = PROJECT / f"Pulumi.{name}.yaml", workspace / f"Pulumi.{name}.yaml"
    settings = (yaml.safe_load(given.read_text()) or {}) if given.exists() else {}
    salt = (yaml.safe_load(kept.read_text()) or {}) if kept.exists() else {}
    if not _PASSPHRASES & os.environ.keys():
        # The file's salt belongs to a passphrase of the user's; the sandbox has its own.
        settings.pop("encryptionsalt", None)
        _refuse_encrypted(given.name, settings.get("config") or {}, config)
    settings["config"] = {
        **(settings.get("config") or {}),
        **{f"{project['name']}:{key}": value for key, value in config.items()},
    }
    settings |= {key: salt[key] for key in ("encryptionsalt",) if key in salt}
    kept.write_text(yaml.safe_dump(settings, sort_keys=False))
    return workspace


def _refuse_encrypted(
    file: str, settings: Mapping[str, object], overridden: Mapping[str, object]
) -> None:
    encrypted = [
        key
        for key, value in settings.items()
        if isinstance(value, dict)
        and "secure" in value
        and key.rpartition(":")[2] not in overridden
    ]
    if encrypted:
        raise SandboxError(
            f"{file} has encrypted settings ({', '.join(encrypted)}), whose passphrase is not "
            "known here; export it as PULUMI_CONFIG_PASSPHRASE"
        )


def _main() -> None:
    runpy.run_path(str(PROJECT / "__main__.py"), run_name="__main__")


def _environment(home: Path, say: Say) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    passphrase = home / "passphrase"
    if not passphrase.exists():
        handle = os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32))
    environment = {
        **engine_environment(os.environ, adoptable=True),
        "PULUMI_BACKEND_URL": f"file://{home}",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    if not _PASSPHRASES & os.environ.keys():
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase)
    if plugin := standins.official_plugin(pulumi_home()):
        say(f"Kubernetes provider: the official one, {plugin}")
    else:
        say("Kubernetes provider: the project's stand-in (the official plugin is not installed)")
        environment["PATH"] = os.pathsep.join([str(standins.KUBERNETES), environment["PATH"]])
    return environment
