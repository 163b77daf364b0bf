"""Passwords of staff as Argon2id verifiers (docs/formats/token.md 8, RFC 9106).

What is guaranteed: the verifier does not give the password short of guessing
at the cost of its parameters. What is not: a guess at a weak password; length
and blocklist belong to the layers above. Every call here takes a tenth of a
second and the memory of its parameters: bounded, and off the event loop.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from keys.context import utf8
from keys.errors import CredentialMismatchError, KeysError, MalformedError
from keys.secret import SecretText

_PREFIX = "$argon2id$"


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of one guess. The default is the second choice of RFC 9106 section 4, on one lane."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 1


class Passwords:
    """Makes and checks verifiers. Threads may share it."""

    __slots__ = ("_dummy", "_hasher")

    def __init__(self, parameters: Argon2Parameters | None = None) -> None:
        cost = parameters or Argon2Parameters()
        self._hasher = PasswordHasher(
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self._dummy = self._hasher.hash(secrets.token_bytes(32))

    def hash(self, password: SecretText) -> str:
        """Return the verifier to store. Raises MalformedError("text")."""
        return self._hasher.hash(_normalised(password))

    def verify(self, verifier: str, password: SecretText) -> None:
        """Return if ``password`` is the one ``verifier`` was made of.

        Raises CredentialMismatchError unless it is, MalformedError
        ("password_verifier") when what was stored is no Argon2id verifier.
        """
        if not verifier.startswith(_PREFIX):
            raise MalformedError("password_verifier")
        refusal = self._refusal(verifier, password)
        # Outside the handler: the library's frames, which the error would keep, hold the password.
        if refusal is not None:
            raise refusal

    def verify_nobody(self, password: SecretText) -> None:
        """Cost what ``verify`` costs, for an account that is not there, and raise CredentialMismatchError."""
        self.verify(self._dummy, password)

    def _refusal(self, verifier: str, password: SecretText) -> KeysError | None:
        try:
            self._hasher.verify(verifier, _normalised(password))
        except VerifyMismatchError:
            return CredentialMismatchError()
        except (InvalidHashError, VerificationError):
            return MalformedError("password_verifier")
        return None

    def needs_upgrade(self, verifier: str) -> bool:
        """Return whether ``verifier`` was made at another cost and is to be made anew at the next login.

        Raises MalformedError("password_verifier").
        """
        try:
            return self._hasher.check_needs_rehash(verifier)
        except InvalidHashError:
            raise MalformedError("password_verifier") from None


def _normalised(password: SecretText) -> bytes:
    # The same password typed on two keyboards must be the same bytes (NIST SP 800-63B 5.1.1.2).
    return utf8(normalize("NFKC", password.expose()))
