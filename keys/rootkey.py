"""The root key: 256 random bits under which every named key lies (docs/formats/envelope.md 7).

What is guaranteed: it exists only sealed, by a wrapper for daily use and by
another for the day that one is lost, each bound to vault, version and slot;
and in the memory of an unsealed process. A named key opens only for its own
vault and name, under the root key of its time.
"""

from __future__ import annotations

import os
from enum import StrEnum
from hmac import compare_digest

from keys.context import encode_context, require_vault_id, u32, utf8
from keys.errors import DecryptionError, MalformedError, VerificationError
from keys.secret import KEY_LENGTH, SecretBytes
from keys.wrappers import KeyWrapper
from keys.wrappers.sealing import SealingKey

ROOT_KEY_LABEL = b"piivault/root-key/v1"


class RootSlot(StrEnum):
    """What a sealed copy of the root key is for."""

    LIVE = "live"
    RECOVERY = "recovery"


class RootKey:
    """One version of the root key, at hand. Threads may share it.

    Raises MalformedError("key_version") for one below 1, ("key_length") unless it is 32 bytes.
    """

    __slots__ = ("_sealing", "_secret", "version")

    def __init__(self, version: int, secret: SecretBytes) -> None:
        if version < 1:
            raise MalformedError("key_version")
        self.version = version
        self._secret = secret
        self._sealing = SealingKey(secret)

    @classmethod
    def generate(cls, version: int) -> RootKey:
        """Return a new random root key."""
        return cls(version, SecretBytes(os.urandom(KEY_LENGTH)))

    @classmethod
    def open(
        cls, wrapper: KeyWrapper, wrapped: bytes, *, vault_id: bytes, version: int, slot: RootSlot
    ) -> RootKey:
        """Return the root key that ``wrapper`` sealed.

        Raises DecryptionError for another wrapper's key, vault, version or slot
        and for altered bytes; WrapperUnavailableError.
        """
        secret = wrapper.unwrap(wrapped, root_key_context(vault_id, version, slot))
        try:
            return cls(version, secret)
        except MalformedError:
            raise DecryptionError from None

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell two root keys apart and say nothing of them."""
        return self._sealing.fingerprint

    def sealed_by(self, wrapper: KeyWrapper, *, vault_id: bytes, slot: RootSlot) -> bytes:
        """Return this root key as ``wrapper`` seals it. Raises WrapperUnavailableError, MalformedError."""
        return wrapper.wrap(self._secret, root_key_context(vault_id, self.version, slot))

    def require_same(self, other: RootKey) -> None:
        """Return if ``other`` is this key. Raises VerificationError. Constant time in the key."""
        if self.version != other.version or not compare_digest(self._secret.expose(), other._secret.expose()):
            raise VerificationError

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return a named key sealed and bound to ``context`` (envelope.md 7.1)."""
        return self._sealing.wrap(plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return a named key. Raises DecryptionError for every cause."""
        return self._sealing.unwrap(wrapped, context)


def root_key_context(vault_id: bytes, version: int, slot: RootSlot) -> bytes:
    """Return what binds a sealed root key to its vault, version and slot."""
    return encode_context(ROOT_KEY_LABEL, require_vault_id(vault_id), u32(version), utf8(slot.value))
