"""Stands for cert-manager's controller and CA injector, once their Deployments are available.

Issuers become Ready; a Certificate whose issuer is Ready gets its Secret and becomes Ready. All is
signed by the authority of the sandbox's webhooks, whatever kind the issuer is.

API: https://cert-manager.io/docs/reference/api-docs/
"""

from __future__ import annotations

import base64
import datetime
import logging
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from sandbox import pki
from sandbox.api import MERGE_PATCH, ApiError, Client, Object
from sandbox.mirror import Collection

_log = logging.getLogger(__name__)
_API = "/apis/cert-manager.io/v1"
_KINDS = ("certificates", "issuers", "clusterissuers")


def is_ready(item: Object) -> bool:
    """Whether an object's condition Ready is True."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in (item.get("status") or {}).get("conditions") or ()
    )


def ready_condition(item: Object, reason: str, message: str, now: datetime.datetime) -> Object:
    """A condition Ready that is True for the object's present generation."""
    return {
        "type": "Ready",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": timestamp(now),
        "observedGeneration": item["metadata"].get("generation", 1),
    }


def timestamp(moment: datetime.datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def secret_for(certificate: Object, authority: pki.KeyPair) -> Object:
    """The Secret that a Certificate asks for, with a new key pair signed by `authority`."""
    spec, metadata = certificate["spec"], certificate["metadata"]
    dns = list(spec.get("dnsNames") or ())
    ips = list(spec.get("ipAddresses") or ())
    common_name = spec.get("commonName") or (dns + ips + [metadata["name"]])[0]
    pair = pki.issue(authority, common_name, dns=dns, ips=ips)
    issuer = spec["issuerRef"]
    template = spec.get("secretTemplate") or {}

    def encode(content: bytes) -> str:
        return base64.b64encode(content).decode()

    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": spec["secretName"],
            "namespace": metadata["namespace"],
            "labels": {
                **(template.get("labels") or {}),
                "controller.cert-manager.io/fao": "true",
            },
            "annotations": {
                **(template.get("annotations") or {}),
                "cert-manager.io/certificate-name": metadata["name"],
                "cert-manager.io/common-name": common_name,
                "cert-manager.io/alt-names": ",".join(dns),
                "cert-manager.io/ip-sans": ",".join(ips),
                "cert-manager.io/issuer-name": issuer["name"],
                "cert-manager.io/issuer-kind": issuer.get("kind", "Issuer"),
                "cert-manager.io/issuer-group": issuer.get("group", "cert-manager.io"),
            },
        },
        "data": {
            "tls.crt": encode(pair.certificate),
            "tls.key": encode(pair.key),
            "ca.crt": encode(authority.certificate),
        },
    }


class CertManagerSimulator:
    """Issues Certificates; also tells whether the CA injector runs."""

    def __init__(self, client: Client, changed: Callable[[], None], pki_folder: Path) -> None:
        self._client = client
        self._authority = pki.KeyPair(
            (pki_folder / "webhook-ca.crt").read_bytes(),
            (pki_folder / "webhook-ca.key").read_bytes(),
        )
        self._deployments = Collection(
            client,
            "/apis/apps/v1/deployments",
            changed,
            labelSelector="app.kubernetes.io/name in (cert-manager,cainjector)",
        )
        self._resources = {kind: Collection(client, f"{_API}/{kind}", changed) for kind in _KINDS}
        self.certificates = self._resources["certificates"]
        self.secrets = Collection(client, "/api/v1/secrets", changed)
        names = [f'"name":"{kind}.cert-manager.io"'.encode() for kind in _KINDS]
        self._definitions = Collection(
            client,
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            self._definition_changed,
            relevant=lambda line: any(name in line for name in names),
        )

    def start(self) -> None:
        """Begin to watch."""
        for collection in (
            self._deployments,
            self.secrets,
            self._definitions,
            *self._resources.values(),
        ):
            collection.start()

    def _definition_changed(self) -> None:
        for collection in self._resources.values():
            collection.kick()

    def _available(self, component: str) -> bool:
        return any(
            (deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/component")
            == component
            and (deployment.get("status") or {}).get("availableReplicas", 0) > 0
            for deployment in self._deployments.all()
        )

    def injector_available(self) -> bool:
        """Whether cert-manager's CA injector is available."""
        return self._available("cainjector")

    def reconcile(self, now: datetime.datetime) -> None:
        """Bring issuers and certificates on; raises ApiError and OSError as the client."""
        if not self._available("controller"):
            return
        for kind in ("issuers", "clusterissuers"):
            for issuer in self._resources[kind].all():
                if not is_ready(issuer):
                    condition = ready_condition(issuer, "IsReady", "Signing is simulated", now)
                    self._set_status(kind, issuer, {"conditions": [condition]})
        for certificate in self.certificates.all():
            if self._issuer_ready(certificate):
                self._issue(certificate, now)

    def _issuer_ready(self, certificate: Object) -> bool:
        reference = certificate["spec"]["issuerRef"]
        if reference.get("kind") == "ClusterIssuer":
            issuer = self._resources["clusterissuers"].get("", reference["name"])
        else:
            namespace = certificate["metadata"]["namespace"]
            issuer = self._resources["issuers"].get(namespace, reference["name"])
        return issuer is not None and is_ready(issuer)

    def _issue(self, certificate: Object, now: datetime.datetime) -> None:
        namespace = certificate["metadata"]["namespace"]
        secret = self.secrets.get(namespace, certificate["spec"]["secretName"])
        if secret is None:
            secret = secret_for(certificate, self._authority)
            path = f"/api/v1/namespaces/{namespace}/secrets"
            try:
                secret = self._client.request("POST", path, secret)
            except ApiError as error:
                # There already, or the namespace is going: events about either are on the way.
                if error.code in (HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                    return
                raise
            self.secrets.put(secret)
            _log.info("issued %s/%s", namespace, certificate["metadata"]["name"])
        if not is_ready(certificate):
            leaf = base64.b64decode(secret["data"]["tls.crt"])
            condition = ready_condition(
                certificate, "Ready", "Certificate is up to date and has not expired", now
            )
            status = {
                "conditions": [condition],
                "notAfter": timestamp(pki.not_after(leaf)),
                "revision": 1,
            }
            self._set_status("certificates", certificate, status)

    def _set_status(self, kind: str, item: Object, status: Object) -> None:
        metadata = item["metadata"]
        namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        path = f"{_API}{namespace}/{kind}/{metadata['name']}/status"
        try:
            updated = self._client.request("PATCH", path, {"status": status}, MERGE_PATCH)
        except ApiError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return
        self._resources[kind].put(updated)
