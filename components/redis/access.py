"""Users, passwords and certificates of a Redis installation.

Users and what they may do, after https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/

| user | may |
| --- | --- |
| default | nothing: it is off |
| app | read and write every key; nothing that administers or endangers the server |
| reader | read every key |
| replica | copy a master: also a backup does |
| sentinel | watch, promote and reconfigure |
| exporter | read statistics, no key and no setting (`CONFIG GET` would tell passwords) |
| health | PING and INFO, for probes and proxies |
| admin | everything |
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USERS: Final = ("app", "reader", "replica", "sentinel", "exporter", "health", "admin")
AUTHORITY, AUTHORITY_KEY = "ca_certificate", "ca_key"
CERTIFICATE, KEY = "certificate", "key"
FIELDS: Final = (
    *(f"{user}_password" for user in USERS),
    AUTHORITY,
    AUTHORITY_KEY,
    CERTIFICATE,
    KEY,
)
"""What `complete` makes: `<user>_password` of each user, certificates and keys as PEM."""

_CLUSTER_TOPOLOGY = "+cluster|slots +cluster|shards +cluster|nodes +cluster|myid +cluster|keyslot"
_RULES: Final[Mapping[str, str]] = {
    "app": f"~* &* +@all -@admin -@dangerous +info +role +sort +sort_ro {_CLUSTER_TOPOLOGY}",
    "reader": "%R~* &* +@read +@connection +@transaction +subscribe +psubscribe +unsubscribe "
    f"+punsubscribe +wait -@admin -@dangerous +info {_CLUSTER_TOPOLOGY}",
    "replica": "+psync +sync +replconf +ping",
    "sentinel": "&* +multi +exec +slaveof +replicaof +ping +subscribe +config|rewrite +role "
    "+publish +info +client|setname +client|kill +script|kill",
    "exporter": "+ping +info +slowlog|get +slowlog|len +latency|latest +latency|histogram "
    "+memory|stats +client|setname +select +cluster|info +cluster|slots +cluster|nodes +dbsize",
    "health": "+ping +info",
    "admin": "~* &* +@all",
}
# What a Sentinel lets in: other Sentinels, and clients that ask for the master.
_SENTINEL_RULES: Final[Mapping[str, str]] = {
    "app": "&* +ping +info +role +subscribe +psubscribe +unsubscribe +punsubscribe +client|setname "
    "+sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas "
    "+sentinel|slaves +sentinel|sentinels",
    "sentinel": "&* +@all",
    "health": "+ping +info",
    "admin": "&* +@all",
}

_AUTHORITY_LIFE = datetime.timedelta(days=3650)
# The longest that clients of the web's authorities accept.
_CERTIFICATE_LIFE = datetime.timedelta(days=825)
_RENEW_BEFORE = datetime.timedelta(days=90)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


def password_field(user: str) -> str:
    """The name under which a user's password is kept."""
    return f"{user}_password"


def acl(passwords: Mapping[str, str]) -> str:
    """An ACL file for Redis with hashed passwords; `passwords` by user."""
    return _acl(_RULES, passwords)


def sentinel_acl(passwords: Mapping[str, str]) -> str:
    """An ACL file for a Sentinel."""
    return _acl(_SENTINEL_RULES, passwords)


def complete(
    kept: Mapping[str, str],
    names: Sequence[str],
    now: datetime.datetime,
    randbytes: Callable[[int], bytes] = secrets.token_bytes,
) -> dict[str, str]:
    """All of `FIELDS`: those in `kept` as they are, the missing ones new.

    The certificate is made anew when its names are not `names` (DNS names), when the authority is
    not its issuer, and 90 days before it ends; it serves for both ends of a connection.
    """
    values = {
        password_field(user): kept.get(password_field(user)) or _password(randbytes)
        for user in USERS
    }
    if not (kept.get(AUTHORITY) and kept.get(AUTHORITY_KEY)):
        kept = {key: value for key, value in kept.items() if key not in (CERTIFICATE, KEY)}
        values |= _authority(now)
    else:
        values |= {name: kept[name] for name in (AUTHORITY, AUTHORITY_KEY)}
    if due(kept.get(CERTIFICATE), names, now):
        values |= _issue(values[AUTHORITY], values[AUTHORITY_KEY], names, now)
    else:
        values |= {name: kept[name] for name in (CERTIFICATE, KEY)}
    return values


def due(certificate: str | None, names: Sequence[str], now: datetime.datetime) -> bool:
    """Whether a certificate (PEM) is missing, is for other names, or ends within 90 days."""
    if not certificate:
        return True
    found = x509.load_pem_x509_certificate(certificate.encode())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = set(alternatives.get_values_for_type(x509.DNSName))
    return known != set(names) or found.not_valid_after_utc - _RENEW_BEFORE <= now


def _acl(rules: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    lines = ["user default reset off"]
    for user, rule in rules.items():
        digest = hashlib.sha256(passwords[user].encode()).hexdigest()
        lines.append(f"user {user} reset on #{digest} {rule}")
    return "\n".join(lines) + "\n"


def _password(randbytes: Callable[[int], bytes]) -> str:
    # Letters and digits only: the values go through configuration files and URIs.
    return base64.b32encode(randbytes(25)).decode().rstrip("=").lower()


def _authority(now: datetime.datetime) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ml-platform Redis")])
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
    authority: str, authority_key: str, names: Sequence[str], now: datetime.datetime
) -> dict[str, str]:
    issuer = x509.load_pem_x509_certificate(authority.encode())
    issuer_key = serialization.load_pem_private_key(authority_key.encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the authority's key is {type(issuer_key).__name__}, expected an EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
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
