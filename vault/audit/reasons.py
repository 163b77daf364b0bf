"""Reasons, sealed beside the log (docs/formats/envelope.md 6, log-entry.md 4).

The entry carries the hash of the ciphertext, so a reason can be erased without
breaking the log, and nobody can put another in its place.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from keys.errors import KeysError
from keys.keyring import Keyring
from keys.secret import SecretBytes

LABEL: Final = "reason"


def seal_reason(keyring: Keyring, entry_id: str, text: str, *, nonce: bytes) -> tuple[bytes, bytes]:
    """Return the SHA-256 of the ciphertext, and the ciphertext, of the reason of one entry.

    ``nonce`` is 12 bytes from the system's random generator, never used before.
    """
    sealed = keyring.staff_data.seal(LABEL, entry_id, nonce=nonce, data=SecretBytes(text.encode()))
    return sha256(sealed).digest(), sealed


def open_reason(keyring: Keyring, entry_id: str, sealed: bytes) -> str:
    """Return the reason of one entry; empty when it does not open."""
    try:
        return keyring.staff_data.open(LABEL, entry_id, sealed).expose().decode()
    except KeysError:
        return ""
