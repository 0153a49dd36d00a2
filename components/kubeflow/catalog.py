"""The components of Kubeflow by name, as the release in use has them.

What a release consists of is read from its own `example/kustomization.yaml`; known here are only
the names of upstream's folders, what they are for, and what they need of each other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from components.kubeflow.yamljson import YamlError, load_all

EXAMPLE = "example"
"""The folder of the source whose kustomization is the whole platform."""

KUSTOMIZATION_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# What decides nothing about the objects when the resources are rendered one by one.
_INERT = frozenset({"apiVersion", "kind", "resources", "sortOptions", "metadata"})


# Where releases before v1.10.2 have the same folders.
_FORMER = (
    (re.compile(r"^apps/"), "applications/"),
    (re.compile(r"^common/istio-\d+-\d+/"), "common/istio/"),
)


class CatalogError(ValueError):
    """A component that is not known, or a source without a readable example/."""


@dataclass(frozen=True)
class Component:
    """A part of the platform that can be chosen by name.

    `paths` are upstream's kustomizations, relative to the root of the source; `requires` gives,
    for each component that this one does not work without, the reason.
    """

    name: str
    description: str
    paths: tuple[str, ...]
    requires: Mapping[str, str]


@dataclass(frozen=True)
class Catalog:
    """What a source offers: its components in upstream's order.

    `extras` names what upstream's example does beside listing resources (patches, for example);
    `separable` tells whether its resources may be rendered one by one with the same result.
    """

    components: Mapping[str, Component]
    extras: tuple[str, ...] = ()
    separable: bool = True


@dataclass(frozen=True)
class Selection:
    """Chosen components in upstream's order; `added` gives why each unasked one is among them."""

    components: tuple[Component, ...]
    added: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The kustomizations of all chosen components, relative to the root of the source."""
        return tuple(path for component in self.components for path in component.paths)


@dataclass(frozen=True)
class _Known:
    description: str
    folders: tuple[str, ...]
    requires: Mapping[str, str] = field(default_factory=dict)


_NAMESPACE = {"kubeflow-namespace": "its objects live in the namespace kubeflow"}
_WEB = {
    **_NAMESPACE,
    "istio": "the mesh routes and authorises its traffic",
    "kubeflow-gateway": "its VirtualServices hang on that gateway",
    "kubeflow-roles": "its roles add to the roles of Kubeflow's users",
}
_CERTIFICATES = {"cert-manager": "it issues the certificate of its webhook"}

_KNOWN: Mapping[str, _Known] = {
    "cert-manager": _Known(
        "Issues the certificates of the platform's webhooks", ("common/cert-manager",)
    ),
    "istio": _Known("Service mesh and ingress gateway", ("common/istio",)),
    "oauth2-proxy": _Known(
        "Lets only signed-in users through the gateway",
        ("common/oauth2-proxy",),
        {
            "istio": "the gateway asks it about each request",
            "dex": "it signs users in with Dex",
            "kubeflow-gateway": "its VirtualService hangs on that gateway",
            "kubeflow-namespace": "it routes the gateway of the namespace kubeflow",
        },
    ),
    "dex": _Known(
        "OpenID Connect provider that knows the users",
        ("common/dex",),
        {
            "istio": "its VirtualService belongs to the mesh",
            "kubeflow-gateway": "its VirtualService hangs on that gateway",
        },
    ),
    "knative": _Known(
        "Runs KServe's models as scalable services",
        ("common/knative", "common/istio/cluster-local-gateway"),
        {"istio": "its ingress is Istio"},
    ),
    "kubeflow-namespace": _Known("The namespace kubeflow", ("common/kubeflow-namespace",)),
    "network-policies": _Known(
        "Closes the namespace kubeflow to unwanted traffic",
        ("common/networkpolicies",),
        _NAMESPACE,
    ),
    "kubeflow-roles": _Known(
        "The roles of Kubeflow's users (admin, edit, view)", ("common/kubeflow-roles",)
    ),
    "kubeflow-gateway": _Known(
        "The Istio gateway behind which the web interfaces are",
        ("common/istio/kubeflow-istio-resources",),
        {**_NAMESPACE, "istio": "it is an Istio gateway"},
    ),
    "pipelines": _Known(
        "Kubeflow Pipelines: workflows, their runs and artifacts",
        ("applications/pipeline",),
        {
            **_WEB,
            **_CERTIFICATES,
            "profiles": "each user's runs are in the namespace of their profile",
        },
    ),
    "katib": _Known("Hyperparameter tuning", ("applications/katib",), {**_WEB, **_CERTIFICATES}),
    "dashboard": _Known(
        "The central web page of Kubeflow",
        ("applications/centraldashboard",),
        {**_WEB, "profiles": "it asks their access manager about a user's namespaces"},
    ),
    "admission-webhook": _Known(
        "Applies PodDefaults to pods",
        ("applications/admission-webhook",),
        {**_NAMESPACE, **_CERTIFICATES, "kubeflow-roles": _WEB["kubeflow-roles"]},
    ),
    "notebooks": _Known(
        "Jupyter, VS Code and RStudio in the browser",
        ("applications/jupyter",),
        {
            **_WEB,
            "admission-webhook": "it offers PodDefaults, whose definition is there",
            "profiles": "each notebook runs in the namespace of a profile",
        },
    ),
    "profiles": _Known(
        "Namespaces for users and teams, and who may enter them", ("applications/profiles",), _WEB
    ),
    "pvc-viewer": _Known(
        "Opens volumes in a file browser",
        ("applications/pvcviewer-controller",),
        {**_WEB, **_CERTIFICATES},
    ),
    "volumes": _Known(
        "Web page of the volumes",
        ("applications/volumes-web-app",),
        {**_WEB, "pvc-viewer": "it opens volumes with it"},
    ),
    "tensorboard": _Known("TensorBoards and their web page", ("applications/tensorboard",), _WEB),
    "training-operator": _Known(
        "Distributed training with PyTorch, TensorFlow, MPI, XGBoost and others",
        ("applications/training-operator",),
        {**_NAMESPACE, "kubeflow-roles": _WEB["kubeflow-roles"]},
    ),
    "user-namespace": _Known(
        "The first user's profile",
        ("common/user-namespace",),
        {"profiles": "the profile is made into a namespace there"},
    ),
    "kserve": _Known(
        "Serves models",
        ("applications/kserve",),
        {**_WEB, **_CERTIFICATES, "knative": "models are Knative services"},
    ),
    "spark-operator": _Known(
        "Runs Apache Spark applications",
        ("applications/spark",),
        {**_NAMESPACE, "kubeflow-roles": _WEB["kubeflow-roles"]},
    ),
    "model-registry": _Known(
        "Keeps models and their versions", ("applications/model-registry",), _WEB
    ),
}


def read(root: Path) -> Catalog:
    """The catalogue of the source at `root`.

    A folder that no name is known for becomes a component under its own name, so that nothing of
    upstream's example is ever left out.

    Raises:
        CatalogError: the example is missing or not readable.
    """
    kustomization = example_kustomization(root)
    paths: dict[str, list[str]] = {}
    separable = True
    for entry in kustomization.get("resources") or []:
        path = _normal(root, str(entry))
        separable = separable and (root / path).is_dir()
        paths.setdefault(_component_of(path), []).append(path)
    components = {}
    for name, own in paths.items():
        known = _KNOWN.get(name) or _Known("Part of this release of Kubeflow", ())
        components[name] = Component(
            name,
            known.description,
            tuple(own),
            {needed: why for needed, why in known.requires.items() if needed in paths},
        )
    extras = tuple(sorted(set(kustomization) - _INERT))
    extras = tuple(key for key in extras if kustomization[key])
    return Catalog(components, extras, separable and not extras)


def example_kustomization(root: Path) -> Mapping[str, Any]:
    """The content of upstream's `example/kustomization.yaml`.

    Raises:
        CatalogError: the example is missing or not readable.
    """
    folder = root / EXAMPLE
    for name in KUSTOMIZATION_FILES:
        file = folder / name
        if file.is_file():
            break
    else:
        raise CatalogError(
            f"{root} is no copy of kubeflow/manifests: it has no {EXAMPLE}/kustomization.yaml. "
            "Set kubeflowPath to the folder that holds applications/, common/ and example/"
        )
    try:
        documents = load_all(file.read_bytes())
    except YamlError as error:
        raise CatalogError(f"{file}: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise CatalogError(f"{file}: found {len(documents)} documents, expected one kustomization")
    return documents[0]


def select(catalog: Catalog, names: Sequence[str]) -> Selection:
    """Choose components by name; no names at all means the whole platform.

    Raises:
        CatalogError: a name that the source does not offer, or a choice of a few from an example
            that also patches.
    """
    offered = catalog.components
    if not names:
        return Selection(tuple(offered.values()), whole=True)
    for name in names:
        if name not in offered:
            near = difflib.get_close_matches(name, offered, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CatalogError(
                f"no component {name!r} in this release of Kubeflow{hint} "
                f"Components: {', '.join(sorted(offered))}"
            )
    chosen = dict.fromkeys(names)
    added: dict[str, str] = {}
    queue = list(chosen)
    while queue:
        name = queue.pop(0)
        for needed, why in offered[name].requires.items():
            if needed not in chosen:
                chosen[needed] = None
                added[needed] = f"{name} needs it: {why}"
                queue.append(needed)
    if catalog.extras and len(chosen) < len(offered):
        raise CatalogError(
            f"{EXAMPLE}/kustomization.yaml of the source also has {', '.join(catalog.extras)}, "
            "which a choice of components would lose: choose the whole platform, "
            "or move them to patches of your own"
        )
    return Selection(
        tuple(component for name, component in offered.items() if name in chosen),
        added,
        whole=len(chosen) == len(offered),
    )


def _normal(root: Path, entry: str) -> str:
    """An entry of the example's resources, relative to the root of the source where it can be."""
    if "://" in entry or entry.startswith(("git@", "/")):
        return entry
    parts: list[str] = []
    for part in PurePosixPath(EXAMPLE, entry).parts:
        if part == "..":
            if not parts:
                raise CatalogError(f"{root / EXAMPLE}: resource {entry} is outside of the source")
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _component_of(path: str) -> str:
    for former, now in _FORMER:
        path = former.sub(now, path)
    folders = {
        folder: name
        for name, known in _KNOWN.items()
        for folder in known.folders
        if path == folder or path.startswith(f"{folder}/")
    }
    if folders:
        return folders[max(folders, key=len)]
    parts = [part for part in path.split("/") if part]
    return parts[1] if len(parts) > 1 and "://" not in path else path
