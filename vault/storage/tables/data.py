"""Fields, policy, subjects, tokens with their sealed values, and what remains of the erased."""

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

from vault.storage.tables.base import RowId, metadata, sealed

field = Table(
    "field",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)
"""Short ids of field names. Ids are never given to another name."""

policy = Table(
    "policy",
    metadata,
    Column("id", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("installed_at", BigInteger, nullable=False),
    *sealed(),
)
"""The policy in force and its predecessors; ``id`` is the version number as text."""

id_block = Table(
    "id_block",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("next_sequence", BigInteger, nullable=False),
)
"""Where the next block of row ids of a partition starts."""

subject = Table(
    "subject",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("log_subject", LargeBinary, nullable=False, unique=True),
    Column("ref_digest", LargeBinary, unique=True),
    Column("ref_envelope", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("ref_version", SmallInteger),
)

token = Table(
    "token",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("subject_id", RowId, nullable=False),
    Column("field_id", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", BigInteger, nullable=False),
    Column("digest_version", SmallInteger),
    Column("digest", LargeBinary),
    Column("envelope", LargeBinary),
    Column("kind", SmallInteger),
    Column("audience_id", SmallInteger),
    Index("ix_token_subject_id", "subject_id", "id"),
)
"""A token and its sealed value; a revoked token keeps its row and loses envelope and digest."""

Index(
    "ix_token_digest",
    token.c.digest,
    postgresql_where=token.c.digest.is_not(None),
    sqlite_where=token.c.digest.is_not(None),
)

_FOR_AUDIENCE = token.c.audience_id.is_not(None)

Index(
    "uq_token_audience",
    token.c.subject_id,
    token.c.field_id,
    token.c.audience_id,
    unique=True,
    postgresql_where=_FOR_AUDIENCE,
    sqlite_where=_FOR_AUDIENCE,
)

audience = Table(
    "audience",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)
"""Short ids of audiences. Ids are never given to another name."""

tombstone = Table(
    "tombstone",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("log_index", BigInteger, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    *sealed(),
    CheckConstraint("act IN ('erase','restrict','lift')", name="act"),
)
"""What was done to whom for good; copied to a file outside the database. ``seq`` has no gaps."""

certificate = Table(
    "certificate",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", Integer, nullable=False, unique=True),
    Column("facts", Text, nullable=False),
    Column("note", Text),
    Column("created_at", BigInteger, nullable=False),
    *sealed(),
)
"""``seq`` is that of the tombstone; ``note`` is empty until the tombstone is outside the database."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", LargeBinary, primary_key=True),
    Column("body_mac", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("log_index", BigInteger, nullable=False),
    Column("result", LargeBinary, nullable=False),
)
"""``scope`` and ``body_mac`` are keyed MACs; ``result`` holds row ids and codes, never a value."""
