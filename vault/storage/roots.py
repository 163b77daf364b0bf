"""Rows of sealed copies of the root key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update

from vault.storage import tables
from vault.storage.database import Connection


@dataclass(frozen=True, slots=True)
class RootRow:
    """One sealed copy. ``kind`` names the wrapper that sealed it."""

    version: int
    slot: str
    kind: str
    state: str
    """``active``, or ``retired``: then without the sealed bytes, but for a passphrase that has not ended."""
    wrapped: bytes = field(repr=False)
    created_at: int
    sealed_by: str = ""
    """What sealed it, as told when it was made; empty for one of an earlier release. Nothing protects it."""
    ended_at: int | None = None
    """When what opens it was ended for good, or is going to be; None as long as it may be somewhere."""


def read_roots(connection: Connection) -> list[RootRow]:
    """Read every copy, the newest version first."""
    column = tables.root_key.c
    rows = connection.execute(select(tables.root_key).order_by(column.version.desc(), column.slot))
    return [
        RootRow(
            row.version,
            row.slot,
            row.kind,
            row.state,
            bytes(row.wrapped),
            row.created_at,
            row.sealed_by,
            row.ended_at,
        )
        for row in rows
    ]


def insert_roots(connection: Connection, copies: Sequence[RootRow]) -> None:
    """Insert new copies."""
    connection.execute(
        insert(tables.root_key),
        [{name: getattr(copy, name) for name in RootRow.__slots__} for copy in copies],
    )


def retire_roots(connection: Connection, version: int) -> None:
    """Overwrite the copies of ``version``: from now on it is a name and a date.

    What a passphrase sealed stays until ``end_copy``: only that tells whether a
    later passphrase is the same.
    """
    column = tables.root_key.c
    retired = update(tables.root_key).where(column.version == version)
    connection.execute(retired.values(state="retired"))
    connection.execute(retired.where(column.kind != "passphrase").values(wrapped=b""))


def end_copy(connection: Connection, version: int, slot: str, *, ended_at: int) -> int:
    """Mark a copy of an older root key as ended; return 0 when it was already, or is in force."""
    column = tables.root_key.c
    return connection.execute(
        update(tables.root_key)
        .where(column.version == version, column.slot == slot)
        .where(column.state == "retired", column.ended_at.is_(None))
        .values(wrapped=b"", ended_at=ended_at)
    ).rowcount
