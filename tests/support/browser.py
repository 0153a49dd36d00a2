"""A headless Chromium: the machine's own, or Debian's package unpacked beside the other tools."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from toolchain.tools import cache_folder

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGE = "chromium-headless-shell"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(RuntimeError):
    """There is none, and none can be had; the text says why."""


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NoBrowser(f"{command[0]}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def find() -> list[str]:
    """The command of a browser.

    Raises:
        NoBrowser: this machine has none, and no Debian package of one.
    """
    for name in _NAMES:
        if path := shutil.which(name):
            return [path]
    folder = cache_folder() / "browser"
    if not folder.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise NoBrowser("no chromium on PATH, and no apt-get to get it by")
        _unpack(folder)
    libraries = {str(path.parent) for path in folder.rglob("lib*.so*") if path.is_file()}
    (program,) = folder.glob("usr/lib/chromium/chromium-headless-shell")
    fonts = folder / "etc" / "fonts"
    return [
        "env", f"LD_LIBRARY_PATH={':'.join(sorted(libraries))}", f"FONTCONFIG_PATH={fonts}",
        str(program),
    ]  # fmt: skip


def _unpack(folder: Path) -> None:
    """The package and what this machine lacks of its libraries; nothing is installed."""
    plan = ["apt-get", "install", "--simulate", "--no-install-recommends", _PACKAGE]
    try:
        planned = _run(*plan)
    except NoBrowser:
        _run("apt-get", "--quiet", "update")  # the lists are old, or were never fetched
        planned = _run(*plan)
    packages = re.findall(r"^Inst (\S+)", planned, re.MULTILINE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        staging = Path(name)
        _run("apt-get", "--quiet", "download", *packages, cwd=staging)
        root = staging / "root"
        for file in staging.glob("*.deb"):
            _run("dpkg-deb", "--extract", str(file), str(root))
        root.rename(folder)


def open_page(page: Path, profile: Path, *flags: str) -> str:
    """The document as the browser has it after loading the page, as HTML."""
    # An old document of a page that does not load would be that of an error.
    command = [*find(), *_FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120,
        env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
