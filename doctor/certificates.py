"""Certificates that have run out, are about to, or were not issued. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from doctor.model import (
    STARTING,
    Finding,
    Snapshot,
    condition,
    instant,
    name_of,
    namespace_of,
    place,
)

SOON: Final = timedelta(days=14)


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each Secret of TLS, and with each Certificate of cert-manager."""
    issued = {
        (namespace_of(body), str((body.get("spec") or {}).get("secretName"))): name_of(body)
        for body in snapshot.certificates
    }
    for secret in snapshot.tls_secrets:
        owner = issued.get((namespace_of(secret), name_of(secret)))
        where = place("Secret", secret)
        until = end_of((secret.get("data") or {}).get("tls.crt"))
        remedy = (
            f"cert-manager should renew it: look at its pods, and at the Certificate {owner}"
            if owner
            else "put a new certificate into the Secret"
        )
        yield from expiring(snapshot.now, until, where, remedy)
    for body in snapshot.certificates:
        ready = condition(body, "Ready")
        since = instant(ready.get("lastTransitionTime")) or instant(
            (body.get("metadata") or {}).get("creationTimestamp")
        )
        young = since is not None and snapshot.now - since < STARTING
        if ready.get("status") != "True" and not young:
            issuer = ((body.get("spec") or {}).get("issuerRef") or {}).get("name")
            yield Finding(
                "error",
                "certificate-not-issued",
                place("Certificate", body),
                f"it is not issued: {ready.get('message') or 'cert-manager has not looked at it'}",
                f"look at cert-manager's pods, and at the issuer {issuer}",
            )


def expiring(now: datetime, until: datetime | None, where: str, remedy: str) -> Iterator[Finding]:
    """What there is to say about a certificate that ends at that time."""
    if until is None or until - now >= SOON:
        return
    if until <= now:
        problem = f"its certificate ran out on {until:%Y-%m-%d %H:%M} UTC"
        yield Finding("error", "certificate-expired", where, problem, remedy)
    else:
        days = (until - now).days
        problem = f"its certificate runs out in {days} days, on {until:%Y-%m-%d %H:%M} UTC"
        yield Finding("warning", "certificate-expiring", where, problem, remedy)


def end_of(encoded: object) -> datetime | None:
    """When the first certificate of base64 of PEM ends, None for what is none."""
    try:
        pem = base64.b64decode(str(encoded or ""), validate=True)
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (binascii.Error, ValueError):
        return None
