"""One writer of the log: numbers its units and binds them with a MAC (log-entry.md, units).

A writer's counter moves only when its unit is known to be durable, so a hole
in it proves that a unit was removed. When an outcome is unknown nobody can say
whether the number was used; the writer then ends and another begins.

Not thread-safe: a lane has its own, the journal guards its own with a lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keys.keyring import Keyring
from vault.audit.entry import Entry, encode
from vault.audit.merkle import leaf_hash
from vault.audit.receipt import LOG_SEAL, Receipt
from vault.domain.ids import LogIndex
from vault.storage.append import LogUnit

WRITER_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """Entries encoded as one unit, not yet in the log."""

    unit: LogUnit
    offsets: tuple[int, ...]
    """Position of each entry's first part within the unit."""
    leaf_hashes: tuple[tuple[bytes, ...], ...]
    """Leaf hashes of each entry, one per part."""
    entry_ids: tuple[str, ...]

    def receipts(self, first: int) -> tuple[Receipt, ...]:
        """Return a receipt per entry. To be called only when the unit is durable from index ``first``."""
        return tuple(
            Receipt(LogIndex(first + offset), leaves, entry_id, LOG_SEAL)
            for offset, leaves, entry_id in zip(self.offsets, self.leaf_hashes, self.entry_ids, strict=True)
        )


class Writer:
    """Drafts units under its own counter."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """End this counter and begin another under a new random id."""
        self._id = os.urandom(WRITER_LENGTH)
        self._next = 0

    def draft(self, entries: Sequence[Entry], keyring: Keyring) -> Draft:
        """Encode ``entries`` as one unit. Raises MalformedEntryError; the counter does not move yet."""
        bodies: list[bytes] = []
        leaves: list[bytes] = []
        offsets = []
        per_entry = []
        for entry in entries:
            parts = encode(entry)
            hashes = tuple(map(leaf_hash, parts))
            offsets.append(len(bodies))
            per_entry.append(hashes)
            bodies += parts
            leaves += hashes
        key = keyring.log_mac
        unit = LogUnit(
            writer=self._id,
            writer_seq=self._next,
            mac_version=key.active_version,
            mac=key.mac(self._id, self._next, leaves),
            leaves=leaves,
            bodies=bodies,
        )
        return Draft(unit, tuple(offsets), tuple(per_entry), tuple(entry.id for entry in entries))

    def durable(self) -> None:
        """Move the counter: the unit drafted last is durable."""
        self._next += 1
