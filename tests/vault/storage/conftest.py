"""Databases at the latest schema with a counter row: what a log needs, without people or keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresCluster
from tests.support.schema import migrate
from vault.storage.database import Database
from vault.storage.maintenance import insert_counter

VAULT_ID = bytes(range(16))


def with_counter(url: str) -> Database:
    """Open ``url`` and give it a counter row."""
    database = Database.open(url)
    with database.writing() as connection:
        insert_counter(connection, VAULT_ID)
    return database


@pytest.fixture
def log_database(migrated_url: str) -> Iterator[Database]:
    """A database that can be appended to, once on each kind."""
    database = with_counter(migrated_url)
    yield database
    database.close()


@pytest.fixture
def log_postgres(migrated_postgres_url: str) -> Iterator[Database]:
    """The same on PostgreSQL."""
    database = with_counter(migrated_postgres_url)
    yield database
    database.close()


@pytest.fixture
def log_sqlite(migrated_sqlite_url: str) -> Iterator[Database]:
    """The same on SQLite."""
    database = with_counter(migrated_sqlite_url)
    yield database
    database.close()


@pytest.fixture(scope="module")
def fragile_postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL for the tests of one module to break; each leaves it running and as it was."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def fragile_url(fragile_postgres: PostgresCluster) -> str:
    """URL of a database on it, at the latest schema, with a counter row."""
    url = fragile_postgres.create_database(template=fragile_postgres.template("migrated", migrate))
    with_counter(url).close()
    return url
