"""Loads images into a containerd, under the names that manifests ask for."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sandbox.images.oci import write_archive
from sandbox.images.recipe import ImageError, Recipe
from sandbox.images.store import Built, Store

NAMESPACE = "k8s.io"
"""containerd's namespace of all that the kubelet uses."""


def load(
    store: Store, images: Sequence[tuple[Recipe, Built]], ctr: Path, address: Path
) -> dict[str, str]:
    """Load images, over what is there under the same names.

    Args:
        store: where the images are.
        images: each with its recipe, which has its names.
        ctr: containerd's own client.
        address: containerd's socket.

    Returns:
        The digest of the image behind each name.

    Raises:
        ImageError: containerd does not take them; its last words are in the message.
    """
    named = [(built.manifest, names(recipe.references)) for recipe, built in images]
    command: list[str | Path] = [ctr, "--address", address, "--namespace", NAMESPACE]
    command += ["images", "import", "--local", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise ImageError("no pipe to ctr")
        # A ctr that ends early says why.
        with suppress(BrokenPipeError):
            write_archive(store.blobs, named, process.stdin)
            process.stdin.close()
        said = process.stdout.read().decode(errors="replace")
    if process.returncode:
        raise ImageError(f"ctr images import into {address} failed: {said.strip()[-500:]}")
    return {name: manifest.digest for manifest, given in named for name in given}


def names(references: Sequence[str]) -> list[str]:
    """The names under which containerd's CRI looks for what manifests ask for, each once.

    A reference with both tag and digest is looked for by its digest alone; the tag is kept as a
    name too, for people.

    >>> names(["docker.io/library/redis:8.0@sha256:12"])
    ['docker.io/library/redis:8.0', 'docker.io/library/redis@sha256:12']
    """
    found: list[str] = []
    for reference in references:
        tagged, _, digest = reference.partition("@")
        if not digest:
            found.append(tagged)
            continue
        folder, _, last = tagged.rpartition("/")
        repository = f"{folder}/{last.partition(':')[0]}".lstrip("/")
        if tagged != repository:
            found.append(tagged)
        found.append(f"{repository}@{digest}")
    return list(dict.fromkeys(found))
