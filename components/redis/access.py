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

from components import certificates

USERS: Final = ("app", "reader", "replica", "sentinel", "exporter", "health", "admin")
FIELDS: Final = (
    *(f"{user}_password" for user in USERS),
    *certificates.FIELDS,
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

    `names` are the DNS names of the certificate, see `components.certificates.complete`.
    """
    values = {
        password_field(user): kept.get(password_field(user)) or password(randbytes)
        for user in USERS
    }
    return values | certificates.complete(kept, "Redis", names, now)


def _acl(rules: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    lines = ["user default reset off"]
    for user, rule in rules.items():
        digest = hashlib.sha256(passwords[user].encode()).hexdigest()
        lines.append(f"user {user} reset on #{digest} {rule}")
    return "\n".join(lines) + "\n"


def password(randbytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new password of 200 bits: letters and digits, for files of configuration and URIs."""
    return base64.b32encode(randbytes(25)).decode().rstrip("=").lower()
