"""The two ways into a database are what they say: durable, separate, and silent about values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from tests.support.faults import superuser, terminate_others, told
from tests.support.postgres import PostgresCluster
from vault.domain.errors import OutcomeUnknownError, UnavailableError, VaultError
from vault.storage import database as module
from vault.storage import tables
from vault.storage.database import Connection, Database
from vault.storage.errors import RolledBackError, SchemaError
from vault.storage.maintenance import has_counter, insert_counter

CANARY = "canary-7f3a-김철수"
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


@pytest.fixture
def empty(migrated_url: str) -> Iterator[Database]:
    """A database at the latest schema, without a vault."""
    database = Database.open(migrated_url)
    yield database
    database.close()


def pragmas(connection: Any) -> dict[str, Any]:
    return {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in PRAGMAS}


def test_sqlite_writer_flushes_every_commit(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    with database.writing() as connection:
        assert pragmas(connection) == PRAGMAS
        assert connection.execute(text("PRAGMA query_only")).scalar_one() == 0
    database.close()


def test_sqlite_reader_has_the_same_settings_and_cannot_write(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    with database.reading() as connection:
        assert pragmas(connection) == PRAGMAS
        assert connection.execute(text("PRAGMA query_only")).scalar_one() == 1
    database.close()


def test_sqlite_connection_held_by_the_lane_flushes_every_commit(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    held = database.hold()
    found = {name: held.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
    assert found == PRAGMAS
    held.close()
    database.close()


def test_postgresql_flushes_every_commit_on_each_way_in(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    names = ("fsync", "synchronous_commit", "full_page_writes")
    with database.writing() as connection:
        assert [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names] == ["on"] * 3
    held = database.hold()
    assert [held.execute(f"SHOW {name}").fetchone()[0] for name in names] == ["on"] * 3
    held.close()
    database.close()


def test_postgresql_timeouts_are_set_on_each_way_in(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    wanted = {"lock_timeout": "5s", "statement_timeout": "30s", "TimeZone": "UTC"}
    with database.writing() as connection:
        assert {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in wanted} == wanted
    held = database.hold()
    assert {name: held.execute(f"SHOW {name}").fetchone()[0] for name in wanted} == wanted
    held.close()
    database.close()


def test_postgresql_writes_at_read_committed(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    with database.writing() as connection:
        level = connection.execute(text("SHOW transaction_isolation")).scalar_one()
    assert level == "read committed"
    database.close()


def test_reader_cannot_write(empty: Database) -> None:
    with pytest.raises(UnavailableError), empty.reading() as connection:
        insert_counter(connection, bytes(16))
    with empty.reading() as connection:
        assert not has_counter(connection)


def test_reader_sees_one_state_of_the_database(empty: Database) -> None:
    with empty.reading() as reader:
        assert not has_counter(reader)
        with empty.writing() as writer:
            insert_counter(writer, bytes(16))
        assert not has_counter(reader)
    with empty.reading() as reader:
        assert has_counter(reader)


def test_writer_that_fails_leaves_nothing(empty: Database) -> None:
    def fails_late(connection: Connection) -> None:
        insert_counter(connection, bytes(16))
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"), empty.writing() as connection:
        fails_late(connection)
    with empty.reading() as connection:
        assert not has_counter(connection)


def test_counter_row_is_read_as_it_is(empty: Database) -> None:
    with empty.writing() as connection:
        insert_counter(connection, bytes(range(16)))
    with empty.reading() as connection:
        assert empty.counter(connection) == module.Counter(bytes(range(16)), 0, 1, sealed=False)


def test_counter_of_a_vault_never_initialised_is_refused(empty: Database) -> None:
    with pytest.raises(SchemaError, match="initialised"), empty.reading() as connection:
        empty.counter(connection)


def test_refuses_a_sqlite_library_too_old(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(SchemaError, match=r"3\.37"):
        Database.open(sqlite_url)


def test_refuses_a_sqlite_database_without_a_write_ahead_log() -> None:
    with pytest.raises(SchemaError, match="write-ahead"):
        Database.open("sqlite://")


def test_refuses_a_sqlite_file_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        Database.open(f"sqlite:///{tmp_path}/nowhere/vault.db")


def test_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "vault.db"
    file.write_text(CANARY * 100)
    with pytest.raises(UnavailableError) as caught:
        Database.open(f"sqlite:///{file}")
    assert CANARY not in told(caught.value)


def test_refuses_a_postgresql_server_too_old(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINIMUM_POSTGRESQL", 990000)
    with pytest.raises(SchemaError, match="older"):
        Database.open(postgres_url)


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/vault", "nonsense", "", "://"])
def test_refuses_what_is_neither_sqlite_nor_postgresql(url: str) -> None:
    with pytest.raises(SchemaError):
        Database.open(url)


def test_url_without_a_driver_gets_the_one_that_is_there(postgres_url: str) -> None:
    Database.open(postgres_url.replace("postgresql+psycopg", "postgresql")).close()


def test_url_with_a_password_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(VaultError) as caught:
        Database.open(f"postgresql://vault:{CANARY}@/vault?host={tmp_path}")
    assert type(caught.value) is UnavailableError
    assert CANARY not in told(caught.value)


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_refuses_a_server_that_does_not_flush(fragile_postgres: PostgresCluster, name: str) -> None:
    url = fragile_postgres.create_database()
    with superuser(url) as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(SchemaError, match=f"{name}=off"):
            _opened_once_reloaded(url)
    finally:
        with superuser(url) as connection:
            connection.execute(f"ALTER SYSTEM RESET {name}")
            connection.execute("SELECT pg_reload_conf()")


def _opened_once_reloaded(url: str) -> None:
    """Open ``url`` until the server has read its settings again."""
    for _ in range(200):
        Database.open(url).close()


def test_refuses_a_database_that_commits_asynchronously(postgres_url: str) -> None:
    with superuser(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off")
    with pytest.raises(UnavailableError, match="synchronous_commit=off"):
        Database.open(postgres_url)


def planted(database: Database) -> None:
    row = {"id": CANARY, "text": CANARY, "installed_at": 1, "version": 1, "mac": CANARY.encode()}
    with database.writing() as connection:
        connection.execute(insert(tables.policy).values(row))


def test_refused_statement_is_told_without_its_values(empty: Database) -> None:
    planted(empty)
    with pytest.raises(RolledBackError) as caught:
        planted(empty)
    said = told(caught.value)
    assert CANARY not in said
    assert "INSERT" not in said


def test_statement_that_cannot_be_run_is_told_without_its_values(empty: Database) -> None:
    statement = text("INSERT INTO nowhere VALUES (:value)")
    with pytest.raises(UnavailableError) as caught, empty.writing() as connection:
        connection.execute(statement, {"value": CANARY})
    said = told(caught.value)
    assert CANARY not in said
    assert "INSERT" not in said


def test_value_that_does_not_fit_its_column_is_refused_without_it(migrated_postgres_url: str) -> None:
    database = Database.open(migrated_postgres_url)
    with pytest.raises(RolledBackError) as caught, database.writing() as connection:
        connection.execute(insert(tables.field).values(id=1, name=CANARY + "\0"))
    assert CANARY not in told(caught.value)
    database.close()


def test_waiting_for_a_lock_ends(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT_MS", 200)
    database = Database.open(migrated_url)
    with database.writing() as connection:
        insert_counter(connection, bytes(16))
    raised = update(tables.counter).values(revision=tables.counter.c.revision + 1)
    with database.writing() as first:
        first.execute(raised)
        with pytest.raises(UnavailableError), database.writing() as second:
            second.execute(raised)
    with database.reading() as connection:
        assert database.counter(connection).revision == 2
    database.close()


def test_pool_that_is_used_up_is_unavailable(empty: Database) -> None:
    empty.engine.pool._timeout = 0.05  # type: ignore[attr-defined]  # SQLAlchemy does not declare it on the base
    most = empty.engine.pool.size() + empty.engine.pool._max_overflow  # type: ignore[attr-defined]  # as above
    with ExitStack() as stack:
        for _ in range(most):
            stack.callback(empty.engine.connect().close)
        with pytest.raises(UnavailableError, match="free"), empty.writing():
            pass
        with pytest.raises(UnavailableError):
            empty.hold()
    with empty.writing():
        pass


def test_commit_on_a_connection_that_was_ended_is_unknown(
    log_postgres: Database, migrated_postgres_url: str
) -> None:
    """The vault cannot tell a server that died before COMMIT from one that died after it."""

    def ended_before_commit(connection: Connection) -> None:
        connection.execute(update(tables.counter).values(revision=5))
        assert terminate_others(migrated_postgres_url) > 0

    with pytest.raises(OutcomeUnknownError), log_postgres.writing() as connection:
        ended_before_commit(connection)
    with log_postgres.reading() as connection:
        assert log_postgres.counter(connection).revision == 1


def test_statement_on_a_connection_that_was_ended_is_unavailable(
    log_postgres: Database, migrated_postgres_url: str
) -> None:
    def ended_midway(connection: Connection) -> None:
        connection.execute(update(tables.counter).values(revision=5))
        terminate_others(migrated_postgres_url)
        connection.execute(select(tables.counter))

    with pytest.raises(UnavailableError) as caught, log_postgres.writing() as connection:
        ended_midway(connection)
    assert type(caught.value) is UnavailableError
    with log_postgres.writing() as connection:
        assert log_postgres.counter(connection).revision == 1


def test_file_that_cannot_be_reached_is_unavailable_to_whoever_holds(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database.open(f"sqlite:///{folder / 'vault.db'}")
    database.close()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError):
        database.hold()
    database.close()


def test_connection_that_gave_up_flushing_is_refused(postgres_url: str) -> None:
    """What was durable when the vault opened need not be when it connects anew."""
    database = Database.open(postgres_url)
    with superuser(postgres_url) as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET synchronous_commit = off')
    database.engine.dispose()
    with pytest.raises(UnavailableError), database.reading():
        raise AssertionError("connected")
    with pytest.raises(UnavailableError):
        database.hold()
    database.close()
