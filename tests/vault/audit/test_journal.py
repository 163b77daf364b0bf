"""No change commits without its entry, and no receipt exists before the commit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select, text, update

from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState
from tests.support.cutting_proxy import CuttingProxy
from tests.support.postgres import PostgresCluster
from tests.support.schema import migrate
from tests.vault.audit.logs import Log
from vault.audit.journal import Unit
from vault.audit.packing import MalformedEntryError
from vault.audit.receipt import Receipt
from vault.domain.errors import LogUnavailableError, OutcomeUnknownError, SealedError, UnavailableError
from vault.storage import tables
from vault.storage.database import Database
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.keys import insert_keys

FIELD = insert(tables.field).values(id=1, name="member.phone")


def fields(log: Log) -> int:
    with log.database.reading() as connection:
        return len(connection.execute(select(tables.field)).all())


def append_to(unit: Unit, log: Log, count: int = 1, revision: int | None = None) -> None:
    unit.append(log.entries(count), revision=revision, revise=False)


def test_change_and_its_entry_commit_together(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        unit.connection.execute(FIELD)
        append_to(unit, audit_log)
    assert fields(audit_log) == 1
    assert len(audit_log.bodies()) == 1


def test_change_without_an_entry_rolls_back(audit_log: Log) -> None:
    with pytest.raises(LogUnavailableError), audit_log.journal.unit() as unit:
        unit.connection.execute(FIELD)
    assert fields(audit_log) == 0
    assert audit_log.bodies() == []


def test_change_rolls_back_with_its_entry(audit_log: Log) -> None:
    def fails_late(unit: Unit) -> None:
        unit.connection.execute(FIELD)
        append_to(unit, audit_log)
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"), audit_log.journal.unit() as unit:
        fails_late(unit)
    assert fields(audit_log) == 0
    assert audit_log.bodies() == []
    assert audit_log.append()[0].index == 0


def test_entry_that_cannot_be_written_takes_the_change_with_it(audit_log: Log) -> None:
    audit_log.tamper(text("ALTER TABLE log_entry RENAME TO away"))

    def change(unit: Unit) -> None:
        unit.connection.execute(FIELD)
        append_to(unit, audit_log)

    with pytest.raises(LogUnavailableError), audit_log.journal.unit() as unit:
        change(unit)
    assert fields(audit_log) == 0
    audit_log.tamper(text("ALTER TABLE away RENAME TO log_entry"))
    assert audit_log.append()[0].index == 0


def test_receipts_exist_once_the_block_was_left(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        append_to(unit, audit_log, 3)
    assert [type(receipt) for receipt in unit.receipts] == [Receipt] * 3
    assert [receipt.index for receipt in unit.receipts] == [0, 1, 2]


def test_there_is_no_receipt_before_the_append(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        with pytest.raises(LogUnavailableError, match="before the commit"):
            _ = unit.receipts
        append_to(unit, audit_log)


def test_there_is_no_receipt_before_the_commit(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        append_to(unit, audit_log)
        with pytest.raises(LogUnavailableError, match="before the commit"):
            _ = unit.receipts


def test_there_is_no_receipt_of_what_was_rolled_back(audit_log: Log) -> None:
    kept: list[Unit] = []

    def fails_late(unit: Unit) -> None:
        kept.append(unit)
        append_to(unit, audit_log)
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"), audit_log.journal.unit() as unit:
        fails_late(unit)
    with pytest.raises(LogUnavailableError):
        _ = kept[0].receipts


def test_unit_is_appended_once(audit_log: Log) -> None:
    def twice(unit: Unit) -> None:
        append_to(unit, audit_log)
        append_to(unit, audit_log)

    with pytest.raises(LogUnavailableError, match="once"), audit_log.journal.unit() as unit:
        twice(unit)
    assert audit_log.bodies() == []


def test_stale_change_rolls_back(audit_log: Log) -> None:
    def stale(unit: Unit) -> None:
        unit.connection.execute(FIELD)
        append_to(unit, audit_log, revision=2)

    with pytest.raises(StaleRevisionError), audit_log.journal.unit() as unit:
        stale(unit)
    assert fields(audit_log) == 0
    assert audit_log.append()[0].index == 0


def test_change_that_revises_raises_the_revision(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        unit.append(audit_log.entries(1), revision=1, revise=True)
    with audit_log.database.reading() as connection:
        assert audit_log.database.counter(connection).revision == 2


def test_sealed_vault_changes_nothing(audit_log: Log) -> None:
    audit_log.tamper(update(tables.counter).values(sealed=True))
    with pytest.raises(SealedError):
        audit_log.append()


def test_malformed_entry_rolls_the_change_back(audit_log: Log) -> None:
    from dataclasses import replace

    def malformed(unit: Unit) -> None:
        unit.connection.execute(FIELD)
        unit.append([replace(audit_log.entries(1)[0], purpose="\ud800")], revision=None, revise=False)

    with pytest.raises(MalformedEntryError), audit_log.journal.unit() as unit:
        malformed(unit)
    assert fields(audit_log) == 0


def test_notes_commit_with_their_entry(audit_log: Log) -> None:
    with audit_log.journal.unit() as unit:
        unit.append(audit_log.entries(1), revision=None, revise=False, notes=[(bytes(32), b"sealed")])
    with audit_log.database.reading() as connection:
        assert connection.execute(select(tables.log_note.c.sealed)).scalar_one() == b"sealed"


def test_numbers_of_a_journal_have_no_hole_whatever_failed_between(audit_log: Log) -> None:
    audit_log.append()
    with pytest.raises(LogUnavailableError), audit_log.journal.unit():
        pass
    with pytest.raises(StaleRevisionError), audit_log.journal.unit() as unit:
        append_to(unit, audit_log, revision=9)
    with pytest.raises(RolledBackError), audit_log.journal.unit() as unit:
        unit.connection.execute(update(tables.counter).values(id=2))
    audit_log.append()
    assert [row["writer_seq"] for row in audit_log.unit_rows()] == [0, 1]
    assert len({row["writer"] for row in audit_log.unit_rows()}) == 1


def test_unit_that_failed_after_its_append_never_has_its_number_used_again(audit_log: Log) -> None:
    """Whether its commit was sent, nobody knows."""
    audit_log.append()

    def interrupted(unit: Unit) -> None:
        append_to(unit, audit_log)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), audit_log.journal.unit() as unit:
        interrupted(unit)
    audit_log.append()
    first, second = audit_log.unit_rows()
    assert first["writer"] != second["writer"]
    assert audit_log.integrate() is not None


def test_threads_write_one_unit_at_a_time(audit_log: Log) -> None:
    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(lambda _: audit_log.append(2)[0].index, range(20)))
    assert sorted(firsts) == list(range(0, 40, 2))
    assert [row["writer_seq"] for row in audit_log.unit_rows()] == list(range(20))


@pytest.fixture
def cut_log(postgres: PostgresCluster, tmp_path: object) -> Iterator[tuple[Log, CuttingProxy]]:
    """A log behind a line that can be cut."""
    from pathlib import Path

    url = postgres.create_database(template=postgres.template("migrated", migrate))
    with CuttingProxy(postgres.folder) as proxy:
        database = Database.open(proxy.url(url))
        log = Log(database, Path(str(tmp_path)) / "checkpoint")
        log.begin()
        yield log, proxy
        database.close()
    postgres.drop_database(url)


def test_lost_answer_is_unknown_and_the_log_goes_on_whole(cut_log: tuple[Log, CuttingProxy]) -> None:
    log, proxy = cut_log
    log.append()
    proxy.lose_answer(b"COMMIT\0")
    with pytest.raises(OutcomeUnknownError):
        log.append()
    log.append()
    assert [row["writer_seq"] for row in log.unit_rows()] == [0, 1, 0]
    progress = log.integrate()
    assert progress is not None
    assert progress.size == 3


def test_lost_commit_is_unknown_and_the_log_goes_on_whole(cut_log: tuple[Log, CuttingProxy]) -> None:
    log, proxy = cut_log
    log.append()
    proxy.lose_request(b"COMMIT\0")
    with pytest.raises(OutcomeUnknownError):
        log.append()
    assert log.append()[0].index == 1
    assert log.integrate() is not None


def test_connection_lost_before_the_commit_is_certain(cut_log: tuple[Log, CuttingProxy]) -> None:
    log, proxy = cut_log
    proxy.lose_answer(b"UPDATE counter")
    with pytest.raises(UnavailableError) as caught:
        log.append()
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert log.append()[0].index == 0


def test_says_nothing_under_a_key_that_was_replaced(audit_log: Log) -> None:
    """Where nobody can renew the keys: on the host, beside a vault that is open."""
    record = KeyRecord(KeyKind.LOG_MAC, "", 1, KeyState.DEACTIVATED, b"")
    with audit_log.database.writing() as connection:
        insert_keys(connection, [record], now_us=0)
    with pytest.raises(StaleRevisionError):
        audit_log.journal.say(audit_log.entries(1))
    assert audit_log.bodies() == []


def test_says_what_rests_on_no_decision(audit_log: Log) -> None:
    audit_log.journal.say(audit_log.entries(2))
    assert len(audit_log.bodies()) == 2
