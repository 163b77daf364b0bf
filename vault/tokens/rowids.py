"""Dense row ids for subjects and tokens (docs/formats/token.md, row ids).

A row id is a partition (7 bits) and a sequence number (56 bits) within it. A
process reserves blocks of numbers; what a crash leaves unused is never given
out, which costs nothing: the log index, not the row id, is what has no gaps.
A restored database may hand out a number again; the row's nonce keeps an old
token text from opening the new row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vault.storage.hot import HotConnection

SEQUENCE_BITS: Final = 56
PARTITIONS: Final = 8
"""Partitions in use. New subjects go round them; a token lives in the partition of its subject."""

BLOCK: Final = 10_000


class RowIds:
    """Hands out row ids. Belongs to the lane's thread."""

    def __init__(self) -> None:
        self._next = [0] * PARTITIONS
        self._end = [0] * PARTITIONS
        self._turn = 0

    def subject(self, connection: HotConnection) -> int:
        """Return the id of a new subject, in the partition whose turn it is."""
        self._turn = (self._turn + 1) % PARTITIONS
        return self._take(self._turn, connection)

    def tokens(self, subject_ids: Iterable[int], connection: HotConnection) -> list[int]:
        """Return the id of a new token of each of ``subject_ids``. HOT."""
        take = self._take
        return [take(subject_id >> SEQUENCE_BITS, connection) for subject_id in subject_ids]

    def _take(self, partition: int, connection: HotConnection) -> int:
        if self._next[partition] == self._end[partition]:
            start = connection.take_ids(partition, BLOCK)
            self._next[partition], self._end[partition] = start, start + BLOCK
        sequence = self._next[partition]
        self._next[partition] = sequence + 1
        return partition << SEQUENCE_BITS | sequence
