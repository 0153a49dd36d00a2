"""Certificates of one sandbox: authorities, leaf certificates, kubeconfigs.

Their keys, ECDSA P-256, Kubernetes and etcd take everywhere (service account tokens become ES256).
"""

from __future__ import annotations

import base64
import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from components import certificates

KeyPair = certificates.KeyPair
_LIFETIME = datetime.timedelta(days=3650)


def create_authority(common_name: str) -> KeyPair:
    """A self-signed certificate authority, for as long as a sandbox may live."""
    return certificates.create_authority(common_name, _now(), _LIFETIME)


def issue(
    authority: KeyPair,
    common_name: str,
    *,
    organizations: Sequence[str] = (),
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
) -> KeyPair:
    """A leaf certificate, for as long, for both ends of a connection.

    Kubernetes reads `common_name` as the user and `organizations` as its groups; `dns` and `ips`
    are what a client may dial.
    """
    return certificates.issue(
        authority, common_name, _now(), _LIFETIME, organizations=organizations, dns=dns, ips=ips
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def public_key(pair: KeyPair) -> bytes:
    """Public key of a certificate, PEM (what verifies service account tokens)."""
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    return certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def not_after(certificate: bytes) -> datetime.datetime:
    """End of validity of a PEM certificate, in UTC."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whatever the umask, replacing it in one step."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    temporary.replace(path)


def kubeconfig(server: str, authority: bytes, user: str, credentials: KeyPair, name: str) -> bytes:
    """Render a self-contained kubeconfig (JSON, which is YAML) with one cluster, user, context."""

    def encode(content: bytes) -> str:
        return base64.b64encode(content).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": server, "certificate-authority-data": encode(authority)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": encode(credentials.certificate),
                        "client-key-data": encode(credentials.key),
                    },
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        },
        indent=1,
    ).encode()
