"""Erasure with tombstones and certificates, kinds of token, suspect data keys, rotation of every key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEYED = ("session", "credential", "invitation")
"""Tables whose rows hold a digest under the session key."""

MOVES = (
    ("pre_activation", "active"),
    ("pre_activation", "compromised"),
    ("pre_activation", "destroyed"),
    ("active", "suspended"),
    ("active", "deactivated"),
    ("active", "compromised"),
    ("suspended", "active"),
    ("suspended", "deactivated"),
    ("suspended", "compromised"),
    ("deactivated", "compromised"),
    ("deactivated", "destroyed"),
    ("compromised", "destroyed"),
)
"""Moves of a key's state until now, as in 0003."""

DOUBTED = ("deactivated", "suspended")
"""A key that was replaced and still reads may be suspended, too (docs/formats/envelope.md 10.3)."""


def upgrade() -> None:
    _erasure()
    _token_kinds()
    op.add_column("data_key", sa.Column("suspect", sa.Boolean(), nullable=False, server_default=sa.false()))
    suspect = sa.text("suspect")
    op.create_index(
        "ix_data_key_suspect", "data_key", ["subject_id"], postgresql_where=suspect, sqlite_where=suspect
    )
    for table in KEYED:
        # Until now there was one version of this key.
        op.add_column(table, sa.Column("key_version", sa.Integer(), nullable=False, server_default="1"))
    # What sealed each copy of a root key, as told when it was made, and when that copy was ended for good.
    op.add_column("root_key", sa.Column("sealed_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("root_key", sa.Column("ended_at", sa.BigInteger(), nullable=True))
    # The public half of a log signing key: a vault that opens for the first time since writes it.
    op.add_column("key", sa.Column("public", sa.LargeBinary(), nullable=True))
    _words("approval", "kind", "'enrolment','grant','key','erasure','lifting'")
    _words("job", "kind", "'rewrap','redigest','reseal','reencrypt'")
    _moves(*MOVES, DOUBTED)


def downgrade() -> None:
    # A token of another kind is refused by an older release; an erasure would be forgotten by it.
    if op.get_bind().execute(sa.text("SELECT count(*) FROM tombstone")).scalar_one():
        raise RuntimeError("people were erased here: an older release could bring them back")
    _moves(*MOVES)
    op.execute("DELETE FROM job WHERE kind IN ('reseal','reencrypt')")
    _words("job", "kind", "'rewrap','redigest'")
    op.execute("DELETE FROM approval WHERE kind IN ('erasure','lifting')")
    _words("approval", "kind", "'enrolment','grant','key'")
    op.drop_column("key", "public")
    op.drop_column("root_key", "ended_at")
    op.drop_column("root_key", "sealed_by")
    for table in KEYED:
        op.drop_column(table, "key_version")
    op.drop_index("ix_data_key_suspect", table_name="data_key")
    op.drop_column("data_key", "suspect")
    op.drop_index("uq_token_audience", table_name="token")
    op.drop_column("token", "spent_at")
    op.drop_column("token", "audience_id")
    op.drop_column("token", "kind")
    op.drop_table("audience")
    op.drop_table("certificate")
    op.drop_table("tombstone")


def _moves(*moves: tuple[str, str]) -> None:
    """Let the trigger of 0003 allow these and no others."""
    legal = " OR ".join(f"(OLD.state = '{old}' AND NEW.state = '{new}')" for old, new in moves)
    revived = "OLD.state = 'destroyed' AND OLD.wrapped <> NEW.wrapped"
    if op.get_bind().dialect.name == "postgresql":
        renamed = "(OLD.kind, OLD.scope, OLD.version) IS DISTINCT FROM (NEW.kind, NEW.scope, NEW.version)"
        op.execute(
            f"""
            CREATE OR REPLACE FUNCTION key_moves() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_OP = 'DELETE' OR {renamed} OR ({revived}) OR (OLD.state <> NEW.state AND NOT ({legal}))
                THEN
                    RAISE EXCEPTION 'a key cannot make this move' USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END $$
            """
        )
        return
    op.execute("DROP TRIGGER key_moves")
    op.execute(
        f"""
        CREATE TRIGGER key_moves BEFORE UPDATE ON key FOR EACH ROW
        WHEN OLD.kind IS NOT NEW.kind OR OLD.scope IS NOT NEW.scope OR OLD.version IS NOT NEW.version
            OR ({revived}) OR (OLD.state <> NEW.state AND NOT ({legal}))
        BEGIN SELECT RAISE(ABORT, 'a key cannot make this move'); END
        """
    )


def _erasure() -> None:
    op.create_table(
        "tombstone",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("act IN ('erase','restrict','lift')", name=op.f("ck_tombstone_act")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_tombstone")),
    )
    op.create_index(op.f("ix_tombstone_subject_id"), "tombstone", ["subject_id"])
    op.create_table(
        "certificate",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        sa.UniqueConstraint("seq", name=op.f("uq_certificate_seq")),
    )


def _token_kinds() -> None:
    op.create_table(
        "audience",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audience")),
        sa.UniqueConstraint("name", name=op.f("uq_audience_name")),
    )
    op.add_column("token", sa.Column("kind", sa.SmallInteger(), nullable=True))
    op.add_column("token", sa.Column("audience_id", sa.SmallInteger(), nullable=True))
    op.add_column("token", sa.Column("spent_at", sa.BigInteger(), nullable=True))
    audience = sa.text("audience_id IS NOT NULL")
    op.create_index(
        "uq_token_audience",
        "token",
        ["subject_id", "field_id", "audience_id"],
        unique=True,
        postgresql_where=audience,
        sqlite_where=audience,
    )


def _words(table: str, column: str, words: str) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(op.f(f"ck_{table}_{column}"), type_="check")
        batch.create_check_constraint(op.f(f"ck_{table}_{column}"), f"{column} IN ({words})")
