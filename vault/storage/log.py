"""Rows of the log: units and entries in order, the integrated tree, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import delete, func, insert, select, update

from vault.storage import tables
from vault.storage.database import IN_BINARY, Connection

PAGE: Final = 1_000

_UNITS: Final = select(
    *(tables.log_unit.c[name] for name in ("first", "size", "writer", "writer_seq", "mac"))
)
_ENTRIES: Final = select(*(tables.log_entry.c[name] for name in ("idx", "leaf", "body")))


class UnitRow(NamedTuple):
    """What one commit appended. In the order of the columns read, as is the next: thousands a second."""

    first: int
    size: int
    writer: bytes
    writer_seq: int
    mac: bytes


class EntryRow(NamedTuple):
    """One entry as it is stored."""

    idx: int
    leaf: bytes
    body: bytes

    def __repr__(self) -> str:
        return f"EntryRow(idx={self.idx})"


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


def read_tree_locked(connection: Connection) -> TreeRow:
    """Return the tree row, locked until the transaction ends; waits for whoever holds it."""
    row = connection.execute(select(tables.log_tree).with_for_update()).one()
    return TreeRow(bytes(row.frontier), bytes(row.writers))


def read_leaves(connection: Connection, start: int, stop: int) -> list[tuple[int, bytes]]:
    """Read index and stored leaf hash of the entries from ``start`` up to, not including, ``stop``."""
    column = tables.log_entry.c
    statement = (
        select(column.idx, column.leaf).where(column.idx >= start, column.idx < stop).order_by(column.idx)
    )
    return [
        (index, bytes(leaf)) for index, leaf in connection.execute(statement, execution_options=IN_BINARY)
    ]


def count_units_from(connection: Connection, start: int) -> int:
    """Count the units that begin at ``start`` or later."""
    statement = select(func.count()).select_from(tables.log_unit).where(tables.log_unit.c.first >= start)
    return connection.execute(statement).scalar_one()


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
    first = tables.log_unit.c.first
    statement = _UNITS.where(first >= start).order_by(first).limit(limit)
    return list(map(UnitRow._make, connection.execute(statement, execution_options=IN_BINARY).all()))


def read_unit_before(connection: Connection, stop: int) -> UnitRow | None:
    """Read the last unit that begins below ``stop``."""
    first = tables.log_unit.c.first
    row = connection.execute(_UNITS.where(first < stop).order_by(first.desc()).limit(1)).one_or_none()
    return None if row is None else UnitRow._make(row)


def read_entries(connection: Connection, start: int, stop: int) -> list[EntryRow]:
    """Read the entries from ``start`` up to, not including, ``stop``."""
    idx = tables.log_entry.c.idx
    statement = _ENTRIES.where(idx >= start, idx < stop).order_by(idx)
    return list(map(EntryRow._make, connection.execute(statement, execution_options=IN_BINARY).all()))


def read_entries_before(connection: Connection, stop: int, *, limit: int) -> list[EntryRow]:
    """Read up to ``limit`` entries below ``stop``, the newest first."""
    idx = tables.log_entry.c.idx
    statement = _ENTRIES.where(idx < stop).order_by(idx.desc()).limit(limit)
    return list(map(EntryRow._make, connection.execute(statement, execution_options=IN_BINARY).all()))


def iterate_bodies(connection: Connection, stop: int) -> Iterator[bytes]:
    """Yield the stored bytes of every entry below ``stop`` in index order, a page at a time."""
    for start in range(0, stop, PAGE):
        for entry in read_entries(connection, start, min(start + PAGE, stop)):
            yield entry.body


def insert_checkpoint(connection: Connection, *, size: int, note: str, now_us: int) -> None:
    """Insert a signed checkpoint."""
    connection.execute(insert(tables.log_checkpoint).values(size=size, note=note, created_at=now_us))


def delete_checkpoints(connection: Connection) -> None:
    """Delete every checkpoint: a restored log is signed anew, under another name."""
    connection.execute(delete(tables.log_checkpoint))


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
