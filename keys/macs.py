"""Authentication codes of authority rows and log units (docs/formats/envelope.md 9).

What is guaranteed: a row or unit that someone with the database alone has
inserted, changed or moved does not verify. What is not: an old row put back
with its own old code verifies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hmac import compare_digest

from cryptography.hazmat.primitives.hmac import HMAC

from keys.context import encode_context, require_vault_id, u32, u64, utf8
from keys.errors import MalformedError, UnknownKeyVersionError, VerificationError
from keys.hmac256 import mac, new_hmac
from keys.secret import SecretBytes

AUTHORITY_LABEL = b"piivault/authority/v1"
LOG_UNIT_LABEL = b"piivault/log-unit/v1"
WRITER_LENGTH = 16
LEAF_LENGTH = 32


class MacKeys:
    """Every version of one kind of key that may still verify; the active one also writes.

    Threads may share it.
    """

    __slots__ = ("_active", "_keyed", "_kind")

    def __init__(self, kind: str, active: int | None, verifying: Iterable[tuple[int, SecretBytes]]) -> None:
        self._kind = kind
        self._active = active
        newest_first = sorted(verifying, key=lambda item: (item[0] == active, item[0]), reverse=True)
        self._keyed: dict[int, HMAC] = {version: new_hmac(key) for version, key in newest_first}

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions that may verify: the active one first, then from new to old."""
        return tuple(self._keyed)

    @property
    def active_version(self) -> int:
        """Version that writes. Raises UnknownKeyVersionError when none is active."""
        if self._active is None:
            raise UnknownKeyVersionError(f"{self._kind}//active")
        return self._active

    def mac(self, message: bytes) -> bytes:
        """Return the 32-byte code under the active version. Raises UnknownKeyVersionError."""
        return mac(self._keyed[self.active_version], message)

    def mac_under(self, version: int, message: bytes) -> bytes:
        """Return the 32-byte code under ``version``. Raises UnknownKeyVersionError."""
        keyed = self._keyed.get(version)
        if keyed is None:
            raise UnknownKeyVersionError(f"{self._kind}//{version}")
        return mac(keyed, message)

    def verify(self, message: bytes, code: bytes) -> int:
        """Return the key version under which ``code`` is that of ``message``.

        Raises VerificationError when there is none, and UnknownKeyVersionError
        when no version may verify at all. Constant time in the code.
        """
        if not self._keyed:
            raise UnknownKeyVersionError(f"{self._kind}//any")
        for version, keyed in self._keyed.items():
            if compare_digest(mac(keyed, message), code):
                return version
        raise VerificationError


class AuthorityKeys:
    """Codes of the rows that decisions read (envelope.md 9.1)."""

    __slots__ = ("_head", "_keys")

    def __init__(self, vault_id: bytes, keys: MacKeys) -> None:
        self._head = encode_context(AUTHORITY_LABEL, require_vault_id(vault_id))
        self._keys = keys

    @property
    def active_version(self) -> int:
        """Key version that writes. Raises UnknownKeyVersionError when none is active."""
        return self._keys.active_version

    def mac(self, table: str, row_id: str, *, version: int, row: bytes) -> bytes:
        """Return the 32-byte code of a row: ``version`` is the row's own, ``row`` its canonical bytes.

        Raises UnknownKeyVersionError when no key is active, MalformedError
        ("text", "id_range", "part_length").
        """
        return self._keys.mac(self._message(table, row_id, version, row))

    def codes(self, table: str, row_id: str, *, version: int, row: bytes) -> tuple[bytes, ...]:
        """Return the code under each key that may verify, the active one's first: what to look a row up by.

        Raises MalformedError as ``mac`` does.
        """
        message = self._message(table, row_id, version, row)
        return tuple(self._keys.mac_under(number, message) for number in self._keys.versions)

    def verify(self, table: str, row_id: str, *, version: int, row: bytes, code: bytes) -> int:
        """Return the version of the key under which ``code`` is that of the row.

        Raises VerificationError unless it is; otherwise as ``mac``.
        """
        return self._keys.verify(self._message(table, row_id, version, row), code)

    def _message(self, table: str, row_id: str, version: int, row: bytes) -> bytes:
        return self._head + encode_context(utf8(table), utf8(row_id), u64(version), row)


class LogMacKeys:
    """Codes of log units (envelope.md 9.2)."""

    __slots__ = ("_head", "_keys")

    def __init__(self, vault_id: bytes, keys: MacKeys) -> None:
        self._head = encode_context(LOG_UNIT_LABEL, require_vault_id(vault_id))
        self._keys = keys

    @property
    def active_version(self) -> int:
        """Key version that writes. Raises UnknownKeyVersionError when none is active."""
        return self._keys.active_version

    def mac(self, writer: bytes, counter: int, leaf_hashes: Sequence[bytes]) -> bytes:
        """Return the 32-byte code of a unit: 16 bytes of writer id, its own counter, 32-byte leaf hashes.

        Raises UnknownKeyVersionError when no key is active, MalformedError
        ("writer_id", "leaf_hash", "id_range").
        """
        return self._keys.mac(self._message(writer, counter, leaf_hashes))

    def verify(self, writer: bytes, counter: int, leaf_hashes: Sequence[bytes], *, code: bytes) -> int:
        """Return the version of the key under which ``code`` is that of the unit.

        Raises VerificationError unless it is; otherwise as ``mac``.
        """
        return self._keys.verify(self._message(writer, counter, leaf_hashes), code)

    def _message(self, writer: bytes, counter: int, leaf_hashes: Sequence[bytes]) -> bytes:
        if len(writer) != WRITER_LENGTH:
            raise MalformedError("writer_id")
        if set(map(len, leaf_hashes)) != {LEAF_LENGTH}:
            raise MalformedError("leaf_hash")
        leaves = b"".join(leaf_hashes)
        return self._head + encode_context(writer, u64(counter)) + u32(len(leaves)) + leaves
