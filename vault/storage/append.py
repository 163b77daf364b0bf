"""Append to the log: the last statement of every write transaction.

The counter row is the last lock taken, and no network call happens under it.
The index it hands out is part of the same transaction, so a rollback gives it
back and there are no gaps: a hole proves deletion. The append carries the
revision the caller decided at; when that has moved on, nothing is written and
the caller decides again (DESIGN promise 10).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import psycopg
from sqlalchemy import Connection, insert

from vault.domain.errors import LogUnavailableError, SealedError, UnavailableError
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError


@dataclass(frozen=True, slots=True)
class LogUnit:
    """The entries of one commit and the MAC that binds them to their writer (log-entry.md)."""

    writer: bytes
    writer_seq: int
    mac_version: int
    mac: bytes
    leaves: Sequence[bytes]
    bodies: Sequence[bytes]


# One statement and one round trip. The UPDATE waits for the row, then looks at
# the revision again as it is then (READ COMMITTED), which is what makes the
# comparison atomic. Everything else comes from c, so that a stale revision
# writes nothing. Sealed reasons go along, since most units that release
# plaintext write nothing but them and their entries.
POSTGRESQL_APPEND: Final = """
WITH c AS (
    UPDATE counter SET next_index = next_index + %(size)b::int8, revision = revision + %(raise)b::int8
    WHERE id = 1 AND NOT sealed AND revision = coalesce(%(revision)b::int8, revision)
    RETURNING next_index - %(size)b::int8 AS first
), u AS (
    INSERT INTO log_unit (first, size, writer, writer_seq, mac_version, mac)
    SELECT c.first, %(size)b::int4, %(writer)b::bytea, %(writer_seq)b::int8,
           %(mac_version)b::int4, %(mac)b::bytea
    FROM c
), e AS (
    INSERT INTO log_entry (idx, leaf, body)
    SELECT c.first + x.ord - 1, x.leaf, x.body
    FROM c, unnest(%(leaves)b::bytea[], %(bodies)b::bytea[]) WITH ORDINALITY AS x (leaf, body, ord)
), n AS (
    INSERT INTO log_note (id, sealed)
    SELECT x.id, x.sealed
    FROM c, unnest(%(note_ids)b::bytea[], %(notes)b::bytea[]) AS x (id, sealed)
)
SELECT first FROM c
"""

SQLITE_TAKE: Final = """
UPDATE counter SET next_index = next_index + :size, revision = revision + :raise
WHERE id = 1 AND NOT sealed AND revision = coalesce(:revision, revision)
RETURNING next_index - :size
"""
SQLITE_UNIT: Final = "INSERT INTO log_unit VALUES (?, ?, ?, ?, ?, ?)"
SQLITE_ENTRY: Final = "INSERT INTO log_entry (idx, leaf, body) VALUES (?, ?, ?)"


def append_postgresql(
    cursor: psycopg.Cursor[Any],
    unit: LogUnit,
    *,
    revision: int | None,
    revise: bool,
    notes: Sequence[tuple[bytes, bytes]] = (),
) -> int:
    """Append ``unit``, and ``notes`` with it, on PostgreSQL; return its first index.

    See :func:`append_sqlite`.
    """
    row = cursor.execute(
        POSTGRESQL_APPEND,
        {
            "size": len(unit.leaves),
            "raise": int(revise),
            "revision": revision,
            "writer": unit.writer,
            "writer_seq": unit.writer_seq,
            "mac_version": unit.mac_version,
            "mac": unit.mac,
            "leaves": list(unit.leaves),
            "bodies": list(unit.bodies),
            "note_ids": [note[0] for note in notes],
            "notes": [note[1] for note in notes],
        },
        prepare=True,
    ).fetchone()
    if row is None:
        _refuse(cursor.execute("SELECT sealed FROM counter").fetchone())
    return int(row[0])


def append_sqlite(
    connection: sqlite3.Connection, unit: LogUnit, *, revision: int | None, revise: bool
) -> int:
    """Append ``unit`` inside the open write transaction; return its first index.

    Raises StaleRevisionError when ``revision`` is given and not current,
    SealedError when the vault is sealed. The caller rolls back.
    """
    size = len(unit.leaves)
    row = connection.execute(
        SQLITE_TAKE, {"size": size, "raise": int(revise), "revision": revision}
    ).fetchone()
    if row is None:
        _refuse(connection.execute("SELECT sealed FROM counter").fetchone())
    first = int(row[0])
    connection.execute(SQLITE_UNIT, (first, size, unit.writer, unit.writer_seq, unit.mac_version, unit.mac))
    connection.executemany(
        SQLITE_ENTRY, zip(range(first, first + size), unit.leaves, unit.bodies, strict=True)
    )
    return first


def _refuse(row: Any) -> NoReturn:
    """Say why the counter did not move."""
    if row is None:
        raise UnavailableError("the vault has not been initialised")
    if row[0]:
        raise SealedError("the vault is sealed")
    raise StaleRevisionError("decided at an earlier revision")


def append_unit(connection: Connection, unit: LogUnit, *, revision: int | None, revise: bool) -> int:
    """Append ``unit`` in the open transaction of ``connection``, on either database.

    Raises StaleRevisionError, SealedError, RolledBackError, UnavailableError.
    """
    driver: Any = connection.connection.driver_connection
    try:
        if isinstance(driver, sqlite3.Connection):
            return append_sqlite(driver, unit, revision=revision, revise=revise)
        with driver.cursor(binary=True) as cursor:
            return append_postgresql(cursor, unit, revision=revision, revise=revise)
    except (sqlite3.IntegrityError, psycopg.IntegrityError, psycopg.DataError):
        raise RolledBackError("the database refused a statement") from None
    except (sqlite3.Error, psycopg.Error):
        raise LogUnavailableError("the log cannot be written now") from None


def insert_notes(connection: Connection, notes: Sequence[tuple[bytes, bytes]]) -> None:
    """Insert sealed reasons, each as (SHA-256 of the ciphertext, ciphertext)."""
    if notes:
        connection.execute(
            insert(tables.log_note), [{"id": digest, "sealed": sealed} for digest, sealed in notes]
        )
