"""A log on a real database, its keys and whoever tampers with it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from tests.vault.audit.builders import entry_of
from vault.audit.entry import Entry
from vault.audit.integrator import Integrator, Progress, empty_tree, log_key
from vault.audit.journal import Journal
from vault.audit.note import Checkpoint, vkey
from vault.audit.outside import OutsideCheckpoint
from vault.audit.receipt import Receipt
from vault.storage import log, tables
from vault.storage.database import Connection, Database
from vault.storage.maintenance import insert_counter

NOW_US = 1_800_000_000_000_000
KINDS = (KeyKind.AUTHORITY, KeyKind.LOG_MAC, KeyKind.LOG_SIGNING)


def new_keyring() -> Keyring:
    """Return the keys that a log needs, of a vault of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        wrapper = KeyFileWrapper.create(Path(scratch) / "root.key")
        vault_id = os.urandom(16)
        records = []
        for kind in KINDS:
            scope = "vault.example/log" if kind is KeyKind.LOG_SIGNING else ""
            made = generate_key(kind, scope, 1, vault_id=vault_id, root=wrapper)
            records.append(KeyRecord(made.kind, made.scope, made.version, KeyState.ACTIVE, made.wrapped))
        return Keyring.unlock(vault_id, records, wrapper)


@dataclass
class Log:
    """One vault's log: append, integrate, and change what is stored behind its back."""

    database: Database
    path: Path
    keyring: Keyring = field(default_factory=new_keyring)

    def __post_init__(self) -> None:
        self.outside = OutsideCheckpoint(self.path)
        self.journal = self.new_journal()
        self._number = 0

    def new_journal(self) -> Journal:
        """Return another writer."""
        return Journal(self.database, lambda: self.keyring)

    def begin(self) -> None:
        """Write what a new vault's log begins with."""
        with self.database.writing() as connection:
            insert_counter(connection, self.keyring.vault_id)
            log.insert_tree(connection, empty_tree())

    def entries(self, count: int) -> list[Entry]:
        """Return fresh entries."""
        self._number += count
        return [entry_of(number) for number in range(self._number - count, self._number)]

    def append(self, count: int = 1, journal: Journal | None = None) -> tuple[Receipt, ...]:
        """Append a unit of ``count`` entries."""
        with (journal or self.journal).unit() as unit:
            unit.append(self.entries(count), revision=None, revise=False)
        return unit.receipts

    def integrate(self, outside: OutsideCheckpoint | None = None) -> Progress | None:
        """Do one round."""
        return Integrator(self.database, outside or self.outside).integrate(self.keyring, NOW_US)

    def kept(self) -> Checkpoint | None:
        """Return the checkpoint kept outside."""
        return self.outside.read(log_key(self.keyring))

    def vkey(self) -> str:
        """Return the public key."""
        return vkey(self.keyring.signer)

    def checkpoints(self) -> list[str]:
        """Return the checkpoints stored."""
        with self.database.reading() as connection:
            return list(log.read_checkpoints(connection, up_to=1 << 62))

    def bodies(self) -> list[bytes]:
        """Return the stored bytes of every entry."""
        with self.database.reading() as connection:
            return list(log.iterate_bodies(connection, self.database.counter(connection).next_index))

    def tamper(self, *statements: Any) -> None:
        """Change the database as somebody could who holds it."""
        with self.database.writing() as connection:
            for statement in statements:
                connection.execute(statement)

    def unit_rows(self) -> list[dict[str, Any]]:
        """Return the stored units."""
        with self.database.reading() as connection:
            statement = select(tables.log_unit).order_by(tables.log_unit.c.first)
            return [dict(row) for row in connection.execute(statement).mappings()]

    def drop_entry(self, index: int) -> None:
        """Delete one entry."""
        self.tamper(delete(tables.log_entry).where(tables.log_entry.c.idx == index))

    def drop_unit(self, first: int, *, close_gap: bool = False, connection: Connection | None = None) -> None:
        """Delete a unit with its entries; ``close_gap`` moves everything after it down, counter included."""
        if connection is None:
            with self.database.writing() as opened:
                self.drop_unit(first, close_gap=close_gap, connection=opened)
            return
        unit, entry, counter = tables.log_unit.c, tables.log_entry.c, tables.counter.c
        (size,) = connection.execute(select(unit.size).where(unit.first == first)).one()
        connection.execute(delete(tables.log_unit).where(unit.first == first))
        connection.execute(delete(tables.log_entry).where(entry.idx >= first, entry.idx < first + size))
        if close_gap:
            for at in connection.execute(select(unit.first).where(unit.first > first).order_by(unit.first)):
                moved = update(tables.log_unit).where(unit.first == at.first)
                connection.execute(moved.values(first=at.first - size))
            for at in connection.execute(select(entry.idx).where(entry.idx > first).order_by(entry.idx)):
                connection.execute(
                    update(tables.log_entry).where(entry.idx == at.idx).values(idx=at.idx - size)
                )
            connection.execute(update(tables.counter).values(next_index=counter.next_index - size))

    def copy_rows(self) -> dict[str, list[dict[str, Any]]]:
        """Copy the log out: an old backup."""
        with self.database.reading() as connection:
            return {
                name: [
                    dict(row) for row in connection.execute(select(tables.metadata.tables[name])).mappings()
                ]
                for name in _LOG_TABLES
            }

    def put_back(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Restore an old copy."""
        for name in _LOG_TABLES:
            table = tables.metadata.tables[name]
            self.tamper(delete(table), *([insert(table).values(rows[name])] if rows[name] else []))


_LOG_TABLES = ("counter", "log_entry", "log_unit", "log_tree", "log_checkpoint")
