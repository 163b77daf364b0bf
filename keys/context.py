"""Contexts: what binds a ciphertext or a MAC to its place (docs/formats/envelope.md 2).

Parts are length-prefixed, so no two lists of parts give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import repeat

from keys.errors import MalformedError

MAX_PART = 0xFFFF
VAULT_ID_LENGTH = 16

_U16 = struct.Struct(">H").pack
_U64 = struct.Struct(">Q").pack
_EIGHT = _U16(8)

ENVELOPE_LABEL = b"piivault/envelope/v1"


def encode_context(*parts: bytes) -> bytes:
    """Return the parts, each with its length before it. Raises MalformedError("part_length")."""
    return b"".join(map(part, parts))


def part(value: bytes) -> bytes:
    """Return one part of a context. Raises MalformedError("part_length") over 65,535 bytes."""
    if len(value) > MAX_PART:
        raise MalformedError("part_length")
    return _U16(len(value)) + value


def utf8(text: str) -> bytes:
    """Return the UTF-8 form of ``text``. Raises MalformedError("text") for a lone surrogate."""
    encoded = _encoded(text)
    if encoded is None:
        # Outside the handler: the codec's error carries the text, and an error raised there keeps it.
        raise MalformedError("text")
    return encoded


def _encoded(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def u32(number: int) -> bytes:
    """Return four big-endian bytes. Raises MalformedError("id_range")."""
    return _unsigned(number, 4)


def u64(number: int) -> bytes:
    """Return eight big-endian bytes. Raises MalformedError("id_range")."""
    return _unsigned(number, 8)


def _unsigned(number: int, length: int) -> bytes:
    try:
        return number.to_bytes(length, "big")
    except OverflowError:
        raise MalformedError("id_range") from None


def require_vault_id(vault_id: bytes) -> bytes:
    """Return ``vault_id``. Raises MalformedError("vault_id") unless it is 16 bytes."""
    if len(vault_id) != VAULT_ID_LENGTH:
        raise MalformedError("vault_id")
    return vault_id


class ValueContext:
    """Builds the associated data of value envelopes of one vault (envelope.md 4.2).

    Everything that does not change between values is laid out once: the vault
    here, a field by ``field_part``. Immutable, so threads may share it.
    """

    __slots__ = ("_head",)

    def __init__(self, vault_id: bytes) -> None:
        self._head = encode_context(ENVELOPE_LABEL, require_vault_id(vault_id)) + _EIGHT

    def field_part(self, name: str) -> bytes:
        """Return the part of a field that ``value`` takes; the caller keeps it per field."""
        return part(utf8(name)) + _EIGHT

    def values(
        self, subject_ids: Sequence[int], field_parts: Sequence[bytes], record_ids: Sequence[int]
    ) -> list[bytes]:
        """Return ``value`` of each. HOT.

        Raises MalformedError("id_range"), ValueError for columns of different lengths.
        """
        if not len(subject_ids) == len(field_parts) == len(record_ids):
            raise ValueError("the columns are not of one length")
        head = self._head
        lengths = set(map(len, field_parts))
        try:
            if len(lengths) == 1:
                pack = struct.Struct(f">{len(head)}sQ{lengths.pop()}sQ").pack
                return list(map(pack, repeat(head), subject_ids, field_parts, record_ids))
            rows = zip(subject_ids, field_parts, record_ids, strict=True)
            return [head + _U64(subject) + field_part + _U64(record) for subject, field_part, record in rows]
        except struct.error:
            raise MalformedError("id_range") from None

    def value(self, subject_id: int, field_part: bytes, record_id: int) -> bytes:
        """Return the associated data of one value. Raises MalformedError("id_range")."""
        try:
            return self._head + _U64(subject_id) + field_part + _U64(record_id)
        except struct.error:
            raise MalformedError("id_range") from None
