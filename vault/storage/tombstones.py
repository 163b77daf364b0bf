"""Rows of tombstones and certificates: what was done to a data subject for good, and the paper about it.

A tombstone is written in the transaction of the act, after the append has given
it its log index; the counter row is locked by then, so ``seq`` has no gaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Final

from sqlalchemy import Connection, Table, func, select

from vault.storage import tables
from vault.storage.rows import SealedRow

ERASE: Final = "erase"
RESTRICT: Final = "restrict"
LIFT: Final = "lift"

_AT_ONCE: Final = 500
"""Log indexes in one statement."""


@dataclass(frozen=True, slots=True)
class TombstoneRow(SealedRow):
    """One erasure, restriction or lifting of a restriction."""

    table: ClassVar[Table] = tables.tombstone

    seq: int
    """From 0, without gaps."""
    log_index: int
    """Of the entry that says what was done."""
    act: str
    """``erase``, ``restrict`` or ``lift``."""
    subject_id: int
    at_us: int
    version: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateRow(SealedRow):
    """What an erasure destroyed. ``facts`` is canonical JSON: sorted keys, no white space, ASCII."""

    table: ClassVar[Table] = tables.certificate

    id: str
    seq: int
    """Of the tombstone."""
    facts: str
    note: str | None
    """The signed text; None until the tombstone is outside the database."""
    created_at: int
    version: int
    mac: bytes = field(repr=False)


def next_seq(connection: Connection) -> int:
    """Return the number of the next tombstone. To be called after the append, under its lock."""
    last = connection.execute(select(func.max(tables.tombstone.c.seq))).scalar_one()
    return 0 if last is None else int(last) + 1


def tombstones_from(connection: Connection, start: int, limit: int) -> list[TombstoneRow]:
    """Return up to ``limit`` tombstones from number ``start`` on, in order."""
    column = tables.tombstone.c
    statement = select(tables.tombstone).where(column.seq >= start).order_by(column.seq).limit(limit)
    return TombstoneRow.all(connection, statement)


def last_tombstone_of(connection: Connection, subject_id: int) -> TombstoneRow | None:
    """Return the latest tombstone of a subject."""
    column = tables.tombstone.c
    statement = select(tables.tombstone).where(column.subject_id == subject_id)
    return TombstoneRow.one(connection, statement.order_by(column.seq.desc()).limit(1))


def certificate_of(connection: Connection, seq: int) -> CertificateRow | None:
    """Return the certificate of the tombstone ``seq``; only an erasure has one."""
    statement = select(tables.certificate).where(tables.certificate.c.seq == seq)
    return CertificateRow.one(connection, statement)


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


def certificates_without_note(connection: Connection, *, below: int, limit: int) -> list[CertificateRow]:
    """Return up to ``limit`` certificates that wait for their note, of tombstones below number ``below``."""
    column = tables.certificate.c
    statement = select(tables.certificate).where(column.note.is_(None), column.seq < below)
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
