"""The schema, one place for both databases.

Times are UTC, in whole microseconds since the epoch, so that a row has one
canonical form on both databases and its MAC can be computed again. Ids of
subjects and tokens are dense integers (``docs/formats/token.md``); the log
index comes from ``counter``, never from a sequence, so it has no gaps.

Rows that a decision reads carry ``version`` and ``mac`` (authority key): a row
inserted, swapped or edited by someone who holds the database is refused.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a column the row id itself only when its type is spelled INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")


def _sealed() -> list[Column[object]]:
    return [
        Column("version", BigInteger, nullable=False),
        Column("mac", LargeBinary, nullable=False),
    ]


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
    CheckConstraint(
        "state IN ('pre_activation','active','suspended','deactivated','compromised','destroyed')",
        name="state",
    ),
)
"""Named keys, each wrapped by the root key."""

root_key = Table(
    "root_key",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("slot", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("slot IN ('live','recovery')", name="slot"),
    CheckConstraint("state IN ('active','retired')", name="state"),
)
"""Sealed copies of the root key: one for daily use, one for the day that the first cannot be opened."""

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
    *_sealed(),
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

data_key = Table(
    "data_key",
    metadata,
    Column("subject_id", RowId, primary_key=True, autoincrement=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
)
"""Apart from ``subject`` and ``token`` so that a backup can keep keys and values apart."""

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
    Index("ix_token_subject_id", "subject_id", "id"),
)
"""A token and its sealed value; a revoked token keeps its row and loses envelope and digest."""

Index(
    "ix_token_digest",
    token.c.digest,
    postgresql_where=token.c.digest.is_not(None),
    sqlite_where=token.c.digest.is_not(None),
)

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

staff = Table(
    "staff",
    metadata,
    Column("id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("employer", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    *_sealed(),
    CheckConstraint("state IN ('invited','waiting','active','left')", name="state"),
)

staff_secret = Table(
    "staff_secret",
    metadata,
    Column("staff_id", Text, ForeignKey("staff.id"), primary_key=True),
    Column("verifier", Text, nullable=False),
    Column("password_set_at", BigInteger, nullable=False),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("highest_step", BigInteger, nullable=False),
    *_sealed(),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("staff_id", Text, ForeignKey("staff.id"), nullable=False),
    Column("code_mac", LargeBinary, nullable=False, unique=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("totp_sealed", LargeBinary, nullable=False),
    *_sealed(),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_mac", LargeBinary, nullable=False, unique=True),
    Column("staff_id", Text, ForeignKey("staff.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    *_sealed(),
)
"""``last_seen_at`` and ``closed_at`` only ever narrow what the MAC covers, so it leaves them out."""

login_failure = Table(
    "login_failure",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("window_start", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", BigInteger, nullable=False),
)
"""``account`` is a keyed MAC of the login name given; ``source`` is '' for the account as a whole."""

service = Table(
    "service",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, ForeignKey("staff.id"), nullable=False),
    Column("networks", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    *_sealed(),
    CheckConstraint("state IN ('active','revoked')", name="state"),
)

credential = Table(
    "credential",
    metadata,
    Column("id", Text, primary_key=True),
    Column("service_id", Text, ForeignKey("service.id"), nullable=False),
    Column("secret_mac", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    *_sealed(),
)
"""A service's secret, as a keyed MAC; two may live at once while rotating."""

grant = Table(
    "access_grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("mac", LargeBinary, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("actions", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("purposes", Text, nullable=False),
    Column("reveal", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    CheckConstraint("state IN ('proposed','active','refused','revoked')", name="state"),
)
"""Insert-only history: a change is a new version; the highest version of an id is in force."""

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", BigInteger),
    *_sealed(),
    CheckConstraint("kind IN ('enrolment','grant','key')", name="kind"),
    CheckConstraint("state IN ('open','approved','refused')", name="state"),
)

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
    CheckConstraint("kind IN ('rewrap','redigest')", name="kind"),
    CheckConstraint("state IN ('running','done')", name="state"),
)
"""Background work: how far it is, and which node has it until when."""

_RUNNING = job.c.state == "running"

Index("uq_job_running", job.c.kind, unique=True, postgresql_where=_RUNNING, sqlite_where=_RUNNING)
