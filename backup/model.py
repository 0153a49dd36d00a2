"""What a backup is made of: items, each a file with a digest, and the manifest that lists them.

Pure. The manifest is JSON:
`{version, created, cluster: {server, uid}, images: {Deployment: image}, items, left_out}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

Object = dict[str, Any]
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
Kind = Literal["database", "volume", "objects", "secrets"]
_FILE: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class BackupError(RuntimeError):
    """A backup can't be made, read or restored; the message says why and what mends it."""


@dataclass(frozen=True, order=True)
class Item:
    """One file of a backup.

    Args:
        kind: what it holds.
        namespace: of the database's pods or the volume's claim; empty for objects and Secrets.
        name: of the database's Deployment or StatefulSet, or of the claim.
        file: its name in the backup's folder.
        size: in bytes.
        sha256: in hexadecimal.
        holds: how many objects, or bytes before compression.
        owner: the database's kind, `Deployment` or `StatefulSet`; else empty.
        notes: what is to be known of it.
    """

    kind: Kind
    namespace: str
    name: str
    file: str
    size: int
    sha256: str
    holds: int
    owner: str = ""
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What names it in words and in the record of a restore: `volume/kubeflow/minio-pvc`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True)
class Manifest:
    """A whole backup.

    Args:
        created: when it was begun, ISO 8601 in UTC.
        server: the API server's URL.
        cluster: the UID of its namespace `kube-system`, which no other cluster has.
        images: the image of each container of the platform's Deployments, by
            `namespace/name/container`.
        items: in the order in which they were taken.
        left_out: what was seen and is not in it, each as (what, why).
    """

    created: str
    server: str
    cluster: str
    images: Mapping[str, str]
    items: tuple[Item, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    version: int = field(default=VERSION)

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def of(self, kind: Kind) -> list[Item]:
        """The items of one kind."""
        return [item for item in self.items if item.kind == kind]


def parse(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        BackupError: it isn't one, is of another version, or names a file outside of its folder.
    """
    try:
        read = json.loads(text)
        if read["version"] != VERSION:
            raise BackupError(
                f"{MANIFEST} is of version {read['version']}, and this program reads "
                f"version {VERSION}"
            )
        items = tuple(_item(one) for one in read["items"])
        left_out = tuple((str(what), str(why)) for what, why in read["left_out"])
        images = {str(name): str(image) for name, image in read["images"].items()}
        created, server, cluster = (str(read[name]) for name in ("created", "server", "cluster"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{MANIFEST} is not a backup's: {error!r}") from None
    for what, values in (("file", [i.file for i in items]), ("item", [i.key for i in items])):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise BackupError(f"{MANIFEST} lists the {what} {twice[0]} twice")
    return Manifest(created, server, cluster, images, items, left_out)


def _item(read: Mapping[str, Any]) -> Item:
    item = Item(**{**read, "notes": tuple(read["notes"])})
    if item.kind not in get_args(Kind):
        raise ValueError(f"an item of the kind {item.kind!r}")
    if not _FILE.fullmatch(item.file) or item.file == MANIFEST:
        raise ValueError(f"a file {item.file!r}")
    if not _DIGEST.fullmatch(item.sha256):
        raise ValueError(f"a digest {item.sha256!r}")
    return item


def file_name(kind: Kind, namespace: str, name: str, taken: Iterable[str]) -> str:
    """A name for an item's file, other than those that are taken.

    >>> file_name("volume", "a", "b.c", [])
    'volume-a-b.c.tar.gz'
    """
    ending = {"database": "sql.gz", "volume": "tar.gz", "objects": "json.gz", "secrets": "enc"}
    stem = "-".join(part for part in (kind, namespace, name) if part)
    used, number, found = set(taken), 1, f"{stem}.{ending[kind]}"
    while found in used:
        number += 1
        found = f"{stem}-{number}.{ending[kind]}"
    return found


def other_images(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What runs in another version than when the backup was made, each as one line.

    Only what both have is compared, and only by the image's last name and tag: a mirror is none
    the less the same.
    """
    return [
        f"{name} runs {_short(now[name])}, and ran {_short(image)}"
        for name, image in sorted(then.items())
        if name in now and _short(now[name]) != _short(image)
    ]


def _short(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2]


def human(size: int) -> str:
    """A number of bytes for people.

    >>> human(999), human(12_345_678)
    ('999 B', '12.3 MB')
    """
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def listed(lines: Sequence[str]) -> str:
    """Lines under a heading that ends with a colon."""
    return "".join(f"\n  {line}" for line in lines)
