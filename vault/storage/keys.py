"""Rows of keys and field ids, and the re-wrap of data keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, tuple_, update

from keys.keyring import KeyKind, KeyRecord
from keys.signing import SigningKey
from keys.states import KeyState
from vault.storage import tables
from vault.storage.database import IN_BINARY, Connection
from vault.storage.errors import StaleRevisionError

DataKeyRow = tuple[int, int, int, bytes, int | None]
"""subject_id, generation, epoch, wrapped, state of the subject; None where there is no such subject"""


def read_keys(connection: Connection) -> list[KeyRecord]:
    """Read every named key, in order of kind, scope and version."""
    rows = connection.execute(
        select(tables.key).order_by(tables.key.c.kind, tables.key.c.scope, tables.key.c.version)
    )
    return [
        KeyRecord(
            KeyKind(row.kind),
            row.scope,
            row.version,
            KeyState(row.state),
            bytes(row.wrapped),
            material(row.public),
        )
        for row in rows
    ]


def read_key_dates(connection: Connection) -> dict[str, tuple[int, int]]:
    """Read when each key was made and last changed state, by its name, in microseconds."""
    rows = connection.execute(select(tables.key))
    return {f"{row.kind}/{row.scope}/{row.version}": (row.created_at, row.changed_at) for row in rows}


def insert_keys(connection: Connection, records: Sequence[KeyRecord], *, now_us: int) -> None:
    """Insert new keys as they are."""
    connection.execute(
        insert(tables.key),
        [
            {
                "kind": record.kind.value,
                "scope": record.scope,
                "version": record.version,
                "state": record.state.value,
                "wrapped": record.wrapped,
                "public": record.public or None,
                "created_at": now_us,
                "changed_at": now_us,
            }
            for record in records
        ],
    )


def set_key_state(connection: Connection, record: KeyRecord, state: KeyState, *, now_us: int) -> None:
    """Move one key to ``state``; whether it may is the caller's to check."""
    connection.execute(update(tables.key).where(*_named(record)).values(state=state.value, changed_at=now_us))


def read_field_ids(connection: Connection) -> dict[str, int]:
    """Read the short id of every field name ever declared."""
    return {row.name: row.id for row in connection.execute(select(tables.field))}


def add_field_ids(connection: Connection, names: Sequence[str]) -> None:
    """Give the names that have no id yet the next ones; an id is never reused."""
    known = read_field_ids(connection)
    start = max(known.values(), default=0) + 1
    fresh = [name for name in names if name not in known]
    if fresh:
        connection.execute(
            insert(tables.field), [{"id": start + at, "name": name} for at, name in enumerate(fresh)]
        )


def count_data_keys(connection: Connection) -> dict[int, int]:
    """Count the data keys wrapped under each epoch."""
    rows = connection.execute(
        select(tables.data_key.c.epoch, func.count().label("data_keys")).group_by(tables.data_key.c.epoch)
    )
    return {row.epoch: row.data_keys for row in rows}


def read_data_keys_outside(
    connection: Connection,
    epochs: Collection[int],
    *,
    active: int,
    after: tuple[int, int],
    limit: int,
) -> list[DataKeyRow]:
    """Read up to ``limit`` data keys wrapped under none of ``epochs``, in order of subject and generation.

    And those whose row says ``active`` while their own header does not.

    ``after`` is the subject id and generation of the last one seen, so that a
    key that cannot be re-wrapped does not hold up the others.
    """
    column = tables.data_key.c
    rows = connection.execute(
        select(column.subject_id, column.generation, column.epoch, column.wrapped, tables.subject.c.state)
        .outerjoin(tables.subject, tables.subject.c.id == column.subject_id)
        .where(
            or_(
                column.epoch.not_in(epochs),
                and_(column.epoch == active, _header() != active.to_bytes(4, "big")),
            ),
            tuple_(column.subject_id, column.generation) > after,
        )
        .order_by(column.subject_id, column.generation)
        .limit(limit),
        execution_options=IN_BINARY,
    )
    return [(row[0], row[1], row[2], material(row[3]), row[4]) for row in rows]


def material(value: object) -> bytes:
    """Return bytes as they are; anything else, which SQLite lets somebody put there, opens nothing."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def count_hanging(connection: Connection) -> dict[int, int]:
    """Count the data keys that hang on each epoch: by the row, or where those are more, by their own headers.

    Whoever holds the database can write another epoch beside a key, not into its
    header: the header is what tells which epoch opens it.
    """
    stated: Counter[int] = Counter()
    sealed: Counter[int] = Counter()
    for (row, header), count in count_by_header(connection).items():
        stated[row] += count
        sealed[header] += count
    return dict(stated | sealed)


def count_by_header(connection: Connection) -> dict[tuple[int, int], int]:
    """Count the data keys by the epoch of the row and the one of the key's own header, in one look."""
    epoch, header = tables.data_key.c.epoch, _header()
    rows = connection.execute(select(epoch, header.label("header"), func.count()).group_by(epoch, header))
    return {(row[0], int.from_bytes(material(row[1]), "big")): int(row[2]) for row in rows}


def _header() -> ColumnElement[bytes]:
    """Return the epoch as the header of a wrapped data key has it (envelope.md 5.2)."""
    return func.substr(tables.data_key.c.wrapped, 2, 4)


def read_data_keys_of(connection: Connection, subject_ids: Collection[int]) -> list[DataKeyRow]:
    """Read every data key of these subjects, at most a few thousand."""
    column = tables.data_key.c
    rows = connection.execute(
        select(column.subject_id, column.generation, column.epoch, column.wrapped, tables.subject.c.state)
        .join(tables.subject, tables.subject.c.id == column.subject_id)
        .where(column.subject_id.in_(subject_ids)),
        execution_options=IN_BINARY,
    )
    return [(row[0], row[1], row[2], material(row[3]), row[4]) for row in rows]


_REPLACE_POSTGRESQL: Final = """
UPDATE data_key AS k SET epoch = %s::int4, wrapped = x.new
FROM unnest(%b::int8[], %b::int4[], %b::bytea[], %b::bytea[]) AS x (subject, generation, old, new)
WHERE k.subject_id = x.subject AND k.generation = x.generation AND k.wrapped = x.old
"""
_REPLACE_SQLITE: Final = """
UPDATE data_key SET epoch = ?, wrapped = ? WHERE subject_id = ? AND generation = ? AND wrapped = ?
"""


def replace_data_keys(
    connection: Connection, epoch: int, changes: Sequence[tuple[int, int, bytes, bytes]]
) -> int:
    """Write keys re-wrapped under ``epoch``: (subject_id, generation, old, new); return how many it were.

    A row that has changed meanwhile is left as it is.
    """
    if not changes:
        return 0
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*changes, strict=True)))
        return connection.exec_driver_sql(_REPLACE_POSTGRESQL, (epoch, *columns)).rowcount
    rows = [(epoch, new, subject, generation, old) for subject, generation, old, new in changes]
    return connection.exec_driver_sql(_REPLACE_SQLITE, rows).rowcount


def require_in_use(connection: Connection, *wanted: tuple[KeyKind, str, int]) -> None:
    """Return if every key of ``wanted``, by kind, scope and version, is active. Raises StaleRevisionError.

    A key without a row is not
    looked for: rows of keys are never deleted.
    """
    column = tables.key.c
    named = or_(
        *(
            and_(column.kind == kind.value, column.scope == scope, column.version == version)
            for kind, scope, version in wanted
        )
    )
    statement = select(func.count()).where(named, column.state != KeyState.ACTIVE.value)
    if connection.execute(statement).scalar_one():
        raise StaleRevisionError("a key was replaced meanwhile")


def replace_wrapped(connection: Connection, record: KeyRecord) -> None:
    """Store ``record`` as it is sealed now; nothing else of it changes."""
    connection.execute(update(tables.key).where(*_named(record)).values(wrapped=record.wrapped))


def publish_keys(connection: Connection, signers: Iterable[SigningKey]) -> None:
    """Store the public half of each of ``signers`` where none stands: an older release stored none."""
    column = tables.key.c
    for signer in signers:
        connection.execute(
            update(tables.key)
            .where(
                column.kind == KeyKind.LOG_SIGNING.value,
                column.scope == signer.name,
                column.version == signer.version,
                column.state != KeyState.DESTROYED.value,
                column.public.is_(None),
            )
            .values(public=signer.public)
        )


def destroy_key(connection: Connection, record: KeyRecord, *, now_us: int) -> None:
    """Overwrite the material of ``record`` and mark it destroyed; whether it may is the caller's to check."""
    connection.execute(
        update(tables.key)
        .where(*_named(record))
        .values(state=KeyState.DESTROYED.value, wrapped=b"", public=None, changed_at=now_us)
    )


def _named(record: KeyRecord) -> tuple[ColumnElement[bool], ...]:
    column = tables.key.c
    return (
        column.kind == record.kind.value,
        column.scope == record.scope,
        column.version == record.version,
    )
