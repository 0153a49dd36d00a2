"""Authorities of our own, and the certificates that they sign."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
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
        values = {name: kept[name] for name in (AUTHORITY, AUTHORITY_KEY)}
        if not due(kept.get(CERTIFICATE), names, now):
            return values | {name: kept[name] for name in (CERTIFICATE, KEY)}
    else:
        values = _authority(f"ml-platform {installation}", now)
    return values | _issue(installation.lower(), values, names, now)


def due(certificate: str | None, names: Sequence[str], now: datetime.datetime) -> bool:
    """Whether a certificate (PEM) is missing, is for other names, or ends within 90 days."""
    if not certificate:
        return True
    found = x509.load_pem_x509_certificate(certificate.encode())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = set(alternatives.get_values_for_type(x509.DNSName))
    return known != set(names) or found.not_valid_after_utc - _RENEW_BEFORE <= now


def _authority(common_name: str, now: datetime.datetime) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(name, name, key, now, _AUTHORITY_LIFE)
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
    return {AUTHORITY: _pem(certificate), AUTHORITY_KEY: _key_pem(key)}


def _issue(
    common_name: str, signer: Mapping[str, str], names: Sequence[str], now: datetime.datetime
) -> dict[str, str]:
    issuer = x509.load_pem_x509_certificate(signer[AUTHORITY].encode())
    issuer_key = serialization.load_pem_private_key(signer[AUTHORITY_KEY].encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the authority's key is {type(issuer_key).__name__}, expected an EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(subject, issuer.subject, key, now, _CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return {CERTIFICATE: _pem(certificate), KEY: _key_pem(key)}


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


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
