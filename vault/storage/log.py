"""Rows of the log: units and entries in order, the integrated tree, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import insert, select, update

from vault.storage import tables
from vault.storage.database import Connection

PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One commit's worth of log, with the leaf hashes and bytes of its entries as they are stored."""

    first: int
    size: int
    writer: bytes
    writer_seq: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry as it is stored."""

    index: int
    leaf: bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TreeRow:
    """How far the tree is built."""

    frontier: bytes
    writers: bytes


def insert_tree(connection: Connection, tree: TreeRow) -> None:
    """Insert the one row of a new vault."""
    connection.execute(insert(tables.log_tree).values(id=1, frontier=tree.frontier, writers=tree.writers))


def read_tree(connection: Connection) -> TreeRow:
    """Return the tree row as it is."""
    row = connection.execute(select(tables.log_tree)).one()
    return TreeRow(bytes(row.frontier), bytes(row.writers))


def lock_tree(connection: Connection) -> TreeRow | None:
    """Return the tree row, locked until the transaction ends; None when another node holds it."""
    statement = select(tables.log_tree).with_for_update(skip_locked=True)
    row = connection.execute(statement).one_or_none()
    return None if row is None else TreeRow(bytes(row.frontier), bytes(row.writers))


def update_tree(connection: Connection, tree: TreeRow) -> None:
    """Write how far the tree is built now."""
    connection.execute(update(tables.log_tree).values(frontier=tree.frontier, writers=tree.writers))


def read_units(connection: Connection, start: int, *, limit: int) -> list[UnitRow]:
    """Read up to ``limit`` units that begin at ``start`` or later, in order."""
    column = tables.log_unit.c
    rows = connection.execute(
        select(tables.log_unit).where(column.first >= start).order_by(column.first).limit(limit)
    )
    return [UnitRow(row.first, row.size, bytes(row.writer), row.writer_seq, bytes(row.mac)) for row in rows]


def read_unit_before(connection: Connection, stop: int) -> UnitRow | None:
    """Read the last unit that begins below ``stop``."""
    column = tables.log_unit.c
    statement = select(tables.log_unit).where(column.first < stop).order_by(column.first.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return UnitRow(row.first, row.size, bytes(row.writer), row.writer_seq, bytes(row.mac))


def read_entries(connection: Connection, start: int, stop: int) -> list[EntryRow]:
    """Read the entries from ``start`` up to, not including, ``stop``."""
    column = tables.log_entry.c
    rows = connection.execute(
        select(tables.log_entry).where(column.idx >= start, column.idx < stop).order_by(column.idx)
    )
    return [EntryRow(row.idx, bytes(row.leaf), bytes(row.body)) for row in rows]


def read_entries_before(connection: Connection, stop: int, *, limit: int) -> list[EntryRow]:
    """Read up to ``limit`` entries below ``stop``, the newest first."""
    column = tables.log_entry.c
    rows = connection.execute(
        select(tables.log_entry).where(column.idx < stop).order_by(column.idx.desc()).limit(limit)
    )
    return [EntryRow(row.idx, bytes(row.leaf), bytes(row.body)) for row in rows]


def iterate_bodies(connection: Connection, stop: int) -> Iterator[bytes]:
    """Yield the stored bytes of every entry below ``stop`` in index order, a page at a time."""
    for start in range(0, stop, PAGE):
        for entry in read_entries(connection, start, min(start + PAGE, stop)):
            yield entry.body


def insert_checkpoint(connection: Connection, *, size: int, note: str, now_us: int) -> None:
    """Insert a signed checkpoint."""
    connection.execute(insert(tables.log_checkpoint).values(size=size, note=note, created_at=now_us))


def read_checkpoints(connection: Connection, *, up_to: int) -> Sequence[str]:
    """Read every checkpoint of at most ``up_to`` entries, oldest first."""
    column = tables.log_checkpoint.c
    statement = select(column.note).where(column.size <= up_to).order_by(column.size)
    return list(connection.execute(statement).scalars())


def read_last_checkpoint(connection: Connection) -> str | None:
    """Read the newest checkpoint."""
    statement = select(tables.log_checkpoint.c.note).order_by(tables.log_checkpoint.c.size.desc()).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def read_checkpoint_at(connection: Connection, size: int) -> str | None:
    """Read the checkpoint of exactly this size."""
    statement = select(tables.log_checkpoint.c.note).where(tables.log_checkpoint.c.size == size)
    return connection.execute(statement).scalar_one_or_none()


def read_note(connection: Connection, digest: bytes) -> bytes | None:
    """Read a sealed reason by the SHA-256 of its ciphertext."""
    statement = select(tables.log_note.c.sealed).where(tables.log_note.c.id == digest)
    sealed = connection.execute(statement).scalar_one_or_none()
    return None if sealed is None else bytes(sealed)
