"""Local copies of API collections, kept up to date by watches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sandbox.api import ApiError, Client, Object

_log = logging.getLogger(__name__)
_RETRY_FIRST, _RETRY_LAST = 0.2, 30.0

Key = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""


def key(item: Object) -> Key:
    """Key of an object in its collection."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Collection:
    """All objects below one API path, as last seen; each change calls `changed`.

    `relevant` may refuse lines of the watch undecoded, for collections of large objects. Reading
    gives snapshots and is safe from any thread. A collection that does not exist (its CRD is
    missing) is empty, and is looked for again on `kick` or, ever more rarely, by itself.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        changed: Callable[[], None],
        relevant: Callable[[bytes], bool] = lambda _: True,
        **selectors: str,
    ) -> None:
        self._client, self.path, self._changed = client, path, changed
        self._relevant, self._selectors = relevant, selectors
        self._objects: dict[Key, Object] = {}
        self._lock = threading.Lock()
        self._kicked = threading.Event()

    def start(self) -> None:
        """Begin to follow the collection in a thread of its own."""
        threading.Thread(target=self._follow, name=self.path, daemon=True).start()

    def kick(self) -> None:
        """Look again at once, if the collection was missing."""
        self._kicked.set()

    def all(self) -> list[Object]:
        """Snapshot of the objects; treat them as read-only."""
        with self._lock:
            return list(self._objects.values())

    def get(self, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        with self._lock:
            return self._objects.get((namespace, name))

    def put(self, item: Object) -> None:
        """Note the result of an own write ahead of its watch event."""
        with self._lock:
            self._objects[key(item)] = item

    def _replace(self, items: list[Object]) -> None:
        with self._lock:
            self._objects = {key(item): item for item in items}
        self._changed()

    def _event(self, kind: str, item: Object) -> None:
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(key(item), None)
            else:
                self._objects[key(item)] = item
        self._changed()

    def _follow(self) -> None:
        retry = _RETRY_FIRST
        while True:
            try:
                self._client.watch(
                    self.path, self._replace, self._event, self._relevant, **self._selectors
                )
                retry = _RETRY_FIRST
            except ApiError as error:
                if error.code == 404:
                    if self.all():
                        self._replace([])
                else:
                    _log.warning("%s", error)
            except OSError as error:
                _log.warning("%s: %s", self.path, error)
            if self._kicked.wait(retry):
                retry = _RETRY_FIRST
                self._kicked.clear()
            else:
                retry = min(2 * retry, _RETRY_LAST)
