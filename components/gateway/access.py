"""Keys and passwords of the gateway's consumers, and its certificate.

A consumer that a policy `apiKey` names gets a key, one that a policy `basic` names a password; each
has one of both at most, whatever the number of policies. Values are only placed, never read: they
may be outputs.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence

from components import certificates
from components.gateway.routes import Gateway
from components.redis.access import password


def key_field(consumer: str) -> str:
    """The name under which a consumer's key is kept."""
    return f"key-{consumer}"


def password_field(consumer: str) -> str:
    """The name under which a consumer's password is kept."""
    return f"password-{consumer}"


def wanted(gateway: Gateway) -> list[str]:
    """Which keys and passwords there are, by the names under which they are kept; sorted."""
    keys = {c for policy in gateway.policies if policy.type == "apiKey" for c in policy.consumers}
    passwords = {
        c for policy in gateway.policies if policy.type == "basic" for c in policy.consumers
    }
    return sorted([*map(key_field, keys), *map(password_field, passwords)])


def shares(gateway: Gateway) -> bool:
    """Whether rates are counted in Redis."""
    return any(one.type == "rateLimit" and one.scope == "redis" for one in gateway.policies)


def complete(
    kept: Mapping[str, str],
    names: Sequence[str],
    credentials: Sequence[str],
    now: datetime.datetime,
    randbytes: Callable[[int], bytes] = secrets.token_bytes,
) -> dict[str, str]:
    """`credentials` and the fields of `components.certificates`: what `kept` lacks is made.

    `names` are the DNS names of the certificate.
    """
    values = {name: kept.get(name) or password(randbytes) for name in credentials}
    return values | certificates.complete(kept, "Gateway", names, now)


def htpasswd(passwords: Mapping[str, str]) -> str:
    """The file of users for NGINX's basic authentication; `passwords` by consumer.

    `{SSHA}` (RFC 2307), which is checked at every request: a slow hash would cost as much each time
    and protect nothing, for these passwords have 200 bits. The salt follows from the password, so
    that the same one gives the same file.
    """
    lines = []
    for consumer, value in sorted(passwords.items()):
        salt = hashlib.sha256(f"{consumer}:{value}".encode()).digest()[:8]
        digest = hashlib.sha1(value.encode() + salt).digest()  # noqa: S324 - see above
        lines.append(f"{consumer}:{{SSHA}}{base64.b64encode(digest + salt).decode()}")
    return "\n".join(lines) + "\n"
