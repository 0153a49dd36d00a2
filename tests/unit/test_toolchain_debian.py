"""Tools from Debian's packages: unpacked beside the others, never installed."""

import subprocess
from pathlib import Path

import pytest

from toolchain import debian
from toolchain.debian import DebianError, unpack, unpacked_version
from toolchain.inventory import rows
from toolchain.pins import TOOLS, DebianSource, Tool
from toolchain.tools import Origin, find, installed, unpacked_folder

TOOL = Tool(
    "greet",
    "debian",
    debian=DebianSource(
        ("greet", "libgreet1"),
        (("greet", "usr/bin/multi", ()), ("greet-twice", "usr/bin/multi", ("twice",))),
    ),
)


def package(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A real package."""
    root = folder / name
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755)
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: none\n"
    )
    file = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(file)], check=True, capture_output=True)
    return file


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """apt-get that has the packages, and what it was asked for."""
    made = tmp_path / "archive"
    echo = '#!/bin/sh\necho "$LD_LIBRARY_PATH|$*"\n'
    files = [
        package(made, "greet", "1.2-3", {"usr/bin/multi": echo}),
        package(made, "libgreet1", "7", {"usr/lib/triplet/libgreet.so.1": ""}),
    ]
    asked: list[list[str]] = []
    real = debian._run

    def run(command: list[str], folder: Path) -> str:
        if command[0] != "apt-get":
            return real(command, folder)
        asked.append(command)
        if "update" not in command:
            for file in files:
                (folder / file.name).write_bytes(file.read_bytes())
        return ""

    monkeypatch.setattr(debian, "_run", run)
    return asked


def test_programs_find_their_libraries_where_they_will_be(tmp_path: Path, archive: list[list[str]]):
    staged, final = tmp_path / "staged", tmp_path / "final place"
    assert unpack(TOOL, staged, final) == "1.2-3"
    assert archive == [["apt-get", "--quiet", "download", "greet", "libgreet1"]]
    staged.rename(final)
    assert unpacked_version(final) == "1.2-3"
    said = subprocess.check_output([final / "greet-twice", "a b", "c"], text=True)
    assert said == f"{final}/root/usr/lib/triplet|twice a b c\n"
    assert not list(final.glob("*.deb"))


def test_lists_are_fetched_where_they_are_too_old(
    tmp_path: Path, archive: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    run, refusals = debian._run, [DebianError("404")]

    def once(command: list[str], folder: Path) -> str:
        if "download" in command and refusals:
            raise refusals.pop()
        return run(command, folder)

    monkeypatch.setattr(debian, "_run", once)
    unpack(TOOL, tmp_path / "staged", tmp_path / "final")
    assert [command[2] for command in archive] == ["update", "download"]


def test_a_machine_without_apt_is_told_which_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(debian.shutil, "which", lambda program: None)
    with pytest.raises(DebianError, match=r"no apt-get and no dpkg-deb .* package greet"):
        unpack(TOOL, tmp_path / "staged", tmp_path / "final")
    assert list(tmp_path.iterdir()) == []


def test_what_is_unpacked_is_listed_with_its_packages_version(
    tmp_path: Path, archive: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(TOOLS, "greet", TOOL)
    assert installed(TOOL) is None
    folder = unpacked_folder(TOOL)
    assert folder
    unpack(TOOL, folder, folder)
    found = installed(TOOL)
    assert found
    assert (found.origin, found.path) == (Origin.UNPACKED, folder / "greet")
    assert find("greet") == folder / "greet"
    [row] = rows([TOOL], [])
    assert (row.version, row.origin) == ("1.2-3", "unpacked")


def test_one_on_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "greet").write_text("")
    (tmp_path / "greet").chmod(0o755)
    found = installed(TOOL)
    assert found
    assert found.origin is Origin.ON_PATH
