"""Secrets under a passphrase: AES-256-GCM (NIST SP 800-38D), the key by scrypt (RFC 7914).

A file is `mlpb1` + salt (16 bytes) + nonce (12 bytes) + what is encrypted, with its tag.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from backup.model import BackupError

_MAGIC: Final = b"mlpb1"
_SALT, _NONCE = 16, 12


def encrypted(content: bytes, passphrase: str) -> bytes:
    """A file that only who knows the passphrase can read or change."""
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MAGIC + salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, content, _MAGIC)


def decrypted(file: bytes, passphrase: str) -> bytes:
    """What was encrypted.

    Raises:
        BackupError: the passphrase is another, or the file was changed.
    """
    salt, rest = file[len(_MAGIC) : len(_MAGIC) + _SALT], file[len(_MAGIC) + _SALT :]
    if not file.startswith(_MAGIC) or len(rest) < _NONCE:
        raise BackupError("the file of Secrets is of a form that this program does not know")
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(rest[:_NONCE], rest[_NONCE:], _MAGIC)
    except InvalidTag:
        raise BackupError(
            "the Secrets can't be decrypted: the passphrase is another than the backup's"
        ) from None


def _key(passphrase: str, salt: bytes) -> bytes:
    # 32 MiB and a tenth of a second: a guess costs as much.
    return Scrypt(salt=salt, length=32, n=1 << 15, r=8, p=1).derive(passphrase.encode())
