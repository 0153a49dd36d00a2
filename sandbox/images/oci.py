"""Images as the OCI image specification writes them: blobs by digest, and archives of them.

https://github.com/opencontainers/image-spec, version 1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sandbox.images.recipe import Config

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"
# containerd takes an image's whole name from it, whatever the name is.
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Blob:
    """A blob: its digest as in `sha256:...`, and its size in bytes."""

    digest: str
    size: int


class Blobs:
    """A folder of blobs, each written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs" / "sha256"
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """The file of a blob."""
        return self._folder / digest.removeprefix("sha256:")

    def write(self, content: bytes) -> Blob:
        """Keep a content."""
        with self.writing() as file:
            file.write(content)
        return self.last

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A file to write a blob to, which is kept as `last`; nothing is kept after an error."""
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                with Path(file.name).open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                self.last = Blob(f"sha256:{digest}", Path(file.name).stat().st_size)
                Path(file.name).rename(self.path(digest))
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def image(
    blobs: Blobs,
    layers: Sequence[Blob],
    config: Config,
    architecture: str,
    labels: Mapping[str, str],
) -> Blob:
    """Write an image's configuration and manifest; its layers, lowest first, are there already."""
    started: dict[str, Any] = {
        "User": config.user,
        "WorkingDir": config.working_dir,
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Env": list(config.env),
        "StopSignal": config.stop_signal,
        "Labels": dict(labels),
    }
    written = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {key: value for key, value in started.items() if value},
            # Not compressed, so that a layer's digest is that of its tar.
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    return blobs.write(
        _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, blobs.write(written)),
                "layers": [_descriptor(_LAYER, layer) for layer in layers],
            }
        )
    )


def write_archive(
    blobs: Blobs, images: Sequence[tuple[Blob, Sequence[str]]], target: IO[bytes]
) -> None:
    """Write an OCI archive of images (manifests) and their names to a stream."""
    manifests = []
    needed: dict[str, None] = {}
    for manifest, names in images:
        content = json.loads(blobs.path(manifest.digest).read_bytes())
        for descriptor in (content["config"], *content["layers"]):
            needed[descriptor["digest"]] = None
        needed[manifest.digest] = None
        manifests += [
            {**_descriptor(_MANIFEST, manifest), "annotations": {_NAME: name}} for name in names
        ]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    with tarfile.open(fileobj=target, mode="w|") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        for digest in needed:
            file = blobs.path(digest)
            info = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
            info.size = file.stat().st_size
            with file.open("rb") as opened:
                archive.addfile(info, opened)
        _add(archive, "index.json", _json(index))


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
