"""Rows that only have to be there for a while."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from vault.storage import tables
from vault.storage.database import Connection


def insert_counter(connection: Connection, vault_id: bytes) -> None:
    """Insert the counter row of a new vault."""
    connection.execute(
        insert(tables.counter).values(id=1, vault_id=vault_id, next_index=0, revision=1, sealed=False)
    )


def forget_replays(connection: Connection, *, before_us: int) -> None:
    """Delete idempotency records made before a moment."""
    connection.execute(delete(tables.idempotency).where(tables.idempotency.c.created_at < before_us))


def has_counter(connection: Connection) -> bool:
    """Say whether the database holds a vault."""
    return connection.execute(select(tables.counter.c.id)).one_or_none() is not None


def set_sealed(connection: Connection) -> None:
    """Seal the vault. After the append of its entry, since a sealed vault takes none."""
    connection.execute(update(tables.counter).where(tables.counter.c.id == 1).values(sealed=True))


def clear_sealed(connection: Connection) -> bool:
    """Unseal the vault, and say whether it was sealed. Before the append of its entry."""
    statement = update(tables.counter).where(tables.counter.c.id == 1, tables.counter.c.sealed)
    return connection.execute(statement.values(sealed=False)).rowcount == 1
