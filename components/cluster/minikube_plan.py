"""What is to happen to a minikube cluster: from settings and what is there to shell scripts. Pure.

minikube keeps driver, sizes and runtime of a cluster for good and refuses a lower Kubernetes
version, so such a change means deleting the cluster. What it was made with is kept beside it
(`CLUSTER_FILE`), so that this is noticed before anything happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from components.cluster import minikube_commands as commands
from components.cluster.base import ClusterError
from components.cluster.drivers import AUTO


@dataclass(frozen=True)
class MinikubeArgs:
    """A minikube cluster.

    Memory and CPUs default to what Kubeflow's manifests recommend (16 GB, 8 CPUs:
    https://github.com/kubeflow/manifests#prerequisites). 60 GiB of disk hold its images, two to
    three times over for upgrades.

    Args:
        profile: name of the cluster, its context and its machines.
        driver: a name in `drivers.DRIVERS`, or `auto`: the one it was made with, or else the first
            that works.
        nodes: number of nodes.
        cpus, memory_mib, disk_gib: of each node; memory in MiB, disk in GiB.
        kubernetes_version: like v1.34.4.
        container_runtime: containerd, docker or cri-o.
        running: False stops the cluster and keeps its data.
        allow_data_loss: whether a change may be made that loses data: one for which the cluster
            is deleted and created anew, or fewer nodes.
        folder: private folder for its kubeconfig and what it was made with; None for
            $XDG_STATE_HOME/ml-platform/minikube/<profile>.
    """

    profile: str
    driver: str = AUTO
    nodes: int = 1
    cpus: int = 8
    memory_mib: int = 16384
    disk_gib: int = 60
    kubernetes_version: str = "v1.34.4"
    container_runtime: str = "containerd"
    running: bool = True
    allow_data_loss: bool = False
    folder: Path | None = None


@dataclass(frozen=True)
class Made:
    """What a cluster was made with.

    `identity` tells one from the next of the same name; the rest are `MinikubeArgs` that can't be
    changed in place, or not back.
    """

    identity: str
    driver: str
    cpus: int
    memory_mib: int
    disk_gib: int
    kubernetes_version: str
    container_runtime: str


_SETTINGS: Mapping[str, str] = {
    "driver": "minikubeDriver",
    "cpus": "minikubeCpus",
    "memory_mib": "minikubeMemory",
    "disk_gib": "minikubeDisk",
    "kubernetes_version": "minikubeKubernetesVersion",
    "container_runtime": "minikubeContainerRuntime",
    "nodes": "minikubeNodes",
}


@dataclass(frozen=True)
class Ran:
    """What was last done to a cluster.

    Args:
        run: a mark of its last start or stop.
        started: a mark of its last start.
        nodes: how many nodes it had then.
    """

    run: str
    started: str
    nodes: int


@dataclass(frozen=True)
class Node:
    """A node's state, in the words of `minikube status`."""

    name: str
    host: str
    kubelet: str
    api_server: str
    kubeconfig: str

    @property
    def runs(self) -> bool:
        """Whether all of it runs, and the cluster's own kubeconfig leads to it."""
        return (
            self.host == self.kubelet == "Running"
            and self.api_server in ("Running", "Irrelevant")
            and self.kubeconfig in ("Configured", "Irrelevant")
        )


@dataclass(frozen=True)
class Observed:
    """What there is of a cluster.

    Args:
        exists: whether minikube has a profile of that name.
        nodes: its nodes; none if minikube can't tell.
        made, ran: contents of the cluster's folder, None where it isn't there.
    """

    exists: bool
    nodes: Sequence[Node] = ()
    made: Made | None = None
    ran: Ran | None = None


@dataclass(frozen=True)
class Plan:
    """What Pulumi's resources get.

    Args:
        identity: of the cluster; another one means that everything on it is made anew.
        started: changes whenever its kubeconfig may have.
        run: changes whenever it has to be started or stopped again.
        apply, delete, kubeconfig: shell scripts.
        replace_on: values whose change deletes the cluster and creates it anew.
    """

    identity: str
    started: str
    run: str
    apply: str
    delete: str
    kubeconfig: str
    environment: Mapping[str, str]
    replace_on: Mapping[str, Any] = field(default_factory=dict)


def plan(
    args: MinikubeArgs,
    folder: Path,
    driver: str,
    observed: Observed,
    token: str,
    *,
    own_kernel: bool,
) -> Plan:
    """Decide what is to happen.

    Args:
        args: what is asked for.
        folder: the cluster's folder.
        driver: the driver, never `auto`.
        observed: what is there.
        token: a word never used before, in case something new needs a name.
        own_kernel: whether the nodes have a kernel of their own.

    Raises:
        ClusterError: data would be lost that must not be; a cluster of that name is there that
            isn't ours; one that isn't there is to be stopped.
    """
    if observed.exists and observed.made is None:
        raise ClusterError(_foreign(args, folder))
    lossy = _lossy(args, driver, observed)
    if lossy and not args.allow_data_loss:
        raise ClusterError(_refusal(args, lossy))
    anew = not observed.exists or any(name != "nodes" for name, _, _ in lossy)
    if anew and not args.running:
        raise ClusterError(
            f"minikubeRunning is false, but the cluster {args.profile!r} has yet to be created; "
            "create it first: pulumi config set minikubeRunning true"
        )
    kept = None if anew else observed.made
    made = _made(args, driver, identity=kept.identity if kept else token)
    ran = _ran(args, observed, token, anew=anew)
    if args.running:
        script = commands.start_script(
            args.profile,
            folder,
            commands.start(
                args.profile,
                driver=driver,
                cpus=args.cpus,
                memory_mib=args.memory_mib,
                disk_gib=args.disk_gib,
                kubernetes_version=args.kubernetes_version,
                container_runtime=args.container_runtime,
            ),
            nodes=args.nodes,
            raise_limits=own_kernel,
            before=vars(made),
            after=vars(ran),
        )
    else:
        script = commands.stop_script(args.profile, folder, vars(ran))
    return Plan(
        identity=made.identity,
        started=ran.started,
        run=ran.run,
        apply=script,
        delete=commands.delete_script(args.profile, folder, made.identity),
        kubeconfig=commands.show_kubeconfig(folder),
        environment=commands.environment(folder),
        replace_on={
            "profile": args.profile,
            **{name: value for name, value in vars(made).items() if name != "kubernetes_version"},
        },
    )


def driver_of(args: MinikubeArgs, observed: Observed) -> str:
    """The driver to look for: `auto` stays with the one that the cluster was made with."""
    if args.driver == AUTO and observed.exists and observed.made:
        return observed.made.driver
    return args.driver


def _made(args: MinikubeArgs, driver: str, identity: str) -> Made:
    return Made(
        identity=identity,
        driver=driver,
        cpus=args.cpus,
        memory_mib=args.memory_mib,
        disk_gib=args.disk_gib,
        kubernetes_version=args.kubernetes_version,
        container_runtime=args.container_runtime,
    )


def _lossy(args: MinikubeArgs, driver: str, observed: Observed) -> list[tuple[str, Any, Any]]:
    """Changes that lose data: setting, value that is there, value asked for."""
    if not observed.exists or observed.made is None:
        return []
    old, new = observed.made, _made(args, driver, observed.made.identity)
    changes = [
        (name, getattr(old, name), getattr(new, name))
        for name in (f.name for f in fields(Made))
        if name != "kubernetes_version" and getattr(old, name) != getattr(new, name)
    ]
    if _version(new.kubernetes_version) < _version(old.kubernetes_version):
        changes.append(("kubernetes_version", old.kubernetes_version, new.kubernetes_version))
    if args.running and args.nodes < len(observed.nodes):
        changes.append(("nodes", len(observed.nodes), args.nodes))
    return changes


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.removeprefix("v").split(".") if part.isdecimal())


def _ran(args: MinikubeArgs, observed: Observed, token: str, *, anew: bool) -> Ran:
    """What will have been done; its marks stay for as long as the cluster is as it was left.

    What the settings change needs no mark: the script is another one then.
    """
    ran = observed.ran
    if ran is None or anew:
        return Ran(token, token, args.nodes)
    if not args.running:
        stopped = bool(observed.nodes) and all(n.host == "Stopped" for n in observed.nodes)
        # A stop leaves the kubeconfig as it is.
        return Ran(ran.run if stopped else token, ran.started, ran.nodes)
    running = len(observed.nodes) == ran.nodes and all(node.runs for node in observed.nodes)
    if running:
        return Ran(ran.run, ran.started, args.nodes)
    return Ran(token, token, args.nodes)


def _refusal(args: MinikubeArgs, lossy: Sequence[tuple[str, Any, Any]]) -> str:
    lines = "\n".join(
        f"  {_SETTINGS[name]}: the cluster has {old}, the settings say {new}"
        for name, old, new in lossy
    )
    whole = any(name != "nodes" for name, _, _ in lossy)
    loses = "deletes the cluster and all its data" if whole else "loses what is on the last nodes"
    return (
        f"minikube can't change this of the cluster {args.profile!r} without losing data:\n{lines}"
        f"\n  Set it back; or, for a change that {loses}: "
        "pulumi config set minikubeAllowDataLoss true"
    )


def _foreign(args: MinikubeArgs, folder: Path) -> str:
    return (
        f"minikubeProfile is {args.profile!r}, and minikube has a cluster of that name which was "
        f"not made here ({folder / commands.CLUSTER_FILE} is missing); choose another name: "
        "pulumi config set minikubeProfile NAME; or, to lose that cluster: "
        f"minikube delete --profile={args.profile}"
    )


def parse_profiles(text: str) -> set[str]:
    """Names of the profiles in the output of `list_profiles`.

    Raises:
        ValueError: it isn't that.
    """
    found = _answer(text, lambda value: isinstance(value, dict) and "valid" in value)
    return {str(profile["Name"]) for profile in found["valid"]}


def parse_status(text: str) -> tuple[Node, ...]:
    """Nodes in the output of `status`; none for a cluster whose machines are gone.

    Raises:
        ValueError: it isn't that.
    """
    # One node comes without a list round it, none as null.
    found = _answer(
        text, lambda value: value is None or isinstance(value, list) or "Kubeconfig" in value
    )
    return tuple(
        Node(
            name=str(entry["Name"]),
            host=str(entry["Host"]),
            kubelet=str(entry["Kubelet"]),
            api_server=str(entry["APIServer"]),
            kubeconfig=str(entry["Kubeconfig"]),
        )
        for entry in ([found] if isinstance(found, dict) else found or ())
    )


def parse_made(text: str) -> Made | None:
    """What a cluster was made with; None if it isn't understood."""
    try:
        return Made(**json.loads(text))
    except (ValueError, TypeError):
        return None


def parse_ran(text: str) -> Ran | None:
    """When a cluster was last started or stopped; None if it isn't understood."""
    try:
        return Ran(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _answer(text: str, fits: Callable[[Any], bool]) -> Any:  # noqa: ANN401
    """The JSON value that was asked for: minikube may write notices, one a line, round it."""
    for line in reversed(text.splitlines()):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if not isinstance(value, str | int | float) and fits(value):
            return value
    raise ValueError("minikube did not give the JSON that was asked for")
