"""Objects of a platform that has something wrong with it, as the API server gives them."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Object = dict[str, Any]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LONG_AGO = "2026-05-01T00:00:00Z"


def metadata(name: str, namespace: str = "team", **more: Any) -> Object:
    return {"name": name, "namespace": namespace, "creationTimestamp": LONG_AGO, **more}


def pod(name: str = "app", *containers: Object, **status: Any) -> Object:
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": LONG_AGO}
    return {
        "metadata": metadata(name),
        "spec": {},
        "status": {
            "phase": "Running",
            "conditions": [ready],
            "containerStatuses": list(containers),
            **status,
        },
    }


def container(image: str = "app:1", restarts: int = 3, **state: Any) -> Object:
    """A container's status; `state` is that of now, `last` that of the run before."""
    last = state.pop("last", None)
    return {
        "name": "main",
        "image": image,
        "imageID": "",
        "ready": False,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def event(
    kind: str, name: str, message: str, namespace: str = "team", at: str = LONG_AGO
) -> Object:
    return {
        "type": "Warning",
        "message": message,
        "lastTimestamp": at,
        "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
    }


def certificate(until: datetime) -> str:
    """Base64 of PEM, as Secrets and caBundles hold it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(until - timedelta(days=90))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def private_key() -> str:
    """Base64 of PEM of some key."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return base64.b64encode(pem).decode()
