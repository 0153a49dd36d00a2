"""Renders the manifests with kustomize, once for the same input."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from components.kubeflow.catalog import (
    EXAMPLE,
    KUSTOMIZATION_FILES,
    Catalog,
    CatalogError,
    Selection,
    read,
    select,
)
from components.kubeflow.objects import group_of
from components.kubeflow.source import Progress, Source, tree_digest, write_whole
from components.kubeflow.yamljson import YamlError, load_all

Patch = Path | Mapping[str, Any]
"""A kustomize patch: a file, the folder of a kustomize Component, or an entry of `patches`."""

Transform = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Changes an object, or drops it by giving None."""

_KEPT = 64
_FORMAT = 1
_HEADER = b'{"sha256":"%s","objects":'
_HEADER_SIZE = len(_HEADER % (b"0" * 64))
_NOISE = re.compile(r"^Error: |accumulating resources: accumulation err=.*': | with config: `.*`")
# A kustomize run is short-lived: less collecting costs memory (250 MB a run) and saves a quarter
# of its time.
_ENVIRONMENT = {"GOGC": "400"}


class RenderError(ValueError):
    """kustomize refused; the message names the component or patch and gives its reason."""


@dataclass(frozen=True)
class _Patches:
    """Patches as kustomize takes them: `files` are put beside the kustomization under a number."""

    entries: tuple[Mapping[str, Any], ...]
    files: tuple[bytes, ...]
    folders: tuple[Path, ...]

    def identity(self) -> list[Any]:
        return [
            [dict(entry) for entry in self.entries],
            [hashlib.sha256(content).hexdigest() for content in self.files],
            [tree_digest(folder) for root in self.folders for folder in _reach(root)],
        ]

    def __bool__(self) -> bool:
        return bool(self.entries or self.folders)


def render(
    source: Source,
    components: Sequence[str],
    patches: Sequence[Patch],
    kustomize: Path,
    cache_dir: Path,
    *,
    transforms: Sequence[Transform] = (),
    progress: Progress = lambda _: None,
) -> list[dict[str, Any]]:
    """The objects of the chosen components; no names at all means the whole platform.

    `patches` are applied by kustomize, together with upstream's own, so that they see the names
    that upstream's files have (without suffixes from content). A relative `path` of an entry is
    relative to the working directory. `transforms` then change the result object by object.

    The result is kept under `cache_dir/rendered` by the digest of all that it depends on; only
    what a patch reads over the network is not seen by that.

    Raises:
        CatalogError: an unknown component, a source without a readable example.
        RenderError: kustomize refused, or two components define the same object.
    """
    catalog = read(source.root)
    selection = select(catalog, components)
    objects = _cached(source, catalog, selection, _prepare(patches), kustomize, cache_dir, progress)
    for transform in transforms:
        objects = [changed for body in objects if (changed := transform(body)) is not None]
    return objects


def by_component(
    source: Source, kustomize: Path, cache_dir: Path, progress: Progress = lambda _: None
) -> dict[str, list[dict[str, Any]]]:
    """The objects of each component by itself, without patches.

    Raises:
        CatalogError, RenderError: as `render`.
    """
    catalog, unpatched = read(source.root), _prepare([])
    return {
        name: _cached(
            source, catalog, Selection((component,)), unpatched, kustomize, cache_dir, progress
        )
        for name, component in catalog.components.items()
    }


def _cached(
    source: Source,
    catalog: Catalog,
    selection: Selection,
    prepared: _Patches,
    kustomize: Path,
    cache_dir: Path,
    progress: Progress,
) -> list[dict[str, Any]]:
    key = {"source": source.digest, "paths": selection.paths, "patches": prepared.identity()}

    def make() -> list[dict[str, Any]]:
        parts = selection.components
        what = parts[0].name if len(parts) == 1 else f"{len(parts)} components of Kubeflow"
        progress(f"rendering {what}")
        return _render(source.root, catalog, selection, prepared, kustomize)

    return cached(key, kustomize, cache_dir, make)


def cached(
    key: Mapping[str, Any],
    kustomize: Path,
    cache_dir: Path,
    make: Callable[[], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """What `make` gives, kept under `cache_dir/rendered` by `key`: JSON of all that it depends on.

    The format of what is kept and the kustomize executable are added to the key.

    Raises:
        RenderError: there is no such kustomize; and what `make` raises.
    """
    whole = {**key, "format": _FORMAT, "kustomize": _identity(kustomize)}
    digest = hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
    entry = cache_dir / "rendered" / f"{digest}.json"
    objects = _load(entry)
    if objects is None:
        objects = make()
        _keep(entry, objects)
    return objects


def _render(
    root: Path, catalog: Catalog, selection: Selection, patches: _Patches, kustomize: Path
) -> list[dict[str, Any]]:
    if catalog.separable and not patches:
        return _separately(root, selection, kustomize)
    try:
        return _together(root, selection, patches, kustomize)
    except RenderError as error:
        # One run for everything does not tell whose fault it is; single runs do.
        if catalog.separable:
            _separately(root, selection, kustomize)
        raise RenderError(f"patches: {error}" if patches else str(error)) from error


def _separately(root: Path, selection: Selection, kustomize: Path) -> list[dict[str, Any]]:
    """Render each kustomization by itself, some at once: upstream supports each alone."""
    tasks = [
        (component.name, path) for component in selection.components for path in component.paths
    ]
    order = sorted(range(len(tasks)), key=lambda i: -_size(root, tasks[i][1]))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = {
            i: pool.submit(build, kustomize, root / tasks[i][1], f"component {tasks[i][0]}")
            for i in order
        }
        try:
            results = [runs[i].result() for i in range(len(tasks))]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    owners: dict[tuple[str, ...], str] = {}
    objects: list[dict[str, Any]] = []
    for (name, path), result in zip(tasks, results, strict=True):
        for body in result:
            identity = _identity_of(body)
            if (first := owners.setdefault(identity, f"{name} ({path})")) != f"{name} ({path})":
                raise RenderError(
                    f"{'/'.join(part for part in identity if part)} is defined twice: "
                    f"by component {first} and by component {name} ({path})"
                )
            objects.append(body)
    return objects


def _together(
    root: Path, selection: Selection, patches: _Patches, kustomize: Path
) -> list[dict[str, Any]]:
    """Render everything and the patches in one kustomization."""
    # Outside of the source: kustomize refuses a resource that is above the kustomization.
    work = Path(tempfile.mkdtemp(prefix="ml-platform-render-")).resolve()
    try:
        for number, content in enumerate(patches.files):
            (work / f"{number}.yaml").write_bytes(content)
        paths = (EXAMPLE,) if selection.whole else selection.paths
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [
                path if "://" in path else os.path.relpath(root / path, work) for path in paths
            ],
            "components": [os.path.relpath(folder, work) for folder in patches.folders],
            "patches": list(patches.entries),
        }
        # JSON is YAML.
        (work / "kustomization.yaml").write_bytes(orjson.dumps(kustomization))
        return build(kustomize, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build(kustomize: Path, folder: Path, what: str = "") -> list[dict[str, Any]]:
    """The objects that kustomize makes of a folder; `what` is its name in errors.

    Raises:
        RenderError: kustomize can't be run, refused, or gave no proper YAML.
    """
    prefix = f"{what}: " if what else ""
    try:
        done = subprocess.run(
            [str(kustomize), "build", str(folder)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**_ENVIRONMENT, **os.environ},
            check=False,
        )
    except OSError as error:
        raise RenderError(f"{kustomize} cannot be run ({error.strerror}): make setup") from error
    if done.returncode:
        raise RenderError(prefix + _reason(done.stderr.decode(errors="replace")))
    try:
        return load_all(done.stdout)
    except YamlError as error:
        raise RenderError(f"{prefix}kustomize gave no proper YAML: {error}") from error


def _reason(stderr: str) -> str:
    """What kustomize's error output says is wrong, on one line, without the way it got there."""
    lines = [line for line in stderr.splitlines() if line and not line.startswith("# Warning")]
    start = next((i for i, line in enumerate(lines) if line.startswith("Error:")), 0)
    return _NOISE.sub("", " ".join(lines[start:])) or "kustomize failed without a word"


def _identity_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = body["metadata"]
    group = group_of(body["apiVersion"])
    return (body["kind"], group, metadata.get("namespace") or "", metadata["name"])


def _size(root: Path, path: str) -> int:
    """Bytes below the two outermost folders of a path: about how long its rendering takes."""
    top = root.joinpath(*path.split("/")[:2])
    return sum(file.stat().st_size for file in top.rglob("*.yaml"))


def _prepare(patches: Sequence[Patch]) -> _Patches:
    entries: list[Mapping[str, Any]] = []
    files: list[bytes] = []
    folders: list[Path] = []

    def beside(path: Path, content: bytes) -> str:
        files.append(content)
        return f"{len(files) - 1}.yaml"

    for patch in patches:
        if isinstance(patch, Mapping):
            entry = dict(patch)
            if path := entry.get("path"):
                entry["path"] = beside(Path(path), _content(Path(path)))
            entries.append(entry)
        elif patch.is_dir():
            folders.append(_component_folder(patch))
        else:
            content = _content(patch)
            entries.append(_file_entry(patch, content) or {"path": beside(patch, content)})
    return _Patches(tuple(entries), tuple(files), tuple(folders))


def targets(patch: Patch) -> list[Mapping[str, Any]]:
    """What a patch names: objects (strategic merge patches), or mappings with a `target`.

    Raises:
        RenderError: it can't be read.
    """
    if isinstance(patch, Mapping):
        return _targets(patch, Path())
    if not patch.is_dir():
        content = _content(patch)
        entry = _file_entry(patch, content)
        return load_all(content) if entry is None else _targets(entry, patch.parent)
    folder = _component_folder(patch)
    file = _kustomization_file(folder)
    entries = load_all(file.read_bytes())[0].get("patches") or [] if file else []
    return [part for entry in entries for part in _targets(entry, folder)]


def _targets(entry: Mapping[str, Any], folder: Path) -> list[Mapping[str, Any]]:
    if entry.get("target"):
        return [{"target": entry["target"]}]
    path = entry.get("path")
    content = _content(folder / path) if path else str(entry.get("patch") or "").encode()
    return [part for part in load_all(content) if isinstance(part, Mapping)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RenderError(
            f"patch {path} cannot be read ({error.strerror}); "
            "name a kustomize patch file or the folder of a kustomize Component"
        ) from error


def _file_entry(path: Path, content: bytes) -> Mapping[str, Any] | None:
    """The entry of `patches` that a file holds, None if the file is a strategic merge patch."""
    try:
        documents = load_all(content)
    except YamlError as error:
        raise RenderError(f"patch {path} is not YAML: {error}") from error
    if not documents:
        raise RenderError(f"patch {path} is empty")
    for document in documents:
        if not isinstance(document, dict):
            raise RenderError(
                f"patch {path} is a list of operations, which does not say what to change: "
                'write it as a mapping with "target" (kind, name) and "patch" (the operations)'
            )
    first: dict[str, Any] = documents[0]
    if "patch" in first and "kind" not in first:
        operations = first["patch"]
        text = operations if isinstance(operations, str) else orjson.dumps(operations).decode()
        return {**first, "patch": text}
    if not ("kind" in first and "apiVersion" in first):
        raise RenderError(
            f'patch {path} has neither "apiVersion" and "kind" (a strategic merge patch) '
            'nor "target" and "patch" (operations)'
        )
    return None


def _component_folder(folder: Path) -> Path:
    folder = folder.resolve()
    file = _kustomization_file(folder)
    if file is None:
        raise RenderError(f"patch {folder} is a folder without a kustomization.yaml")
    documents = load_all(file.read_bytes())
    kind = documents[0].get("kind") if documents else None
    if kind != "Component":
        raise RenderError(f"patch {file} has kind {kind!r}; a folder of patches has kind Component")
    return folder


def _kustomization_file(folder: Path) -> Path | None:
    return next((f for name in KUSTOMIZATION_FILES if (f := folder / name).is_file()), None)


def _reach(folder: Path) -> Iterator[Path]:
    """The folder and every other folder that its kustomization leads to."""
    seen: set[Path] = set()
    queue = [folder]
    while queue:
        here = queue.pop()
        if here in seen:
            continue
        seen.add(here)
        yield here
        for file in sorted(here.rglob("*")):
            if file.name in KUSTOMIZATION_FILES and file.is_file():
                queue += _referenced(file)


def _referenced(file: Path) -> Iterator[Path]:
    for document in load_all(file.read_bytes()):
        for key in ("resources", "components", "bases"):
            for entry in document.get(key) or []:
                target = (file.parent / str(entry)).resolve()
                if target.is_dir():
                    yield target


def _identity(kustomize: Path) -> list[int]:
    """What tells one kustomize from another without running it."""
    try:
        status = kustomize.stat()
    except OSError as error:
        raise RenderError(f"{kustomize} cannot be run ({error.strerror}): make setup") from error
    return [status.st_size, status.st_mtime_ns]


def _load(entry: Path) -> list[dict[str, Any]] | None:
    """What is cached, None if it is not there or not whole."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    body = content[_HEADER_SIZE:-1]
    if content[:_HEADER_SIZE] != _HEADER % hashlib.sha256(body).hexdigest().encode():
        return None
    objects: list[dict[str, Any]] = orjson.loads(body)
    os.utime(entry)
    return objects


def _keep(entry: Path, objects: list[dict[str, Any]]) -> None:
    body = orjson.dumps(objects)
    write_whole(entry, _HEADER % hashlib.sha256(body).hexdigest().encode() + body + b"}")
    entries = sorted(entry.parent.glob("*.json"), key=lambda path: -path.stat().st_mtime)
    for old in entries[_KEPT:]:
        old.unlink(missing_ok=True)


__all__ = [
    "CatalogError",
    "Patch",
    "RenderError",
    "Transform",
    "build",
    "cached",
    "render",
    "targets",
]
