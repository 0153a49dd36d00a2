"""Layers: tar files with what packages, programs and entries bring.

Written without any privilege and without unpacking, so that owners and modes are those of the
packages. The format is that of the OCI image specification's "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import copy
import io
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sandbox.images.debian import Package
from sandbox.images.recipe import Entry, Folder, ImageError, Link, Text, User

# Debian's folders at the root that have moved under usr; packages of older releases still have
# files in them.
_MERGED = ("bin", "lib", "lib64", "sbin")
_LEFT_OUT = (
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/doc/",
    "usr/share/doc-base/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
)
_AUTHORITIES = "usr/share/ca-certificates/"
_MASTERS = "usr/share/base-passwd"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


class Layer:
    """A layer that is being written to a file. A later entry of a path is the one that counts."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()
        self.kept: dict[str, bytes] = {}
        """The contents that other files are made of, by path."""

    def close(self) -> None:
        """Write the end; the file stays open."""
        self._tar.close()

    def merged_usr(self) -> None:
        """The links from the root to the folders under usr."""
        for name in _MERGED:
            self.add(Folder(f"usr/{name}"))
            self.add(Link(name, f"usr/{name}"))

    def packages(self, packages: Iterable[Package]) -> None:
        """What the packages hold, but for documentation. Raises ImageError for a broken one."""
        for package in packages:
            with _contents(package) as archive:
                for member in archive:
                    self._copy(archive, member)

    def program(self, path: str, executable: Path) -> None:
        """An executable of this machine."""
        info = _info(path, 0o755)
        info.size = executable.stat().st_size
        with executable.open("rb") as content:
            self._add(info, content)

    def add(self, entry: Entry) -> None:
        """A folder, file or link."""
        match entry:
            case Folder(path, uid, gid, mode):
                info = _info(path, mode)
                info.type, info.uid, info.gid = tarfile.DIRTYPE, uid, gid
                self._add(info)
            case Text(path, content, mode):
                info = _info(path, mode)
                data = content.encode()
                info.size = len(data)
                self._add(info, io.BytesIO(data))
            case Link(path, target):
                info = _info(path, 0o777)
                info.type, info.linkname = tarfile.SYMTYPE, target
                self._add(info)

    def _copy(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = usr_merged(member.name)
        if path is None or f"{path}/".startswith(_LEFT_OUT):
            return
        if member.isdir() and path in self._folders:
            return
        info = copy.copy(member)
        info.name = path
        info.pax_headers = {}
        if member.islnk():
            info.linkname = usr_merged(member.linkname) or ""
        if not member.isreg():
            self._add(info)
            return
        content = archive.extractfile(member)
        if content is None:
            raise ImageError(f"{member.name} has no content")
        if path.startswith((_AUTHORITIES, _MASTERS)):
            self.kept[path] = content.read()
            content = io.BufferedReader(io.BytesIO(self.kept[path]))
        self._add(info, content)

    def _add(self, info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        if info.isdir():
            self._folders.add(info.name)
        self._tar.addfile(info, content)


def usr_merged(name: str) -> str | None:
    """A package's path as it is in an image, without "./"; None for the root and moved folders.

    >>> usr_merged("./bin/sh")
    'usr/bin/sh'
    """
    path = name.removeprefix("./").strip("/")
    top, _, rest = path.partition("/")
    if top in _MERGED:
        return f"usr/{path}" if rest else None
    return path or None


def accounts(passwd: str, group: str, users: Sequence[User]) -> list[Entry]:
    """The files of users and groups, with some users on top of those given."""
    for user in users:
        passwd += f"{user.name}:*:{user.uid}:{user.gid}::{user.home}:/usr/sbin/nologin\n"
        group += f"{user.name}:*:{user.gid}:\n"
    return [Text("etc/passwd", passwd), Text("etc/group", group)]


def authorities(kept: dict[str, bytes]) -> Text:
    """The bundle that `update-ca-certificates` would make of the package's certificates."""
    certificates = [kept[path] for path in sorted(kept) if path.startswith(_AUTHORITIES)]
    return Text(CERTIFICATES, b"".join(certificates).decode())


def masters(kept: dict[str, bytes]) -> tuple[str, str]:
    """Debian's own users and groups."""
    return kept[f"{_MASTERS}/passwd.master"].decode(), kept[f"{_MASTERS}/group.master"].decode()


def _info(path: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path.strip("/"))
    info.mode = mode
    info.uname = info.gname = ""
    return info


@contextmanager
def _contents(package: Package) -> Iterator[tarfile.TarFile]:
    """A package's files as a stream of tar."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield archive
        # What fills the last block; dpkg-deb would fail to write it.
        if process.stdout:
            process.stdout.read()
    if process.returncode:
        raise ImageError(f"{package.file} is no Debian package")
