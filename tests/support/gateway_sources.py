"""Manifests of gateways for tests: upstream's own, and what Kong's take from elsewhere."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

SOURCES = Path(__file__).parents[2].parent / "shared" / "sources"
MANIFESTS = {
    "nginx": SOURCES / "nginx-kubernetes-ingress" / "v5.5.4",
    "kong": SOURCES / "kong-kubernetes-ingress-controller" / "v3.5.13",
}
_KONG = "kubernetes-configuration"
_GATEWAY_API = "sigs.k8s.io/gateway-api@v1.3.0"
_FOLDER = "ML_PLATFORM_TEST_DEFINITIONS"
"""A folder that holds a copy of Kong/kubernetes-configuration v1.5.2 under its name."""


def small_definitions(folder: Path) -> Path:
    """As much of those repositories as rendering needs: a definition in each folder."""
    for path, plural, group in (
        (f"{_KONG}/config/crd/ingress-controller", "kongplugins", "configuration.konghq.com"),
        (f"{_KONG}/config/crd/ingress-controller-incubator", "facades", "incubator.konghq.com"),
        ("gateway-api/config/crd", "gateways", "gateway.networking.k8s.io"),
        ("gateway-api/config/crd/experimental", "tcproutes", "gateway.networking.k8s.io"),
    ):
        where = folder / path
        where.mkdir(parents=True)
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "names": {"plural": plural, "kind": plural.title()},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True}],
            },
        }
        (where / "crd.yaml").write_text(yaml.safe_dump(crd))
        (where / "kustomization.yaml").write_text("resources: [crd.yaml]\n")
    return folder


def real_definitions(folder: Path) -> Path:
    """The real ones, in `folder`; the test is skipped where they can't be had.

    Kong's are in no package registry: a copy beside the manifests, or the folder that the
    environment names. The Gateway API's are in its Go module.
    """
    kong = next(
        (
            path
            for path in (
                SOURCES / "kong-kubernetes-configuration" / "v1.5.2",
                Path(os.environ.get(_FOLDER, "/none")) / _KONG,
            )
            if path.is_dir()
        ),
        None,
    )
    if kong is None:
        pytest.skip(f"needs Kong's definitions: name by ${_FOLDER} a folder with {_KONG} v1.5.2")
    done = subprocess.run(
        ["go", "mod", "download", "-json", _GATEWAY_API],
        cwd=folder,
        check=False,
        capture_output=True,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    if done.returncode:
        pytest.skip(f"needs the Go module {_GATEWAY_API}: {done.stdout.decode()}")
    (folder / _KONG).symlink_to(kong)
    (folder / "gateway-api").symlink_to(json.loads(done.stdout)["Dir"])
    return folder
