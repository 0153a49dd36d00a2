"""Manifests of gateways for tests: upstream's own, and what Kong's take from elsewhere."""

from pathlib import Path

import yaml

from tests.support.gateway_kong import module

SOURCES = Path(__file__).parents[2].parent / "shared" / "sources"
MANIFESTS = {
    "nginx": SOURCES / "nginx-kubernetes-ingress" / "v5.5.4",
    "kong": SOURCES / "kong-kubernetes-ingress-controller" / "v3.5.13",
}
_KONG = "kubernetes-configuration"


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
    """The real ones, in `folder`; the test is skipped where they can't be had."""
    for path in ("github.com/kong/kubernetes-configuration", "sigs.k8s.io/gateway-api"):
        (folder / path.rpartition("/")[2]).symlink_to(module(path))
    return folder
