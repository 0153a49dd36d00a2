"""Makes a backup of a running platform, whose parts go on running."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Final

from backup import pods, select
from backup.cluster import Cluster
from backup.crypt import encrypted
from backup.folder import Writer, writing
from backup.model import BackupError, Item, Manifest, Object, human
from backup.select import PLATFORM, Database, Mount, Selection

Say = Callable[[str], object]
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's word for gzip's format
_CHUNK: Final = 1 << 20
_TAIL: Final = 4096


@dataclass(frozen=True)
class Wishes:
    """What of a platform is wanted.

    Args:
        namespaces: taken as those of profiles are.
        without: patterns of `namespace/claim` whose volumes stay out.
        passphrase: what the users' Secrets are encrypted with; without one they stay out.
    """

    namespaces: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    passphrase: str = ""


def create(cluster: Cluster, parent: Path, wishes: Wishes, say: Say) -> tuple[Path, Manifest]:
    """Make a backup in a new folder of `parent`, named after the time (UTC).

    Raises:
        BackupError: a part can't be had; then there is no backup.
    """
    began = datetime.now(UTC)
    world = cluster.world(lambda found: select.users_namespaces(found, wishes.namespaces))
    claims = {(c["metadata"]["namespace"], c["metadata"]["name"]) for c in world.claims}
    chosen = select.select(world, wishes.namespaces, _matching(wishes.without, claims))
    left_out = list(chosen.left_out)
    folder = parent / began.strftime("%Y%m%dT%H%M%SZ")
    with writing(folder) as writer:
        # First: what a database names in the object store is then in that copy, too.
        for database in chosen.databases:
            if item := _dump(cluster, writer, database, say):
                say(f"{item.key}: {human(item.holds)} of SQL")
            else:
                where = f"{database.namespace}/{database.name}"
                left_out.append((f"database/{where}", "it holds none but the server's own"))
        for mount in chosen.volumes:
            item = _archive(cluster, writer, mount, say)
            say(f"{item.key}: {human(item.holds)} of files" + "".join(f"; {n}" for n in item.notes))
        _write_objects(writer, chosen)
        say(f"objects: {len(chosen.objects)}, and {len(chosen.over)} that have run to their end")
        secrets = select.secrets(cluster.secrets(chosen.namespaces), chosen.namespaces)
        if wishes.passphrase and secrets:
            _write_secrets(writer, secrets, wishes.passphrase)
            say(f"secrets: {len(secrets)}, encrypted")
        elif secrets:
            left_out.append((f"{len(secrets)} Secrets of users", "take them by --passphrase-file"))
        manifest = Manifest(
            began.isoformat(timespec="seconds"),
            cluster.server,
            cluster.uid(),
            images_of(world.workloads),
            tuple(writer.items),
            tuple(sorted(left_out)),
        )
        writer.finish(manifest)
    return folder, manifest


def images_of(workloads: Collection[Object]) -> dict[str, str]:
    """The image of each container of the platform's own Deployments, by what names it."""
    return {
        f"{PLATFORM}/{body['metadata']['name']}/{container['name']}": container["image"]
        for body in workloads
        if body["kind"] == "Deployment" and body["metadata"]["namespace"] == PLATFORM
        for container in body["spec"]["template"]["spec"]["containers"]
    }


def _matching(
    patterns: Collection[str], claims: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    found = set()
    for pattern in patterns:
        fit = {claim for claim in claims if fnmatchcase("/".join(claim), pattern)}
        if not fit:
            raise BackupError(f"--without-volume {pattern}: there is no such claim")
        found |= fit
    return found


def _dump(cluster: Cluster, writer: Writer, database: Database, say: Say) -> Item | None:
    where = (database.namespace, cluster.database_pod(database), database.container)
    names = cluster.ask(where, ["sh", "-c", pods.QUERY, "sh", pods.DATABASES]).splitlines()
    if not names:
        return None
    say(f"database/{database.namespace}/{database.name}: {', '.join(names)}")

    def fill(out: IO[bytes]) -> tuple[int, tuple[str, ...]]:
        size, tail = 0, b""
        with gzip.GzipFile("", "wb", 1, out, mtime=0) as packed:

            def take(chunk: bytes) -> None:
                nonlocal size, tail
                size, tail = size + len(chunk), (tail + chunk)[-_TAIL:]
                packed.write(chunk)

            ended = cluster.read(where, ["sh", "-c", pods.DUMP, "sh", *names], take)
        last = tail.rstrip(b"\n").rpartition(b"\n")[2]
        if ended.code or not last.startswith(pods.WHOLE):
            raise BackupError(
                f"the dump of {database.namespace}/{database.name} is not whole: "
                f"{ended.said or 'its end is missing'}"
            )
        return size, ()

    return writer.add("database", database.namespace, database.name, fill, database.owner)


def _archive(cluster: Cluster, writer: Writer, mount: Mount, say: Say) -> Item:
    what = f"{mount.namespace}/{mount.claim}"
    say(f"volume/{what}" + (f", in use by {', '.join(mount.users)}" if mount.users else ""))

    def fill(out: IO[bytes]) -> tuple[int, tuple[str, ...]]:
        unpacked = Unpacked()

        def take(chunk: bytes) -> None:
            unpacked.take(chunk)
            out.write(chunk)

        with cluster.volume_pod(mount, read_only=True) as pod:
            where = (mount.namespace, pod, pods.CONTAINER)
            ended = cluster.read(where, ["bash", "-c", pods.READ_VOLUME], take)
        if ended.code not in (0, pods.CHANGED) or not unpacked.whole:
            raise BackupError(
                f"the volume {what} could not be read whole: "
                f"{ended.said or 'the end of the archive is missing'}"
            )
        notes = ("files changed while they were read",) if ended.code == pods.CHANGED else ()
        return unpacked.size, notes

    return writer.add("volume", mount.namespace, mount.claim, fill)


class Unpacked:
    """Follows a gzip stream: its `size` when unpacked, and whether it is `whole`, by its sum."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self.size = 0

    def take(self, chunk: bytes) -> None:
        """The next bytes. Raises BackupError when they are no such stream."""
        try:
            got = _CHUNK
            # Zeroes pack into a thousandth: no more than this is unpacked at once.
            while chunk or got == _CHUNK:
                got = len(self._stream.decompress(chunk, _CHUNK))
                self.size, chunk = self.size + got, self._stream.unconsumed_tail
        except zlib.error as error:
            raise BackupError(f"an archive arrived broken: {error}") from None

    @property
    def whole(self) -> bool:
        """Whether its end has been reached, and nothing is behind it."""
        return self._stream.eof and not self._stream.unused_data


def _write_objects(writer: Writer, chosen: Selection) -> None:
    content = {"objects": chosen.objects, "over": chosen.over}

    def fill(out: IO[bytes]) -> tuple[int, tuple[str, ...]]:
        with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
            packed.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
        return len(chosen.objects), ()

    writer.add("objects", "", "", fill)


def _write_secrets(writer: Writer, secrets: Collection[Object], passphrase: str) -> None:
    def fill(out: IO[bytes]) -> tuple[int, tuple[str, ...]]:
        out.write(encrypted(json.dumps(secrets).encode(), passphrase))
        return len(secrets), ()

    writer.add("secrets", "", "", fill)
