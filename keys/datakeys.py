"""Wraps the data keys of subjects under an epoch of the wrapping key (docs/formats/envelope.md 5).

What is guaranteed: a wrapped key unwraps only for its own vault, subject,
generation, epoch and state. Whoever flips a subject's stored state, or swaps
two wrapped keys, gets nothing.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag

from keys.context import encode_context, require_vault_id
from keys.envelope import (
    HEADER_LENGTH,
    NONCE_END,
    NONCE_LENGTH,
    OVERHEAD,
    VALUE_VERSION,
    DataKey,
    new_cipher,
    new_header,
    number_in_header,
)
from keys.errors import DecryptionError, MalformedError, UnknownKeyVersionError
from keys.secret import KEY_LENGTH, SecretBytes

DATA_KEY_LABEL = b"piivault/data-key/v1"
WRAPPED_LENGTH = OVERHEAD + KEY_LENGTH

_PACK = struct.Struct(">HQHIHIHB").pack
"""Subject, generation, epoch and state, each with its length before it."""


class Binding(NamedTuple):
    """Whose data key it is. A named tuple, since one is made per subject on the hot path."""

    subject_id: int
    generation: int
    state: int
    """State of the subject, one byte: 0 open, 1 restricted, 2 archived."""


def generate_data_key() -> SecretBytes:
    """Return 32 bytes from the system's random generator."""
    return SecretBytes(os.urandom(KEY_LENGTH))


def epoch_of(wrapped: bytes) -> int:
    """Return the epoch in the header, which is public and not yet authenticated.

    Raises MalformedError("length") or ("version") (envelope.md 5.4).
    """
    if len(wrapped) != WRAPPED_LENGTH:
        raise MalformedError("length")
    return number_in_header(wrapped, VALUE_VERSION)


class WrappingKey:
    """One epoch of the wrapping key. Threads may share it.

    An epoch that is not active unwraps only: ``wrap`` raises.
    """

    __slots__ = ("_active", "_cipher", "_head", "_header", "epoch")

    def __init__(self, vault_id: bytes, epoch: int, key: SecretBytes, *, active: bool) -> None:
        self.epoch = epoch
        self._active = active
        self._header = new_header(VALUE_VERSION, epoch)
        self._cipher = new_cipher(key)
        self._head = encode_context(DATA_KEY_LABEL, require_vault_id(vault_id))

    def wrap(self, binding: Binding, nonce: bytes, key: SecretBytes) -> bytes:
        """Return ``key`` wrapped for ``binding``: 65 bytes.

        Raises UnknownKeyVersionError unless the epoch is active, MalformedError
        ("nonce_length", "key_length" or "id_range").
        """
        if not self._active:
            raise UnknownKeyVersionError(f"wrapping//{self.epoch}")
        if len(nonce) != NONCE_LENGTH:
            raise MalformedError("nonce_length")
        if len(key.expose()) != KEY_LENGTH:
            raise MalformedError("key_length")
        return self._header + nonce + self._cipher.encrypt(nonce, key.expose(), self._context(binding))

    def unwrap(self, binding: Binding, wrapped: bytes) -> DataKey:
        """Return the data key, ready for use. Raises DecryptionError for every cause (envelope.md 5.4)."""
        return DataKey(binding.generation, self._unwrap(binding, wrapped))

    def rewrap(
        self, binding: Binding, wrapped: bytes, *, to: WrappingKey, nonce: bytes, state: int | None = None
    ) -> bytes:
        """Return the same data key wrapped under the epoch ``to``, and for ``state`` if one is given.

        ``to`` may be this epoch, when only the state changes. The key itself does
        not leave this call. Raises what ``unwrap`` and ``wrap`` raise.
        """
        key = self._unwrap(binding, wrapped)
        return to.wrap(binding if state is None else binding._replace(state=state), nonce, key)

    def _unwrap(self, binding: Binding, wrapped: bytes) -> SecretBytes:
        if len(wrapped) != WRAPPED_LENGTH or wrapped[:HEADER_LENGTH] != self._header:
            raise DecryptionError
        nonce, sealed = wrapped[HEADER_LENGTH:NONCE_END], wrapped[NONCE_END:]
        try:
            return SecretBytes(self._cipher.decrypt(nonce, sealed, self._context(binding)))
        except (InvalidTag, MalformedError):
            # A binding out of range can only be a stored row that was changed.
            raise DecryptionError from None

    def _context(self, binding: Binding) -> bytes:
        subject_id, generation, state = binding
        try:
            return self._head + _PACK(8, subject_id, 4, generation, 4, self.epoch, 1, state)
        except struct.error:
            raise MalformedError("id_range") from None
