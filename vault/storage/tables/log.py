"""The log: entries, units, notes, tree and checkpoints."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from vault.storage.tables.base import RowId, metadata

log_entry = Table(
    "log_entry",
    metadata,
    Column("idx", RowId, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

log_unit = Table(
    "log_unit",
    metadata,
    Column("first", RowId, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("writer", LargeBinary, nullable=False),
    Column("writer_seq", BigInteger, nullable=False),
    Column("mac_version", Integer, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Index("uq_log_unit_writer_writer_seq", "writer", "writer_seq", unique=True),
)
"""What one commit appended, under the log MAC key and the writer's own counter."""

log_note = Table(
    "log_note",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Sealed reasons; ``id`` is the SHA-256 of ``sealed``, which the entry carries."""

log_tree = Table(
    "log_tree",
    metadata,
    Column(
        "id", SmallInteger, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False
    ),
    Column("frontier", LargeBinary, nullable=False),
    Column("writers", LargeBinary, nullable=False),
)
"""The right edge of the integrated tree and the last counter seen of each writer."""

log_checkpoint = Table(
    "log_checkpoint",
    metadata,
    Column("size", RowId, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
