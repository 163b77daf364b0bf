"""One PostgreSQL database for many tests: rows put back as they were, since making a database costs more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.support.furnished import Furnished, furnish
from tests.support.postgres import PostgresCluster
from vault.domain.errors import VaultError
from vault.storage import tables
from vault.storage.database import Connection, Database

# The rows of a key are never deleted while its triggers are there: whoever owns the server puts them aside.
_NO_TRIGGERS = text("SET LOCAL session_replication_role = replica")
_SCHEMA = text(
    "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
    " UNION ALL SELECT version_num, NULL FROM alembic_version ORDER BY 1"
)
"""What a test may have changed beside the rows."""


class PostgresBench:
    """A furnished database, and its way back to how it was."""

    def __init__(self, cluster: PostgresCluster, home: Path) -> None:
        self._cluster = cluster
        made: list[Furnished] = []

        def prepare(url: str) -> None:
            made.append(furnish(home, url))
            made[0].vault.close()

        self._name = cluster.template("furnished", prepare)
        self.template = made[0]
        self._open()

    def _open(self) -> None:
        self.url = self._cluster.create_database(template=self._name)
        self._database = Database.open(self.url)
        with self._database.reading() as connection:
            self._schema = _schema(connection)
            self._rows: dict[str, list[dict[str, Any]]] = {
                table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
                for table in tables.metadata.sorted_tables
            }

    def clear(self) -> None:
        """Put every row back; make the database anew where a test has left it in no state for that."""
        try:
            with self._database.writing() as connection:
                connection.execute(_NO_TRIGGERS)
                for table in tables.metadata.sorted_tables:
                    connection.execute(table.delete())
                    if self._rows[table.name]:
                        connection.execute(table.insert(), self._rows[table.name])
                as_it_was = _schema(connection) == self._schema
        except (VaultError, SQLAlchemyError):
            as_it_was = False
        if not as_it_was:
            self.close()
            self._open()

    def close(self) -> None:
        """Drop the database."""
        self._database.close()
        self._cluster.drop_database(self.url)


def _schema(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(_SCHEMA)]
