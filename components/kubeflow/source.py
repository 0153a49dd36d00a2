"""Where manifests come from: a folder, or a pinned git ref, of kubeflow/manifests or of others."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

REPOSITORY = "https://github.com/kubeflow/manifests"
"""The upstream repository."""

Progress = Callable[[str], None]

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_TEMPORARY = ".tmp-"
# A checkout must have the same bytes on every machine, and git must never stop to ask.
_GIT_SETTINGS = ("-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")
_GIT_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
_GIT_INHERITED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


class SourceError(ValueError):
    """The manifests cannot be had; the message names the setting or file and the fix."""


@dataclass(frozen=True)
class Kind:
    """What a source is a copy of.

    Settings that name it begin with `setting`, like `kubeflowPath`; `layout` are files and folders
    that it must hold; `what` says whose they are, and `example` is a ref of it.
    """

    setting: str
    what: str
    layout: tuple[str, ...]
    example: str


KUBEFLOW = Kind(
    "kubeflow",
    "kubeflow/manifests v1.9 or newer",
    ("common", "example/kustomization.yaml"),
    "v1.10.2",
)


@dataclass(frozen=True)
class SourceSpec:
    """Which manifests: the folder `path` as it is, or else the git `ref` of `repository`.

    `ref` is a tag, a branch or a full commit hash.
    """

    path: Path | None = None
    repository: str = REPOSITORY
    ref: str = ""
    kind: Kind = KUBEFLOW


@dataclass(frozen=True)
class Source:
    """Manifests on disk: `digest` is "sha256:<hex>" over every file's path and content."""

    root: Path
    digest: str


def resolve(
    spec: SourceSpec, cache_dir: Path, lock_file: Path, progress: Progress = lambda _: None
) -> Source:
    """Find the manifests, cloning the ref if it is not in `cache_dir` yet.

    The commit and content of a ref are written to `lock_file` the first time and are held to what
    it says ever after. A ref that is locked and cached needs no network.

    Raises:
        SourceError: no such folder or ref, a repository that does not answer, no git, or content
            that is not what `lock_file` says.
    """
    setting = spec.kind.setting
    if spec.path is not None:
        root = spec.path.expanduser().resolve()
        if not root.is_dir():
            raise SourceError(f"{setting}Path is {spec.path}, which is no folder")
        _check_layout(root, f"{setting}Path is {spec.path}", spec.kind)
        return Source(root, tree_digest(root))
    if not _REF.fullmatch(spec.ref):
        raise SourceError(
            f"{setting}Ref is {spec.ref!r}; expected a tag, a branch or a commit hash, "
            f"like {spec.kind.example}"
        )
    return _pinned(spec, cache_dir / "sources", lock_file, progress)


def tree_digest(root: Path) -> str:
    """The digest, "sha256:<hex>", of every file's relative path and content below `root`.

    Git's own folders are left out; a symbolic link counts with what it says.
    """
    digest = hashlib.sha256()
    prefix = len(str(root)) + 1
    for path, linked in sorted(_files(str(root))):
        name = path[prefix:].encode()
        content = str(Path(path).readlink()).encode() if linked else Path(path).read_bytes()
        digest.update(b"%d:%s%d:" % (len(name), name, len(content)))
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def _files(folder: str) -> Iterator[tuple[str, bool]]:
    """Every path below a folder that is no folder, and whether it is a symbolic link."""
    # scandir tells the kinds without asking for each file again: half the time of os.walk.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry.path, entry.is_symlink()


def _check_layout(root: Path, found: str, kind: Kind) -> None:
    missing = [name for name in kind.layout if not (root / name).exists()]
    if missing:
        raise SourceError(
            f"{found}, which is no copy of {kind.what}: it has no {', no '.join(missing)}"
        )


def _pinned(spec: SourceSpec, store: Path, lock_file: Path, progress: Progress) -> Source:
    locked = _read_lock(lock_file)
    key = f"{spec.repository}@{spec.ref}"
    expected = locked.get(key)
    if expected is not None:
        root = store / expected["commit"]
        if root.is_dir() and tree_digest(root) == expected["digest"]:
            return Source(root, expected["digest"])
    store.mkdir(parents=True, exist_ok=True)
    with _alone(store):
        progress(f"fetching {spec.ref} of {spec.repository}")
        commit, root = _fetch(spec, store)
        source = Source(root, tree_digest(root))
    found = {"commit": commit, "digest": source.digest}
    if expected is None:
        _write_lock(lock_file, {**_read_lock(lock_file), key: found})
    elif found != expected:
        raise SourceError(_mismatch(spec, expected, found, lock_file))
    return source


def _mismatch(
    spec: SourceSpec, expected: Mapping[str, str], found: Mapping[str, str], lock_file: Path
) -> str:
    what = "commit" if found["commit"] != expected["commit"] else "digest"
    return (
        f"{spec.ref} of {spec.repository} is not what it was: {lock_file} has {what} "
        f"{expected[what]}, the repository now has {found[what]}. To accept the new content, "
        f'remove the entry "{spec.repository}@{spec.ref}" from {lock_file}; '
        f"to keep the old, set {spec.kind.setting}Ref to its commit"
    )


def _fetch(spec: SourceSpec, store: Path) -> tuple[str, Path]:
    """The commit of the ref and the folder of its content, which appears whole or not at all."""
    git = shutil.which("git")
    if git is None:
        raise SourceError(
            f"git is not installed; install it, or set {spec.kind.setting}Path to a folder"
        )
    work = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=store))
    try:
        repository, tree = work / "repository", work / "tree"
        tree.mkdir()
        _git(git, "init", "--quiet", "--bare", str(repository))
        at = (git, f"--git-dir={repository}", f"--work-tree={tree}")
        try:
            _git(*at, "fetch", "--quiet", "--no-tags", "--depth=1", "--", spec.repository, spec.ref)
        except subprocess.CalledProcessError as error:
            raise SourceError(_fetch_failure(spec, error.stderr)) from error
        commit = _git(*at, "rev-parse", "FETCH_HEAD^{commit}").strip()
        _git(*at, "checkout", "--quiet", "--force", commit)
        found = f"{spec.kind.setting}Ref is {spec.ref} of {spec.repository}"
        _check_layout(tree, found, spec.kind)
        root = store / commit
        if root.exists():
            root.rename(work / "replaced")
        tree.rename(root)
        return commit, root
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _git(git: str, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in _GIT_INHERITED}
    return subprocess.run(
        [git, *_GIT_SETTINGS, *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        env={**environment, **_GIT_ENVIRONMENT},
    ).stdout


def _fetch_failure(spec: SourceSpec, stderr: str) -> str:
    if "couldn't find remote ref" in stderr or "not our ref" in stderr:
        return (
            f"{spec.kind.setting}Ref is {spec.ref}, which {spec.repository} does not have; "
            f"see its tags with: git ls-remote --tags {spec.repository}"
        )
    lines = [line for line in stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("fatal:")), "git gave no reason")
    return (
        f"{spec.kind.setting}Repository {spec.repository} cannot be reached "
        f"({reason.removeprefix('fatal:').strip()}); check the address and the network, "
        f"or set {spec.kind.setting}Path to a copy of it"
    )


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Hold the store against other processes, and clear away what a killed one left behind."""
    with (store / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for left in store.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _read_lock(lock_file: Path) -> dict[str, dict[str, str]]:
    try:
        content: Any = orjson.loads(lock_file.read_bytes())
        entries = content["sources"]
        return {
            str(key): {"commit": str(entry["commit"]), "digest": str(entry["digest"])}
            for key, entry in entries.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{lock_file} is not readable as a lock file ({error!r}); restore it from version "
            "control, or delete it to accept the sources as they are now"
        ) from error


def _write_lock(lock_file: Path, entries: Mapping[str, Mapping[str, str]]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    write_whole(lock_file, orjson.dumps({"sources": entries}, option=options))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
