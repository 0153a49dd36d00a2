"""A backup on this machine: one folder, which appears when it is whole.

It is written beside its place under a name with a dot before, and renamed at the end. Only its
owner may read it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from backup.model import MANIFEST, BackupError, Item, Kind, Manifest, file_name, parse


class Writer:
    """The folder of a backup that is being made; `items` are those that are in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.items: list[Item] = []

    def add(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        fill: Callable[[IO[bytes]], tuple[int, tuple[str, ...]]],
        owner: str = "",
    ) -> Item:
        """Write an item's file by `fill`, which returns what `Item.holds` and `notes` are to be."""
        file = file_name(kind, namespace, name, [item.file for item in self.items])
        path = self._folder / file
        with _private(path) as out:
            holds, notes = fill(out)
            out.flush()
            os.fsync(out.fileno())
        size, digest = _digest(path)
        item = Item(kind, namespace, name, file, size, digest, holds, owner, notes)
        self.items.append(item)
        return item

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes it a backup."""
        with _private(self._folder / MANIFEST) as out:
            out.write(manifest.to_json().encode())
            out.flush()
            os.fsync(out.fileno())


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """A new backup in `folder`, which is there afterwards; after an error nothing is.

    Raises:
        BackupError: the folder is there already, or can't be made.
    """
    if folder.exists():
        raise BackupError(f"{folder} is there already; a backup is never written over another")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(f"{part} can't be made: {error.strerror}; name another by --to") from None
    try:
        yield Writer(part)
        part.rename(folder)
    except OSError as error:
        raise BackupError(f"{folder} can't be written: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        BackupError: there is none, or it can't be read.
    """
    try:
        return parse((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"{folder} is no whole backup: it has no {MANIFEST}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{folder / MANIFEST} can't be read: {error}") from None
    except BackupError as error:
        raise BackupError(f"{folder}: {error}") from None


def verify(folder: Path) -> Manifest:
    """The manifest of a backup, all of whose files are there with the digest that it lists.

    Raises:
        BackupError: they aren't; every file that is wrong is in the message.
    """
    manifest, wrong = read(folder), []
    for item in manifest.items:
        try:
            size, digest = _digest(folder / item.file)
        except FileNotFoundError:
            wrong.append(f"{item.file} ({item.key}) is not there")
        except OSError as error:
            wrong.append(f"{item.file} ({item.key}) can't be read: {error.strerror}")
        else:
            if size != item.size:
                wrong.append(f"{item.file} ({item.key}) has {size} bytes instead of {item.size}")
            elif digest != item.sha256:
                wrong.append(f"{item.file} ({item.key}) has another digest: it was changed")
    if wrong:
        raise BackupError("\n  ".join([f"{folder} is not as it was made:", *wrong]))
    return manifest


def backups(folder: Path) -> list[tuple[Path, Manifest]]:
    """The whole backups in a folder, oldest first; what is no backup is passed over."""
    found = []
    for file in folder.glob(f"[!.]*/{MANIFEST}"):
        try:
            found.append((file.parent, read(file.parent)))
        except BackupError:
            continue
    return sorted(found, key=lambda one: (one[1].created, one[0]))


def manifest_digest(folder: Path) -> str:
    """What tells this backup from any other."""
    return _digest(folder / MANIFEST)[1]


def _digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return content.tell(), digest


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        yield out
