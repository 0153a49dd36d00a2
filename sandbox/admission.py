"""The admission server that stands for the containers behind webhook Services.

A webhook's server answers as upstream's would: only once the Deployment behind its Service has a
ready endpoint (and, where cert-manager issues its certificate, the Secret is there), a set delay
later. Until then nothing listens on the Service's address and the API server gets 'connection
refused'. It allows everything and changes nothing: what is real is when it answers, and its TLS.

API: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ and
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import logging
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import orjson

from sandbox import pki
from sandbox.api import MERGE_PATCH, STRATEGIC_PATCH, ApiError, Client, Object
from sandbox.mirror import Collection

_log = logging.getLogger(__name__)

INJECT_FROM_CERTIFICATE = "cert-manager.io/inject-ca-from"
INJECT_FROM_SECRET = "cert-manager.io/inject-ca-from-secret"  # noqa: S105 - an annotation's name
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_CONFIGURATIONS = {
    "MutatingWebhookConfiguration": f"{_ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{_ADMISSION}/validatingwebhookconfigurations",
}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FIELD_MANAGER = "sandbox-ca-injector"


# --- what is asked for ---------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Backend:
    """The Service and port that a webhook's clientConfig names."""

    namespace: str
    service: str
    port: int


@dataclass(frozen=True)
class Webhook:
    """One clientConfig: in which object it is, whom it calls, where its caBundle comes from.

    `webhook` is the entry's name in a configuration, "" for the conversion of a CRD.
    `certificate` and `secret` are the namespace and name that cert-manager's annotations give.
    """

    kind: str
    configuration: str
    webhook: str
    backend: Backend
    has_bundle: bool
    certificate: tuple[str, str] | None = None
    secret: tuple[str, str] | None = None


def _reference(annotations: dict[str, str], annotation: str) -> tuple[str, str] | None:
    namespace, separator, name = annotations.get(annotation, "").partition("/")
    return (namespace, name) if separator else None


def webhooks(kind: str, configuration: Object) -> list[Webhook]:
    """Every clientConfig with a Service in a webhook configuration, or in a CRD's conversion."""
    if kind == "CustomResourceDefinition":
        conversion = configuration["spec"].get("conversion") or {}
        clients = [("", (conversion.get("webhook") or {}).get("clientConfig") or {})]
    else:
        clients = [(w["name"], w["clientConfig"]) for w in configuration.get("webhooks") or ()]
    annotations = configuration["metadata"].get("annotations") or {}
    return [
        Webhook(
            kind,
            configuration["metadata"]["name"],
            name,
            Backend(
                client["service"]["namespace"],
                client["service"]["name"],
                client["service"].get("port") or 443,
            ),
            bool(client.get("caBundle")),
            _reference(annotations, INJECT_FROM_CERTIFICATE),
            _reference(annotations, INJECT_FROM_SECRET),
        )
        for name, client in clients
        if client.get("service")
    ]


def bundle_patch(kind: str, names: Iterable[str], bundle: bytes) -> tuple[Object, str]:
    """Patch (and its content type) that sets the caBundle of a configuration's named webhooks."""
    encoded = {"caBundle": base64.b64encode(bundle).decode()}
    if kind == "CustomResourceDefinition":
        return {"spec": {"conversion": {"webhook": {"clientConfig": encoded}}}}, MERGE_PATCH
    entries = [{"name": name, "clientConfig": encoded} for name in names]
    return {"webhooks": entries}, STRATEGIC_PATCH


def has_ready_endpoint(slices: Iterable[Object], apart_from: Container[str] = ()) -> bool:
    """Whether any endpoint is ready; as the API has it, an unknown condition counts as ready.

    Endpoints on the nodes named in `apart_from` don't count.
    """
    return any(
        (endpoint.get("conditions") or {}).get("ready") is not False
        and endpoint.get("nodeName") not in apart_from
        for item in slices
        for endpoint in item.get("endpoints") or ()
    )


# --- the answers ---------------------------------------------------------------------------------


def answer(review: Object) -> Object:
    """Answer an AdmissionReview (allow, no patch) or a ConversionReview (set the apiVersion).

    The answer has the review's own apiVersion. Raises ValueError on anything else.
    """
    kind, request = review.get("kind"), review.get("request")
    if not isinstance(request, dict) or "uid" not in request:
        raise ValueError(f"a review needs request.uid, found {request!r:.80}")
    if kind == "AdmissionReview":
        response = {"uid": request["uid"], "allowed": True}
    elif kind == "ConversionReview":
        version = request["desiredAPIVersion"]
        response = {
            "uid": request["uid"],
            "result": {"status": "Success"},
            "convertedObjects": [{**item, "apiVersion": version} for item in request["objects"]],
        }
    else:
        raise ValueError(f"need kind AdmissionReview or ConversionReview, found {kind!r}")
    return {"apiVersion": review["apiVersion"], "kind": kind, "response": response}


def record(review: Object, backend: Backend, path: str, now: datetime.datetime) -> Object:
    """What the request log says of a review."""
    request = review["request"]
    found: dict[str, Any] = {
        "time": now.isoformat(),
        "uid": request["uid"],
        "review": review["kind"],
        "service": f"{backend.namespace}/{backend.service}",
        "port": backend.port,
        "path": path,
    }
    if review["kind"] == "AdmissionReview":
        kind = request.get("kind") or {}
        group, version = kind.get("group", ""), kind.get("version", "")
        found |= {
            "operation": request.get("operation"),
            "user": (request.get("userInfo") or {}).get("username"),
            "dryRun": bool(request.get("dryRun")),
            "apiVersion": f"{group}/{version}" if group else version,
            "kind": kind.get("kind"),
            "namespace": request.get("namespace", ""),
            "name": request.get("name", ""),
        }
    else:
        found |= {
            "apiVersion": request["desiredAPIVersion"],
            "objects": len(request["objects"]),
        }
    return found


class RequestLog:
    """Append-only JSON lines file, written a whole line at a time."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._stream = path.open("ab", buffering=0)

    def write(self, entry: Object) -> None:
        """Append one entry."""
        self._stream.write(orjson.dumps(entry) + b"\n")


# --- the servers ---------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: WebhookServer

    def setup(self) -> None:
        """Note the connection, so that `stop` can cut it."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        """Answer one review."""
        try:
            review = orjson.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            content = orjson.dumps(answer(review))
            path = self.path.partition("?")[0]
            now = datetime.datetime.now(datetime.UTC)
            self.server.log.write(record(review, self.server.backend, path, now))
            status = HTTPStatus.OK
        except (ValueError, KeyError, TypeError) as error:
            status, content = HTTPStatus.BAD_REQUEST, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the request log has it."""


class WebhookServer(http.server.ThreadingHTTPServer):
    """HTTPS server of one backend, on the ClusterIP and port that the API server dials.

    Serves in threads of its own until `stop`. Raises OSError when the address can't be listened on.
    """

    block_on_close = False

    def __init__(
        self, address: tuple[str, int], backend: Backend, tls: ssl.SSLContext, log: RequestLog
    ) -> None:
        self.backend, self.log, self._tls = backend, log, tls
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the address's name."""
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """Accept a connection; its handshake comes with the first read, in its own thread."""
        connection, peer = self.socket.accept()
        tls = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return tls, peer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say in one line why a connection broke: mostly a client without the caBundle yet."""
        _log.info("%s: connection from %s: %r", self.backend, client_address, sys.exception())

    def stop(self) -> None:
        """Stop listening and cut the connections that the API server keeps open."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Addresses(Protocol):
    """Makes ClusterIPs addresses of this host, and takes that back."""

    def take(self, address: str) -> None:
        """Make it an address that a process of this host can listen on."""

    def give_up(self, address: str) -> None:
        """Nothing listens on it any more."""


class Loopback:
    """ClusterIPs on loopback, which are this host's already."""

    def take(self, address: str) -> None:
        """Nothing to do."""

    def give_up(self, address: str) -> None:
        """Nothing to do."""


# --- the controller ------------------------------------------------------------------------------


class AdmissionSimulator:
    """Opens and closes webhook servers and injects their authority, as the cluster's objects ask.

    `secrets` and `certificates` are shared with the cert-manager simulator;
    `injector_available` tells whether cert-manager's CA injector would run now. `addresses` makes
    a ClusterIP one that can be listened on; a webhook of pods on `real_nodes` answers by itself.
    """

    def __init__(
        self,
        client: Client,
        changed: Callable[[], None],
        *,
        pki_folder: Path,
        log: RequestLog,
        delay: float,
        secrets: Collection,
        certificates: Collection,
        injector_available: Callable[[], bool],
        addresses: Addresses,
        real_nodes: Container[str] = (),
    ) -> None:
        self._addresses, self._real_nodes = addresses, real_nodes
        self._client, self._delay, self._log = client, delay, log
        self._pki = pki_folder / "webhooks"
        self._pki.mkdir(mode=0o700, exist_ok=True)
        self._authority = pki.KeyPair(
            (pki_folder / "webhook-ca.crt").read_bytes(),
            (pki_folder / "webhook-ca.key").read_bytes(),
        )
        self._secrets, self._certificates = secrets, certificates
        self._injector_available = injector_available
        self._configurations = {
            kind: Collection(client, path, changed) for kind, path in _CONFIGURATIONS.items()
        }

        def crd_matters(line: bytes) -> bool:
            # Definitions are large and many; those without a conversion webhook are not decoded.
            return b'"strategy":"Webhook"' in line or line.startswith(b'{"type":"DELETED"')

        self._configurations["CustomResourceDefinition"] = Collection(
            client, _CRDS, changed, crd_matters
        )
        self._services = Collection(client, "/api/v1/services", changed)
        self._slices = Collection(client, "/apis/discovery.k8s.io/v1/endpointslices", changed)
        self._ready_since: dict[Backend, float] = {}
        self._servers: dict[Backend, WebhookServer] = {}

    def start(self) -> None:
        """Begin to watch."""
        for collection in (*self._configurations.values(), self._services, self._slices):
            collection.start()

    def reconcile(self, now: float) -> float | None:
        """Bring servers and caBundles in line with what was seen.

        `now` is monotonic seconds; returns when to look again without a change, None for never.
        """
        wanted = [
            webhook
            for kind, collection in self._configurations.items()
            for configuration in collection.all()
            for webhook in webhooks(kind, configuration)
        ]
        due = self._serve(wanted, now)
        self._inject(wanted)
        return due

    def _serve(self, wanted: list[Webhook], now: float) -> float | None:
        open_now: dict[Backend, tuple[str, int]] = {}
        ready_since: dict[Backend, float] = {}
        due: float | None = None
        for backend in sorted({webhook.backend for webhook in wanted}):
            address = self._address(backend, wanted)
            if address is None:
                continue
            ready_since[backend] = self._ready_since.get(backend, now)
            opens = ready_since[backend] + self._delay
            if now >= opens:
                open_now[backend] = address
            elif due is None or opens < due:
                due = opens
        self._ready_since = ready_since
        for backend, server in list(self._servers.items()):
            if open_now.get(backend) != server.server_address:
                _log.info("closing %s on %s", backend, server.server_address)
                self._servers.pop(backend).stop()
                self._addresses.give_up(str(server.server_address[0]))
        for backend, address in open_now.items():
            if backend not in self._servers:
                self._addresses.take(address[0])
                self._servers[backend] = WebhookServer(
                    address, backend, self._tls(backend), self._log
                )
                _log.info("opened %s on %s", backend, address)
        return due

    def _address(self, backend: Backend, wanted: list[Webhook]) -> tuple[str, int] | None:
        """Where the backend's containers would listen, None while they would not run."""
        service = self._services.get(backend.namespace, backend.service)
        if service is None or not has_ready_endpoint(
            [
                item
                for item in self._slices.all()
                if item["metadata"]["namespace"] == backend.namespace
                and (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
                == backend.service
            ],
            self._real_nodes,
        ):
            return None
        for webhook in wanted:
            # A container that mounts an issued Secret is not created before the Secret.
            if (
                webhook.backend == backend
                and webhook.certificate
                and self._issued(webhook.certificate) is None
            ):
                return None
        return service["spec"]["clusterIP"], backend.port

    def _issued(self, certificate: tuple[str, str]) -> Object | None:
        """Secret that a Certificate was issued into."""
        found = self._certificates.get(*certificate)
        if found is None:
            return None
        return self._secrets.get(certificate[0], found["spec"]["secretName"])

    def _tls(self, backend: Backend) -> ssl.SSLContext:
        name = f"{backend.service}.{backend.namespace}.svc"
        path = self._pki / f"{name}.pem"
        if not path.exists():
            pair = pki.issue(self._authority, name, dns=[name])
            pki.write_private(path, pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _inject(self, wanted: list[Webhook]) -> None:
        patches: dict[tuple[str, str], list[str]] = {}
        for webhook in wanted:
            if not webhook.has_bundle and self._bundle_is_due(webhook):
                patches.setdefault((webhook.kind, webhook.configuration), []).append(
                    webhook.webhook
                )
        for (kind, configuration), names in patches.items():
            collection = self._configurations[kind]
            patch, content_type = bundle_patch(kind, names, self._authority.certificate)
            path = f"{collection.path}/{configuration}?fieldManager={_FIELD_MANAGER}"
            try:
                collection.put(self._client.request("PATCH", path, patch, content_type))
            except ApiError as error:
                # Deleted meanwhile: its watch event is on the way.
                if error.code != HTTPStatus.NOT_FOUND:
                    raise
            _log.info("injected the authority into %s/%s", kind, configuration)

    def _bundle_is_due(self, webhook: Webhook) -> bool:
        """Whether whoever injects this webhook's authority upstream would have done so by now."""
        if webhook.certificate:
            return self._injector_available() and self._issued(webhook.certificate) is not None
        if webhook.secret and not self._injector_available():
            return False
        # Without annotations the server itself does it, as istiod and Knative's webhooks.
        return webhook.backend in self._servers
