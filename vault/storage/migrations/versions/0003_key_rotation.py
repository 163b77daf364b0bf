"""Jobs, destruction of keys by two people, and a check on every move of a key's state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

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
"""Of docs/formats/envelope.md 10.3. Written out: a migration does not change when the code does."""

LEGAL = " OR ".join(f"(OLD.state = '{old}' AND NEW.state = '{new}')" for old, new in MOVES)

RENAMED = "(OLD.kind, OLD.scope, OLD.version) IS DISTINCT FROM (NEW.kind, NEW.scope, NEW.version)"
REVIVED = "OLD.state = 'destroyed' AND OLD.wrapped <> NEW.wrapped"

POSTGRESQL = (
    f"""
    CREATE FUNCTION key_moves() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' OR {RENAMED} OR ({REVIVED}) OR (OLD.state <> NEW.state AND NOT ({LEGAL})) THEN
            RAISE EXCEPTION 'a key cannot make this move' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER key_moves BEFORE UPDATE OR DELETE ON key FOR EACH ROW EXECUTE FUNCTION key_moves()",
)
REFUSE = "BEGIN SELECT RAISE(ABORT, 'a key cannot make this move'); END"
SQLITE = (
    f"""
    CREATE TRIGGER key_moves BEFORE UPDATE ON key FOR EACH ROW
    WHEN OLD.kind IS NOT NEW.kind OR OLD.scope IS NOT NEW.scope OR OLD.version IS NOT NEW.version
        OR ({REVIVED}) OR (OLD.state <> NEW.state AND NOT ({LEGAL}))
    {REFUSE}
    """,
    f"CREATE TRIGGER key_stays BEFORE DELETE ON key FOR EACH ROW {REFUSE}",
    # INSERT OR REPLACE takes the row before away without a word to the trigger above.
    f"""
    CREATE TRIGGER key_is_new BEFORE INSERT ON key FOR EACH ROW
    WHEN EXISTS (SELECT 1 FROM key WHERE kind = NEW.kind AND scope = NEW.scope AND version = NEW.version)
    {REFUSE}
    """,  # noqa: S608 -- words of this module
)


def upgrade() -> None:
    _job()
    # A re-wrap changes every row of it and its count reads all of them anyway: it cost more than it gave.
    op.drop_index("ix_data_key_epoch", table_name="data_key")
    _approval_kinds("'enrolment','grant','key'")
    for statement in POSTGRESQL if _is_postgresql() else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    if _is_postgresql():
        op.execute("DROP TRIGGER key_moves ON key")
        op.execute("DROP FUNCTION key_moves()")
    else:
        for trigger in ("key_moves", "key_stays", "key_is_new"):
            op.execute(f"DROP TRIGGER {trigger}")
    # What waits for a second administrator means nothing to the release before.
    op.execute("DELETE FROM approval WHERE kind = 'key'")
    _approval_kinds("'enrolment','grant'")
    op.create_index("ix_data_key_epoch", "data_key", ["epoch", "subject_id"])
    op.drop_table("job")


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("beat_at", sa.BigInteger(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('rewrap')", name=op.f("ck_job_kind")),
        sa.CheckConstraint("state IN ('running','done')", name=op.f("ck_job_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "uq_job_running", "job", ["kind"], unique=True, postgresql_where=running, sqlite_where=running
    )


def _approval_kinds(words: str) -> None:
    with op.batch_alter_table("approval") as batch:
        batch.drop_constraint(op.f("ck_approval_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_approval_kind"), f"kind IN ({words})")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
