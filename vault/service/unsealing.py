"""Unseal: what a sealed process waits for, and who may bring it from where.

Secrets come in as text and are wrapped here, at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keys.secret import SecretText
from vault.access import unsealing
from vault.access.networks import parse_networks, within
from vault.access.standing import Why
from vault.access.unsealing import SealState
from vault.domain.model import Origin

THIS_HOST: Final = ("127.0.0.0/8", "::1/128")
"""Where an unseal may come from unless the settings say more."""


class Unsealing:
    """Thread-safe."""

    def __init__(self, inner: unsealing.Unsealing) -> None:
        self._inner = inner

    def state(self) -> SealState:
        """Return how far it is. Raises UnavailableError."""
        return self._inner.state()

    def share(self, text: str, *, origin: Origin, now_us: int) -> int | None:
        """Take one share; return the log index of the unseal, None while more are needed.

        Raises InvalidInputError, ConflictError, TooManyAttemptsError, UnavailableError.
        """
        return self._inner.give_share(SecretText(text), origin=origin, now_us=now_us)

    def passphrase(self, text: str, *, origin: Origin, now_us: int) -> int:
        """Open by the passphrase; return the log index of the unseal. Takes an Argon2 hash.

        Raises InvalidInputError, ConflictError, TooManyAttemptsError, UnavailableError.
        """
        return self._inner.give_passphrase(SecretText(text), origin=origin, now_us=now_us)

    def drop(self) -> None:
        """Drop the shares collected."""
        self._inner.drop()


class Near:
    """The networks an unseal may come from. To everybody else there is no such route."""

    def __init__(self, networks: Iterable[str] = THIS_HOST) -> None:
        self._networks = parse_networks(networks)

    def __contains__(self, address: object) -> bool:
        # No network at all is nobody, where elsewhere it is no limit.
        return bool(self._networks) and isinstance(address, str) and within(address, self._networks)


__all__ = ["THIS_HOST", "Near", "SealState", "Unsealing", "Why"]
