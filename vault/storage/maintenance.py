"""Rows that only have to be there for a while."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

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
