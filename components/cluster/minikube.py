"""A local cluster: minikube, run by Pulumi through `pulumi_command.local.Command`.

`minikube_plan` decides, this module looks and acts. What has been run: all of it on the real Pulumi
engine (tests/engine), with a stand-in for minikube; with the stand-in for the plugin
`pulumi-resource-command` and, by hand, with the official one. Of minikube itself only what needs no
machine has been run: lists, states, refusals, exit codes. No cluster of it has been started yet.

Where the nodes have a kernel of their own, its inotify limits are raised at every start by Pulumi.
They last until the node stops: after a start by hand they are low again until Pulumi starts it.
"""

from __future__ import annotations

import os
import uuid
from functools import partial
from pathlib import Path

import pulumi
from pulumi_command import local

from components.cluster import minikube_commands as commands
from components.cluster import minikube_plan, preflight
from components.cluster.base import Capabilities, Cluster, ClusterError
from components.cluster.drivers import Run, run_command
from components.cluster.minikube_plan import MinikubeArgs, Observed
from components.cluster.preflight import Found, Needs, PreflightError

__all__ = ["Minikube", "MinikubeArgs"]

PATIENCE = 120.0
"""Seconds for minikube to tell the state of all nodes."""


class Minikube(Cluster):
    """A minikube cluster that is created, updated, stopped and deleted with the stack.

    The user's own kubeconfig is neither read nor written. Stopping: set `running` to False; the
    objects on the cluster are left alone, as long as they don't change in the same run.

    Raises:
        PreflightError: the machine isn't fit, or not for what is asked for.
        ClusterError: what is asked for can't be had, or not without losing data.
    """

    def __init__(
        self, name: str, args: MinikubeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        folder = args.folder or default_folder(args.profile)
        private = commands.environment(folder)
        patient = partial(run_command, environment=private, patience=PATIENCE)
        observed = observe(args.profile, folder, patient)
        found = _preflight(args, observed, partial(run_command, environment=private))
        plan = minikube_plan.plan(
            args,
            folder,
            found.driver.name,
            observed,
            uuid.uuid4().hex,
            own_kernel=found.own_kernel,
        )
        super().__init__("Minikube", name, opts)
        machine = local.Command(
            f"{name}-machine",
            create=plan.apply,
            delete=plan.delete,
            environment={**plan.environment, "RUN": plan.run},
            triggers=[plan.replace_on],
            add_previous_output_in_env=False,
            # A replacement is created before the old one is deleted: its script deletes the old
            # cluster, and the old one's finds another in its place. So what is on the cluster goes
            # `deleted_with` it; deleted before, object by object, it would take its time, and
            # after, the new cluster would lose it, whose credentials minikube keeps.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=False),
        )
        # A resource of its own: what changes the machine need not hide where the cluster is.
        kubeconfig = local.Command(
            f"{name}-kubeconfig",
            create=plan.kubeconfig,
            environment={"STARTED": plan.started},
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[machine], additional_secret_outputs=["stdout"]
            ),
        )
        self._offer(
            name,
            kubeconfig.stdout,
            f"minikube/{args.profile}/{plan.identity}",
            Capabilities(
                # Only while `minikube tunnel` runs.
                load_balancer=False,
                storage_class="",
                architecture=found.architecture,
            ),
            deleted_with=machine,
        )


def default_folder(profile: str) -> Path:
    """Where a cluster's kubeconfig is: $XDG_STATE_HOME/ml-platform/minikube/<profile>."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ml-platform" / "minikube" / profile


def observe(profile: str, folder: Path, run: Run) -> Observed:
    """Look what there is of a cluster; nothing is changed, and nothing need run.

    Raises:
        ClusterError: minikube gives no list of its clusters.
    """
    listed = run(commands.list_profiles())
    if listed.missing:
        return Observed(exists=False)
    try:
        exists = profile in minikube_plan.parse_profiles(listed.stdout)
    except (ValueError, KeyError, TypeError):
        raise ClusterError(
            f"minikube doesn't tell its clusters ({listed.reason or 'no JSON'}); see what is "
            f"wrong: {' '.join(commands.list_profiles())}"
        ) from None
    made, ran = _read(folder / commands.CLUSTER_FILE), _read(folder / commands.RUN_FILE)
    nodes: tuple[minikube_plan.Node, ...] = ()
    if exists:
        try:
            nodes = minikube_plan.parse_status(run(commands.status(profile)).stdout)
        except (ValueError, KeyError, TypeError):
            # It can't tell: then the cluster isn't as it is to be, and is started again.
            nodes = ()
    return Observed(exists, nodes, minikube_plan.parse_made(made), minikube_plan.parse_ran(ran))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _preflight(args: MinikubeArgs, observed: Observed, run: Run) -> Found:
    found = preflight.read(minikube_plan.driver_of(args, observed), run)
    needs = Needs(
        nodes=args.nodes,
        memory_mib=args.memory_mib,
        cpus=args.cpus,
        # A cluster that is there has taken its disk already.
        disk_gib=0 if observed.exists else args.disk_gib,
    )
    problems = preflight.check(needs, found)
    if problems:
        raise PreflightError(problems)
    return found
