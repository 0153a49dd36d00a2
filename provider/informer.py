"""One shared watch per kind, however many objects of it are waited for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from provider.client import ApiError, Client, NoSuchKind, Object, Resource

Key = tuple[str, str]  # namespace, name
_RETRY: Final = 1.0  # pause after a broken watch (seconds)


def key_of(obj: Object) -> Key:
    """Namespace (empty for none) and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


@dataclass(frozen=True, slots=True)
class Event:
    """The newest known state of a watched object; None says that it doesn't exist."""

    kind: str
    key: Key
    object: Object | None


@dataclass(slots=True)
class Subscription:
    """Where events of chosen objects arrive."""

    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    _closers: list[Callable[[], None]] = field(default_factory=list)

    def next(self, timeout: float) -> Event | None:
        """The next event, None after `timeout` seconds without one."""
        try:
            return self.events.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        for close in self._closers:
            close()


class Informer:
    """Follows the objects of one kind (those that match a field selector) in the background."""

    def __init__(
        self, client: Client, resource: Resource, *, fields: str, metadata_only: bool
    ) -> None:
        self._client = client
        self._resource = resource
        self._fields = fields
        self._metadata_only = metadata_only
        self._objects: dict[Key, Object] = {}
        self._subscribers: dict[Key, list[Subscription]] = {}
        self._any: list[Subscription] = []
        self._lock = threading.Lock()
        self._synced = threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def subscribe(self, subscription: Subscription, key: Key | None) -> None:
        """Deliver the state of `key` now (None if it doesn't exist) and each change of it.

        Without `key`: everything there is now and each change, no event for what doesn't exist.

        Raises:
            Exception: why the kind can't be listed.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._synced.clear()
                self._failure = None
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        self._synced.wait()
        if self._failure is not None:
            raise self._failure
        with self._lock:
            if key is None:
                self._any.append(subscription)
                current = list(self._objects.values())
                subscription._closers.append(lambda: self._unsubscribe_all(subscription))
            else:
                self._subscribers.setdefault(key, []).append(subscription)
                current = [self._objects[key]] if key in self._objects else []
                subscription._closers.append(lambda: self._unsubscribe(subscription, key))
            for obj in current:
                subscription.events.put(Event(self._resource.kind, key_of(obj), obj))
            if key is not None and not current:
                subscription.events.put(Event(self._resource.kind, key, None))

    def _unsubscribe(self, subscription: Subscription, key: Key) -> None:
        with self._lock:
            others = [s for s in self._subscribers.get(key, ()) if s is not subscription]
            if others:
                self._subscribers[key] = others
            else:
                self._subscribers.pop(key, None)

    def _unsubscribe_all(self, subscription: Subscription) -> None:
        with self._lock:
            self._any = [s for s in self._any if s is not subscription]

    def _run(self) -> None:
        while True:
            try:
                items, version = self._client.snapshot(
                    self._resource, fields=self._fields, metadata_only=self._metadata_only
                )
                self._reset(items)
                self._synced.set()
                self._follow(version)
            except ApiError as error:
                if error.code == 404:  # the kind itself was removed, and its objects with it
                    self._reset([])
                    self._synced.set()
                    return
                if not self._retry(error):
                    return
            except Exception as error:  # whatever it is, nobody may wait for a dead thread
                if not self._retry(error):
                    return

    def _retry(self, error: Exception) -> bool:
        if not self._synced.is_set():
            self._failure = error
            self._synced.set()
            return False
        time.sleep(_RETRY)
        return True

    def _follow(self, version: str) -> None:
        while True:
            events = self._client.watch(
                self._resource, version, fields=self._fields, metadata_only=self._metadata_only
            )
            for kind, obj in events:
                version = obj["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._store(obj, gone=kind == "DELETED")

    def _reset(self, items: list[Object]) -> None:
        for obj in items:
            # The items of a list don't carry their type.
            obj.setdefault("apiVersion", self._resource.api_version)
            obj.setdefault("kind", self._resource.kind)
        new = {key_of(obj): obj for obj in items}
        with self._lock:
            old, self._objects = self._objects, new
            for key, obj in new.items():
                previous = old.get(key)
                if previous is None or _version(previous) != _version(obj):
                    self._deliver(key, obj)
            for key in old.keys() - new.keys():
                self._deliver(key, None)

    def _store(self, obj: Object, *, gone: bool) -> None:
        key = key_of(obj)
        with self._lock:
            if gone:
                self._objects.pop(key, None)
            else:
                self._objects[key] = obj
            self._deliver(key, None if gone else obj)

    def _deliver(self, key: Key, obj: Object | None) -> None:
        event = Event(self._resource.kind, key, obj)
        for subscription in (*self._subscribers.get(key, ()), *self._any):
            subscription.events.put(event)


def _version(obj: Object) -> Any:  # noqa: ANN401
    return obj["metadata"].get("resourceVersion")


class Informers:
    """The shared watches of one API server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[tuple[str, str, str, bool], Informer] = {}
        self._lock = threading.Lock()

    def follow(
        self,
        subscription: Subscription,
        api_version: str,
        kind: str,
        key: Key | None,
        *,
        fields: str = "",
        metadata_only: bool = False,
    ) -> None:
        """Deliver the events of an object, or of a kind's objects, to `subscription`.

        Raises:
            NoSuchKind: the kind isn't served.
        """
        identity = (api_version, kind, fields, metadata_only)
        with self._lock:
            informer = self._informers.get(identity)
        if informer is None:
            resource = self._client.resource(api_version, kind)
            with self._lock:
                informer = self._informers.setdefault(
                    identity,
                    Informer(self._client, resource, fields=fields, metadata_only=metadata_only),
                )
        informer.subscribe(subscription, key)


__all__ = ["Event", "Informers", "Key", "NoSuchKind", "Subscription", "key_of"]
