"""Rows as values: what leaves storage instead of a driver's row object.

A row that a decision reads is a :class:`SealedRow`: it says which of its
columns its MAC covers. Storage neither makes nor checks a MAC; that is
``vault/access/sealing.py``. An update names the version it read, so that of two
writers exactly one succeeds.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, Self

from sqlalchemy import Connection, Select, Table, select

from vault.domain.errors import ConflictError

Covered = str | int | list[str] | None
"""What a covered column is in the canonical form: bytes are hexadecimal, lists stay lists."""


class SealedRow:
    """Base of the frozen row values. Subclasses are dataclasses named like their columns."""

    __slots__ = ()

    table: ClassVar[Table]
    lists: ClassVar[frozenset[str]] = frozenset()
    """Columns that hold words separated by one space; a tuple in the value."""
    uncovered: ClassVar[frozenset[str]] = frozenset()
    """Columns outside the MAC, beside ``version`` (bound on its own) and ``mac``."""

    version: int
    mac: bytes

    @property
    def row_id(self) -> str:
        """The id that the MAC binds: the primary key, or its first column."""
        return str(getattr(self, self.table.primary_key.columns[0].name))

    def covered(self) -> dict[str, Covered]:
        """Return the columns that the MAC covers, by name."""
        skipped = self.uncovered | {"version", "mac"}
        return {
            column.name: _plain(getattr(self, column.name))
            for column in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if column.name not in skipped
        }

    def columns(self) -> dict[str, Any]:
        """Return every column as the database keeps it."""
        values = {column.name: getattr(self, column.name) for column in fields(self)}  # type: ignore[arg-type]  # as above
        return values | {name: " ".join(values[name]) for name in self.lists}

    @classmethod
    def all(cls, connection: Connection, statement: Select[Any]) -> list[Self]:
        """Run ``statement``, which selects the whole table's columns, and return its rows."""
        rows = connection.execute(statement).mappings()
        return [cls(**(dict(row) | {name: tuple(row[name].split()) for name in cls.lists})) for row in rows]

    @classmethod
    def everything(cls, connection: Connection) -> list[Self]:
        """Return every row of the table."""
        return cls.all(connection, select(cls.table))

    @classmethod
    def one(cls, connection: Connection, statement: Select[Any]) -> Self | None:
        """Like :meth:`all` for a statement that finds one row at most."""
        rows = cls.all(connection, statement)
        return rows[0] if rows else None


def _plain(value: Any) -> Covered:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return list(value)
    if value is None or isinstance(value, int):
        return value
    return str(value)


def insert(connection: Connection, row: SealedRow) -> None:
    """Insert ``row``."""
    connection.execute(row.table.insert().values(row.columns()))


def replace(connection: Connection, before: SealedRow, after: SealedRow) -> None:
    """Put ``after`` where ``before`` was read. Raises ConflictError if it is another version by now."""
    table = after.table
    key = [column == getattr(before, column.name) for column in table.primary_key.columns]
    statement = table.update().where(*key, table.c.version == before.version).values(after.columns())
    if connection.execute(statement).rowcount != 1:
        raise ConflictError(f"{table.name} {before.row_id} changed since it was read")
