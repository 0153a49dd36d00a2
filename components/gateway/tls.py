"""Certificates of the gateway's hosts: which Secret holds each, and who fills it. Pure.

cert-manager's API: https://cert-manager.io/docs/reference/api-docs/
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from components.gateway.routes import AcmeTls, Gateway, Host, IssuerTls, OwnCaTls, SecretTls

Object = dict[str, Any]

OWN_SECRET: Final = "gateway-tls"  # noqa: S105 - a name
"""Of the certificate that the gateway's own authority signed, which hosts without another one show
too."""
AUTHORITY: Final = "gateway-ca"
"""The issuer of cert-manager that the gateway brings: an authority which signs itself."""
_API: Final = "cert-manager.io/v1"


def secret_names(gateway: Gateway) -> dict[str, str]:
    """The Secret of each host with TLS, by the host's name."""
    return {host.name: _secret(host) for host in gateway.hosts if host.tls is not None}


def own_names(gateway: Gateway, service: str) -> list[str]:
    """The DNS names of the gateway's own certificate: its Service's, and of the hosts that ask."""
    hosts = [host.name for host in gateway.hosts if isinstance(host.tls, OwnCaTls)]
    return sorted({service, *hosts})


def asks_cert_manager(gateway: Gateway) -> list[str]:
    """The hosts whose certificates are cert-manager's."""
    return [h.name for h in gateway.hosts if isinstance(h.tls, IssuerTls | AcmeTls)]


def asks_acme(gateway: Gateway) -> bool:
    """Whether a host has its certificate by ACME."""
    return any(isinstance(host.tls, AcmeTls) for host in gateway.hosts)


def objects(gateway: Gateway, namespace: str, ingress_class: str) -> list[Object]:
    """Certificates and the issuers that the gateway brings itself."""
    found: dict[str, Object] = {}
    for host in gateway.hosts:
        if isinstance(host.tls, IssuerTls):
            if (host.tls.kind, host.tls.name) == ("Issuer", AUTHORITY):
                found |= {_key(body): body for body in _authority(namespace)}
            issuer = {"kind": host.tls.kind, "name": host.tls.name}
        elif isinstance(host.tls, AcmeTls):
            body = _acme(host.tls, namespace, ingress_class)
            found[_key(body)] = body
            issuer = {"kind": "Issuer", "name": body["metadata"]["name"]}
        else:
            continue
        certificate = _certificate(_secret(host), namespace, [host.name], issuer)
        found[_key(certificate)] = certificate
    return list(found.values())


def _secret(host: Host) -> str:
    if isinstance(host.tls, SecretTls):
        return host.tls.name
    if isinstance(host.tls, OwnCaTls):
        return OWN_SECRET
    plain = host.name.replace("*", "any").replace(".", "-")
    if len(plain) > 50 or "*" in host.name:
        plain = f"{plain[:41]}-{hashlib.sha256(host.name.encode()).hexdigest()[:8]}"
    return f"{plain}-tls"


def _authority(namespace: str) -> Sequence[Object]:
    """An authority: it signs itself, and is an issuer then."""
    root = f"{AUTHORITY}-root"
    certificate = _certificate(AUTHORITY, namespace, [], {"kind": "Issuer", "name": root})
    certificate["spec"] |= {"isCA": True, "commonName": "ml-platform gateway", "duration": "87600h"}
    return (
        _issuer(root, namespace, {"selfSigned": {}}),
        certificate,
        _issuer(AUTHORITY, namespace, {"ca": {"secretName": AUTHORITY}}),
    )


def _acme(tls: AcmeTls, namespace: str, ingress_class: str) -> Object:
    account = hashlib.sha256(f"{tls.server} {tls.email}".encode()).hexdigest()[:8]
    name = f"gateway-acme-{account}"
    solver = {"http01": {"ingress": {"ingressClassName": ingress_class}}}
    return _issuer(
        name,
        namespace,
        {
            "acme": {
                "server": tls.server,
                "email": tls.email,
                "privateKeySecretRef": {"name": name},
                "solvers": [solver],
            }
        },
    )


def _issuer(name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": _API, "kind": "Issuer", "metadata": metadata, "spec": spec}


def _certificate(name: str, namespace: str, names: Sequence[str], issuer: Object) -> Object:
    """A Certificate whose Secret has the same name."""
    spec: Object = {
        "secretName": name,
        "issuerRef": issuer,
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
    }
    if names:
        spec["dnsNames"] = list(names)
    return {
        "apiVersion": _API,
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _key(body: Object) -> str:
    return f"{body['kind']}/{body['metadata']['name']}"
