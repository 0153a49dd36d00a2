"""One context out of a kubeconfig, with every file that it names taken in.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Only reads files.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.cluster.base import ClusterError

_CLUSTER_FILES = ("certificate-authority",)
_USER_FILES = ("client-certificate", "client-key")


@dataclass(frozen=True)
class Selected:
    """A kubeconfig of one context as JSON (which is YAML), and the address of its API server."""

    context: str
    server: str
    content: dict[str, Any]


def select(path: Path, context: str = "") -> Selected:
    """Read a kubeconfig and keep one context of it.

    Args:
        path: the file; paths inside it are relative to its folder.
        context: name of the context; "" for the file's current one.

    Raises:
        ClusterError: the file, the context or a file that it names isn't there or isn't valid.
            The message quotes no contents, which are credentials.
    """
    config = _read(path)
    contexts = _entries(config, "contexts", "context")
    name = context or str(config.get("current-context") or "")
    if name not in contexts:
        wanted = f"kubeContext is {name!r}, which" if context else f"The current context {name!r}"
        raise ClusterError(
            f"{wanted} is no context of {path}; it has: {', '.join(sorted(contexts)) or 'none'}. "
            "Set kubeContext to one of them"
        )
    chosen = contexts[name]
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    clusters = _entries(config, "clusters", "cluster")
    users = _entries(config, "users", "user")
    for entry, named, there in (("cluster", cluster_name, clusters), ("user", user_name, users)):
        if named and named not in there:
            raise ClusterError(
                f"{path}: the context {name!r} names the {entry} {named!r}, which is not in it"
            )
    cluster, user = clusters.get(cluster_name, {}), users.get(user_name, {})
    server = str(cluster.get("server") or "")
    if not server:
        raise ClusterError(f"{path}: the cluster {cluster_name!r} has no server; set its address")
    folder = path.parent
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster_name, "cluster": _inline(cluster, _CLUSTER_FILES, folder)}],
        "users": [{"name": user_name, "user": _user(user, folder)}] if user_name else [],
        "contexts": [{"name": name, "context": chosen}],
        "current-context": name,
    }
    return Selected(name, server, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        raise ClusterError(
            f"kubeconfig is {path}, which can't be read ({error.strerror}); set kubeconfig to the "
            "path of a kubeconfig"
        ) from None
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise ClusterError(f"kubeconfig is {path}, which is no kubeconfig (YAML)") from None
    return config


def _entries(config: Mapping[str, Any], section: str, entry: str) -> dict[str, dict[str, Any]]:
    return {
        str(item.get("name")): dict(item.get(entry) or {})
        for item in config.get(section) or ()
        if isinstance(item, dict)
    }


def _inline(entry: Mapping[str, Any], names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The entry with `<name>` (a file) as `<name>-data` (its contents in base64)."""
    result = dict(entry)
    for name in names:
        file = result.pop(name, None)
        # Where both are there, the data counts.
        if file and not result.get(f"{name}-data"):
            content = _content(folder / str(file), name)
            result[f"{name}-data"] = base64.b64encode(content).decode()
    return result


def _user(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    result = _inline(entry, _USER_FILES, folder)
    file = result.pop("tokenFile", None)
    if file:
        # Where both are there, the file counts.
        result["token"] = _content(folder / str(file), "tokenFile").decode().strip()
    command = (result.get("exec") or {}).get("command")
    if command and os.sep in command:
        result["exec"] = {**result["exec"], "command": str((folder / command).absolute())}
    return result


def _content(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ClusterError(
            f"{name} of the kubeconfig is {file}, which can't be read ({error.strerror})"
        ) from None
