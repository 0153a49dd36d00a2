"""The manifests of an implementation: where they come from, which of them, and what is changed.

Upstream's own files, rendered by kustomize with patches of `workloads`, once for the same input. A
git ref is cloned once and held to a lock file ever after, as Kubeflow's manifests are; so is what
the manifests take from other repositories.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from components.gateway import images, workloads
from components.gateway.features import Implementation
from components.gateway.workloads import Shape
from components.kubeflow import render, source
from components.kubeflow.normalise import normalise
from components.kubeflow.source import Kind, Progress, Source, SourceError, SourceSpec
from components.kubeflow.yamljson import load_all

_REMOTE = re.compile(r"(?P<repository>https://[^/]+/[^/]+/[^/?]+)/(?P<path>[^?]+)\?ref=(?P<ref>.+)")
_KUSTOMIZATION: Final = "kustomization.yaml"


@dataclass(frozen=True)
class Upstream:
    """Where an implementation's manifests are.

    `folders` are those that rendering reaches, `resources` what is rendered of them; both are
    relative to the source's root. `patches` and `remotes`, which are taken from elsewhere, are for
    a shape.
    """

    kind: Kind
    repository: str
    folders: tuple[str, ...]
    resources: tuple[str, ...]
    images: tuple[Mapping[str, str], ...]
    patches: Callable[[Shape], list[dict[str, Any]]]
    remotes: Callable[[Shape], list[str]] = lambda _: []


UPSTREAMS: Final[Mapping[Implementation, Upstream]] = {
    "nginx": Upstream(
        Kind(
            "gateway",
            "nginx/kubernetes-ingress v5",
            ("config/crd/kustomization.yaml", "deployments/deployment/nginx-ingress.yaml"),
            "v5.5.4",
        ),
        "https://github.com/nginx/kubernetes-ingress",
        ("config/crd", "deployments"),
        (
            "config/crd",
            "deployments/common/ns-and-sa.yaml",
            "deployments/common/ingress-class.yaml",
            "deployments/common/nginx-config.yaml",
            "deployments/rbac/rbac.yaml",
            "deployments/deployment/nginx-ingress.yaml",
            "deployments/service/nodeport.yaml",
        ),
        (workloads.image("nginx/nginx-ingress", images.NGINX),),
        workloads.nginx,
    ),
    "kong": Upstream(
        Kind(
            "gateway",
            "Kong/kubernetes-ingress-controller v3",
            ("config/base/kustomization.yaml", "config/base/kong-ingress-dbless.yaml"),
            "v3.5.13",
        ),
        "https://github.com/Kong/kubernetes-ingress-controller",
        ("config/base", "config/crd", "config/rbac", "config/image/oss"),
        ("config/base",),
        (
            workloads.image("kong", images.KONG),
            workloads.image("kong/kubernetes-ingress-controller", images.KONG_CONTROLLER),
        ),
        workloads.kong,
        workloads.gateway_api,
    ),
}

_DEFINITIONS = Kind(
    "gatewayDefinitions", "Kong/kubernetes-configuration", ("config/crd",), "v1.5.2"
)


@dataclass(frozen=True)
class InstallArgs:
    """Which manifests, and how they are rendered.

    `path` is a folder, instead of `ref` of `repository` (empty for the upstream's). `definitions`
    is a folder with copies of the repositories that the manifests take from elsewhere, each under
    its name without its owner's; None for the refs that they name.
    """

    implementation: Implementation
    kustomize: Path
    cache_dir: Path
    lock_file: Path
    path: Path | None = None
    repository: str = ""
    ref: str = ""
    definitions: Path | None = None

    @property
    def upstream(self) -> Upstream:
        """Of the implementation."""
        return UPSTREAMS[self.implementation]


def objects(
    args: InstallArgs, shape: Shape, progress: Progress = lambda _: None
) -> list[dict[str, Any]]:
    """The objects of an installation, without what a cluster fills in itself.

    Raises:
        SourceError: the manifests can't be had, or are not of this implementation.
        RenderError: kustomize refused.
    """
    upstream = args.upstream
    spec = SourceSpec(
        args.path,
        args.repository or upstream.repository,
        args.ref or upstream.kind.example,
        upstream.kind,
    )
    manifests = source.resolve(spec, args.cache_dir, args.lock_file, progress)
    more = upstream.remotes(shape)
    remotes = {
        url: _elsewhere(url, args, progress)
        for url in sorted({*more, *_remotes(manifests.root, upstream)})
    }
    patches = upstream.patches(shape)
    key = {
        "source": manifests.digest,
        "remotes": {url: found.digest for url, (found, _) in remotes.items()},
        "resources": [*upstream.resources, *more],
        "images": upstream.images,
        "patches": patches,
    }

    def make() -> list[dict[str, Any]]:
        progress(f"rendering the gateway's manifests ({args.implementation})")
        folders = {url: folder for url, (_, folder) in remotes.items()}
        resources = [*upstream.resources, *more]
        return _render(manifests.root, upstream, resources, patches, folders, args.kustomize)

    rendered = normalise(render.cached(key, args.kustomize, args.cache_dir, make))
    return [
        *workloads.placed(rendered, args.implementation, shape.layer),
        *workloads.beside(args.implementation, shape),
    ]


def _remotes(root: Path, upstream: Upstream) -> set[str]:
    """What kustomizations take from elsewhere."""
    return {
        entry
        for folder in upstream.folders
        for file in (root / folder).rglob(_KUSTOMIZATION)
        for document in load_all(file.read_bytes())
        for entry in document.get("resources") or ()
        if "://" in entry
    }


def _elsewhere(url: str, args: InstallArgs, progress: Progress) -> tuple[Source, Path]:
    """The source of a remote resource, and the folder in it."""
    match = _REMOTE.fullmatch(url)
    if match is None:
        raise SourceError(
            f"the gateway's manifests take {url} from elsewhere, which is not of the form "
            "https://host/owner/repository/path?ref=tag; set gatewayRef to another release"
        )
    name = match["repository"].rpartition("/")[2]
    local = args.definitions / name if args.definitions else None
    spec = SourceSpec(local, match["repository"], match["ref"], _DEFINITIONS)
    found = source.resolve(spec, args.cache_dir, args.lock_file, progress)
    folder = found.root / match["path"]
    if not folder.is_dir():
        raise SourceError(
            f"{local or match['repository']} has no {match['path']}, which the gateway's manifests "
            f"take from {match['repository']} at {match['ref']}"
        )
    return found, folder


def _render(
    root: Path,
    upstream: Upstream,
    resources: Sequence[str],
    patches: Sequence[Mapping[str, Any]],
    remotes: Mapping[str, Path],
    kustomize: Path,
) -> list[dict[str, Any]]:
    # In a copy: kustomize refuses files outside of the kustomization's folder, and a resource that
    # is fetched over the network would be held to no digest.
    work = Path(tempfile.mkdtemp(prefix="ml-platform-render-")).resolve()
    try:
        for folder in upstream.folders:
            shutil.copytree(root / folder, work / folder)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(resources),
            "images": [dict(image) for image in upstream.images],
            "patches": [{"patch": orjson.dumps(patch).decode()} for patch in patches],
        }
        # JSON is YAML.
        (work / _KUSTOMIZATION).write_bytes(orjson.dumps(kustomization))
        for file in work.rglob(_KUSTOMIZATION):
            _localise(file, remotes)
        return render.build(kustomize, work, "gateway")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _localise(file: Path, remotes: Mapping[str, Path]) -> None:
    """Name folders instead of what is fetched."""
    for document in load_all(file.read_bytes()):
        resources = document.get("resources") or []
        if any(entry in remotes for entry in resources):
            document["resources"] = [
                os.path.relpath(remotes[entry], file.parent) if entry in remotes else entry
                for entry in resources
            ]
            file.write_bytes(orjson.dumps(document))
