"""Downloads that are verified, resumed after an interruption, and given up once a host refuses."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from toolchain.pins import Release

Say = Callable[[str], None]
PROGRESS = 15.0
"""Seconds between two lines that tell that something still goes on."""

_TIMEOUT = 10.0
_ATTEMPTS = 10
_CHUNK = 1 << 18
_CHECKSUM_FILE_LIMIT = 1 << 20
_MEGABYTE = 1_000_000


class Refused(Exception):
    """A download is not to be had from here; the message says from where and why."""


class DownloadError(RuntimeError):
    """A download that must not be used, or that broke off; the message names the URL."""


class _NoSuchRange(Exception):
    """The server has no bytes from the given one on."""


class Downloads:
    """The downloads of one run.

    A host that can't be reached or that forbids a download is not asked again.
    """

    def __init__(self, say: Say) -> None:
        """`say` is told of each download and of each host that refuses."""
        self._say = say
        self._refused: dict[str, str] = {}
        self._opener = urllib.request.build_opener(_SecureRedirects)

    def fetch(self, name: str, release: Release, kept: Path) -> Path:
        """Download a release (templates filled in) and verify it against its publisher's sum.

        Args:
            name: what to call it in messages.
            release: what to download.
            kept: the file for the download; what an earlier, interrupted run left is completed.

        Returns:
            `kept`.

        Raises:
            Refused: the host can't be reached or does not give it away.
            DownloadError: it differs from its publisher's sum (nothing is kept), or it broke off
                (the next run goes on from there).
        """
        expected = self._checksum(release)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists() and _sha256(kept) == expected:
            return kept
        self._say(f"{name}: downloading {release.url}")
        started = time.monotonic()
        resumed = self._transfer(name, release.url, kept)
        if resumed and _sha256(kept) != expected:
            self._say(f"{name}: what an interrupted download left does not fit; from the start")
            kept.unlink()
            self._transfer(name, release.url, kept)
        if (found := _sha256(kept)) != expected:
            kept.unlink()
            raise DownloadError(
                f"{release.url} is not what its publisher released: expected sha256 {expected} "
                f"(from {release.checksums}), found {found}; nothing was kept"
            )
        size, seconds = kept.stat().st_size / _MEGABYTE, time.monotonic() - started
        self._say(f"{name}: {size:.1f} MB in {seconds:.1f} s, sha256 as published")
        return kept

    def _checksum(self, release: Release) -> str:
        with self._open(release.checksums) as response:
            try:
                text = response.read(_CHECKSUM_FILE_LIMIT).decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                raise self._give_up(release.checksums, _reason(error)) from error
        file = unquote(PurePosixPath(urlsplit(release.url).path).name)
        sums = [line.split() for line in text.splitlines() if line.strip()]
        for words in sums:
            lone = len(sums) == 1 and len(words) == 1
            named = len(words) == 2 and words[1].lstrip("*").removeprefix("./") == file
            if (lone or named) and re.fullmatch("[0-9a-fA-F]{64}", words[0]):
                return words[0].lower()
        raise DownloadError(
            f"{release.checksums} holds no sha256 of {file}; nothing was downloaded"
        )

    def _transfer(self, name: str, url: str, kept: Path) -> bool:
        """Download what is missing of a file; whether a part was there before."""
        resumed = False
        for attempt in range(_ATTEMPTS):
            have = kept.stat().st_size if kept.exists() else 0
            try:
                response = self._open(url, have)
            except _NoSuchRange:
                kept.unlink()
                continue
            except Refused as error:
                if attempt and have:
                    raise DownloadError(_broken(url, have, str(error))) from error
                raise
            with response:
                continued = response.status == HTTPStatus.PARTIAL_CONTENT
                resumed = resumed or continued
                why = self._receive(name, response, kept, have if continued else 0)
            if not why:
                return resumed
            now = kept.stat().st_size
            if now == 0:
                raise self._give_up(url, why)
            if now <= have:
                raise DownloadError(_broken(url, now, why))
        raise DownloadError(_broken(url, kept.stat().st_size, f"{_ATTEMPTS} times"))

    def _receive(self, name: str, response: http.client.HTTPResponse, kept: Path, have: int) -> str:
        """Write a response's body to a file from byte `have` on; why it broke off, "" if not."""
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        started = told = time.monotonic()
        with kept.open("ab" if have else "wb") as file:
            try:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if time.monotonic() - told >= PROGRESS:
                        told = time.monotonic()
                        whole = f" of {total / _MEGABYTE:.0f}" if total else ""
                        self._say(
                            f"{name}: {have / _MEGABYTE:.0f}{whole} MB, {told - started:.0f} s"
                        )
            except (OSError, http.client.HTTPException) as error:
                return _reason(error)
        return "the connection ended" if total is not None and have < total else ""

    def _open(self, url: str, offset: int = 0) -> http.client.HTTPResponse:
        host = urlsplit(url).netloc
        if host in self._refused:
            raise Refused(f"{host}: {self._refused[host]}")
        # Only https URLs are pinned; tests serve theirs from this machine.
        request = urllib.request.Request(url)  # noqa: S310
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if offset and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _NoSuchRange from error
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                self._say(f"{url}: not there (HTTP {error.code})")
                raise Refused(f"{url}: HTTP {error.code}") from error
            raise self._give_up(url, f"HTTP {error.code}") from error
        except Refused as error:
            self._say(str(error))
            raise
        except urllib.error.URLError as error:
            raise self._give_up(url, _reason(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._give_up(url, _reason(error)) from error
        return response

    def _give_up(self, url: str, why: str) -> Refused:
        host = urlsplit(url).netloc
        self._refused[host] = why
        self._say(f"{host}: downloads are refused ({why})")
        return Refused(f"{host}: {why}")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" != urlsplit(newurl).scheme:
            raise Refused(f"{req.full_url} leads to {urlsplit(newurl).netloc} without https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def place(name: str, file: Path, release: Release, folder: Path) -> None:
    """Make a tool's folder from its download, with the executable `name` in it.

    Raises DownloadError when the download does not hold that executable.
    """
    folder.mkdir(parents=True)
    if release.folder is None:
        shutil.copyfile(file, folder / name)
        (folder / name).chmod(0o755)
        return
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                content = archive.extractfile(member) if member.isreg() else None
                # PurePosixPath("") is "."; only the name is used, so nothing leaves the folder.
                if content is None or path.parent != PurePosixPath(release.folder):
                    continue
                with content, (folder / path.name).open("wb") as target:
                    shutil.copyfileobj(content, target)
                (folder / path.name).chmod(0o755 if member.mode & 0o111 else 0o644)
    except tarfile.TarError as error:
        raise DownloadError(f"{release.url} is no archive: {error}") from error
    if not (folder / name).exists():
        raise DownloadError(f"{release.url} does not hold {PurePosixPath(release.folder) / name}")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _reason(error: object) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _broken(url: str, size: int, why: str) -> str:
    return (
        f"{url} broke off after {size / _MEGABYTE:.1f} MB ({why}); run the same command again "
        "and it goes on from there"
    )
