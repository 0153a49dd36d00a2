"""What a change from one release of Kubeflow to another takes away or breaks.

Pure: two lists of objects, and what a cluster was found to hold, in; a typed report out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from components.kubeflow.holdings import lost_with
from components.kubeflow.objects import CRD_KIND, Kinds, Object, Ref, pod_template
from provider.diff import changes, force_new, normalize
from provider.instances import Instances, counted

YOURS: Final = "your patches and transforms"
"""The component of an object that is of none of the release's."""

# kustomize appends such a suffix of the content.
_SUFFIX = re.compile(r"-[2456789bcdfghkmt]{10}$")
_SUFFIXED = ("ConfigMap", "Secret")
# Images of databases: how many numbers of a version name a series, whose files others don't read.
_SERIES: Final = {"mysql": 2, "mariadb": 2, "postgres": 1, "mongo": 2, "etcd": 2}


@dataclass(frozen=True)
class Live:
    """What a cluster was asked.

    `instances` are those of definitions that go, by name; `stored` the `status.storedVersions` of
    every definition there; `storage` the version that each stores now; `unserved` which of the new
    release's (apiVersion, kind) it does not serve, besides those that the release defines itself.
    """

    instances: Mapping[str, Instances]
    stored: Mapping[str, Sequence[str]]
    storage: Mapping[str, str]
    unserved: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Gone:
    """An object that the new release doesn't have; `lost` is what goes with it, "" for nothing."""

    object: str
    component: str
    lost: str


@dataclass(frozen=True)
class Definition:
    """A CustomResourceDefinition that goes.

    `instances` counts objects of its kind by namespace, those apart that the old release made;
    None where the cluster wasn't asked.
    """

    name: str
    component: str
    instances: Mapping[str, int] | None
    own: int


@dataclass(frozen=True)
class Version:
    """A version of a definition that is `removed`, or else only no longer served.

    `refused`: objects may be stored in it, so that the API server refuses the update; None where
    the cluster wasn't asked. `fix` is what to do.
    """

    definition: str
    version: str
    removed: bool
    refused: bool | None
    fix: str


@dataclass(frozen=True)
class Unserved:
    """An API version of the new release that the cluster's Kubernetes does not serve."""

    api_version: str
    kind: str
    objects: Sequence[str]


@dataclass(frozen=True)
class Image:
    """A container's image that changes."""

    object: str
    component: str
    container: str
    old: str
    new: str


@dataclass(frozen=True)
class Replacement:
    """An object that is deleted and made anew, for `fields` of it can't be changed.

    `lost` is what goes with it; "" for a StatefulSet, too, whose volumes stay.
    """

    object: str
    component: str
    fields: Sequence[str]
    lost: str


@dataclass(frozen=True)
class Database:
    """A database whose image moves to another series: `means` is what that needs.

    `breaks`: it doesn't start on the files that are there.
    """

    object: str
    container: str
    old: str
    new: str
    breaks: bool
    means: str


@dataclass(frozen=True)
class Misfit:
    """An entry of a setting that doesn't fit the new release; `refused`: nothing comes of it."""

    setting: str
    entry: str
    problem: str
    refused: bool


@dataclass(frozen=True)
class Report:
    """All of it. `unasked` says why the cluster could not be asked; "" where it was."""

    old: str
    new: str
    unasked: str
    gone: Sequence[Gone]
    added: Mapping[str, int]
    definitions: Sequence[Definition]
    versions: Sequence[Version]
    unserved: Sequence[Unserved]
    images: Sequence[Image]
    replaced: Sequence[Replacement]
    databases: Sequence[Database]
    settings: Sequence[Misfit]

    @property
    def losses(self) -> list[str]:
        """What would be lost or refused, a sentence each; empty where the way is free."""
        found = [f"{one.object} goes: {one.lost}" for one in self.gone if one.lost]
        for kind in self.definitions:
            if kind.instances is None:
                found.append(f"{CRD_KIND}/{kind.name} goes, with objects that were not counted")
            elif kind.instances:
                total = sum(kind.instances.values())
                where = counted(kind.instances)
                found.append(f"{CRD_KIND}/{kind.name} goes, and {total} objects of it: {where}")
        found += [f"{r.object} is made anew: {r.lost}" for r in self.replaced if r.lost]
        found += [
            f"{one.definition}: the API server refuses it without {one.version}"
            for one in self.versions
            if one.refused
        ]
        found += [f"{u.api_version} {u.kind} is not served by the cluster" for u in self.unserved]
        found += [f"{d.object}: {d.means}" for d in self.databases if d.breaks]
        found += [f"{s.setting} {s.entry}: {s.problem}" for s in self.settings if s.refused]
        return found

    def document(self) -> dict[str, Any]:
        """As JSON: the fields, and `losses`."""
        return {**asdict(self), "losses": self.losses}


def compare(
    old: Sequence[Object],
    new: Sequence[Object],
    components: Mapping[Ref, str],
    live: Live | None,
    *,
    names: tuple[str, str] = ("now", "then"),
    unasked: str = "",
    settings: Sequence[Misfit] = (),
) -> Report:
    """What the step from the objects `old` to the objects `new` takes away or breaks.

    Args:
        old, new: objects as they are applied, without the credentials.
        components: the component of each object of either release.
        live: what the cluster was asked; None where it could not be, and then `unasked` says why.
        names: of both releases.
        settings: what `unmatched_patches` and others found.
    """
    kinds = Kinds([*new, *old])
    before, after = ({kinds.ref(body): body for body in bodies} for bodies in (old, new))
    bases = {_base(ref): name for ref, name in components.items()}

    def component(ref: Ref) -> str:
        return components.get(ref) or bases.get(_base(ref), YOURS)

    kept = {_base(ref) for ref in after if _base(ref) != ref}
    gone = [ref for ref in before if ref not in after and _base(ref) not in kept]
    added: dict[str, int] = {}
    for ref in after:
        if ref not in before and _base(ref) not in {_base(one) for one in before}:
            added[component(ref)] = added.get(component(ref), 0) + 1
    pairs = [(ref, before[ref], after[ref]) for ref in before if ref in after]
    return Report(
        *names,
        unasked,
        gone=sorted(
            (
                Gone(
                    str(ref),
                    component(ref),
                    "" if ref.kind == CRD_KIND else lost_with(before[ref]),
                )
                for ref in gone
            ),
            key=lambda one: (not one.lost, one.component, one.object),
        ),
        added=dict(sorted(added.items())),
        definitions=_definitions([r for r in gone if r.kind == CRD_KIND], component, live),
        versions=[
            found
            for ref, was, is_ in pairs
            if ref.kind == CRD_KIND
            for found in _versions(ref.name, was, is_, live)
        ],
        unserved=_unserved(after, live),
        images=sorted(
            (
                Image(str(ref), component(ref), name, was, is_)
                for ref, old_body, new_body in pairs
                for name, was, is_ in _images(old_body, new_body)
            ),
            key=lambda one: (one.component, one.object, one.container),
        ),
        replaced=sorted(
            (
                Replacement(str(ref), component(ref), fields, _lost_anew(ref, new_body))
                for ref, old_body, new_body in pairs
                if (fields := _fixed_fields(old_body, new_body))
            ),
            key=lambda one: (not one.lost, one.component, one.object),
        ),
        databases=[
            found
            for ref, old_body, new_body in pairs
            for name, was, is_ in _images(old_body, new_body)
            if (found := _database(str(ref), name, was, is_))
        ],
        settings=settings,
    )


def definitions_gone(old: Sequence[Object], new: Sequence[Object]) -> list[str]:
    """Names of the definitions that only the old release has: whose objects are to be counted."""
    found = [
        {b["metadata"]["name"] for b in bodies if b["kind"] == CRD_KIND} for bodies in (old, new)
    ]
    return sorted(found[0] - found[1])


def kinds_needed(bodies: Sequence[Object]) -> dict[tuple[str, str], list[str]]:
    """(apiVersion, kind) that a cluster must serve by itself, with the objects that are of it."""
    kinds = Kinds(bodies)
    found: dict[tuple[str, str], list[str]] = {}
    for body in bodies:
        ref = kinds.ref(body)
        version = str(body["apiVersion"])
        if version.rpartition("/")[2] not in kinds.versions(ref):
            found.setdefault((version, ref.kind), []).append(str(ref))
    return dict(sorted(found.items()))


def _base(ref: Ref) -> Ref:
    """The same without kustomize's suffix of the content, which is no other object."""
    if ref.kind not in _SUFFIXED or ref.group:
        return ref
    return Ref(ref.kind, ref.group, ref.namespace, _SUFFIX.sub("", ref.name))


# --- definitions -----------------------------------------------------------------------------


def _definitions(gone: Iterable[Ref], component: Any, live: Live | None) -> list[Definition]:  # noqa: ANN401
    found = []
    for ref in sorted(gone):
        held = live.instances.get(ref.name) if live else None
        others = dict(sorted(held.others.items())) if held else None
        own = sum(held.own.values()) if held else 0
        found.append(Definition(ref.name, component(ref), others, own))
    return sorted(found, key=lambda one: (one.instances == {}, one.component, one.name))


def _versions(name: str, was: Object, is_: Object, live: Live | None) -> list[Version]:
    offered = {v["name"]: bool(v.get("served")) for v in is_["spec"]["versions"]}
    stored = live.stored.get(name, ()) if live else None
    gone = {
        v["name"]: v["name"] not in offered
        for v in was["spec"]["versions"]
        if v["name"] not in offered or (v.get("served") and not offered[v["name"]])
    }
    # What is stored counts, whoever brought it there: an older release, too.
    gone |= {version: True for version in stored or () if version not in offered}
    storing = live.storage.get(name, "") if live else ""
    found = []
    for version, removed in sorted(gone.items()):
        refused = (version in stored if stored is not None else None) if removed else False
        stays = next((v["name"] for v in is_["spec"]["versions"] if v.get("storage")), "")
        fix = _fix(name, version, stays, storing) if refused else ""
        found.append(Version(name, version, removed, refused, fix))
    return found


def _fix(name: str, version: str, stays: str, storing: str) -> str:
    rewrite = f"kubectl get {name} -A -o yaml | kubectl replace -f -"
    if storing == version:
        return (
            f"{version} is what the cluster stores now: first bring a release that serves "
            f"{version} and stores {stays}, then write every object anew ({rewrite})"
        )
    patch = f'{{"status":{{"storedVersions":["{storing}"]}}}}'
    return (
        f"write every object anew, so that none is stored as {version} ({rewrite}), then "
        f"kubectl patch crd {name} --subresource=status --type=merge -p '{patch}'"
    )


def _unserved(after: Mapping[Ref, Object], live: Live | None) -> list[Unserved]:
    if live is None:
        return []
    needed = kinds_needed(list(after.values()))
    return [Unserved(*kind, needed[kind]) for kind in sorted(live.unserved) if kind in needed]


# --- workloads -------------------------------------------------------------------------------


def _containers(body: Object) -> dict[str, str]:
    spec = (pod_template(body) or {}).get("spec") or {}
    return {
        str(one["name"]): str(one.get("image") or "")
        for section in ("initContainers", "containers")
        for one in spec.get(section) or []
    }


def _images(old: Object, new: Object) -> list[tuple[str, str, str]]:
    """(container, old image, new image) where they differ."""
    before, after = _containers(old), _containers(new)
    found = [
        (name, image, after[name])
        for name, image in before.items()
        if name in after and after[name] != image
    ]
    left = [name for name in before if name not in after]
    come = [name for name in after if name not in before]
    # A container that was given another name.
    for name in left:
        same = [one for one in come if _repository(after[one]) == _repository(before[name])]
        if same and after[same[0]] != before[name]:
            found.append((same[0], before[name], after[same[0]]))
    return found


def split_image(image: str) -> tuple[str, str]:
    """Repository and tag (or digest) of an image: `ghcr.io/a/b`, `v1`."""
    name, _, digest = image.partition("@")
    head, separator, tag = name.rpartition(":")
    if separator and "/" not in tag:
        return head, tag
    return name, digest


def _repository(image: str) -> str:
    return split_image(image)[0].rpartition("/")[2]


def _fixed_fields(old: Object, new: Object) -> tuple[str, ...]:
    """Paths that differ and can't be changed, as the plan's provider sees them."""
    before, after = normalize(dict(old)), normalize(dict(new))
    fixed = force_new(after, config_map_mutable=True, secret_mutable=True)
    return tuple(change.path for change in changes(before, before, after, fixed) if change.replace)


def _lost_anew(ref: Ref, body: Object) -> str:
    # Kubernetes keeps the claims of a StatefulSet that goes.
    return "" if ref.kind == "StatefulSet" else lost_with(body)


def _database(ref: str, container: str, old: str, new: str) -> Database | None:
    (was, before), (is_, after) = (
        (_engine(image), _numbers(split_image(image)[1])) for image in (old, new)
    )
    if not was:
        return None
    if was != is_:
        means = (
            f"another database ({is_ or new}) does not read the files of {was}: dump and restore"
        )
        return Database(ref, container, old, new, True, means)
    size = _SERIES[was]
    if not before or not after or before[:size] == after[:size]:
        return None
    if after < before:
        means = f"{was} does not start on files of a newer one: restore a backup"
        return Database(ref, container, old, new, True, means)
    if was == "postgres":
        means = "postgres does not start on files of another major version: dump and restore"
        return Database(ref, container, old, new, True, means)
    means = f"{was} changes its files at the first start, and there is no way back: back up first"
    return Database(ref, container, old, new, False, means)


def _engine(image: str) -> str:
    name = _repository(image)
    return next((one for one in _SERIES if name in (one, f"{one}-server", f"{one}ql")), "")


def _numbers(tag: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", tag)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


# --- settings --------------------------------------------------------------------------------


def unmatched_patches(
    patches: Mapping[str, Sequence[Object]], old: Sequence[Object], new: Sequence[Object]
) -> list[Misfit]:
    """Patches that change something of the old release and nothing of the new.

    Args:
        patches: by their setting's entry, what each names: objects with kind and name (strategic
            merge patches; kustomize refuses one without an object) or {target: selector}.
        old, new: objects of both releases, without patches.
    """
    found = []
    for entry, parts in patches.items():
        for part in parts:
            match = _selected if "target" in part else _named
            was, is_ = (any(match(part, body) for body in bodies) for bodies in (old, new))
            if is_ or (not was and "target" in part):
                continue
            what = _described(part)
            refused = "target" not in part
            problem = (
                f"{what} is not in the new release" if was else f"{what} is in neither release"
            )
            found.append(Misfit("kubeflowPatches", entry, problem, refused))
    return found


def _described(part: Object) -> str:
    target = part.get("target")
    if target:
        return " ".join(f"{key} {value}" for key, value in target.items())
    metadata = part.get("metadata") or {}
    names = (part.get("kind"), metadata.get("namespace"), metadata.get("name"))
    return "/".join(str(name) for name in names if name)


def _named(part: Object, body: Object) -> bool:
    """As kustomize finds the object of a strategic merge patch, by the name before its suffix."""
    want, have = part.get("metadata") or {}, body["metadata"]
    group = str(part.get("apiVersion") or "").rpartition("/")[0]
    return (
        part.get("kind") == body["kind"]
        and group == str(body["apiVersion"]).rpartition("/")[0]
        and want.get("namespace", have.get("namespace")) == have.get("namespace")
        and want.get("name") in (have["name"], _SUFFIX.sub("", have["name"]))
    )


def _selected(part: Object, body: Object) -> bool:
    """As kustomize's `target` selects: expressions that match the whole, and labels."""
    target, metadata = part["target"], body["metadata"]
    group, _, version = str(body["apiVersion"]).rpartition("/")
    names = {metadata["name"], _SUFFIX.sub("", metadata["name"])}
    return (
        all(
            not target.get(key) or re.fullmatch(str(target[key]), value)
            for key, value in (
                ("group", group),
                ("version", version),
                ("kind", body["kind"]),
                ("namespace", metadata.get("namespace") or ""),
            )
        )
        and (not target.get("name") or any(re.fullmatch(target["name"], name) for name in names))
        and _labelled(target.get("labelSelector"), metadata.get("labels") or {})
        and _labelled(target.get("annotationSelector"), metadata.get("annotations") or {})
    )


def _labelled(selector: str | None, labels: Mapping[str, str]) -> bool:
    """Equality-based selectors; of others nothing is said, so they match."""
    for term in (selector or "").split(","):
        key, separator, value = term.strip().partition("=")
        equality = separator and not key.endswith("!") and " " not in term.strip()
        if equality and labels.get(key) != value.lstrip("="):
            return False
    return True
