"""Two releases rendered with a stack's settings, and the cluster asked what it holds of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from components.kubeflow import catalog, releases, render, source
from components.kubeflow.access import AccessError
from components.kubeflow.component import KubeflowArgs, Progress, fit
from components.kubeflow.normalise import normalise
from components.kubeflow.objects import Kinds, Object, Ref
from components.kubeflow.plan import PlanError
from components.kubeflow.releases import Live, Misfit, Report
from provider.client import Client
from provider.instances import instances
from provider.kubeconfig import connect
from provider.rpc import PluginError

_USER_AGENT: Final = "ml-platform-compare"
_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class NotAsked(RuntimeError):
    """The cluster could not be asked; the message says why."""


@dataclass(frozen=True)
class Release:
    """A release with a stack's settings.

    `plain` are its objects without patches and transforms, `bodies` those that would be applied.
    `missing` are chosen components that it lacks; `refused` says why none can be chosen of it.
    `touched` are the transforms, by their place, that change or drop something.
    """

    name: str
    bodies: Sequence[Object]
    plain: Sequence[Object]
    components: Mapping[Ref, str]
    missing: Sequence[str]
    refused: str
    touched: frozenset[int]


def target_of(text: str, given: source.SourceSpec) -> source.SourceSpec:
    """The release that `--to` names: a folder, if there is one or it is written as one, or a ref.

    Raises:
        SourceError: it is written as a folder, and there is none.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return replace(given, path=path.resolve(), ref="")
    if text.startswith((".", "/", "~")):
        raise source.SourceError(f"--to is {text}, which is no folder")
    return replace(given, path=None, ref=text)


def compared(
    args: KubeflowArgs,
    to: source.SourceSpec,
    entries: Mapping[str, Sequence[str]],
    kubeconfig: Callable[[], str],
    progress: Progress = lambda _: None,
) -> Report:
    """What the step from the release that the settings name to another takes away or breaks.

    Args:
        args: the stack's.
        to: the other release.
        entries: `kubeflowPatches` and `kubeflowTransforms` as they are set, in the order of `args`.
        kubeconfig: contents of the cluster's kubeconfig, or its path; raises NotAsked.
        progress: takes what is being done.

    Raises:
        SourceError, CatalogError, RenderError, TransformError: as the steps do.
    """
    names = list(entries["kubeflowPatches"])
    parts = {name: render.targets(patch) for name, patch in zip(names, args.patches, strict=True)}
    old = _release(args, args.source, args.patches, progress)
    new = _release(args, to, [], progress)
    settings = _components_unfit(args, old, new)
    patches = releases.unmatched_patches(parts, old.plain, new.plain)
    settings += patches
    # kustomize gives nothing at all where one patch has no object.
    refused = {one.entry for one in patches if one.refused}
    fitting = [p for name, p in zip(names, args.patches, strict=True) if name not in refused]
    if fitting:
        try:
            new = _release(args, to, fitting, progress)
        except render.RenderError as error:
            settings.append(
                Misfit("kubeflowPatches", ", ".join(entries["kubeflowPatches"]), str(error), True)
            )
    try:
        fit(args, new.bodies)
    except (AccessError, PlanError) as error:
        settings.append(Misfit("kubeflowRef", new.name, str(error), True))
    for index, entry in enumerate(entries["kubeflowTransforms"]):
        if index in old.touched - new.touched:
            settings.append(
                Misfit("kubeflowTransforms", entry, "changes nothing of the new release", False)
            )
    live, unasked = None, ""
    try:
        progress("asking the cluster")
        live = ask(kubeconfig(), old.bodies, new.bodies)
    except (NotAsked, PluginError) as error:
        unasked = str(error)
    return releases.compare(
        old.bodies,
        new.bodies,
        {**old.components, **new.components},
        live,
        names=(old.name, new.name),
        unasked=unasked,
        settings=settings,
    )


def ask(kubeconfig: str, old: Sequence[Object], new: Sequence[Object]) -> Live:
    """What a cluster holds of what goes, and which of the new kinds it serves. It is only read.

    Raises:
        PluginError: it doesn't answer, or it refuses an answer.
    """
    client = Client(connect(kubeconfig), _USER_AGENT, threading.Event())
    found = client.request("GET", _DEFINITIONS).get("items") or []
    status = {one["metadata"]["name"]: one for one in found}
    return Live(
        {name: instances(client, name) for name in releases.definitions_gone(old, new)},
        {name: one["status"].get("storedVersions") or () for name, one in status.items()},
        {
            name: next(v["name"] for v in one["spec"]["versions"] if v.get("storage"))
            for name, one in status.items()
        },
        [kind for kind in releases.kinds_needed(new) if not client.serves(*kind)],
    )


def _release(
    args: KubeflowArgs,
    spec: source.SourceSpec,
    patches: Sequence[render.Patch],
    progress: Progress,
) -> Release:
    found = source.resolve(spec, args.cache_dir, args.lock_file, progress)
    offered = catalog.read(found.root)
    chosen = [name for name in args.components if name in offered.components]
    parts = render.by_component(found, args.kustomize, args.cache_dir, progress)
    if args.components:
        # No name at all would be the whole platform.
        choice = catalog.select(replace(offered, extras=()), chosen).components if chosen else ()
        parts = {one.name: parts[one.name] for one in choice}
    plain = [body for part in parts.values() for body in part]
    rendered, refused = plain, ""
    try:
        if chosen or not args.components:
            rendered = render.render(
                found, chosen, patches, args.kustomize, args.cache_dir, progress=progress
            )
    except catalog.CatalogError as error:
        # Some can't be chosen of it; what goes is told all the same.
        refused = str(error)
    bodies, touched = _transformed(rendered, args.transforms)
    kinds = Kinds(plain)
    return Release(
        str(spec.path or spec.ref),
        normalise(bodies),
        plain,
        {kinds.ref(body): name for name, part in parts.items() for body in part},
        [name for name in args.components if name not in offered.components],
        refused,
        touched,
    )


def _transformed(
    bodies: Sequence[dict[str, Any]], transforms: Sequence[render.Transform]
) -> tuple[list[dict[str, Any]], frozenset[int]]:
    """The objects after all transforms, and the places of those that changed or dropped one."""
    result, touched = list(bodies), set()
    for index, transform in enumerate(transforms):
        after = []
        for body in result:
            changed = transform(deepcopy(body))
            if changed != body:
                touched.add(index)
            if changed is not None:
                after.append(changed)
        result = after
    return result, frozenset(touched)


def _components_unfit(args: KubeflowArgs, old: Release, new: Release) -> list[Misfit]:
    if old.refused:
        raise catalog.CatalogError(old.refused)
    chosen = ", ".join(args.components)
    whole = [Misfit("kubeflowComponents", chosen, new.refused, True)] if new.refused else []
    return whole + [
        Misfit("kubeflowComponents", name, "the new release has no such component", True)
        for name in new.missing
        if name not in old.missing
    ]
