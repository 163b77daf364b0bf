"""The log as everything off the hot path writes to it: one transaction, one unit.

No change commits without its entry: :meth:`Journal.unit` gives the one write
transaction, and leaving it without having appended rolls it back. The append
is the last statement, because it takes the counter row, the last lock of every
transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keys.keyring import Keyring
from vault.audit.entry import Entry
from vault.audit.receipt import Receipt
from vault.audit.writer import Draft, Writer
from vault.domain.errors import LogUnavailableError, OutcomeUnknownError
from vault.storage.append import append_unit, insert_notes
from vault.storage.database import Connection, Database


class Unit:
    """One write transaction: change through ``connection``, then :meth:`append` once, last."""

    def __init__(self, connection: Connection, writer: Writer, keyring: Keyring) -> None:
        self.connection = connection
        self._writer = writer
        self._keyring = keyring
        self.appended = False

    def append(
        self,
        entries: Sequence[Entry],
        *,
        revision: int | None,
        revise: bool,
        notes: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[Receipt, ...]:
        """Append ``entries``; ``notes`` are sealed reasons as (SHA-256, ciphertext).

        The receipts count only once the block around the unit is left without
        an error. Raises StaleRevisionError when ``revision`` is given and not
        current, SealedError, MalformedEntryError.
        """
        if self.appended:
            raise LogUnavailableError("a unit is appended once")
        draft: Draft = self._writer.draft(entries, self._keyring)
        insert_notes(self.connection, notes)
        first = append_unit(self.connection, draft.unit, revision=revision, revise=revise)
        self.appended = True
        return draft.receipts(first)


class Journal:
    """Writes units, one at a time per process beside the lane's. Thread-safe."""

    def __init__(self, database: Database, keyring: Callable[[], Keyring]) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._writer = Writer()
        self._keyring = keyring

    @contextmanager
    def unit(self) -> Iterator[Unit]:
        """Give one unit; commit it on leaving the block.

        Raises LogUnavailableError, and rolls back, when nothing was appended;
        OutcomeUnknownError when the commit's answer was lost.
        """
        with self._lock:
            try:
                with self._database.writing() as connection:
                    unit = Unit(connection, self._writer, self._keyring())
                    yield unit
                    if not unit.appended:
                        raise LogUnavailableError("a change without a log entry does not commit")
            except OutcomeUnknownError:
                self._writer.restart()
                raise
            self._writer.durable()
