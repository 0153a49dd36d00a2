"""CustomResourceDefinitions whose bodies stay in a content-addressed store, not in Pulumi's state.

Upstream's 71 definitions are 4 MB of JSON; the state holds their digests instead.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from provider import diff
from provider.client import ApiError, Client, Object, Resource
from provider.readiness import ALONE, State, custom_resource_definition
from provider.rpc import PluginError

API_VERSION: Final = "apiextensions.k8s.io/v1"
KIND: Final = "CustomResourceDefinition"
FIELD_MANAGER: Final = "ml-platform"
DIGEST: Final = re.compile(r"^sha256:([0-9a-f]{64})$")
RESUMED: Final = "ml-platform/deletion-resumed"
_GAVE_UP: Final = "InstanceDeletionFailed"
_INJECTED: Final = b"cert-manager.io/inject-ca-from"
_FIRST_PAUSE: Final = 0.02  # seconds between looks at what is served, doubled up to the last one
_LAST_PAUSE: Final = 0.25
_ATTEMPTS: Final = 4  # at an apply that the API server gives up
_LATE: Final = 504
_LOOK: Final = 5.0  # seconds after which the definition, which is large, is asked what is wrong


def body_of(store: str, digest: str) -> bytes:
    """The JSON of a definition, without the certificate authority that cert-manager injects.

    Raises:
        PluginError: it isn't there or isn't what its digest says.
    """
    match = DIGEST.match(digest)
    if match is None:
        raise PluginError(f"digest is {digest!r}; expected sha256: and 64 hexadecimal digits")
    path = Path(store) / f"{match[1]}.json"
    try:
        body = path.read_bytes()
    except OSError as error:
        raise PluginError(
            f"store: can't read {path}: {error.strerror}; render the manifests again"
        ) from None
    if hashlib.sha256(body).hexdigest() != match[1]:
        raise PluginError(f"store: {path} is damaged: delete it and render the manifests again")
    return _without_injected(body) if _INJECTED in body else body


def _without_injected(body: bytes) -> bytes:
    # Applied by force, a placeholder would undo the injection and break conversions for a while.
    definition = orjson.loads(body)
    webhook = (definition.get("spec", {}).get("conversion") or {}).get("webhook") or {}
    if "caBundle" not in (webhook.get("clientConfig") or {}):
        return body
    del webhook["clientConfig"]["caBundle"]
    return orjson.dumps(definition)


def served_kinds(body: bytes) -> list[tuple[str, str]]:
    """(apiVersion, kind) of every version that a definition serves."""
    spec = orjson.loads(body)["spec"]
    return [
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
        for version in spec["versions"]
        if version.get("served")
    ]


class Definitions:
    """Applies, reads and removes definitions on one API server."""

    def __init__(self, client: Client, cancelled: threading.Event) -> None:
        self._client = client
        self._cancelled = cancelled

    def resource(self) -> Resource:
        """Where definitions are served."""
        return self._client.resource(API_VERSION, KIND)

    def apply(self, name: str, body: bytes, *, dry_run: bool) -> Object:
        """Server-side apply; only the metadata of the answer.

        It is sent again where the API server gave up: many large definitions at once, as an upgrade
        has them, take a small server longer than the 34 s that it gives itself.
        """
        send = partial(
            self._client.apply,
            self.resource(),
            body,
            "",
            name,
            field_manager=FIELD_MANAGER,
            force=True,
            dry_run=dry_run,
            metadata_only=True,
        )
        for _ in range(_ATTEMPTS - 1):
            try:
                return send()
            except ApiError as error:
                if error.code != _LATE or self._cancelled.wait(_LAST_PAUSE):
                    raise
        return send()

    def established(
        self,
        metadata: Mapping[str, Any],
        kinds: Sequence[tuple[str, str]],
        *,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        """Wait until the definition is established and all its versions are served.

        Discovery serves only established definitions, whose names were therefore accepted; it is
        a hundredth of the size of the definition. A definition that was changed since it was made
        is also asked itself, for its names may have been refused in the meantime.

        Args:
            metadata: of the applied definition.
            kinds: (apiVersion, kind) of each served version.
            timeout: seconds.
            say: takes what is waited for.

        Raises:
            PluginError: its names are taken, or it is late.
        """
        name = str(metadata["name"])
        self._client.forget(name.partition(".")[2])
        deadline, looked = time.monotonic() + timeout, time.monotonic()
        pause = _FIRST_PAUSE
        while True:
            missing = next((k for k in kinds if not self._client.serves(*k, now=True)), None)
            if missing is None and (metadata.get("generation", 1) == 1 or not self._lacks(name)):
                return
            now = time.monotonic()
            waiting = f"waiting for {name}"
            if missing is not None:
                waiting += f" to be served as {missing[0]}"
            if now - looked >= _LOOK:
                looked = now
                say(self._lacks(name) or waiting)
            if self._cancelled.is_set():
                raise PluginError(f"cancelled while {waiting}")
            if now >= deadline:
                raise PluginError(f"{waiting}: {self._lacks(name) or 'late'}")
            self._cancelled.wait(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    def _lacks(self, name: str) -> str:
        live = self._client.get(self.resource(), "", name)
        verdict = custom_resource_definition(live, ALONE)
        if verdict.state is State.FAILED:
            raise PluginError(f"{name}: {verdict.reason}")
        return verdict.reason

    def drift(self, live: Object, body: bytes) -> str:
        """Empty while the live object is as `body` says, else a digest of what it is instead."""
        wanted = diff.normalize(orjson.loads(body))
        if not diff.changes(live, wanted, wanted):
            return ""
        found = orjson.dumps(diff.prune(live, wanted), option=orjson.OPT_SORT_KEYS)
        return f"sha256:drifted-{hashlib.sha256(found).hexdigest()[:16]}"

    def read(self, name: str) -> Object | None:
        """The live definition, None if there is none."""
        try:
            return self._client.get(self.resource(), "", name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def delete(self, name: str) -> Object | None:
        """Ask for removal; what lingers, None if it is gone."""
        try:
            answer = self._client.delete(self.resource(), "", name, propagation="Background")
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        finally:
            self._client.forget(name.partition(".")[2])
        return None if answer.get("kind") == "Status" else answer

    def resume_deletion(self, name: str) -> None:
        """Have the API server go on with a deletion that it gave up.

        Its finalizer fails where a kind's storage isn't ready yet, retries from a copy of the
        definition that its own report of the failure made stale, and takes the conflict for
        somebody else's change; then it looks again only after minutes. Any change that isn't of
        the condition wakes it (apiextensions-apiserver, pkg/controller/finalizer).
        """
        live = self.read(name)
        if live is None or not live["metadata"].get("deletionTimestamp"):
            return
        conditions = live.get("status", {}).get("conditions") or ()
        if not any(c["type"] == "Terminating" and c.get("reason") == _GAVE_UP for c in conditions):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        annotations = {**live["metadata"].get("annotations", {}), RESUMED: now}
        change = [
            {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
        ]
        try:
            self._client.patch(self.resource(), change, "", name)
        except ApiError as error:
            if error.code not in {404, 409, 422}:  # it went, or changed, in the meantime
                raise
