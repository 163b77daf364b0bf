"""Rows of one data subject: its state, what is kept of it, and the end of that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, update

from vault.storage import tables
from vault.storage.database import Connection
from vault.storage.keys import material

NOBODY: Final = 0
"""Stands in the place of the subject in the tokens of those who were erased. No subject has this id."""

ERASED: Final = 3


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A subject as it is stored; ``state`` is a claim until a data key opens for it."""

    id: int
    nonce: bytes
    kind: str
    state: int
    log_subject: bytes
    created_at: int


@dataclass(frozen=True, slots=True)
class Destroyed:
    """How much an erasure destroyed."""

    data_keys: int
    values: int
    digests: int
    references: int
    """1 when there was an external reference, sealed or digested; else 0."""


def read_subject(connection: Connection, subject_id: int) -> SubjectRow | None:
    """Read one subject."""
    row = connection.execute(select(tables.subject).filter_by(id=subject_id)).one_or_none()
    if row is None:
        return None
    return SubjectRow(
        row.id,
        material(row.nonce),
        str(row.kind),
        _state(row.state),
        material(row.log_subject),
        row.created_at,
    )


def _state(value: object) -> int:
    return value if isinstance(value, int) else -1


def count_live(connection: Connection, subject_id: int) -> dict[int, int]:
    """Count the live tokens of a subject by the short id of their field."""
    column = tables.token.c
    rows = connection.execute(
        select(column.field_id, func.count().label("live"))
        .where(column.subject_id == subject_id, column.envelope.is_not(None))
        .group_by(column.field_id)
    )
    return {row.field_id: row.live for row in rows}


def set_state(connection: Connection, subject_id: int, before: int, after: int) -> bool:
    """Set the state where it still is ``before``; say whether it was."""
    column = tables.subject.c
    statement = update(tables.subject).where(column.id == subject_id, column.state == before)
    return connection.execute(statement.values(state=after)).rowcount == 1


def count_data_keys_of(connection: Connection, subject_id: int) -> int:
    """Count the data keys of a subject."""
    column = tables.data_key.c
    statement = select(func.count()).select_from(tables.data_key).where(column.subject_id == subject_id)
    return connection.execute(statement).scalar_one()


def destroy(connection: Connection, subject_id: int, *, log_subject: bytes) -> Destroyed:
    """Destroy all that is kept of a subject but its id and those of its tokens, which no longer lead to it.

    ``log_subject`` takes the place of the one that entries of the log have.
    """
    keys, token, subject = tables.data_key, tables.token, tables.subject
    data_keys = connection.execute(delete(keys).where(keys.c.subject_id == subject_id)).rowcount
    kept = connection.execute(
        select(func.count(token.c.envelope), func.count(token.c.digest)).where(
            token.c.subject_id == subject_id
        )
    ).one()
    connection.execute(
        update(token)
        .where(token.c.subject_id == subject_id)
        .values(subject_id=NOBODY, envelope=None, digest=None, digest_version=None, audience_id=None)
    )
    references = _count_references(connection, subject_id)
    connection.execute(
        update(subject)
        .where(subject.c.id == subject_id)
        .values(state=ERASED, ref_digest=None, ref_envelope=None, ref_version=None, log_subject=log_subject)
    )
    return Destroyed(data_keys, kept[0], kept[1], references)


def _count_references(connection: Connection, subject_id: int) -> int:
    column = tables.subject.c
    statement = select(column.ref_digest, column.ref_envelope).where(column.id == subject_id)
    return int(any(part is not None for part in connection.execute(statement).one()))


def is_left(connection: Connection, subject_id: int) -> bool:
    """Say whether a data key or a token still names the subject."""
    token = tables.token.c.subject_id
    tokens = select(token).where(token == subject_id).limit(1)
    if connection.execute(tokens).first() is not None:
        return True
    return count_data_keys_of(connection, subject_id) > 0


Replay = tuple[bytes, bytes]
"""Scope and stored result of an idempotency record."""

_POSTGRESQL: Final = """
SELECT scope, result FROM idempotency
WHERE created_at >= %s AND log_index >= %s AND position(%b::bytea IN result) > 0
"""
_SQLITE: Final = """
SELECT scope, result FROM idempotency WHERE created_at >= ? AND log_index >= ? AND instr(result, ?) > 0
"""


def find_replays(connection: Connection, needle: bytes, *, since_us: int = 0, start: int = 0) -> list[Replay]:
    """Return the idempotency records with ``needle`` in their result, made since, of entries from ``start``.

    The time narrows by an index, the log index exactly: clocks of nodes differ.
    """
    statement = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
    rows = connection.exec_driver_sql(statement, (since_us, start, needle))
    return [(bytes(row[0]), bytes(row[1])) for row in rows]


def drop_replays(connection: Connection, scopes: Collection[bytes]) -> None:
    """Delete idempotency records."""
    column = tables.idempotency.c.scope
    remaining: Sequence[bytes] = list(scopes)
    while remaining:
        connection.execute(delete(tables.idempotency).where(column.in_(remaining[:_AT_ONCE])))
        remaining = remaining[_AT_ONCE:]


_AT_ONCE: Final = 500
"""Far below what SQLite takes as placeholders."""
