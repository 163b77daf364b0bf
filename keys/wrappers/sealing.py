"""Seal keys under a 32-byte key at hand (docs/formats/envelope.md 7.1 to 7.3).

What every wrapper does that has its root key in memory, wherever it got it
from: a file, a passphrase, shares.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag

from keys.envelope import NONCE_LENGTH, TAG_LENGTH, new_cipher
from keys.errors import DecryptionError
from keys.secret import SecretBytes

_VERSION = b"\x01"
_NONCE_END = 1 + NONCE_LENGTH
_FINGERPRINT_LABEL = b"piivault/root-fingerprint/v1"


class SealingKey:
    """AES-256-GCM with a random nonce under one key. Threads may share it.

    Raises MalformedError("key_length") unless the key is 32 bytes.
    """

    __slots__ = ("_cipher", "fingerprint")

    def __init__(self, key: SecretBytes) -> None:
        self._cipher = new_cipher(key)
        # A hash of 256 random bits tells nothing of them, and tells two keys apart.
        self.fingerprint = hashlib.sha256(_FINGERPRINT_LABEL + key.expose()).hexdigest()[:16]

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``."""
        nonce = os.urandom(NONCE_LENGTH)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext.expose(), context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause (envelope.md 7.3)."""
        if len(wrapped) < _NONCE_END + TAG_LENGTH or wrapped[:1] != _VERSION:
            raise DecryptionError
        try:
            return SecretBytes(self._cipher.decrypt(wrapped[1:_NONCE_END], wrapped[_NONCE_END:], context))
        except InvalidTag:
            raise DecryptionError from None
