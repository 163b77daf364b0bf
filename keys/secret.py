"""Secret bytes and texts that do not show themselves by accident.

A secret prints as ``<secret>`` in ``repr``, ``str`` and every format; it is not
pickled, copied, compared, hashed or iterated; ``expose`` is the one way to what
it holds, so that a search for that word finds every place. Code that may raise
keeps no exposed value in a local variable: error reporters collect those.

It does not wipe memory: Python cannot (docs/formats/envelope.md 11).
"""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar, final

T = TypeVar("T", bytes, str)

REDACTED = "<secret>"
KEY_LENGTH = 32
"""Bytes of every key here: AES-256, HMAC-SHA256 and Ed25519 seeds (envelope.md 1.6)."""


class _Secret(Generic[T]):
    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: T = value

    def expose(self) -> T:
        """Return what the secret holds. The caller keeps it out of logs, errors and responses."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, _spec: str) -> str:
        return REDACTED

    def __eq__(self, _other: object) -> NoReturn:
        # An equality of secrets would not be constant in time; whoever compares exposes and says how.
        raise TypeError("secrets are not compared")

    def __hash__(self) -> NoReturn:
        raise TypeError("secrets are not hashed")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        # copy and pickle both come through here.
        raise TypeError("secrets are not copied or pickled")


@final
class SecretBytes(_Secret[bytes]):
    """Bytes of a key, or of something as secret as one."""

    __slots__ = ()


@final
class SecretText(_Secret[str]):
    """A password, a credential or another text as secret as one."""

    __slots__ = ()
