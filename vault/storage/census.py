"""Counts of what hangs on keys. Long reads, in the caller's snapshot."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select

from vault.domain.references import REFERENCE_SCOPE
from vault.storage import tables
from vault.storage.database import Connection

# The generation of the data key stands in the envelope, four bytes after the first (envelope.md 4.1).
_GENERATION: Final = {
    "postgresql": "substring({envelope} FROM 2 FOR 4) = int4send(k.generation)",
    "sqlite": "hex(substr({envelope}, 2, 4)) = printf('%08X', k.generation)",
}

_COUNT: Final = """
SELECT k.epoch, k.suspect, count(*) FROM {table} AS t
JOIN data_key AS k ON k.subject_id = t.{subject} AND {generation}
WHERE {envelope} IS NOT NULL GROUP BY k.epoch, k.suspect
"""
_SEALED: Final = (("token", "subject_id", "t.envelope"), ("subject", "id", "t.ref_envelope"))
"""Every table with envelopes under a data key: values, and external references."""


def count_values(connection: Connection) -> dict[tuple[int, bool], int]:
    """Count the sealed values by the epoch of their data key, and whether that is marked suspect."""
    take_your_time(connection)
    dialect = connection.dialect.name
    found: dict[tuple[int, bool], int] = {}
    for table, subject, envelope in _SEALED:
        generation = _GENERATION[dialect].format(envelope=envelope)
        statement = _COUNT.format(table=table, subject=subject, envelope=envelope, generation=generation)
        for epoch, suspect, count in connection.exec_driver_sql(statement):
            of = epoch, bool(suspect)
            found[of] = found.get(of, 0) + count
    return found


def count_marked(connection: Connection) -> dict[int, int]:
    """Count the data keys marked suspect, by their epoch."""
    column = tables.data_key.c
    rows = connection.execute(select(column.epoch, func.count()).where(column.suspect).group_by(column.epoch))
    return {row[0]: row[1] for row in rows}


def count_digests(connection: Connection) -> dict[tuple[str, int], int]:
    """Count the digests under each lookup key, by its scope and version."""
    take_your_time(connection)
    token, field, subject = tables.token.c, tables.field.c, tables.subject.c
    of_values = (
        select(field.name, token.digest_version, func.count())
        .join(tables.token, token.field_id == field.id)
        .where(token.digest.is_not(None))
        .group_by(field.name, token.digest_version)
    )
    of_references = (
        select(subject.kind, subject.ref_version, func.count())
        .where(subject.ref_digest.is_not(None))
        .group_by(subject.kind, subject.ref_version)
    )
    found = {(name, version): count for name, version, count in connection.execute(of_values)}
    for kind, version, count in connection.execute(of_references):
        found[REFERENCE_SCOPE + kind, version] = count
    return found


def take_your_time(connection: Connection) -> None:
    """Lift the limit on a statement's time for this transaction: the answer counts everything there is."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
