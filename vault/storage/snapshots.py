"""Every row of a database, read in one state of it and put into another; for backups.

What a table holds goes along column by column, the same on both databases. Left
out is what is worth nothing afterwards (``LEFT_OUT``), and every digest: who
finds a backup shall not find out with a lookup key of later which rows hold the
same value. In the place of a digest's version stands 0: there was one, and it
has to be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, case, insert, inspect, select, update

from vault.storage import tables
from vault.storage.database import IN_BINARY, Connection, Database
from vault.storage.digests import TO_BE_MADE
from vault.storage.migrate import EMPTY, downgrade

PAGE: Final = 500
"""Rows read at a time: with the longest entries of the log about 30 MB."""

Row = tuple[Any, ...]

LEFT_OUT: Final = frozenset({"idempotency", "job", "login_failure", "session"})
"""Tables of what is under way."""

KEYS: Final = ("root_key", "key", "data_key")
"""Tables of the set of keys, in the order in which they are needed."""

_DIGESTS: Final = {"token": ("digest", "digest_version"), "subject": ("ref_digest", "ref_version")}
"""Column of a digest and of its key's version, by table."""

VALUES: Final = tuple(
    "".join(table.name) for table in tables.metadata.sorted_tables if table.name not in LEFT_OUT | set(KEYS)
)
"""Tables of the set of values, each after those it refers to."""

_VERSION_TABLE: Final = "alembic_version"


def columns_of(name: str) -> list[str]:
    """Return the columns of a table that are copied, in order."""
    left_out = _DIGESTS.get(name, ("", ""))[0]
    # Plain text: the names that SQLAlchemy has are of a type of their own.
    return ["".join(column.name) for column in _table(name).columns if column.name != left_out]


def read_pages(connection: Connection, name: str) -> Iterator[list[Row]]:
    """Yield the rows of a table, in order of its key, a page at a time: held in memory is one page."""
    table = _table(name)
    statement = select(*(_copied(table, column) for column in columns_of(name))).order_by(
        *table.primary_key.columns
    )
    options = {"stream_results": True, "yield_per": PAGE, **IN_BINARY}
    for page in connection.execute(statement, execution_options=options).partitions():
        yield [tuple(map(_plain, row)) for row in page]


def insert_page(connection: Connection, name: str, rows: Sequence[Row]) -> None:
    """Insert rows as ``read_pages`` gave them. Raises RolledBackError for rows that are none."""
    names = columns_of(name)
    if rows:
        connection.execute(insert(_table(name)), [dict(zip(names, row, strict=True)) for row in rows])


def is_empty(database: Database) -> bool:
    """Say whether there is nothing in the database, not even the tables of a vault."""
    with database.reading() as connection:
        return set(inspect(connection).get_table_names()) <= {_VERSION_TABLE}


def empty(database: Database) -> None:
    """Take the tables of a vault away again, which hold nothing yet."""
    downgrade(database, to=EMPTY)


def skip_row_ids(connection: Connection, by: int, *, partitions: int) -> None:
    """Leave out the next ``by`` row ids of each partition: somebody may have been given them already."""
    column = tables.id_block.c
    there = set(connection.execute(select(column.partition)).scalars())
    fresh = [{"partition": at, "next_sequence": 1} for at in range(partitions) if at not in there]
    if fresh:
        connection.execute(insert(tables.id_block), fresh)
    connection.execute(update(tables.id_block).values(next_sequence=column.next_sequence + by))


def forget_what_was_under_way(connection: Connection) -> None:
    """Delete open sessions, jobs and what is remembered of requests."""
    for table in (tables.session, tables.idempotency, tables.job):
        connection.execute(table.delete())


def _table(name: str) -> Table:
    return tables.metadata.tables[name]


def _copied(table: Table, column: str) -> ColumnElement[Any]:
    digest, version = _DIGESTS.get(table.name, ("", ""))
    if column != version:
        return table.c[column]
    return case((table.c[digest].is_not(None), TO_BE_MADE), else_=None).label(column)


def _plain(value: Any) -> Any:
    """Return bytes as bytes, whatever the driver gives them as."""
    return bytes(value) if isinstance(value, memoryview) else value
