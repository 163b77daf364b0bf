"""Data keys that somebody else may have, what is sealed under them, and its move to other data keys.

Suspect is a data key that is marked so, or hangs on a compromised epoch. Nothing
is sealed under it any more, so what hangs on it only becomes less.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Table, and_, func, insert, or_, select, true, tuple_, update

from vault.storage import tables
from vault.storage.census import take_your_time
from vault.storage.database import IN_BINARY, Connection
from vault.storage.keys import material

_KEY = tables.data_key.c


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One data key of a subject."""

    subject_id: int
    generation: int
    epoch: int
    wrapped: bytes
    suspect: bool
    """Marked so; whether its epoch is compromised is not said here."""
    state: int | None
    """Of the subject; None where there is none."""


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A sealed value."""

    id: int
    subject_id: int
    field_id: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class SubjectName:
    """What a subject goes by: in the database, in texts of its id, and in the log."""

    id: int
    nonce: bytes
    log_subject: bytes


def read_subject(connection: Connection, subject_id: int) -> SubjectName | None:
    """Read what one subject goes by."""
    column = tables.subject.c
    row = connection.execute(
        select(column.nonce, column.log_subject).where(column.id == subject_id)
    ).one_or_none()
    return None if row is None else SubjectName(subject_id, material(row[0]), material(row[1]))


def is_suspect(compromised: Collection[int]) -> ColumnElement[bool]:
    """Return the condition that a data key is suspect, ``compromised`` being the epochs that are."""
    return or_(_KEY.suspect, _KEY.epoch.in_(sorted(compromised)))


def count_suspect(connection: Connection, compromised: Collection[int]) -> int:
    """Count the suspect data keys, however long it takes."""
    take_your_time(connection)
    counted = select(func.count()).select_from(tables.data_key).where(is_suspect(compromised))
    return connection.execute(counted).scalar_one()


def any_marked(connection: Connection) -> bool:
    """Say whether a data key is marked suspect. Costs a look at an index."""
    return connection.execute(select(_KEY.subject_id).where(_KEY.suspect).limit(1)).first() is not None


def mark_subject(connection: Connection, subject_id: int) -> int:
    """Mark every data key of one subject; return how many there are."""
    marked = update(tables.data_key).where(_KEY.subject_id == subject_id).values(suspect=true())
    return connection.execute(marked).rowcount


def count_unsuspected(connection: Connection, subject_id: int, compromised: Collection[int]) -> int:
    """Count the data keys of one subject that are not suspect."""
    counted = select(func.count()).select_from(tables.data_key)
    return connection.execute(
        counted.where(_KEY.subject_id == subject_id, ~is_suspect(compromised))
    ).scalar_one()


def mark_some(connection: Connection, *, after: int, limit: int) -> tuple[int, int | None]:
    """Mark the data keys of the next subjects after one, up to ``limit`` keys and a subject, in order of id.

    Returns how many were not marked before, and the last subject; None at the end.
    By subject, or keys that the job makes meanwhile would be marked without end.
    """
    last = connection.execute(
        select(_KEY.subject_id)
        .where(_KEY.subject_id > after)
        .order_by(_KEY.subject_id, _KEY.generation)
        .offset(limit - 1)
        .limit(1)
    ).scalar_one_or_none()
    behind = _KEY.subject_id > after
    if last is not None:
        behind = and_(behind, _KEY.subject_id <= last)
    marked = update(tables.data_key).where(~_KEY.suspect, behind).values(suspect=true())
    return connection.execute(marked).rowcount, last


def read_suspect_subjects(
    connection: Connection, compromised: Collection[int], *, after: int, itself: bool, limit: int
) -> list[int]:
    """Read up to ``limit`` subjects that have a suspect data key, in order of id, from ``after`` on.

    ``itself``: the one of that id, too.
    """
    behind = _KEY.subject_id >= after if itself else _KEY.subject_id > after
    rows = connection.execute(
        select(_KEY.subject_id)
        .distinct()
        .where(is_suspect(compromised), behind)
        .order_by(_KEY.subject_id)
        .limit(limit)
    )
    return [row[0] for row in rows]


def read_generations(connection: Connection, subject_ids: Collection[int]) -> list[GenerationRow]:
    """Read every data key of these subjects, at most a few thousand, in order."""
    rows = connection.execute(
        select(*_KEY["subject_id", "generation", "epoch", "wrapped", "suspect"], tables.subject.c.state)
        .outerjoin(tables.subject, tables.subject.c.id == _KEY.subject_id)
        .where(_KEY.subject_id.in_(subject_ids))
        .order_by(_KEY.subject_id, _KEY.generation),
        execution_options=IN_BINARY,
    )
    return [GenerationRow(row[0], row[1], row[2], material(row[3]), bool(row[4]), row[5]) for row in rows]


def read_values(
    connection: Connection, subject_ids: Collection[int], *, after: tuple[int, int], limit: int
) -> list[ValueRow]:
    """Read up to ``limit`` sealed values of these subjects, in order of subject and id, after one of them."""
    column = tables.token.c
    rows = connection.execute(
        select(column.id, column.subject_id, column.field_id, column.envelope)
        .where(
            column.subject_id.in_(subject_ids),
            column.envelope.is_not(None),
            tuple_(column.subject_id, column.id) > after,
        )
        .order_by(column.subject_id, column.id)
        .limit(limit),
        execution_options=IN_BINARY,
    )
    return [ValueRow(row[0], row[1], row[2], material(row[3])) for row in rows]


def read_references(connection: Connection, subject_ids: Collection[int]) -> list[tuple[int, bytes]]:
    """Read the sealed external references of these subjects."""
    column = tables.subject.c
    rows = connection.execute(
        select(column.id, column.ref_envelope).where(
            column.id.in_(subject_ids), column.ref_envelope.is_not(None)
        ),
        execution_options=IN_BINARY,
    )
    return [(row[0], material(row[1])) for row in rows]


def insert_generations(connection: Connection, made: Sequence[tuple[int, int, int, bytes]]) -> None:
    """Insert (subject_id, generation, epoch, wrapped). Raises RolledBackError when one is there already."""
    if made:
        names = ("subject_id", "generation", "epoch", "wrapped")
        connection.execute(insert(tables.data_key), [dict(zip(names, row, strict=True)) for row in made])


Resealed = tuple[int, bytes, bytes]
"""Row id, envelope before, envelope now"""

_RESEAL_POSTGRESQL: Final = """
UPDATE {table} AS t SET {column} = x.new FROM unnest(%b::int8[], %b::bytea[], %b::bytea[]) AS x (id, old, new)
WHERE t.id = x.id AND t.{column} = x.old
"""
_RESEAL_SQLITE: Final = "UPDATE {table} SET {column} = ? WHERE id = ? AND {column} = ?"


def replace_values(connection: Connection, changes: Sequence[Resealed]) -> int:
    """Write values sealed anew; return how many it were. What has changed meanwhile is left as it is."""
    return _replace(connection, tables.token, "envelope", changes)


def replace_references(connection: Connection, changes: Sequence[Resealed]) -> int:
    """Write external references sealed anew, as :func:`replace_values` does."""
    return _replace(connection, tables.subject, "ref_envelope", changes)


def _replace(connection: Connection, table: Table, column: str, changes: Sequence[Resealed]) -> int:
    if not changes:
        return 0
    if connection.dialect.name == "postgresql":
        statement = _RESEAL_POSTGRESQL.format(table=table.name, column=column)
        columns = tuple(map(list, zip(*changes, strict=True)))
        return connection.exec_driver_sql(statement, columns).rowcount
    statement = _RESEAL_SQLITE.format(table=table.name, column=column)
    return connection.exec_driver_sql(statement, [(new, row, old) for row, old, new in changes]).rowcount


# The generation stands in the envelope, four bytes after the first (envelope.md 4.1).
_UNDER: Final = {
    "postgresql": "substring({envelope} FROM 2 FOR 4) = int4send(k.generation)",
    "sqlite": "hex(substr({envelope}, 2, 4)) = printf('%08X', k.generation)",
}
_EMPTY: Final = """
NOT EXISTS (SELECT 1 FROM token AS t WHERE t.subject_id = k.subject_id AND {value})
AND NOT EXISTS (SELECT 1 FROM subject AS s WHERE s.id = k.subject_id AND {reference})
"""
_DROP_POSTGRESQL: Final = """
DELETE FROM data_key AS k USING unnest(%b::int8[], %b::int4[]) AS x (subject, generation)
WHERE k.subject_id = x.subject AND k.generation = x.generation AND {empty}
"""
_DROP_SQLITE: Final = "DELETE FROM data_key AS k WHERE k.subject_id = ? AND k.generation = ? AND {empty}"


def drop_empty(connection: Connection, generations: Sequence[tuple[int, int]]) -> int:
    """Delete those data keys, (subject_id, generation), that seal nothing any more; return how many."""
    if not generations:
        return 0
    dialect = connection.dialect.name
    under = _UNDER[dialect]
    empty = _EMPTY.format(
        value=under.format(envelope="t.envelope"), reference=under.format(envelope="s.ref_envelope")
    )
    if dialect == "postgresql":
        columns = tuple(map(list, zip(*generations, strict=True)))
        return connection.exec_driver_sql(_DROP_POSTGRESQL.format(empty=empty), columns).rowcount
    statement = _DROP_SQLITE.format(empty=empty)
    # One after the other: the driver adds up nothing but updates of one statement.
    return connection.exec_driver_sql(statement, list(generations)).rowcount
