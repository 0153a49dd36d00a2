"""What the settings choose: the one place where local, cloud and sandbox differ."""

from __future__ import annotations

from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from components.cluster.base import Cluster
from components.kubeflow import transforms
from components.kubeflow.component import KubeflowArgs
from components.kubeflow.source import SourceSpec
from components.settings import ROOT, Settings, in_project
from toolchain.tools import cache_folder, find

LOCK_FILE = ROOT / "kubeflow.lock.json"


def cluster_of(settings: Settings) -> Cluster:
    """The cluster that the settings name.

    Raises:
        PreflightError: the machine, or the cluster, is not fit for it.
    """
    raise NotImplementedError


def kubeflow_args(settings: Settings) -> KubeflowArgs:
    """What of Kubeflow the settings ask for.

    Raises:
        ToolMissing: kustomize is not installed.
        TransformError: a transform can't be loaded.
    """
    path = in_project(settings.kubeflow_path) if settings.kubeflow_path else None
    return KubeflowArgs(
        source=SourceSpec(path, settings.kubeflow_repository, settings.kubeflow_ref),
        kustomize=find("kustomize"),
        cache_dir=cache_folder(),
        lock_file=LOCK_FILE,
        components=settings.kubeflow_components,
        patches=[in_project(patch) for patch in settings.kubeflow_patches],
        transforms=[transforms.load(entry, ROOT) for entry in settings.kubeflow_transforms],
        user_email=settings.user_email,
        user_password=settings.user_password,
        dashboard_port=settings.dashboard_port,
        timeout_minutes=settings.timeout_minutes,
    )
