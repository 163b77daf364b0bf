"""Migrations: every step up and down keeps what survives it, and ends at the schema the code speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Table, inspect, select, text

from tests.vault.storage.samples import DATA_AND_LOG, sample_rows
from vault.storage import migrate, tables
from vault.storage.database import Database
from vault.storage.errors import RolledBackError, SchemaError

FIRST, ACCESS = "0001", "0002"
ACCESS_TABLES = frozenset(tables.metadata.tables) - DATA_AND_LOG
GOES_BACK = ACCESS_TABLES - {"root_key", "tombstone"}
"""What may be filled before a downgrade: not a root key of its own, nor people erased."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database."""
    opened = Database.open(database_url)
    yield opened
    opened.close()


def fill(database: Database, names: frozenset[str]) -> None:
    with database.writing() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name in names:
                # Only what the revision at hand has: later ones add columns.
                known = {column["name"] for column in inspect(connection).get_columns(table.name)}
                samples = [
                    {name: value for name, value in row.items() if name in known}
                    for row in sample_rows(table)
                ]
                connection.execute(table.insert(), samples)


def rows(database: Database, names: frozenset[str]) -> dict[str, list[dict[str, Any]]]:
    with database.reading() as connection:
        return {name: _rows(connection, _table(name)) for name in sorted(names)}


def _rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    known = {column["name"] for column in inspect(connection).get_columns(table.name)}
    columns = [column for column in table.columns if column.name in known]
    return [dict(row) for row in connection.execute(select(*columns)).mappings()]


def shared(
    one: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return ``one`` with the columns that ``other`` has too."""
    return {
        name: [
            {column: value for column, value in row.items() if column in other[name][at]}
            for at, row in enumerate(found)
        ]
        for name, found in one.items()
    }


def present(database: Database) -> frozenset[str]:
    with database.reading() as connection:
        return frozenset(inspect(connection).get_table_names()) - {"alembic_version"}


def _table(name: str) -> Table:
    return tables.metadata.tables[name]


def _checks(table: Table) -> set[str]:
    of_columns = [item for column in table.columns for item in column.constraints]
    everything = [*table.constraints, *of_columns]
    return {str(item.name) for item in everything if isinstance(item, CheckConstraint)}


def test_first_revision_makes_data_and_log_only(database: Database) -> None:
    migrate.upgrade(database, to=FIRST)
    assert present(database) == DATA_AND_LOG


def test_upgrade_of_a_filled_database_keeps_every_row(database: Database) -> None:
    migrate.upgrade(database, to=FIRST)
    fill(database, DATA_AND_LOG)
    before = rows(database, DATA_AND_LOG)
    migrate.upgrade(database)
    after = rows(database, DATA_AND_LOG)
    assert shared(after, before) == before
    assert {row["ref_version"] for row in after["subject"]} == {1}
    assert present(database) == frozenset(tables.metadata.tables)


def test_downgrade_loses_what_the_revision_added_and_keeps_the_rest(database: Database) -> None:
    migrate.upgrade(database)
    fill(database, DATA_AND_LOG | GOES_BACK)
    before = rows(database, DATA_AND_LOG)
    migrate.downgrade(database, to=FIRST)
    assert present(database) == DATA_AND_LOG
    after = rows(database, DATA_AND_LOG)
    assert after == shared(before, after)


def test_upgrade_after_a_downgrade_keeps_the_rest_again(database: Database) -> None:
    migrate.upgrade(database)
    fill(database, DATA_AND_LOG)
    before = rows(database, DATA_AND_LOG)
    migrate.downgrade(database, to=FIRST)
    migrate.upgrade(database)
    assert rows(database, DATA_AND_LOG) == {
        **before,
        # What the columns said is lost with them; there was one version of each key, and one kind of token.
        "key": [{**row, "public": None} for row in before["key"]],
        "subject": [{**row, "ref_version": 1} for row in before["subject"]],
        "token": [{**row, "kind": None, "audience_id": None, "spent_at": None} for row in before["token"]],
    }
    assert not any(rows(database, ACCESS_TABLES).values())


def test_downgrade_to_the_base_of_a_filled_database_leaves_nothing(database: Database) -> None:
    migrate.upgrade(database)
    fill(database, DATA_AND_LOG | GOES_BACK)
    migrate.downgrade(database, to=migrate.EMPTY)
    assert present(database) == frozenset()
    migrate.upgrade(database)
    migrate.require_current(database)


def test_upgrade_done_twice_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)
    fill(database, DATA_AND_LOG | ACCESS_TABLES)
    before = rows(database, DATA_AND_LOG | ACCESS_TABLES)
    migrate.upgrade(database)
    assert rows(database, DATA_AND_LOG | ACCESS_TABLES) == before


def test_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    migrate.upgrade(database)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_migrated_checks_are_those_of_the_tables(database: Database) -> None:
    """Alembic does not compare them."""
    migrate.upgrade(database)
    with database.reading() as connection:
        inspector = inspect(connection)
        found = {
            table.name: {str(check["name"]) for check in inspector.get_check_constraints(table.name)}
            for table in tables.metadata.sorted_tables
        }
    assert found == {table.name: _checks(table) for table in tables.metadata.sorted_tables}


def test_migrated_schema_has_no_sequence(database: Database) -> None:
    """Ids and indexes are handed out by rows that roll back, so that a hole proves deletion."""
    migrate.upgrade(database)
    with database.reading() as connection:
        if database.dialect == "postgresql":
            assert inspect(connection).get_sequence_names() == []
        else:
            statement = text("SELECT count(*) FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
            assert connection.execute(statement).scalar_one() == 0


@pytest.mark.parametrize("name", ["counter", "log_tree"])
def test_second_row_of_a_table_of_one_row_is_refused(database: Database, name: str) -> None:
    migrate.upgrade(database)
    (row,) = sample_rows(_table(name))
    with pytest.raises(RolledBackError), database.writing() as connection:
        connection.execute(_table(name).insert(), [row | {"id": 2}])


def test_failed_migration_leaves_the_schema_as_it_was(database: Database) -> None:
    migrate.upgrade(database, to=FIRST)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE staff_secret (stands_in_the_way INTEGER)"))
    before = present(database)
    with pytest.raises(Exception, match="cannot be used now"):
        migrate.upgrade(database)
    assert present(database) == before
    with database.writing() as connection:
        connection.execute(text("DROP TABLE staff_secret"))
    migrate.upgrade(database)
    migrate.require_current(database)


def test_current_schema_is_accepted(database: Database) -> None:
    migrate.upgrade(database)
    migrate.require_current(database)


@pytest.mark.parametrize("revision", ["", FIRST, "9999"], ids=["none", "older", "newer"])
def test_any_other_schema_is_refused(database: Database, revision: str) -> None:
    if revision:
        migrate.upgrade(database, to=FIRST)
        with database.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    with pytest.raises(SchemaError):
        migrate.require_current(database)


def test_a_vault_with_a_root_key_of_its_own_does_not_go_back(database: Database) -> None:
    migrate.upgrade(database)
    fill(database, frozenset({"root_key"}))
    before = rows(database, frozenset({"root_key"}))
    with pytest.raises(RuntimeError, match="root key of its own"):
        migrate.downgrade(database, to="0003")
    migrate.require_current(database)
    assert rows(database, frozenset({"root_key"})) == before
