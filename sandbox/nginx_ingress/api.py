"""The API server, as a pod reaches it: lists and watches of resources, and their status."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .conf import say
from .objects import Key, Object

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_WATCH_SECONDS = 240
_RETRY = 1.0
_GONE, _OK = 410, 300
_CORE, _NGINX = "/api/v1", "/apis/k8s.nginx.org/v1"
RESOURCES = {
    "services": _CORE,
    "secrets": _CORE,
    "configmaps": _CORE,
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "virtualservers": _NGINX,
    "virtualserverroutes": _NGINX,
    "transportservers": _NGINX,
    "policies": _NGINX,
    "globalconfigurations": _NGINX,
}
"""What the configuration is made of, and where it is."""


class ApiError(OSError):
    """The API server refuses."""


class Api:
    """The API server, with the pod's own service account."""

    def __init__(self) -> None:
        self._host = os.environ["KUBERNETES_SERVICE_HOST"]
        self._port = int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
        self._tls = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))

    def request(self, method: str, path: str, body: Object | None = None) -> Object:
        """The answer. Raises OSError, or ApiError (an OSError) for a refusal."""
        with self._ask(method, path, body, timeout=30) as answer:
            found: Object = json.load(answer)
            return found

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Events of a watch, until it ends."""
        with self._ask("GET", path, None, timeout=_WATCH_SECONDS + 30) as answer:
            for line in answer:
                if line.strip():
                    yield json.loads(line)

    def _ask(
        self, method: str, path: str, body: Object | None, timeout: float
    ) -> http.client.HTTPResponse:
        # Read each time: tokens are replaced before they expire.
        token = (_ACCOUNT / "token").read_text()
        link = http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._tls
        )
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        link.request(method, path, json.dumps(body) if body else None, head)
        answer = link.getresponse()
        if answer.status >= _OK:
            with answer:
                said = answer.read().decode(errors="replace")
            raise ApiError(answer.status, f"{method} {path}: {said[:500]}")
        return answer


class Mirror:
    """Objects as they are in the API server, kept by a watch of each resource.

    Args:
        api: the API server.
        namespaces: where to look; "" for all.
        changed: set whenever something changed.
    """

    def __init__(self, api: Api, namespaces: tuple[str, ...], changed: threading.Event) -> None:
        self._api = api
        self._changed = changed
        self._lock = threading.Lock()
        self._held: dict[str, dict[Key, Object]] = {name: {} for name in RESOURCES}
        self._listed = threading.Semaphore(0)
        self._watches = [(name, namespace) for name in RESOURCES for namespace in namespaces]

    def start(self) -> None:
        """Watch, and return once everything was listed."""
        for name, namespace in self._watches:
            threading.Thread(target=self._follow, args=(name, namespace), daemon=True).start()
        for _ in self._watches:
            self._listed.acquire()

    def snapshot(self) -> dict[str, dict[Key, Object]]:
        """All objects as they are now."""
        with self._lock:
            return {name: dict(found) for name, found in self._held.items()}

    def _follow(self, resource: str, namespace: str) -> None:
        where = f"namespaces/{namespace}/" if namespace else ""
        path = f"{RESOURCES[resource]}/{where}{resource}"
        first = True
        while True:
            try:
                version = self._list(resource, namespace, path)
                if first:
                    self._listed.release()
                    first = False
                while version:
                    version = self._watch(resource, path, version)
            except (OSError, http.client.HTTPException, ValueError) as error:
                say(f"{resource}: {error}")
                time.sleep(_RETRY)

    def _list(self, resource: str, namespace: str, path: str) -> str:
        found = self._api.request("GET", path)
        now = {_key(one): one for one in found["items"]}
        with self._lock:
            held = self._held[resource]
            for key in [key for key in held if not namespace or key[0] == namespace]:
                del held[key]
            held.update(now)
        self._changed.set()
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, resource: str, path: str, version: str) -> str:
        """Follow changes; gives the version to go on from, "" where a new list is needed."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": _WATCH_SECONDS}
        for event in self._api.events(f"{path}?{urlencode(query)}"):
            one = event["object"]
            if event["type"] == "ERROR":
                return ""
            version = one["metadata"]["resourceVersion"]
            with self._lock:
                held = self._held[resource]
                before = held.get(_key(one))
                if event["type"] == "DELETED":
                    held.pop(_key(one), None)
                else:
                    held[_key(one)] = one
            # A status of its own is no change.
            if event["type"] != "MODIFIED" or _matter(before) != _matter(one):
                self._changed.set()
        return version


def _key(one: Object) -> Key:
    return one["metadata"]["namespace"], one["metadata"]["name"]


def _matter(one: Object | None) -> Object:
    return {key: value for key, value in (one or {}).items() if key not in ("metadata", "status")}
