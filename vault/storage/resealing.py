"""Sealed rows read in the order of their keys, and written back sealed anew unless they changed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Table, bindparam, literal, select, tuple_

from vault.storage.database import Connection
from vault.storage.rows import SealedRow

R = TypeVar("R", bound=SealedRow)

Key = tuple[str | int, ...]
"""Values of a row's primary key, in the order of its columns."""

CHUNK = 500
"""Rows locked by one statement."""


def key_of(row: SealedRow) -> Key:
    """Return the primary key of ``row``."""
    return tuple(getattr(row, column.name) for column in row.table.primary_key.columns)


def read_after(connection: Connection, kind: type[R], after: Key, *, limit: int) -> list[R]:
    """Read up to ``limit`` rows whose key follows ``after``, in order; when that is empty, the first ones."""
    columns = list(kind.table.primary_key.columns)
    statement = select(kind.table).order_by(*columns).limit(limit)
    if after:
        bounds = (literal(value, column.type) for value, column in zip(after, columns, strict=True))
        statement = statement.where(tuple_(*columns) > tuple_(*bounds))
    return kind.all(connection, statement)


def replace_seals(
    connection: Connection, changes: Sequence[tuple[SealedRow, SealedRow]], names: Sequence[str]
) -> int:
    """Write the columns ``names`` of rows of one table sealed anew: (before, after); return how many it were.

    A row that is another by now is left as it is, and so is one that somebody
    else holds: whoever changes it seals it under the key in force, and the next
    pass finds what is left.
    """
    if not changes:
        return 0
    table = changes[0][0].table
    free = _lock(connection, table, [key_of(before) for before, _ in changes])
    columns = list(table.primary_key.columns)
    statement = (
        table.update()
        .where(*(column == bindparam(f"at_{column.name}") for column in columns))
        .where(table.c.version == bindparam("before_version"), table.c.mac == bindparam("before_mac"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )
    values = [_values(before, after, names) for before, after in changes if key_of(before) in free]
    return connection.execute(statement, values).rowcount if values else 0


def _values(before: SealedRow, after: SealedRow, names: Sequence[str]) -> dict[str, Any]:
    columns = (column.name for column in before.table.primary_key.columns)
    return {
        **{f"at_{name}": getattr(before, name) for name in columns},
        **{f"new_{name}": getattr(after, name) for name in names},
        "before_version": before.version,
        "before_mac": before.mac,
    }


def _lock(connection: Connection, table: Table, keys: Sequence[Key]) -> set[Key]:
    """Lock those rows that nobody else has, without a wait: two that wait for each other end in an error."""
    columns = list(table.primary_key.columns)
    free: set[Key] = set()
    for start in range(0, len(keys), CHUNK):
        wanted = tuple_(*columns).in_(keys[start : start + CHUNK])
        statement = select(*columns).where(wanted).with_for_update(skip_locked=True)
        free.update(tuple(row) for row in connection.execute(statement))
    return free
