"""The root key as a key of its own, sealed by a wrapper for daily use and by another for recovery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "root_key",
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("slot IN ('live','recovery')", name=op.f("ck_root_key_slot")),
        sa.CheckConstraint("state IN ('active','retired')", name=op.f("ck_root_key_state")),
        sa.PrimaryKeyConstraint("version", "slot", name=op.f("pk_root_key")),
    )


def downgrade() -> None:
    # The keys of a vault that has a root key of its own cannot be opened without it, and nothing below this
    # revision knows it: without these rows every value is lost.
    if op.get_bind().execute(sa.text("SELECT count(*) FROM root_key")).scalar_one():
        raise RuntimeError("this vault has a root key of its own: an older release cannot open it")
    op.drop_table("root_key")
