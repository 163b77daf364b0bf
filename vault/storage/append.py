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
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, insert

from vault.domain.errors import LogUnavailableError, SealedError, UnavailableError
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.prepared import Statements, bytea_array, int4, int8


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
    UPDATE counter SET next_index = next_index + $1::int8, revision = revision + $2::int8
    WHERE id = 1 AND NOT sealed AND $3::int8 IN (revision, -1)
    RETURNING next_index - $1::int8 AS first
), u AS (
    INSERT INTO log_unit (first, size, writer, writer_seq, mac_version, mac)
    SELECT c.first, $1::int8, $4::bytea, $5::int8, $6::int4, $7::bytea
    FROM c
), e AS (
    INSERT INTO log_entry (idx, leaf, body)
    SELECT c.first + x.ord - 1, x.leaf, x.body
    FROM c, unnest($8::bytea[], $9::bytea[]) WITH ORDINALITY AS x (leaf, body, ord)
), n AS (
    INSERT INTO log_note (id, sealed)
    SELECT x.id, x.sealed
    FROM c, unnest($10::bytea[], $11::bytea[]) AS x (id, sealed)
)
SELECT first FROM c
"""

ANY_REVISION: Final = -1
"""In the place of a revision: the append does not depend on it."""

SQLITE_TAKE: Final = """
UPDATE counter SET next_index = next_index + :size, revision = revision + :raise
WHERE id = 1 AND NOT sealed AND revision = coalesce(:revision, revision)
RETURNING next_index - :size
"""
SQLITE_UNIT: Final = "INSERT INTO log_unit VALUES (?, ?, ?, ?, ?, ?)"
SQLITE_ENTRY: Final = "INSERT INTO log_entry (idx, leaf, body) VALUES (?, ?, ?)"


def append_postgresql(
    statements: Statements,
    unit: LogUnit,
    *,
    revision: int | None,
    revise: bool,
    notes: Sequence[tuple[bytes, bytes]] = (),
) -> int:
    """Append ``unit``, and ``notes`` with it, on PostgreSQL; return its first index.

    See :func:`append_sqlite`.
    """
    rows = statements.run(
        POSTGRESQL_APPEND,
        (
            int8(len(unit.leaves)),
            int8(int(revise)),
            int8(ANY_REVISION if revision is None else revision),
            unit.writer,
            int8(unit.writer_seq),
            int4(unit.mac_version),
            unit.mac,
            bytea_array(unit.leaves),
            bytea_array(unit.bodies),
            bytea_array([note[0] for note in notes]),
            bytea_array([note[1] for note in notes]),
        ),
    )
    if not rows:
        _refuse(next(iter(statements.run("SELECT sealed FROM counter")), None))
    return int(rows[0][0])


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
        if driver.info.transaction_status is TransactionStatus.IDLE:
            # The driver begins a transaction with the first statement it sees; the append goes past it.
            connection.exec_driver_sql("SELECT 1")
        return append_postgresql(Statements(driver), unit, revision=revision, revise=revise)
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
