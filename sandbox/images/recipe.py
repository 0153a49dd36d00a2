"""What an image is made of. Pure data; `sandbox.images.recipes` holds the recipes themselves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

_FORMAT = 2
"""Raised when the same recipe is to be built in another way."""


class ImageError(RuntimeError):
    """An image can't be built or loaded; the message says why and what to do."""


@dataclass(frozen=True)
class User:
    """A system user with a group of the same name."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class Folder:
    """A folder, and whose it is."""

    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o755


@dataclass(frozen=True)
class Text:
    """A file with a content of the recipe's own; it belongs to root."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


Entry = Folder | Text | Link


@dataclass(frozen=True)
class Program:
    """A program built from a Go module.

    Args:
        module: the folder with go.mod, go.sum and the main package.
        path: where the executable is put in the image.
        requires: the module whose version is the program's; "" where it is the folder's own code.
        version_variable: what the linker sets to that version, for a program that does not know it.
    """

    module: Path
    path: str
    requires: str = ""
    version_variable: str = ""

    def version(self) -> str:
        """The version in go.mod, such as "v1.2.3"; "" for code of the folder's own."""
        for line in (self.module / "go.mod").read_text().splitlines():
            words = line.removeprefix("require ").split()
            if self.requires and words[:1] == [self.requires]:
                return words[1]
        return ""


@dataclass(frozen=True)
class Wheel:
    """A program that comes in a Python distribution of the project's lock file.

    `file` is its path in site-packages, `path` where it is put in the image.
    """

    distribution: str
    file: str
    path: str

    def version(self) -> str:
        """The version that is installed. Raises ImageError when none is."""
        return self._found().version

    def executable(self) -> Path:
        """The program's file. Raises ImageError when it is not installed."""
        return Path(str(self._found().locate_file(self.file)))

    def _found(self) -> metadata.Distribution:
        try:
            return metadata.distribution(self.distribution)
        except metadata.PackageNotFoundError as error:
            raise ImageError(
                f"the Python package {self.distribution} is not installed; run: make setup"
            ) from error


@dataclass(frozen=True)
class Config:
    """What a container is started with, as in the OCI image configuration."""

    user: str = ""
    working_dir: str = "/"
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    stop_signal: str = ""


@dataclass(frozen=True)
class Recipe:
    """An image.

    Args:
        name: a short name, unique among the recipes.
        references: the names that manifests ask for, such as `docker.io/library/redis:8.0.2` or
            `docker.io/library/redis:8.0.2@sha256:...`; never the digest of what is built here.
        suite: the Debian release that packages are from; "" for an image from nothing.
        packages: Debian packages; what they depend on comes along.
        programs: programs from Go modules.
        wheels: programs from Python distributions.
        users: system users on top of Debian's.
        entries: folders, files and links on top of all that.
        config: how a container is started.
    """

    name: str
    references: tuple[str, ...]
    suite: str = ""
    packages: tuple[str, ...] = ()
    programs: tuple[Program, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    users: tuple[User, ...] = ()
    entries: tuple[Entry, ...] = ()
    config: Config = field(default_factory=Config)

    def key(self) -> str:
        """Digest of what decides the build; the versions that Debian has at that time do not.

        Raises ImageError when a wheel is not installed.
        """
        sources = {
            str(PurePosixPath(program.path)): {
                file.name: file.read_text() for file in sorted(program.module.iterdir())
            }
            for program in self.programs
        }
        made_of: dict[str, Any] = asdict(self)
        # Names are given when an image is loaded, and a folder's place does not change a build.
        del made_of["references"]
        for program in made_of["programs"]:
            del program["module"]
        versions = [wheel.version() for wheel in self.wheels]
        text = json.dumps([_FORMAT, made_of, sources, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
