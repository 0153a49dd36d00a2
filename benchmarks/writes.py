"""Bytes that are written to a state back end: each file that appears in its folder, by its size.

The file back end writes a file whole, beside its place, and moves it there. The kernel tells of
each (inotify(7)), and an open handle keeps its size for us when the next one has replaced it. Where
we were too late for a handle, the size is that of the file in its place.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE = 0x008, 0x040, 0x080, 0x100
_OVERFLOW, _IS_FOLDER = 0x4000, 0x40000000
_MASK = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE
_HEADER = struct.Struct("iIII")
_POLL = 0.05


@dataclass
class Written:
    """`files` written whole, their `bytes`, and how many were gone before they were measured."""

    files: int = 0
    bytes: int = 0
    unmeasured: int = 0


@contextmanager
def counted(folder: Path, written: Written) -> Iterator[None]:
    """Count what is written below a folder while the block runs; the folder may not be there yet.

    Raises OSError when the kernel gives no more watches, or lost events.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    counter = _Counter(folder, written)
    counter.start()
    try:
        yield
    finally:
        counter.stop()
    if counter.lost:
        raise OSError("the kernel dropped events of the state folder; the bytes are not known")


def size(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def state(folder: Path) -> int:
    """Bytes of the newest checkpoint in a state back end's folder: what a run reads and writes."""
    stacks = folder / ".pulumi" / "stacks"
    return sum(
        path.stat().st_size
        for path in stacks.rglob("*")
        if path.name.endswith((".json", ".json.gz"))
    )


class _Counter(threading.Thread):
    def __init__(self, folder: Path, written: Written) -> None:
        super().__init__(daemon=True)
        self.lost = False
        self._written = written
        self._ended = threading.Event()
        self._folders: dict[int, Path] = {}
        self._open: dict[Path, int] = {}
        self._missed: set[Path] = set()
        self._inodes: dict[Path, int] = {}
        # Inodes of what is counted already, by the cookie of its move; None: it is to be counted.
        self._moving: dict[int, int | None] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for existing in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            self._follow(existing)

    def run(self) -> None:
        while not self._ended.is_set():
            if select.select([self._inotify], [], [], _POLL)[0]:
                self._read()

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._read()
        os.close(self._inotify)
        for path in list(self._open):
            self._count(path)
        moving = sum(inode is None for inode in self._moving.values())
        self._written.unmeasured = len(self._missed) + moving

    def _follow(self, folder: Path) -> None:
        watch = self._libc.inotify_add_watch(self._inotify, bytes(folder), _MASK)
        if watch < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify_add_watch: {os.strerror(number)}", str(folder))
        self._folders[watch] = folder

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while content := os.read(self._inotify, 1 << 16):
                self._events(content)

    def _events(self, content: bytes) -> None:
        place = 0
        while place < len(content):
            watch, mask, cookie, length = _HEADER.unpack_from(content, place)
            place += _HEADER.size
            name = os.fsdecode(content[place : place + length].rstrip(b"\0"))
            place += length
            if mask & _OVERFLOW:
                self.lost = True
            elif watch in self._folders:
                self._event(self._folders[watch] / name, mask, cookie)

    def _event(self, path: Path, mask: int, cookie: int) -> None:
        if mask & _IS_FOLDER:
            if mask & _CREATE:
                self._appeared(path)
        elif mask & _CREATE:
            self._hold(path)
        elif mask & _CLOSE_WRITE:
            self._count(path)
        elif mask & _MOVED_FROM and path in self._missed:
            self._missed.remove(path)
            self._moving[cookie] = None
        elif mask & _MOVED_FROM and path in self._inodes:
            self._moving[cookie] = self._inodes.pop(path)
        elif mask & _MOVED_TO and cookie in self._moving:
            inode = self._moving.pop(cookie)
            if inode is None:
                self._count(path)
            else:
                self._release(path, inode)

    def _appeared(self, folder: Path) -> None:
        """Follow a new folder, and hold what was put there before it was followed."""
        with suppress(FileNotFoundError):
            self._follow(folder)
            for entry in folder.iterdir():
                if entry.is_dir():
                    self._appeared(entry)
                else:
                    self._hold(entry)

    def _hold(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            if path not in self._open:
                self._open[path] = os.open(path, os.O_RDONLY)

    def _release(self, path: Path, inode: int) -> None:
        """Let go of a file that was counted under another name, if it was found here, too."""
        self._inodes[path] = inode
        handle = self._open.get(path)
        if handle is not None and os.fstat(handle).st_ino == inode:
            os.close(self._open.pop(path))

    def _count(self, path: Path) -> None:
        handle = self._open.pop(path, None)
        try:
            if handle is None:
                found = path.stat()
            else:
                found = os.fstat(handle)
                os.close(handle)
        except FileNotFoundError:
            self._missed.add(path)
            return
        self._inodes[path] = found.st_ino
        self._written.files += 1
        self._written.bytes += found.st_size
