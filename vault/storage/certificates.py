"""What certificates need of the rows that an erasure left, and what the log needs of the tombstones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from sqlalchemy import Connection, select

from vault.storage import tables
from vault.storage.tombstones import CertificateRow, TombstoneRow

_AT_ONCE: Final = 500
"""Log indexes in one statement."""


def acts_at(connection: Connection, indexes: Iterable[int]) -> set[tuple[int, str]]:
    """Return log index and act of each tombstone whose entry is one of ``indexes``.

    After a restore two may have one index: the log began anew below those that were done again.
    """
    column = tables.tombstone.c
    found: set[tuple[int, str]] = set()
    left = iter(indexes)
    while some := list(islice(left, _AT_ONCE)):
        rows = connection.execute(select(column.log_index, column.act).where(column.log_index.in_(some)))
        found.update((row.log_index, row.act) for row in rows)
    return found


def certificates_without_note(
    connection: Connection, *, start: int, below: int, limit: int
) -> list[CertificateRow]:
    """Return up to ``limit`` certificates that wait for their note, of tombstones from ``start`` on."""
    column = tables.certificate.c
    statement = select(tables.certificate).where(
        column.note.is_(None), column.seq >= start, column.seq < below
    )
    return CertificateRow.all(connection, statement.order_by(column.seq).limit(limit))


def one_certificate(connection: Connection, certificate_id: str) -> CertificateRow | None:
    """Return the certificate of this id."""
    statement = select(tables.certificate).where(tables.certificate.c.id == certificate_id)
    return CertificateRow.one(connection, statement)


def certificates_before(connection: Connection, seq: int, limit: int) -> list[CertificateRow]:
    """Return up to ``limit`` certificates of tombstones below number ``seq``, the newest first."""
    column = tables.certificate.c
    statement = select(tables.certificate).where(column.seq < seq).order_by(column.seq.desc()).limit(limit)
    return CertificateRow.all(connection, statement)


def tombstone_at(connection: Connection, seq: int) -> TombstoneRow | None:
    """Return the tombstone of this number."""
    return TombstoneRow.one(connection, select(tables.tombstone).where(tables.tombstone.c.seq == seq))
