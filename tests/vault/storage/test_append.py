"""The log's indexes start at 0 and have no gap, whoever appends, and a stale decision is not written."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update

from tests.vault.storage.units import Units, append, counter, indexes, require_whole_log
from vault.domain.errors import LogUnavailableError, SealedError, UnavailableError
from vault.storage import tables
from vault.storage.append import append_unit, insert_notes
from vault.storage.database import Database
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.log import read_entries, read_note, read_units

WRITER_PROGRAM = """
import sys
from tests.vault.storage.units import Units, append
from vault.storage.database import Database
database = Database.open(sys.argv[1])
units = Units()
for _ in range(int(sys.argv[2])):
    append(database, units.make(3))
database.close()
"""


def test_first_index_is_zero_and_the_next_follow(log_database: Database) -> None:
    units = Units()
    assert [append(log_database, units.make(size)) for size in (1, 3, 2)] == [0, 1, 4]
    assert indexes(log_database) == [0, 1, 2, 3, 4, 5]
    assert counter(log_database).next_index == 6


def test_entries_are_stored_as_they_were_given(log_database: Database) -> None:
    unit = Units().make(3)
    append(log_database, unit)
    with log_database.reading() as connection:
        entries = read_entries(connection, 0, 10)
        (stored,) = read_units(connection, 0, limit=10)
    assert [entry.body for entry in entries] == unit.bodies
    assert [entry.leaf for entry in entries] == unit.leaves
    assert (stored.first, stored.size, stored.writer, stored.writer_seq) == (0, 3, unit.writer, 0)


def test_rollback_gives_the_index_back(log_database: Database) -> None:
    units = Units()
    append(log_database, units.make(2))
    with log_database.engine.connect() as connection:
        transaction = connection.begin()
        assert append_unit(connection, units.make(5), revision=None, revise=True) == 2
        transaction.rollback()
    assert counter(log_database).next_index == 2
    assert counter(log_database).revision == 1
    assert append(log_database, units.make()) == 2
    assert require_whole_log(log_database) == 3


def test_threads_that_append_at_once_leave_no_gap(log_database: Database) -> None:
    def work(_: int) -> list[int]:
        units = Units()
        return [append(log_database, units.make(2)) for _ in range(15)]

    with ThreadPoolExecutor(4) as pool:
        firsts = [first for found in pool.map(work, range(4)) for first in found]
    assert sorted(firsts) == list(range(0, 120, 2))
    assert require_whole_log(log_database) == 120


def test_processes_that_append_at_once_leave_no_gap(log_database: Database) -> None:
    url = log_database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", WRITER_PROGRAM, url, "25"]
    writers = [subprocess.Popen(command) for _ in range(2)]
    units = Units()
    for _ in range(25):
        append(log_database, units.make())
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert require_whole_log(log_database) == 2 * 25 * 3 + 25


def test_current_revision_is_accepted_and_not_raised_by_an_act_that_does_not_revise(
    log_database: Database,
) -> None:
    append(log_database, Units().make(), revision=1)
    assert counter(log_database).revision == 1


def test_act_that_revises_raises_the_revision_with_its_entry(log_database: Database) -> None:
    append(log_database, Units().make(), revision=1, revise=True)
    assert counter(log_database).revision == 2


@pytest.mark.parametrize("revision", [0, 1, 3])
def test_decision_of_another_revision_is_not_written(log_database: Database, revision: int) -> None:
    units = Units()
    append(log_database, units.make(), revise=True)
    with pytest.raises(StaleRevisionError):
        append(log_database, units.make(), revision=revision)
    assert require_whole_log(log_database) == 1
    assert counter(log_database).revision == 2


def test_sealed_vault_takes_no_entry(log_database: Database) -> None:
    with log_database.writing() as connection:
        connection.execute(update(tables.counter).values(sealed=True))
    with pytest.raises(SealedError):
        append(log_database, Units().make(), revision=1)
    assert require_whole_log(log_database) == 0


def test_vault_that_was_never_initialised_takes_no_entry(migrated_url: str) -> None:
    database = Database.open(migrated_url)
    with pytest.raises(UnavailableError, match="initialised"):
        append(database, Units().make())
    database.close()


def test_number_of_a_writer_used_twice_is_refused_whole(log_database: Database) -> None:
    unit = Units().make(2)
    append(log_database, unit)
    with pytest.raises(RolledBackError):
        append(log_database, unit)
    assert require_whole_log(log_database) == 2


def test_log_that_cannot_be_written_is_unavailable(log_database: Database) -> None:
    with log_database.writing() as connection:
        connection.execute(text("DROP TABLE log_entry"))
    with pytest.raises(LogUnavailableError):
        append(log_database, Units().make())
    assert counter(log_database).next_index == 0


def test_lane_and_journal_share_one_run_of_indexes(log_database: Database) -> None:
    from vault.storage.hot import Writes
    from vault.storage.hot_postgresql import PostgresqlHotConnection
    from vault.storage.hot_sqlite import SqliteHotConnection

    postgresql = log_database.dialect == "postgresql"
    hot = (PostgresqlHotConnection if postgresql else SqliteHotConnection)(log_database)
    units, others = Units(), Units()
    firsts = []
    for _ in range(3):
        firsts.append(hot.commit(units.make(2), Writes(), 1))
        firsts.append(append(log_database, others.make()))
    hot.close()
    assert firsts == [0, 2, 3, 5, 6, 8]
    assert require_whole_log(log_database) == 9


def test_notes_are_kept_beside_the_entries(log_database: Database) -> None:
    with log_database.writing() as connection:
        insert_notes(connection, [])
        insert_notes(connection, [(bytes(32), b"sealed")])
        append_unit(connection, Units().make(), revision=None, revise=False)
    with log_database.reading() as connection:
        assert read_note(connection, bytes(32)) == b"sealed"
        assert read_note(connection, bytes(31)) is None
        assert connection.execute(select(tables.log_note)).all() == [(bytes(32), b"sealed")]
