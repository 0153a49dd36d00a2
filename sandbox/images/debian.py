"""Debian packages, as apt resolves and verifies them, without installing anything on this machine.

apt runs on folders of its own, so any user may, and its answers do not depend on what this machine
has installed. The mirrors are those of the machine's own apt.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.images.recipe import ImageError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PROGRAMS = ("apt-get", "dpkg-deb")
# They serve maintainer scripts, and none is run here: what sets up users, services and links.
_UNUSED = re.compile(
    r"adduser|debconf|init-system-helpers|lsb-base|passwd|sysvinit-utils|usrmerge|"
    r"perl|perl-base|perl-modules-.*|lib.*-perl|libperl5.*|libpam.*|libsemanage.*|libsepol2"
)
# Inst redis-server (5:8.0.2-3 Debian:13.2/stable [amd64])
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package with its file."""

    name: str
    version: str
    file: Path


def needs() -> list[str]:
    """What this machine lacks to get Debian packages; empty if nothing."""
    lacking = [program for program in _PROGRAMS if shutil.which(program) is None]
    return lacking or ([] if _KEYRING.exists() else ["debian-archive-keyring"])


class Archive:
    """One Debian release, with its security updates.

    Args:
        suite: the release's code name.
        folder: where apt keeps its lists and packages; made if it is not there.

    Raises:
        ImageError: apt is not on this machine, or does not reach the archive.
    """

    def __init__(self, suite: str, folder: Path) -> None:
        if lacking := needs():
            raise ImageError(
                f"images are built from Debian packages, which needs {' and '.join(lacking)}; "
                "use a machine with Debian"
            )
        self.suite = suite
        self._folder = folder
        for part in ("lists/partial", "archives/partial", "parts", "none"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(_sources(suite))
        self._apt("update")

    def fetch(self, packages: Sequence[str]) -> list[Package]:
        """Packages and all that they depend on, by name; those that run no code are left out."""
        words = ["install", "--yes", "--no-install-recommends", *packages]
        listed = _INSTALLED.findall(self._apt(*words, "--simulate"))
        self._apt(*words, "--download-only")
        return [
            Package(name, version, self._folder / "archives" / _file_name(name, version, arch))
            for name, version, arch in sorted(listed)
            if not _UNUSED.fullmatch(name)
        ]

    def _apt(self, *words: str) -> str:
        folder = self._folder
        options = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": folder / "none",
            "Dir::Etc::Preferences": folder / "none" / "preferences",
            "Dir::Etc::PreferencesParts": folder / "none",
            "Dir::State": folder,
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Cache::Archives": folder / "archives",
            "Debug::NoLocking": "true",
            "APT::Get::List-Cleanup": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "pkgCacheGen::Essential": "none",
        }
        command = ["apt-get", "--quiet=2"]
        for name, value in options.items():
            command += ["--option", f"{name}={value}"]
        done = subprocess.run(
            [*command, *words],
            env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or "Err:" in done.stdout:
            words_of_apt = (done.stderr or done.stdout).strip().splitlines()[-5:]
            raise ImageError(
                f"apt-get {words[0]} for Debian {self.suite} failed: {'; '.join(words_of_apt)}"
            )
        return done.stdout


def _file_name(name: str, version: str, architecture: str) -> str:
    """As apt names what it downloads."""
    return f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"


def _sources(suite: str) -> str:
    """The machine's own mirrors, for another release."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = []
    for line in dict.fromkeys(listed.stdout.splitlines()):
        uri, release = line.split()
        if "debian" not in uri or release.endswith(("-updates", "-backports")):
            continue
        wanted = f"{suite}-security" if release.endswith("-security") else suite
        lines.append(f"deb [signed-by={_KEYRING}] {uri} {wanted} main\n")
    if not lines:
        raise ImageError(
            "apt on this machine names no mirror of Debian; add one to /etc/apt/sources.list"
        )
    return "".join(dict.fromkeys(lines))
