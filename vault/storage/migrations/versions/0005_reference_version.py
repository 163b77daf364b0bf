"""The version of the key that an external reference is digested with, so that it can rotate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subject", sa.Column("ref_version", sa.SmallInteger(), nullable=True))
    # Until now there was one version of each key.
    op.execute("UPDATE subject SET ref_version = 1 WHERE ref_digest IS NOT NULL")
    with op.batch_alter_table("job") as batch:
        batch.drop_constraint(op.f("ck_job_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_job_kind"), "kind IN ('rewrap','redigest')")


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE kind = 'redigest'")
    with op.batch_alter_table("job") as batch:
        batch.drop_constraint(op.f("ck_job_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_job_kind"), "kind IN ('rewrap')")
    op.drop_column("subject", "ref_version")
