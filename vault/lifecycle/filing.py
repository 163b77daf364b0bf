"""File the tombstones of the table outside the database, before a checkpoint that covers them is kept there.

Every node does it for its own file. What is filed has been verified by its MAC,
without holes. A row that is missing or altered stops the filing, and with it
the checkpoint outside, until an operator has looked at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keys.keyring import Keyring
from vault.access.alarms import Alarms
from vault.access.sealing import Alarm, verify
from vault.audit.integrator import log_keys
from vault.audit.tombstone_file import Seen, TombstoneFile
from vault.audit.tombstones import Tombstone
from vault.domain.errors import TamperDetectedError
from vault.storage.database import Connection, Database
from vault.storage.tombstones import TombstoneRow, tombstones_from

PAGE: Final = 1_000
AGAIN_US: Final = 600 * 1_000_000
"""So often the whole file is compared with the whole table."""


class Filing:
    """The tombstone file of this host. The upkeep of a process calls it, one call at a time."""

    def __init__(self, database: Database, file: TombstoneFile, alarms: Alarms) -> None:
        self._database = database
        self._file = file
        self._alarms = alarms
        self._next_whole = 0
        self.filed = 0
        """Tombstones that are in the file, on disk and counted by its head."""

    def file(self, keyring: Keyring, size: int, now_us: int) -> None:
        """Bring the file up to the table, complete through ``size`` entries of the log.

        Lines that the file has lost are written again, and that is an alarm.
        Raises TamperDetectedError when a row is missing or altered, when a line
        is, or when the file holds more than the table: the database is older
        then. UnavailableError when the file cannot be written.
        """
        if now_us >= self._next_whole:
            self._file.forget()
            self._next_whole = now_us + AGAIN_US
        with self._file.hold(log_keys(keyring)) as seen:
            with self._database.reading() as connection:
                known = self._database.counter(connection).next_index
                missing = _missing(connection, keyring, seen)
            if known < size:
                raise TamperDetectedError("the database is older than the tombstone file", table="tombstone")
            self._file.append(missing, size, keyring.signer, *keyring.signers[1:])
        self.filed = seen.start + len(seen.fresh) + len(missing)
        if seen.lost:
            self._alarms.report([Alarm("tombstone_file", str(seen.lost))], now_us=now_us)


def _missing(connection: Connection, keyring: Keyring, seen: Seen) -> list[Tombstone]:
    """Return what the table has beyond the file, once what both have is the same."""
    missing: list[Tombstone] = []
    # The last line seen before is looked at again: without it a table that lost its end looks whole.
    at = max(0, seen.start - 1)
    while page := tombstones_from(connection, at, PAGE):
        for row in page:
            stone = _genuine(keyring, row, at)
            _compare(stone, seen)
            if at >= seen.start + len(seen.fresh):
                missing.append(stone)
            at += 1
    if at < seen.start + len(seen.fresh):
        raise _tampered("the database holds fewer tombstones than the file outside it", at)
    return missing


def _genuine(keyring: Keyring, row: TombstoneRow, seq: int) -> Tombstone:
    if row.seq != seq:
        raise _tampered("a tombstone is missing", seq)
    verify(keyring.authority, row)
    return Tombstone(row.seq, row.log_index, row.act, row.subject_id, row.at_us)


def _compare(stone: Tombstone, seen: Seen) -> None:
    filed: Sequence[Tombstone] = seen.fresh
    if seen.start <= stone.seq < seen.start + len(filed) and filed[stone.seq - seen.start] != stone:
        raise _tampered("a tombstone is not the one that was filed", stone.seq)


def _tampered(detail: str, seq: int) -> TamperDetectedError:
    return TamperDetectedError(detail, reference=str(seq), table="tombstone")
