"""Keyed digests for equality search (docs/formats/envelope.md 8).

What is guaranteed: equal values of one field have equal digests under one key,
and without the key a digest says nothing. What is not: whoever can ask for
digests can test guesses, so the layers above budget misses and give
enumerated fields none.
"""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import normalize

from keys.context import utf8
from keys.hmac256 import new_hmac
from keys.secret import SecretBytes

DIGEST_LENGTH = 16


class LookupKey:
    """One version of the lookup key of one field. Threads may share it."""

    __slots__ = ("_keyed", "scope", "version")

    def __init__(self, scope: str, version: int, key: SecretBytes) -> None:
        self.scope = scope
        self.version = version
        self._keyed = new_hmac(key)

    def digest(self, value: str) -> bytes:
        """Return the 16-byte digest of a normalised value. Raises MalformedError("text")."""
        return self.digest_all((value,))[0]

    def digest_all(self, values: Iterable[str]) -> list[bytes]:
        """Return the digest of each of ``values``. Raises MalformedError("text"). HOT."""
        digests = []
        copy = self._keyed.copy
        for value in values:
            # As keys.hmac256.mac, but without a call for each.
            running = copy()
            running.update(utf8(value if value.isascii() else normalize("NFC", value)))
            digests.append(running.finalize()[:DIGEST_LENGTH])
        return digests
