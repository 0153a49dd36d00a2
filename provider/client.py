"""A small, fast client of a Kubernetes API server: pooled connections, raw JSON, cached discovery.

API conventions: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)

from provider.kubeconfig import Connection
from provider.rpc import PluginError

APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
_METADATA_LIST: Final = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA: Final = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_POOL: Final = 64
_ATTEMPTS: Final = 8  # of a request that the server is too busy for
_PATIENCE: Final = 15.0  # a server that has answered before is looked for so long (seconds)
_FIRST_PAUSE: Final = 0.05  # seconds between looks for a lost server, doubled up to the last one
_LAST_PAUSE: Final = 1.0
_DISCOVERY_AGE: Final = 0.2  # a miss is looked up again when the answer is older (seconds)

Object = dict[str, Any]


class ApiError(PluginError):
    """The API server refused a request; `code`, `reason` and `message` are those of its Status."""

    def __init__(self, status: Mapping[str, Any], code: int) -> None:
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.message = str(status.get("message") or f"HTTP status {code}")
        self.details: Mapping[str, Any] = status.get("details") or {}
        super().__init__(self.message)

    @property
    def missing_namespace(self) -> str:
        """The namespace that a 404 says doesn't exist, else empty."""
        if self.code == 404 and self.details.get("kind") == "namespaces":
            return str(self.details.get("name") or "")
        return ""

    @property
    def outdated(self) -> bool:
        """Whether somebody else changed the object between its being read and written."""
        return self.code == 409 and self.reason == "Conflict" and not self.contested

    @property
    def contested(self) -> bool:
        """Whether other field managers hold what was to be applied."""
        causes = self.details.get("causes") or ()
        return any(cause.get("reason") == "FieldManagerConflict" for cause in causes)


class Unreachable(PluginError):
    """No answer from the API server."""


class NoSuchKind(PluginError):
    """The API server doesn't serve this kind (yet): its CustomResourceDefinition is missing."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(
            f'no matches for kind "{kind}" in version "{api_version}": '
            "the API server doesn't serve it; is its CustomResourceDefinition there?"
        )


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives: `prefix` such as `/apis/apps/v1`, `plural` such as `deployments`."""

    api_version: str
    kind: str
    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Path of an object, or of the collection without `name`; all namespaces without one."""
        scope = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        item = f"/{quote(name)}" if name else ""
        return f"{self.prefix}{scope}/{self.plural}{item}"


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class Client:
    """One API server. Safe for use by many threads.

    A server that has answered before and is lost, because it restarts, is looked for a while;
    what may be sent twice is then sent again. One that never answered is an error at once.

    Args:
        connection: from `provider.kubeconfig.connect`.
        user_agent: shown in the API server's audit log.
        cancelled: ends that look once it is set.
    """

    def __init__(self, connection: Connection, user_agent: str, cancelled: threading.Event) -> None:
        self._connection = connection
        self._user_agent = user_agent
        self._cancelled = cancelled
        self._answered = False
        self._lost: float | None = None  # since when nothing gets through
        parts = urlsplit(connection.server)
        self._base = parts.path.rstrip("/")
        self._pool = self._make_pool(_POOL)
        self._watches = self._make_pool(1)  # a watch keeps its connection for minutes
        self._served: dict[str, tuple[float, dict[str, Resource]]] = {}
        self._discovery: dict[str, threading.Lock] = {}

    def _make_pool(self, size: int) -> Any:  # noqa: ANN401
        parts = urlsplit(self._connection.server)
        options: dict[str, Any] = {"maxsize": size, "block": False, "retries": False}
        if self._connection.tls is not None:
            options["ssl_context"] = self._connection.tls
            if not self._connection.tls.check_hostname:
                options.update(assert_hostname=False, cert_reqs="CERT_NONE")
            if self._connection.tls_server_name:
                options["server_hostname"] = self._connection.tls_server_name
                options["assert_hostname"] = self._connection.tls_server_name
        manager: Any = (
            urllib3.ProxyManager(self._connection.proxy, num_pools=1, **options)
            if self._connection.proxy
            else urllib3.PoolManager(num_pools=1, **options)
        )
        return manager.connection_from_host(parts.hostname, parts.port, scheme=parts.scheme)

    # Requests.

    def _headers(self, accept: str, content_type: str, user_agent: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": user_agent or self._user_agent}
        if content_type:
            headers["Content-Type"] = content_type
        authorization = self._connection.authorization()
        if authorization:
            headers["Authorization"] = authorization
        return headers

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        *,
        content_type: str = "",
        accept: str = JSON,
        user_agent: str = "",
        timeout: float = 75.0,
    ) -> Object:
        """Send one request and parse its JSON answer.

        Raises:
            ApiError, Unreachable: as `raw`.
        """
        options = {"content_type": content_type, "accept": accept, "user_agent": user_agent}
        return _object(self.raw(method, path, query, body, **options, timeout=timeout))

    def raw(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        *,
        content_type: str = "",
        accept: str = JSON,
        user_agent: str = "",
        timeout: float = 75.0,
    ) -> bytes:
        """Send one request; its answer as it is. Busy answers (429, Retry-After) are repeated.

        Raises:
            ApiError: the API server answered with an error.
            Unreachable: it didn't answer.
        """
        url = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        harmless = method in {"GET", "DELETE"} or content_type == APPLY or "dryRun" in (query or {})
        busy, pause = 0, _FIRST_PAUSE
        while True:
            try:
                response = self._pool.urlopen(
                    method,
                    url,
                    body=body,
                    headers=self._headers(accept, content_type, user_agent),
                    timeout=urllib3.Timeout(connect=10, read=timeout),
                )
            except HTTPError as error:
                if not self._looks_for_server(error, harmless=harmless):
                    raise self._unreachable(error) from None
                self._cancelled.wait(pause)
                pause = min(pause * 2, _LAST_PAUSE)
                continue
            self._answered, self._lost = True, None
            if response.status < 300:
                return bytes(response.data)
            wait = response.headers.get("Retry-After")
            if wait and response.status in {429, 503, 504}:
                busy += 1
                if busy >= _ATTEMPTS:
                    break
                self._cancelled.wait(min(float(wait), 5.0))
                continue
            raise ApiError(_status(response.data), response.status)
        raise Unreachable(f"{self._connection.server} stays too busy to answer")

    def _looks_for_server(self, error: HTTPError, *, harmless: bool) -> bool:
        """Whether a request that got no answer is sent again."""
        if self._lost is None:
            self._lost = time.monotonic()
        if not self._answered or self._cancelled.is_set():
            return False
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            repeatable = True  # it was never sent
        elif isinstance(error, ProtocolError | SSLError):
            # Lost on the way, or after it was carried out.
            repeatable = harmless and not _is_untrusted(error)
        else:
            repeatable = False
        return repeatable and time.monotonic() - self._lost < _PATIENCE

    def _unreachable(self, error: Exception) -> Unreachable:
        cause = getattr(error, "reason", None) or error
        text = "connection refused" if "refused" in str(cause) else str(cause)
        hint = (
            "" if not isinstance(cause, NewConnectionError | MaxRetryError) else "; is it running?"
        )
        return Unreachable(
            f"configured Kubernetes cluster is unreachable: {self._connection.server}: {text}{hint}"
        )

    # Discovery.

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where `kind` is served; asks the API server once per group and version.

        A kind that was missing is looked for again each time: its definition may have come since.

        Raises:
            NoSuchKind: not served.
        """
        found = self._lookup(api_version, kind)
        if found is None:
            raise NoSuchKind(api_version, kind)
        return found

    def _lookup(self, api_version: str, kind: str, age: float = _DISCOVERY_AGE) -> Resource | None:
        served = self._served.get(api_version)
        if served is not None and kind in served[1]:
            return served[1][kind]
        oldest = time.monotonic() - age
        # Whoever waits for the lock takes the answer that another has got meanwhile.
        with self._discovery.setdefault(api_version, threading.Lock()):
            served = self._served.get(api_version)
            if served is None or (kind not in served[1] and served[0] < oldest):
                asked = time.monotonic()
                served = (asked, self._discover(api_version))
                self._served[api_version] = served
            return served[1].get(kind)

    def _discover(self, api_version: str) -> dict[str, Resource]:
        prefix = _prefix(api_version)
        try:
            answer = self.request("GET", prefix)
        except ApiError as error:
            if error.code == 404:
                return {}
            raise
        return {
            entry["kind"]: Resource(
                api_version, entry["kind"], prefix, entry["name"], bool(entry["namespaced"])
            )
            for entry in answer.get("resources", ())
            if "/" not in entry["name"]
        }

    def serves(self, api_version: str, kind: str, *, now: bool = False) -> bool:
        """Whether the API server serves `kind`; `now`: not as of a moment ago."""
        return self._lookup(api_version, kind, 0.0 if now else _DISCOVERY_AGE) is not None

    def forget(self, group: str) -> None:
        """Ask again for a group's kinds; needed when its definitions changed or went."""
        for api_version in [v for v in list(self._served) if v.split("/")[0] == group]:
            self._served.pop(api_version, None)

    # Objects.

    def get(
        self, resource: Resource, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Object:
        """Read one object."""
        accept = _METADATA if metadata_only else JSON
        return self.request("GET", resource.path(namespace, name), accept=accept)

    def find(
        self, resource: Resource, namespace: str = "", *, selector: str = "", fields: str = ""
    ) -> list[Object]:
        """Read the objects of a kind, of all namespaces by default."""
        query = {"labelSelector": selector, "fieldSelector": fields}
        answer = self.request(
            "GET", resource.path(namespace), {k: v for k, v in query.items() if v}
        )
        items: list[Object] = answer.get("items") or []
        return items

    def apply(
        self,
        resource: Resource,
        body: Object | bytes,
        namespace: str,
        name: str,
        *,
        field_manager: str,
        force: bool,
        dry_run: bool = False,
        metadata_only: bool = False,
    ) -> Object:
        """Server-side apply: create the object or take over the given fields.

        Raises:
            ApiError: code 409 where another manager holds a field and `force` is false.
        """
        query = {
            "fieldManager": field_manager,
            "force": str(force).lower(),
            # Apply refuses unknown fields by itself, and what is sent from here has no field twice:
            # validating it again finds nothing and is a fifth of the server's work.
            "fieldValidation": "Ignore",
        }
        if dry_run:
            query["dryRun"] = "All"
        return self.request(
            "PATCH",
            resource.path(namespace, name),
            query,
            body if isinstance(body, bytes) else orjson.dumps(body),
            content_type=APPLY,
            accept=_METADATA if metadata_only else JSON,
        )

    def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str,
        *,
        field_manager: str,
        dry_run: bool = False,
        user_agent: str = "",
        timeout: float = 75.0,
    ) -> Object:
        """Create an object that must not exist yet."""
        query = {"fieldManager": field_manager, "fieldValidation": "Warn"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request(
            "POST",
            resource.path(namespace),
            query,
            orjson.dumps(body),
            content_type=JSON,
            user_agent=user_agent,
            timeout=timeout,
        )

    def replace(
        self,
        resource: Resource,
        body: Object,
        namespace: str,
        name: str,
        *,
        field_manager: str,
        dry_run: bool = False,
    ) -> Object:
        """Replace a whole object; its `metadata.resourceVersion` must be the current one."""
        query = {"fieldManager": field_manager}
        if dry_run:
            query["dryRun"] = "All"
        return self.request(
            "PUT",
            resource.path(namespace, name),
            query,
            orjson.dumps(body),
            content_type=JSON,
        )

    def patch(
        self, resource: Resource, operations: list[Object], namespace: str, name: str
    ) -> Object:
        """Apply JSON patch operations (RFC 6902)."""
        return self.request(
            "PATCH",
            resource.path(namespace, name),
            None,
            orjson.dumps(operations),
            content_type=JSON_PATCH,
        )

    def delete(
        self, resource: Resource, namespace: str, name: str, *, propagation: str = "Foreground"
    ) -> Object:
        """Ask for an object's removal; the answer is a Status, or the object where it lingers."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        return self.request(
            "DELETE",
            resource.path(namespace, name),
            None,
            orjson.dumps(options),
            content_type=JSON,
            accept=f"{_METADATA},{JSON}",
        )

    def snapshot(
        self, resource: Resource, *, fields: str = "", metadata_only: bool = False
    ) -> tuple[list[Object], str]:
        """All objects of a kind and the version that `watch` goes on from."""
        answer = self.request(
            "GET",
            resource.path(),
            {"fieldSelector": fields} if fields else None,
            accept=f"{_METADATA_LIST},{JSON}" if metadata_only else JSON,
        )
        return answer.get("items") or [], answer["metadata"]["resourceVersion"]

    def watch(
        self,
        resource: Resource,
        version: str,
        *,
        fields: str = "",
        metadata_only: bool = False,
        seconds: int = 300,
    ) -> Iterator[tuple[str, Object]]:
        """Events (`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`) after `version`, for some minutes.

        Raises:
            ApiError: code 410 where `version` is too old: take a new snapshot.
            Unreachable: the connection broke.
        """
        query: dict[str, Any] = {
            "watch": 1,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        if fields:
            query["fieldSelector"] = fields
        response = None
        try:
            response = self._watches.urlopen(
                "GET",
                f"{self._base}{resource.path()}?{urlencode(query)}",
                headers=self._headers(_METADATA if metadata_only else JSON, "", ""),
                timeout=urllib3.Timeout(connect=10, read=seconds + 30),
                preload_content=False,
            )
            if response.status >= 300:
                raise ApiError(_status(response.data), response.status)
            rest = b""
            for chunk in response.stream(1 << 20):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if not line:
                        continue
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"], event["object"].get("code", 500))
                    yield event["type"], event["object"]
        except HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            if response is not None:
                response.close()


def _is_untrusted(error: HTTPError) -> bool:
    return any(isinstance(part, ssl.SSLCertVerificationError) for part in error.args)


def _object(data: bytes) -> Object:
    if not data:
        return {}
    value: Object = orjson.loads(data)
    return value


def _status(data: bytes) -> Mapping[str, Any]:
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {"message": data.decode(errors="replace").strip()[:500]}
    return status if isinstance(status, dict) else {}
