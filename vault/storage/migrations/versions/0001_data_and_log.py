"""Data, keys and log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _counter()
    _data_key()
    _field()
    _id_block()
    _idempotency()
    _key()
    _log_checkpoint()
    _log_entry()
    _log_note()
    _log_tree()
    _log_unit()
    _subject()
    _token()
    if op.get_bind().dialect.name == "postgresql":
        # Entries are read whole and rarely: compressing them costs the hot path and saves little.
        op.execute("ALTER TABLE log_entry ALTER COLUMN body SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE token ALTER COLUMN envelope SET STORAGE EXTERNAL")
        # One row, updated at every commit: room for its versions keeps it on one page.
        op.execute("ALTER TABLE counter SET (fillfactor = 10)")


def downgrade() -> None:
    op.drop_table("token")
    op.drop_table("subject")
    op.drop_table("log_unit")
    op.drop_table("log_tree")
    op.drop_table("log_note")
    op.drop_table("log_entry")
    op.drop_table("log_checkpoint")
    op.drop_table("key")
    op.drop_table("idempotency")
    op.drop_table("id_block")
    op.drop_table("field")
    op.drop_table("data_key")
    op.drop_table("counter")


def _counter() -> None:
    op.create_table(
        "counter",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("vault_id", sa.LargeBinary(), nullable=False),
        sa.Column("next_index", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_counter_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_counter")),
    )


def _data_key() -> None:
    op.create_table(
        "data_key",
        sa.Column(
            "subject_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "generation", name=op.f("pk_data_key")),
    )
    with op.batch_alter_table("data_key", schema=None) as batch_op:
        batch_op.create_index("ix_data_key_epoch", ["epoch", "subject_id"], unique=False)


def _field() -> None:
    op.create_table(
        "field",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_field")),
        sa.UniqueConstraint("name", name=op.f("uq_field_name")),
    )


def _id_block() -> None:
    op.create_table(
        "id_block",
        sa.Column("partition", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_id_block")),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.LargeBinary(), nullable=False),
        sa.Column("body_mac", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_idempotency")),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_created_at"), ["created_at"], unique=False)


def _key() -> None:
    op.create_table(
        "key",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('pre_activation','active','suspended','deactivated','compromised','destroyed')",
            name=op.f("ck_key_state"),
        ),
        sa.PrimaryKeyConstraint("kind", "scope", "version", name=op.f("pk_key")),
    )


def _log_checkpoint() -> None:
    op.create_table(
        "log_checkpoint",
        sa.Column(
            "size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_log_checkpoint")),
    )


def _log_entry() -> None:
    op.create_table(
        "log_entry",
        sa.Column(
            "idx", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name=op.f("pk_log_entry")),
    )


def _log_note() -> None:
    op.create_table(
        "log_note",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_note")),
    )


def _log_tree() -> None:
    op.create_table(
        "log_tree",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("writers", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_tree_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_tree")),
    )


def _log_unit() -> None:
    op.create_table(
        "log_unit",
        sa.Column(
            "first", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("writer", sa.LargeBinary(), nullable=False),
        sa.Column("writer_seq", sa.BigInteger(), nullable=False),
        sa.Column("mac_version", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("first", name=op.f("pk_log_unit")),
    )
    with op.batch_alter_table("log_unit", schema=None) as batch_op:
        batch_op.create_index("uq_log_unit_writer_writer_seq", ["writer", "writer_seq"], unique=True)


def _subject() -> None:
    op.create_table(
        "subject",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("log_subject", sa.LargeBinary(), nullable=False),
        sa.Column("ref_digest", sa.LargeBinary(), nullable=True),
        sa.Column("ref_envelope", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
        sa.UniqueConstraint("log_subject", name=op.f("uq_subject_log_subject")),
        sa.UniqueConstraint("ref_digest", name=op.f("uq_subject_ref_digest")),
    )


def _token() -> None:
    op.create_table(
        "token",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("field_id", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=False),
        sa.Column("digest_version", sa.SmallInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("envelope", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
    )
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.create_index(
            "ix_token_digest",
            ["digest"],
            unique=False,
            postgresql_where=sa.text("digest IS NOT NULL"),
            sqlite_where=sa.text("digest IS NOT NULL"),
        )
        batch_op.create_index("ix_token_subject_id", ["subject_id", "id"], unique=False)
