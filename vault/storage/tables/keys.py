"""The counter row, the keys and the work on them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    false,
)

from vault.storage.tables.base import RowId, metadata

counter = Table(
    "counter",
    metadata,
    Column(
        "id", SmallInteger, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False
    ),
    Column("vault_id", LargeBinary, nullable=False),
    Column("next_index", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("sealed", Boolean, nullable=False),
)
"""One row: the next log index, the revision of what decisions depend on, the seal."""

key = Table(
    "key",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("public", LargeBinary),
    CheckConstraint(
        "state IN ('pre_activation','active','suspended','deactivated','compromised','destroyed')",
        name="state",
    ),
)
"""Named keys, each wrapped by the root key; of a log signing key also its public half, in the clear."""

root_key = Table(
    "root_key",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("slot", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed_by", Text, nullable=False, server_default=""),
    Column("ended_at", BigInteger),
    CheckConstraint("slot IN ('live','recovery')", name="slot"),
    CheckConstraint("state IN ('active','retired')", name="state"),
)
"""Sealed copies of the root key: one for daily use, one for the day that the first cannot be opened."""

data_key = Table(
    "data_key",
    metadata,
    Column("subject_id", RowId, primary_key=True, autoincrement=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("suspect", Boolean, nullable=False, server_default=false()),
)
"""Apart from ``subject`` and ``token`` so that a backup can keep keys and values apart."""

_SUSPECT = data_key.c.suspect

# Holds what is to be sealed anew, and so mostly nothing: every look at the state asks whether there is any.
Index("ix_data_key_suspect", data_key.c.subject_id, postgresql_where=_SUSPECT, sqlite_where=_SUSPECT)

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    CheckConstraint("kind IN ('rewrap','redigest','reseal','reencrypt')", name="kind"),
    CheckConstraint("state IN ('running','done')", name="state"),
)
"""Background work: how far it is, and which node has it until when."""

_RUNNING = job.c.state == "running"

Index("uq_job_running", job.c.kind, unique=True, postgresql_where=_RUNNING, sqlite_where=_RUNNING)
