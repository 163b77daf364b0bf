"""Holders of the root key, behind one interface: wrap, unwrap, describe."""

from __future__ import annotations

from typing import Protocol

from keys.secret import SecretBytes


class KeyWrapper(Protocol):
    """Seals keys under a root key that it does not hand out."""

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``. Raises WrapperUnavailableError."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause, WrapperUnavailableError."""
        ...

    def describe(self) -> str:
        """Return one line for operators: what holds the root key, and a fingerprint, never the key."""
        ...
