"""The log as everything off the hot path writes to it: one transaction, one unit.

No change commits without its entry: :meth:`Journal.unit` gives the one write
transaction, and leaving it without having appended rolls it back. The append
is the last statement, because it takes the counter row, the last lock of every
transaction; after it come at most new rows that carry the log index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keys.keyring import KeyKind, Keyring
from vault.audit.entry import Entry
from vault.audit.receipt import Receipt
from vault.audit.writer import Draft, Writer
from vault.domain.errors import LogUnavailableError
from vault.storage.append import append_unit, insert_notes
from vault.storage.database import Connection, Database
from vault.storage.errors import StaleRevisionError
from vault.storage.keys import require_in_use


class Unit:
    """One write transaction: change through ``connection``, then :meth:`append` once, last."""

    def __init__(
        self, connection: Connection, writer: Writer, keyring: Keyring, acknowledged: threading.Event
    ) -> None:
        self.connection = connection
        self._writer = writer
        self._keyring = keyring
        self._acknowledged = acknowledged
        self._draft: Draft | None = None
        self._first = 0

    @property
    def appended(self) -> bool:
        """Whether the unit has its entries."""
        return self._draft is not None

    @property
    def indexes(self) -> tuple[int, ...]:
        """Log index of each entry, taken and not yet durable: for rows of this very transaction.

        Raises LogUnavailableError before the append.
        """
        if self._draft is None:
            raise LogUnavailableError("there is no log index before the append")
        return tuple(self._first + offset for offset in self._draft.offsets)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """A receipt per entry. Raises LogUnavailableError until the block around the unit was left well."""
        if self._draft is None or not self._acknowledged.is_set():
            raise LogUnavailableError("there is no receipt before the commit")
        return self._draft.receipts(self._first)

    def append(
        self,
        entries: Sequence[Entry],
        *,
        revision: int | None,
        revise: bool,
        notes: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Append ``entries``; ``notes`` are sealed reasons as (SHA-256, ciphertext).

        Without a ``revision`` the entries rest on no decision; but the unit is to
        be under the log MAC key in force all the same, since the one before may end.
        Raises StaleRevisionError when ``revision`` is given and not current, or that
        key was replaced; SealedError, MalformedEntryError.
        """
        if self.appended:
            raise LogUnavailableError("a unit is appended once")
        draft = self._writer.draft(entries, self._keyring)
        insert_notes(self.connection, notes)
        self._first = append_unit(self.connection, draft.unit, revision=revision, revise=revise)
        if revision is None:
            # After the counter row is locked: a rotation either is seen here or comes after this unit.
            require_in_use(self.connection, (KeyKind.LOG_MAC, "", draft.unit.mac_version))
        self._draft = draft


class Journal:
    """Writes units, one at a time per process beside the lane's. Thread-safe."""

    def __init__(
        self,
        database: Database,
        keyring: Callable[[], Keyring],
        *,
        renew: Callable[[], object] | None = None,
    ) -> None:
        """``renew`` is called when ``keyring`` gave one whose log MAC key is out of use by now."""
        self._database = database
        self._lock = threading.Lock()
        self._writer = Writer()
        self._keyring = keyring
        self._renew = renew

    def say(self, entries: Sequence[Entry]) -> None:
        """Append ``entries`` that rest on no decision, as one unit.

        A keyring that is older than a rotation is renewed, and it is tried again.
        Raises UnavailableError, SealedError, StaleRevisionError when that changed
        nothing.
        """
        try:
            self._say(entries)
        except StaleRevisionError:
            if self._renew is None:
                raise
            self._renew()
            self._say(entries)

    def _say(self, entries: Sequence[Entry]) -> None:
        with self.unit() as unit:
            unit.append(entries, revision=None, revise=False)

    @contextmanager
    def unit(self) -> Iterator[Unit]:
        """Give one unit; commit it on leaving the block.

        Raises LogUnavailableError, and rolls back, when nothing was appended;
        OutcomeUnknownError when the commit's answer was lost.
        """
        with self._lock:
            unit: Unit | None = None
            acknowledged = threading.Event()
            try:
                with self._database.writing() as connection:
                    unit = Unit(connection, self._writer, self._keyring(), acknowledged)
                    yield unit
                    if not unit.appended:
                        raise LogUnavailableError("a change without a log entry does not commit")
            except BaseException:
                if unit is not None and unit.appended:
                    # Whatever stopped it, the commit may have been sent: the number is not used twice.
                    self._writer.restart()
                raise
            self._writer.durable()
            acknowledged.set()
