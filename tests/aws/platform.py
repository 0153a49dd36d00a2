"""The whole program, as `pulumi up` runs it, with a small part of Kubeflow."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from pathlib import Path

import pulumi.runtime.config as runtime_config

from components.settings import of_stack
from tests.aws.conftest import RanOnAws, run_on_aws
from tests.support.gateway_sources import MANIFESTS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
KUBEFLOW = {
    "kubeflowPath": str(SOURCE),
    "kubeflowComponents": ["dex", "admission-webhook", "user-namespace"],
}
GATEWAY = {"gateway": "nginx", "gatewayPath": str(MANIFESTS["nginx"])}


def run_platform(stack: str, settings: Mapping[str, object]) -> RanOnAws:
    """Run `__main__.py` within `in_moto`, with a stack's own file and settings on top."""
    values = {**of_stack(stack), **KUBEFLOW, **settings}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in texts.items()}, [])
    try:
        main = str(ROOT / "__main__.py")
        return run_on_aws(lambda: runpy.run_path(main, run_name="__main__"))
    finally:
        runtime_config.set_all_config({}, [])
