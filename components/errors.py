"""Errors that a user can mend, shown as their text alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi

from components.cluster.base import ClusterError
from components.cluster.preflight import PreflightError
from components.gateway.errors import GatewayError
from components.kubeflow.access import AccessError
from components.kubeflow.catalog import CatalogError
from components.kubeflow.plan import PlanError
from components.kubeflow.render import RenderError
from components.kubeflow.source import SourceError
from components.kubeflow.transforms import TransformError
from components.kubeflow.yamljson import YamlError
from components.settings import SettingsError
from sandbox.state import StateError
from toolchain.tools import ToolMissing

MENDABLE = (
    AccessError,
    CatalogError,
    ClusterError,
    GatewayError,
    PlanError,
    PreflightError,
    RenderError,
    SettingsError,
    SourceError,
    StateError,
    ToolMissing,
    TransformError,
    YamlError,
)
"""Errors whose message says what is wrong and what mends it."""


@contextmanager
def shown_plainly() -> Iterator[None]:
    """Show such an error without a traceback, and end the program before anything is created."""
    try:
        yield
    except MENDABLE as error:
        raise pulumi.RunError(str(error)) from None
