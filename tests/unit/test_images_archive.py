"""Layers and archives: what packages and recipes bring, as the OCI specification has it."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from sandbox.images.debian import Package
from sandbox.images.layers import Layer, accounts, authorities, usr_merged
from sandbox.images.load import names
from sandbox.images.oci import Blobs, image, write_archive
from sandbox.images.recipe import Config, Folder, ImageError, Link, Text, User


def deb(folder: Path, files: dict[str, str], name: str = "thing") -> Package:
    """A Debian package with these files."""
    root = folder / f"root-{name}"
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    file = folder / f"{name}_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(file)],
        check=True,
        capture_output=True,
    )
    return Package(name, "1", file)


def layer_of(*entries: object, packages: list[Package] | None = None) -> tarfile.TarFile:
    file = io.BytesIO()
    layer = Layer(file)
    layer.packages(packages or [])
    for entry in entries:
        layer.add(entry)
    layer.close()
    file.seek(0)
    return tarfile.open(fileobj=file)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("./lib64/", None),
        ("./usr/bin/sh", "usr/bin/sh"),
        ("./etc/bin/x", "etc/bin/x"),
        ("./library/x", "library/x"),
        ("./", None),
    ],
)
def test_folders_that_moved_under_usr(path: str, expected: str | None):
    assert usr_merged(path) == expected


def test_a_package_brings_its_files_but_no_documentation(tmp_path: Path):
    files = {"bin/tool": "#!/bin/sh\n", "usr/share/doc/thing/copyright": "x", "etc/thing": "y"}
    archive = layer_of(packages=[deb(tmp_path, files)])
    regular = {member.name for member in archive if member.isreg()}
    assert regular == {"usr/bin/tool", "etc/thing"}
    assert archive.extractfile("etc/thing").read() == b"y"
    assert {(member.uid, member.gid) for member in archive} == {(0, 0)}


def test_a_broken_package_is_an_error(tmp_path: Path):
    broken = tmp_path / "thing_1_all.deb"
    broken.write_bytes(b"no package")
    with pytest.raises((ImageError, tarfile.ReadError)):
        layer_of(packages=[Package("thing", "1", broken)])


def test_entries_have_the_owner_and_mode_of_the_recipe():
    archive = layer_of(
        Folder("data", 999, 998, 0o700), Text("x/run", "a", 0o755), Link("x/link", "run")
    )
    data, run, link = archive.getmembers()
    assert (data.isdir(), data.uid, data.gid, data.mode) == (True, 999, 998, 0o700)
    assert (run.isreg(), run.size, run.mode) == (True, 1, 0o755)
    assert (link.issym(), link.linkname) == (True, "run")


def test_users_come_after_those_that_are_there():
    passwd, group = accounts("root:*:0:0::/root:/bin/sh\n", "root:*:0:\n", [User("r", 9, 8, "/h")])
    assert passwd.content.splitlines()[1] == "r:*:9:8::/h:/usr/sbin/nologin"
    assert group.content.splitlines() == ["root:*:0:", "r:*:8:"]


def test_authorities_are_one_bundle(tmp_path: Path):
    files = {f"usr/share/ca-certificates/mozilla/{name}.crt": f"{name}\n" for name in "ba"}
    layer = Layer(io.BytesIO())
    layer.packages([deb(tmp_path, files, "ca-certificates")])
    assert authorities(layer.kept) == Text("etc/ssl/certs/ca-certificates.crt", "a\nb\n")


def test_a_blob_is_kept_by_its_digest_and_nothing_after_an_error(tmp_path: Path):
    blobs = Blobs(tmp_path)
    blob = blobs.write(b"abc")
    assert blob.digest == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert (blobs.path(blob.digest).read_bytes(), blob.size) == (b"abc", 3)
    with pytest.raises(ZeroDivisionError), blobs.writing() as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "blobs" / "sha256").iterdir()] == [blob.digest[7:]]


def test_an_archive_holds_each_blob_once_and_each_name(tmp_path: Path):
    blobs = Blobs(tmp_path)
    base, top = blobs.write(b"base"), blobs.write(b"top")
    first = image(blobs, [base], Config(cmd=("a",)), "amd64", {"l": "1"})
    second = image(blobs, [base, top], Config(user="999"), "amd64", {})
    target = io.BytesIO()
    write_archive(blobs, [(first, ["x:1", "x@sha256:0"]), (second, ["y:1"])], target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}
        assert len(content) == len(archive.getmembers())
    index = json.loads(content.pop("index.json"))
    named = {m["annotations"]["io.containerd.image.name"]: m for m in index["manifests"]}
    assert {name: m["digest"] for name, m in named.items()} == {
        "x:1": first.digest,
        "x@sha256:0": first.digest,
        "y:1": second.digest,
    }
    assert json.loads(content.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    for name, data in content.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    manifest = json.loads(content[f"blobs/{second.digest.replace(':', '/')}"])
    assert [layer["digest"] for layer in manifest["layers"]] == [base.digest, top.digest]
    config = json.loads(content[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["rootfs"]["diff_ids"] == [base.digest, top.digest]
    assert config["config"] == {"User": "999", "WorkingDir": "/"}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("registry.k8s.io/pause:3.10", ["registry.k8s.io/pause:3.10"]),
        ("d/redis:8.0@sha256:1", ["d/redis:8.0", "d/redis@sha256:1"]),
        ("d/redis@sha256:1", ["d/redis@sha256:1"]),
        ("localhost:5000/redis@sha256:1", ["localhost:5000/redis@sha256:1"]),
    ],
)
def test_names_that_the_runtime_looks_for(reference: str, expected: list[str]):
    assert names([reference]) == expected
