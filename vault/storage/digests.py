"""Digests of values and external references: read where they hang on an older key, and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, func, select, update

from vault.storage import tables
from vault.storage.database import IN_BINARY, Connection


@dataclass(frozen=True, slots=True)
class DigestRow:
    """A digest under an older key, and what it is a digest of, sealed."""

    id: int
    subject_id: int
    envelope: bytes | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the digests of one lookup key are: a field's tokens, or the subjects of a kind."""

    table: Table
    own: str
    """Column that tells this key's rows from another's, and its value."""
    value: object
    digest: str
    version: str
    subject: str
    envelope: str


def of_field(field_id: int) -> Shelf:
    """Return where the digests of a field are."""
    return Shelf(tables.token, "field_id", field_id, "digest", "digest_version", "subject_id", "envelope")


def of_references(kind: str) -> Shelf:
    """Return where the digests of the external references of a kind of subject are."""
    return Shelf(tables.subject, "kind", kind, "ref_digest", "ref_version", "id", "ref_envelope")


def read_older(
    connection: Connection, shelf: Shelf, version: int, *, after: int, limit: int
) -> list[DigestRow]:
    """Read up to ``limit`` digests that are not under ``version``, in order of id."""
    column = shelf.table.c
    rows = connection.execute(
        select(column.id, column[shelf.subject], column[shelf.envelope], column[shelf.digest])
        .where(
            column[shelf.own] == shelf.value,
            column[shelf.digest].is_not(None),
            column[shelf.version] != version,
            column.id > after,
        )
        .order_by(column.id)
        .limit(limit),
        execution_options=IN_BINARY,
    )
    return [DigestRow(row[0], row[1], _bytes_or_none(row[2]), _bytes_or_none(row[3]) or b"") for row in rows]


TO_BE_MADE: Final = 0
"""In the place of a digest's version, which no key has: a restored row had a digest, and has none yet."""


def read_unmade(connection: Connection, shelf: Shelf, *, after: int, limit: int) -> list[DigestRow]:
    """Read up to ``limit`` rows whose digest has to be made again, in order of id."""
    column = shelf.table.c
    rows = connection.execute(
        select(column.id, column[shelf.subject], column[shelf.envelope])
        .where(column[shelf.own] == shelf.value, column[shelf.version] == TO_BE_MADE, column.id > after)
        .order_by(column.id)
        .limit(limit),
        execution_options=IN_BINARY,
    )
    return [DigestRow(row[0], row[1], _bytes_or_none(row[2]), b"") for row in rows]


_FILL_POSTGRESQL: Final = """
UPDATE {table} AS t SET {digest} = x.new, {version} = %s::int2
FROM unnest(%b::int8[], %b::bytea[]) AS x (id, new) WHERE t.id = x.id
"""
_FILL_SQLITE: Final = "UPDATE {table} SET {digest} = ?, {version} = ? WHERE id = ?"


def fill_digests(
    connection: Connection, shelf: Shelf, version: int, made: Sequence[tuple[int, bytes]]
) -> None:
    """Write digests that were made again under ``version``: (id, digest)."""
    if not made:
        return
    names = {"table": shelf.table.name, "digest": shelf.digest, "version": shelf.version}
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*made, strict=True)))
        connection.exec_driver_sql(_FILL_POSTGRESQL.format(**names), (version, *columns))
        return
    rows = [(digest, version, row_id) for row_id, digest in made]
    connection.exec_driver_sql(_FILL_SQLITE.format(**names), rows)


def forget_unmade(connection: Connection) -> int:
    """Leave without a digest whatever still waits for one; return how many rows it were."""
    left = 0
    for table, version in ((tables.token, "digest_version"), (tables.subject, "ref_version")):
        statement = update(table).where(table.c[version] == TO_BE_MADE).values({version: None})
        left += connection.execute(statement).rowcount
    return left


def _bytes_or_none(value: object) -> bytes | None:
    """Return bytes as they are; anything else, which SQLite lets somebody put there, opens nothing."""
    return bytes(value) if isinstance(value, bytes | memoryview) else None


def count_older(connection: Connection, shelf: Shelf, version: int) -> int:
    """Count the digests that are not under ``version``."""
    column = shelf.table.c
    return connection.execute(
        select(func.count())
        .select_from(shelf.table)
        .where(
            column[shelf.own] == shelf.value,
            column[shelf.digest].is_not(None),
            column[shelf.version] != version,
        )
    ).scalar_one()


_POSTGRESQL: Final = """
UPDATE {table} AS t SET {digest} = x.new, {version} = %s::int2
FROM unnest(%b::int8[], %b::bytea[], %b::bytea[]) AS x (id, old, new)
WHERE t.id = x.id AND t.{digest} = x.old
"""
_SQLITE: Final = "UPDATE {table} SET {digest} = ?, {version} = ? WHERE id = ? AND {digest} = ?"


def replace_digests(
    connection: Connection, shelf: Shelf, version: int, changes: Sequence[tuple[int, bytes, bytes]]
) -> int:
    """Write new digests under ``version``: (id, old, new); return how many it were.

    A row that has changed meanwhile, revoked above all, is left as it is.
    """
    if not changes:
        return 0
    names = {"table": shelf.table.name, "digest": shelf.digest, "version": shelf.version}
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*changes, strict=True)))
        return connection.exec_driver_sql(_POSTGRESQL.format(**names), (version, *columns)).rowcount
    rows = [(new, version, row_id, old) for row_id, old, new in changes]
    return connection.exec_driver_sql(_SQLITE.format(**names), rows).rowcount
