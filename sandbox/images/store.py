"""Builds images and keeps them, each once for a recipe.

All is kept under the project's cache: blobs by their digest, and for each image one record with
what was put into it.
"""

from __future__ import annotations

import fcntl
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.images import golang
from sandbox.images.debian import Archive, Package
from sandbox.images.layers import Layer, accounts, authorities, masters
from sandbox.images.oci import Blob, Blobs, image
from sandbox.images.recipe import Entry, Folder, Link, Program, Recipe
from toolchain.pins import this_platform
from toolchain.tools import cache_folder

Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An image that is there.

    Args:
        name: the recipe's name.
        manifest: its manifest; the digest names the image's content.
        layers: its layers, lowest first.
        contents: the packages and programs in it that its recipe names, and their versions.
    """

    name: str
    manifest: Blob
    layers: tuple[Blob, ...]
    contents: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of all layers, of which images may share some."""
        return sum(layer.size for layer in self.layers)


# What packages make when they are installed.
_OF_MAINTAINER_SCRIPTS: tuple[Entry, ...] = (
    Folder("tmp", mode=0o1777),
    Link("usr/bin/awk", "mawk"),
    Link("usr/bin/sh", "dash"),
)


class Store:
    """The images of this machine.

    Args:
        base_packages: Debian packages in the lowest layer, which a suite's images share.
        folder: where images are kept (default: `images` in the project's cache).
    """

    def __init__(self, base_packages: Sequence[str], folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "images"
        self.blobs = Blobs(self.folder)
        self.base_packages = tuple(base_packages)

    def find(self, recipe: Recipe) -> Built | None:
        """An image as it was built; None if it is not there whole."""
        try:
            record = json.loads(self._record(recipe).read_text())
        except FileNotFoundError:
            return None
        built = Built(
            recipe.name,
            Blob(**record["manifest"]),
            tuple(Blob(**layer) for layer in record["layers"]),
            record["contents"],
        )
        blobs = (built.manifest, *built.layers)
        whole = all(self.blobs.path(blob.digest).exists() for blob in blobs)
        return built if whole else None

    def build(self, recipes: Sequence[Recipe], say: Say) -> list[Built]:
        """Images of these recipes; those that are not there yet are built.

        Safe to interrupt and to run twice at once: the second run waits for the first.

        Raises:
            sandbox.images.recipe.ImageError: a package or program can't be had; what was built
                before stays.
        """
        found = {recipe.name: self.find(recipe) for recipe in recipes}
        if missing := [recipe for recipe in recipes if found[recipe.name] is None]:
            with self._lock(say), tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                build = _Build(self, Path(scratch), say)
                for recipe in missing:
                    # Another run may have built it while this one waited.
                    found[recipe.name] = self.find(recipe) or build.image(recipe)
        return [built for built in found.values() if built]

    def keep(self, recipe: Recipe, built: Built) -> None:
        """Record an image whose blobs are written."""
        file = self._record(recipe)
        file.parent.mkdir(exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(built), indent=1) + "\n")
        part.rename(file)

    def base_recipe(self, suite: str) -> Recipe:
        """The recipe of a suite's lowest layer, which is kept as an image of its own."""
        return Recipe(f"debian-{suite}", (), suite, self.base_packages)

    def _record(self, recipe: Recipe) -> Path:
        return self.folder / "built" / f"{recipe.name}-{this_platform()}-{recipe.key()}.json"

    @contextmanager
    def _lock(self, say: Say) -> Iterator[None]:
        with (self.folder / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another build of images")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Build:
    """One run of builds, which share what apt has fetched of a suite."""

    def __init__(self, store: Store, scratch: Path, say: Say) -> None:
        self._store = store
        self._scratch = scratch
        self._say = say
        self._archives: dict[str, Archive] = {}

    def image(self, recipe: Recipe) -> Built:
        """Build an image, on its suite's lowest layer."""
        began = time.monotonic()
        programs = [(program, self._program(program)) for program in recipe.programs]
        below = self._base(recipe.suite) if recipe.suite else None
        packages: list[Package] = []
        if below and recipe.packages:
            wanted = [*self._store.base_packages, *recipe.packages]
            packages = [
                package
                for package in self._archive(recipe.suite).fetch(wanted)
                # Also what is newer than in a lowest layer that was built earlier.
                if below.contents.get(package.name) != package.version
            ]
        with self._store.blobs.writing() as file, closing(Layer(file)) as layer:
            layer.packages(packages)
            for program, executable in programs:
                layer.program(program.path, executable)
            for wheel in recipe.wheels:
                layer.program(wheel.path, wheel.executable())
            if below and recipe.users:
                self._add(layer, accounts(*self._accounts_of(below), recipe.users))
            self._add(layer, recipe.entries)
        layers = (*(below.layers if below else ()), self._store.blobs.last)
        named = {package.name: package.version for package in packages}
        contents = {name: named[name] for name in recipe.packages}
        for program in recipe.programs:
            contents[program.module.name] = program.version() or "of this project"
        contents |= {wheel.distribution: wheel.version() for wheel in recipe.wheels}
        built = self._keep(recipe, layers, contents)
        self._say(f"{recipe.name}: built in {time.monotonic() - began:.0f} s")
        return built

    def _base(self, suite: str) -> Built:
        recipe = self._store.base_recipe(suite)
        if found := self._store.find(recipe):
            return found
        packages = self._archive(suite).fetch(recipe.packages)
        with self._store.blobs.writing() as file, closing(Layer(file)) as layer:
            layer.merged_usr()
            layer.packages(packages)
            self._add(layer, accounts(*masters(layer.kept), ()))
            self._add(layer, (authorities(layer.kept), *_OF_MAINTAINER_SCRIPTS))
        contents = {package.name: package.version for package in packages}
        return self._keep(recipe, (self._store.blobs.last,), contents)

    def _keep(self, recipe: Recipe, layers: tuple[Blob, ...], contents: Mapping[str, str]) -> Built:
        made_of = ", ".join(f"{name} {version}" for name, version in contents.items())
        labels = {
            "org.opencontainers.image.title": recipe.name,
            "org.opencontainers.image.description": f"Built by ml-platform's sandbox of {made_of}",
        }
        manifest = image(self._store.blobs, layers, recipe.config, this_platform().arch, labels)
        built = Built(recipe.name, manifest, layers, contents)
        self._store.keep(recipe, built)
        return built

    def _archive(self, suite: str) -> Archive:
        if suite not in self._archives:
            self._say(f"Debian {suite}: fetching packages")
            self._archives[suite] = Archive(suite, self._scratch / suite)
        return self._archives[suite]

    def _program(self, program: Program) -> Path:
        self._say(f"{program.module.name}: building from source")
        target = self._scratch / program.module.name
        golang.build(program, target)
        return target

    def _accounts_of(self, below: Built) -> tuple[str, str]:
        with tarfile.open(self._store.blobs.path(below.layers[0].digest)) as archive:
            texts = [archive.extractfile(f"etc/{name}") for name in ("passwd", "group")]
            passwd, group = [text.read().decode() if text else "" for text in texts]
        return passwd, group

    @staticmethod
    def _add(layer: Layer, entries: Iterable[Entry]) -> None:
        for entry in entries:
            layer.add(entry)
