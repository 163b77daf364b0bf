"""Holders of the root key, behind one interface: wrap, unwrap, describe."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from keys.secret import SecretBytes


class KeyWrapper(Protocol):
    """Seals the root key (or what stands in its place in a test) with something it does not hand out."""

    @property
    def kind(self) -> str:
        """Name of the sort of wrapper, as it stands in the settings and beside what it sealed."""
        ...

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``. Raises WrapperUnavailableError."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause, WrapperUnavailableError."""
        ...

    def describe(self) -> str:
        """Return one line for operators: what seals the root key, and which one; never a secret."""
        ...


@runtime_checkable
class RenewedWrapper(Protocol):
    """A wrapper that is let in for a time only, which it can prolong."""

    def renew(self) -> int:
        """Prolong it; return the seconds until the next call is due, half of what is left then.

        0 is never: it does not end. Raises WrapperUnavailableError.
        """
        ...
