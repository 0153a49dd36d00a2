"""minikube's command lines, and the shell scripts made of them. Pure: nothing runs here.

Flags and behaviour follow https://minikube.sigs.k8s.io/docs/commands/ and minikube's sources
(cmd/minikube/cmd). Every script may run again over what an earlier, killed run left.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.cluster.preflight import INOTIFY_INSTANCES, INOTIFY_WATCHES

KUBECONFIG_FILE, CLUSTER_FILE, RUN_FILE = "kubeconfig", "cluster.json", "run.json"
"""Files in a cluster's folder: its kubeconfig, what it was made with, its last start or stop."""

STYLE = {
    # One plain line for each step, no notice of new releases.
    "MINIKUBE_IN_STYLE": "false",
    "MINIKUBE_WANTUPDATENOTIFICATION": "false",
}

_LIMITS = (
    f"fs.inotify.max_user_instances={INOTIFY_INSTANCES}",
    f"fs.inotify.max_user_watches={INOTIFY_WATCHES}",
)


def list_profiles() -> list[str]:
    """List the profiles as JSON, without asking their machines."""
    return ["minikube", "profile", "list", "--output=json", "--light"]


def status(profile: str) -> list[str]:
    """The state of every node as JSON. Exits with a sum of flags when something doesn't run."""
    return ["minikube", "status", _profile(profile), "--output=json"]


def start(
    profile: str,
    *,
    driver: str,
    cpus: int,
    memory_mib: int,
    disk_gib: int,
    kubernetes_version: str,
    container_runtime: str,
) -> list[str]:
    """Create a cluster, start a stopped one or raise its Kubernetes version.

    On a profile that is there, other values for driver, CPUs, memory and disk are only warned
    about, and a lower Kubernetes version is refused.
    """
    sizes = [f"--cpus={cpus}", f"--memory={memory_mib}mb", f"--disk-size={disk_gib}gb"]
    return [
        *("minikube", "start", _profile(profile)),
        f"--driver={driver}",
        # That driver has no machine of its own to size.
        *([] if driver == "none" else sizes),
        f"--kubernetes-version={kubernetes_version}",
        f"--container-runtime={container_runtime}",
        # Nodes that are added later need a network that spans nodes from the start.
        "--cni=kindnet",
        # The kubeconfig must hold everything by itself.
        "--embed-certs",
        "--wait=all",
        "--interactive=false",
    ]


def stop(profile: str) -> list[str]:
    """Stop all nodes; their data and the entry in the kubeconfig stay."""
    return ["minikube", "stop", _profile(profile), "--keep-context-active"]


def delete(profile: str) -> list[str]:
    """Delete a cluster with its data; succeeds when there is none."""
    return ["minikube", "delete", _profile(profile)]


def list_nodes(profile: str) -> list[str]:
    """A line for each node: name, tab, address."""
    return ["minikube", "node", "list", _profile(profile)]


def add_node(profile: str) -> list[str]:
    """Add a worker, of the size of the others."""
    return ["minikube", "node", "add", _profile(profile)]


def _profile(profile: str) -> str:
    return f"--profile={profile}"


def start_script(
    profile: str,
    folder: Path,
    starting: Sequence[str],
    *,
    nodes: int,
    raise_limits: bool,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> str:
    """A shell script that brings a cluster to what is asked of it, from any state.

    One of another identity is deleted first.

    Args:
        profile: the profile's name.
        folder: the cluster's folder, made private.
        starting: the command that starts it.
        nodes: how many nodes it has in the end; the last ones are taken away first.
        raise_limits: whether the nodes' kernel is theirs, so that its inotify limits are raised.
            They last until the node stops.
        before, after: contents of `CLUSTER_FILE` (with `identity`) and `RUN_FILE`, written before
            and after.
    """
    lines = [
        "set -eu",
        *_folder(folder),
        f"if {_other(folder, before['identity'])}; then",
        f"  rm -f {shlex.quote(str(folder / RUN_FILE))}",
        f"  {shlex.join(delete(profile))}",
        "fi",
        # Written first: a killed run must not leave a cluster that nobody knows to be ours.
        *_write(folder / CLUSTER_FILE, before),
        f"{shlex.join(starting)} || {{",
        f"  echo {shlex.quote(_left_behind(profile))} >&2; exit 1",
        "}",
        f"listed=$({shlex.join(list_nodes(profile))})",
        f"names=$(printf '%s\\n' \"$listed\" | {_names(profile)}) || {{",
        f'  echo {shlex.quote(f"minikube lists no node of {profile}:")} "$listed" >&2; exit 1',
        "}",
        "have=$(printf '%s\\n' \"$names\" | wc -l)",
        f'while [ "$have" -lt {nodes} ]; do',
        f"  {shlex.join(add_node(profile))}",
        "  have=$((have + 1))",
        "done",
        f"for node in $(printf '%s\\n' \"$names\" | tail -n +{nodes + 1} | sort -r); do",
        f'  minikube node delete "$node" {_profile(profile)}',
        "done",
    ]
    if raise_limits:
        lines += [
            f"for node in $({shlex.join(list_nodes(profile))} | {_names(profile)}); do",
            f'  minikube ssh {_profile(profile)} --node="$node" -- '
            f"sudo sysctl -w {shlex.join(_LIMITS)}",
            "done",
        ]
    return "\n".join([*lines, *_write(folder / RUN_FILE, after)])


def stop_script(profile: str, folder: Path, after: Mapping[str, Any]) -> str:
    """A shell script that stops a cluster and keeps its data."""
    lines = ["set -eu", *_folder(folder), shlex.join(stop(profile))]
    return "\n".join([*lines, *_write(folder / RUN_FILE, after)])


def delete_script(profile: str, folder: Path, identity: str) -> str:
    """A shell script that deletes a cluster, its data and its folder.

    It does nothing once a cluster of another identity has taken its place.
    """
    files = [str(folder / name) for name in (KUBECONFIG_FILE, CLUSTER_FILE, RUN_FILE)]
    return "\n".join(
        [
            "set -eu",
            f"if {_other(folder, identity)}; then exit 0; fi",
            shlex.join(delete(profile)),
            f"rm -f {shlex.join(files)}",
            f"rmdir {shlex.quote(str(folder))} 2>/dev/null || true",
        ]
    )


def show_kubeconfig(folder: Path) -> str:
    """A shell command that prints the cluster's kubeconfig and nothing else."""
    return f"exec cat {shlex.quote(str(folder / KUBECONFIG_FILE))}"


def environment(folder: Path) -> dict[str, str]:
    """Variables for every one of these commands: the user's own kubeconfig stays untouched."""
    return {"KUBECONFIG": str(folder / KUBECONFIG_FILE), **STYLE}


def _folder(folder: Path) -> list[str]:
    return ["umask 077", f"mkdir -p {shlex.quote(str(folder))}"]


def _other(folder: Path, identity: str) -> str:
    """A condition: the folder is that of a cluster of another identity."""
    file, mark = folder / CLUSTER_FILE, f'"identity": {json.dumps(identity)}'
    quoted = shlex.quote(str(file))
    return f"[ -e {quoted} ] && ! grep -qF {shlex.quote(mark)} {quoted}"


def _write(file: Path, content: Mapping[str, Any]) -> list[str]:
    """Lines that write a file in one step."""
    text = shlex.quote(json.dumps(content, sort_keys=True))
    new, whole = shlex.quote(f"{file}.new"), shlex.quote(str(file))
    return [f"printf '%s\\n' {text} > {new}", f"mv {new} {whole}"]


def _names(profile: str) -> str:
    """A filter from lines of `list_nodes` to names; notices between them are dropped."""
    pattern = f"{profile.replace('.', '[.]')}(-m[0-9]+)?"
    return f"cut -f1 | grep -Ex {shlex.quote(pattern)}"


def _left_behind(profile: str) -> str:
    return (
        "The cluster did not start. Run `pulumi up` again to go on with it, or remove what there "
        f"is of it: {shlex.join(delete(profile))}"
    )
