"""What several unit tests share."""

from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2].parent / "shared" / "sources"


@pytest.fixture(scope="session")
def kubeflow_source() -> Path:
    """The manifests of Kubeflow at v1.10.2; a test without them fails, it is not skipped."""
    path = SOURCES / "kubeflow-manifests" / "v1.10.2"
    assert (path / "example" / "kustomization.yaml").is_file(), f"no Kubeflow manifests in {path}"
    return path
