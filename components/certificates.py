"""Authorities of our own, and the certificates that they sign."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, AUTHORITY_KEY = "ca_certificate", "ca_key"
CERTIFICATE, KEY = "certificate", "key"
FIELDS: Final = (AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)
"""What `complete` makes, all of it as PEM."""

_AUTHORITY_LIFE = datetime.timedelta(days=3650)
# The longest that clients of the web's authorities accept.
_CERTIFICATE_LIFE = datetime.timedelta(days=825)
_RENEW_BEFORE = datetime.timedelta(days=90)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def complete(
    kept: Mapping[str, str],
    installation: str,
    names: Sequence[str],
    now: datetime.datetime,
) -> dict[str, str]:
    """All of `FIELDS`: those in `kept` as they are, the missing ones new.

    The certificate is made anew when its names are not `names` (DNS names), when the authority is
    not its issuer, and 90 days before it ends; it serves for both ends of a connection.
    `installation` is what the authority is named after, like "Redis"; the certificate's common name
    is the same in lower case.
    """
    if kept.get(AUTHORITY) and kept.get(AUTHORITY_KEY):
        authority = KeyPair(kept[AUTHORITY].encode(), kept[AUTHORITY_KEY].encode())
        if not due(kept.get(CERTIFICATE), names, now):
            return {name: kept[name] for name in FIELDS}
    else:
        authority = create_authority(f"ml-platform {installation}", now, _AUTHORITY_LIFE)
    pair = issue(authority, installation.lower(), now, _CERTIFICATE_LIFE, dns=names)
    values = (authority.certificate, authority.key, pair.certificate, pair.key)
    return {name: value.decode() for name, value in zip(FIELDS, values, strict=True)}


def due(certificate: str | None, names: Sequence[str], now: datetime.datetime) -> bool:
    """Whether a certificate (PEM) is missing, is for other names, or ends within 90 days."""
    if not certificate:
        return True
    found = x509.load_pem_x509_certificate(certificate.encode())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = set(alternatives.get_values_for_type(x509.DNSName))
    return known != set(names) or found.not_valid_after_utc - _RENEW_BEFORE <= now


def create_authority(common_name: str, now: datetime.datetime, life: datetime.timedelta) -> KeyPair:
    """A self-signed authority of leaf certificates. Its key, as all here, is ECDSA P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(name, name, key, now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issue(
    authority: KeyPair,
    common_name: str,
    now: datetime.datetime,
    life: datetime.timedelta,
    *,
    organizations: Sequence[str] = (),
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
) -> KeyPair:
    """A leaf certificate for both ends of a connection; `dns` and `ips` are what a client dials.

    Raises TypeError when the authority's key is not an EC key.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the authority's key is {type(issuer_key).__name__}, expected an EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
        # X.520 allows a common name of 64 characters; longer names live in the alternative names.
        + [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]
    )
    builder = (
        _builder(subject, issuer.subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
