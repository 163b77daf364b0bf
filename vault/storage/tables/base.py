"""What every table is made with."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData

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


def sealed() -> list[Column[object]]:
    """Return the columns of a row that a decision reads."""
    return [
        Column("version", BigInteger, nullable=False),
        Column("mac", LargeBinary, nullable=False),
    ]
