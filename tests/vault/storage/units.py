"""Log units as storage sees them: bytes it does not look into."""

from __future__ import annotations

import os
from hashlib import sha256

from sqlalchemy import select

from vault.storage import tables
from vault.storage.append import LogUnit, append_unit
from vault.storage.database import Counter, Database


class Units:
    """Makes the units of one writer, numbered from 0."""

    def __init__(self) -> None:
        self.writer = os.urandom(16)
        self._next = 0

    def make(self, size: int = 1, *, label: str = "entry") -> LogUnit:
        """Return the next unit, of ``size`` entries."""
        bodies = [f"{label} {self.writer.hex()} {self._next} {at}".encode() for at in range(size)]
        unit = LogUnit(
            writer=self.writer,
            writer_seq=self._next,
            mac_version=1,
            mac=bytes(32),
            leaves=[sha256(body).digest() for body in bodies],
            bodies=bodies,
        )
        self._next += 1
        return unit


def append(database: Database, unit: LogUnit, *, revision: int | None = None, revise: bool = False) -> int:
    """Append ``unit`` in a transaction of its own; return its first index."""
    with database.writing() as connection:
        return append_unit(connection, unit, revision=revision, revise=revise)


def counter(database: Database) -> Counter:
    """Read the counter row."""
    with database.reading() as connection:
        return database.counter(connection)


def indexes(database: Database) -> list[int]:
    """Read the index of every entry, in order."""
    with database.reading() as connection:
        return list(
            connection.execute(select(tables.log_entry.c.idx).order_by(tables.log_entry.c.idx)).scalars()
        )


def require_whole_log(database: Database) -> int:
    """Check that indexes have no gap and units tile them exactly; return the number of entries."""
    found = indexes(database)
    assert found == list(range(len(found)))
    assert counter(database).next_index == len(found)
    with database.reading() as connection:
        column = tables.log_unit.c
        spans = connection.execute(select(column.first, column.size).order_by(column.first)).all()
    expected = 0
    for first, size in spans:
        assert first == expected
        expected += size
    assert expected == len(found)
    return len(found)
