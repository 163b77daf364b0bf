"""The connection of the hot path reads, writes and fails alike on both databases."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text, update

from tests.support.faults import terminate_others, told
from tests.vault.storage.units import Units, append, counter, require_whole_log
from vault.domain.errors import SealedError, UnavailableError, VaultError
from vault.storage import tables
from vault.storage.database import Database
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.hot import HotConnection, Writes
from vault.storage.hot_postgresql import PostgresqlHotConnection
from vault.storage.hot_sqlite import SqliteHotConnection

CANARY = "canary-91c2"
PARTITION = 3
BASE = PARTITION << 56
MISFITS = (VaultError, TypeError, OverflowError, struct.error)
"""What a value that fits no column ends in."""


def hot_connection(database: Database) -> HotConnection:
    return (PostgresqlHotConnection if database.dialect == "postgresql" else SqliteHotConnection)(database)


@pytest.fixture
def hot(log_database: Database) -> Iterator[HotConnection]:
    """A connection as the lane holds it."""
    connection = hot_connection(log_database)
    yield connection
    connection.close()


MAKER = -3


def subject(number: int, *, reference: bytes | None = None) -> tuple[Any, ...]:
    nonce, log_subject = number.to_bytes(8, "big"), number.to_bytes(16, "big")
    version = None if reference is None else 1
    return (BASE + number, nonce, "member", 0, log_subject, reference, None, 1_000, version)


def data_key(number: int) -> tuple[Any, ...]:
    return (BASE + number, 1, 1, b"wrapped %d" % number)


def token(number: int, owner: int, *, digest: bytes | None = None) -> tuple[Any, ...]:
    version = None if digest is None else 1
    nonce, envelope = number.to_bytes(8, "big"), b"sealed %d" % number
    return (BASE + number, nonce, BASE + owner, 7, 2_000, MAKER, version, digest, envelope)


def filled() -> Writes:
    """Two subjects, the first with three tokens, two of them of one digest."""
    return Writes(
        subjects=[subject(1, reference=b"ref one"), subject(2)],
        data_keys=[data_key(1), data_key(2)],
        tokens=[token(11, 1, digest=b"same"), token(12, 1, digest=b"same"), token(13, 1), token(14, 2)],
        notes=[(b"n" * 32, b"sealed reason")],
        replays=[(b"scope", b"body", 3_000, 1, b"result")],
    )


def test_unit_with_rows_is_read_back_as_it_was_written(hot: HotConnection) -> None:
    assert hot.commit(Units().make(2), filled(), 1) == 0
    ids = [BASE + number for number in (11, 13, 99)]
    assert sorted(map(_plain, hot.read_tokens(ids))) == [
        (BASE + 11, (11).to_bytes(8, "big"), BASE + 1, 7, b"sealed 11", 2_000, None, None, None),
        (BASE + 13, (13).to_bytes(8, "big"), BASE + 1, 7, b"sealed 13", 2_000, None, None, None),
    ]
    assert sorted(map(_plain, hot.read_keys([BASE + 1, BASE + 2, BASE + 3]))) == [
        (BASE + n, 1, 1, b"wrapped %d" % n, 0, n.to_bytes(16, "big"), n.to_bytes(8, "big"), "member", 0)
        for n in (1, 2)
    ]
    owned = hot.read_subject_tokens([BASE + 1], [MAKER, 4])
    assert [(row[0], row[6]) for row in owned] == [(BASE + n, MAKER) for n in (13, 12, 11)]
    assert hot.read_subject_tokens([BASE + 1], [4]) == []
    assert [row[:2] for row in map(_plain, hot.read_references([b"ref one", b"other"]))] == [
        (b"ref one", BASE + 1)
    ]
    matches = [_plain(row) for row in hot.read_matches([b"same", b"other"])]
    assert [(row[0], row[4]) for row in matches] == [(BASE + 11, b"same"), (BASE + 12, b"same")]


def test_a_mark_on_a_data_key_is_read_with_it(hot: HotConnection, log_database: Database) -> None:
    hot.commit(Units().make(2), filled(), 1)
    with log_database.writing() as connection:
        connection.execute(update(tables.data_key).filter_by(subject_id=BASE + 2).values(suspect=True))
    assert {row[0]: row[8] for row in hot.read_keys([BASE + 1, BASE + 2])} == {BASE + 1: 0, BASE + 2: 1}


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)


def test_nothing_asked_is_nothing_found(hot: HotConnection) -> None:
    assert hot.read_tokens([]) == []
    assert hot.read_keys([]) == []
    assert hot.read_subject_tokens([], []) == []
    assert hot.read_references([]) == []
    assert hot.read_matches([]) == []
    assert hot.read_replays([]) == []


def test_more_references_than_one_statement_takes_are_all_found(hot: HotConnection) -> None:
    rows = [subject(number, reference=b"%d" % number) for number in range(1, 1_201)]
    hot.commit(Units().make(), Writes(subjects=rows), 1)
    assert len(hot.read_references([b"%d" % number for number in range(1, 1_201)])) == 1_200


def test_record_of_a_request_names_the_index_of_its_own_entry(hot: HotConnection) -> None:
    units = Units()
    hot.commit(units.make(5), Writes(), 1)
    hot.commit(units.make(2), filled(), 1)
    (row,) = hot.read_replays([b"scope", b"unheard of"])
    assert _plain(row) == (b"scope", b"body", 3_000, 5 + 1, b"result")


def test_revoked_token_loses_envelope_and_digest_and_raises_the_revision(
    hot: HotConnection, log_database: Database
) -> None:
    units = Units()
    hot.commit(units.make(2), filled(), 1)
    hot.commit(units.make(), Writes(revoked=[BASE + 11]), 1)
    (row,) = hot.read_tokens([BASE + 11])
    assert row[4] is None
    assert [match[0] for match in hot.read_matches([b"same"])] == [BASE + 12]
    assert len(hot.read_subject_tokens([BASE + 1], [MAKER])) == 2
    assert counter(log_database).revision == 2


@pytest.mark.parametrize("rows", [False, True], ids=["log-only", "with-rows"])
def test_stale_unit_writes_nothing(hot: HotConnection, log_database: Database, rows: bool) -> None:
    writes = filled() if rows else Writes()
    with pytest.raises(StaleRevisionError):
        hot.commit(Units().make(2), writes, 2)
    assert require_whole_log(log_database) == 0
    assert hot.read_tokens([BASE + 11]) == []
    assert hot.commit(Units().make(2), writes, 1) == 0


@pytest.mark.parametrize("rows", [False, True], ids=["log-only", "with-rows"])
def test_sealed_vault_takes_no_unit(hot: HotConnection, log_database: Database, rows: bool) -> None:
    with log_database.writing() as connection:
        connection.execute(update(tables.counter).values(sealed=True))
    with pytest.raises(SealedError):
        hot.commit(Units().make(2), filled() if rows else Writes(), 1)
    assert hot.read_tokens([BASE + 11]) == []


def test_refused_row_takes_its_whole_unit_with_it(hot: HotConnection, log_database: Database) -> None:
    units = Units()
    hot.commit(units.make(2), filled(), 1)
    again = Writes(tokens=[token(20, 1), token(11, 1)])
    with pytest.raises(RolledBackError) as caught:
        hot.commit(units.make(), again, 1)
    assert str(BASE + 11) not in told(caught.value)
    assert hot.read_tokens([BASE + 20]) == []
    assert require_whole_log(log_database) == 2
    assert hot.commit(units.make(), Writes(tokens=[token(20, 1)]), 1) == 2


def test_refused_row_is_told_without_its_values(hot: HotConnection) -> None:
    row = (BASE + 1, bytes(8), CANARY, 0, bytes(16), CANARY.encode(), None, 1_000, 1)
    with pytest.raises(RolledBackError) as caught:
        hot.commit(Units().make(), Writes(subjects=[row, row]), 1)
    assert CANARY not in told(caught.value)


@pytest.mark.parametrize("misfit", [1 << 70, object()], ids=["too-large", "no-type"])
def test_fault_of_ours_among_the_rows_leaves_no_transaction_open(
    hot: HotConnection, log_database: Database, misfit: object
) -> None:
    writes = Writes(tokens=[token(30, 1), (*token(32, 1)[:4], misfit, *token(32, 1)[5:])])
    with pytest.raises(MISFITS):
        hot.commit(Units().make(), writes, 1)
    assert hot.commit(Units().make(), Writes(tokens=[token(31, 1)]), 1) == 0
    assert [row[0] for row in hot.read_tokens([BASE + 30, BASE + 31])] == [BASE + 31]
    assert require_whole_log(log_database) == 1


@pytest.mark.parametrize("misfit", [1 << 70, object()], ids=["too-large", "no-type"])
def test_fault_of_ours_after_rows_were_sent_leaves_no_transaction_open(
    hot: HotConnection, log_database: Database, misfit: object
) -> None:
    """Otherwise the next unit's commit would carry the rows of the one that failed."""
    units = Units()
    broken = units.make()
    writes = Writes(tokens=[token(30, 1)], replays=[(b"s", b"b", misfit, 0, b"r")])
    with pytest.raises(MISFITS):
        hot.commit(broken, writes, 1)
    assert hot.commit(Units().make(), Writes(tokens=[token(31, 1)]), 1) == 0
    assert [row[0] for row in hot.read_tokens([BASE + 30, BASE + 31])] == [BASE + 31]
    assert require_whole_log(log_database) == 1


class Interrupting(list[Any]):
    """Rows at which somebody interrupts, after ``act``."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        super().__init__([()])
        self._act = act

    def __iter__(self) -> Iterator[Any]:
        self._act()
        raise KeyboardInterrupt


def check_interrupted(hot: HotConnection, database: Database, rows: Interrupting) -> None:
    with pytest.raises(KeyboardInterrupt):
        hot.commit(Units().make(), Writes(tokens=[token(30, 1)], replays=rows), 1)
    assert hot.commit(Units().make(), Writes(), 1) == 0
    assert hot.read_tokens([BASE + 30]) == []
    assert require_whole_log(database) == 1


def test_interrupted_commit_leaves_no_transaction_open(hot: HotConnection, log_database: Database) -> None:
    check_interrupted(hot, log_database, Interrupting())


def test_interrupted_commit_whose_connection_was_given_up_leaves_nothing(
    hot: HotConnection, log_database: Database
) -> None:
    check_interrupted(hot, log_database, Interrupting(hot.close))


def test_interrupted_commit_that_cannot_be_rolled_back_closes_its_connection(
    hot: HotConnection, log_database: Database
) -> None:
    def lose() -> None:
        held = hot._connection  # type: ignore[attr-defined]  # of both kinds
        if isinstance(held, sqlite3.Connection):
            held.close()
        else:
            terminate_others(log_database.engine.url.render_as_string())

    check_interrupted(hot, log_database, Interrupting(lose))


DEFERRED = (
    "CREATE TABLE elder (id INTEGER PRIMARY KEY)",
    "CREATE TABLE younger (id INTEGER REFERENCES elder DEFERRABLE INITIALLY DEFERRED)",
)
ON_SQLITE = ("CREATE TRIGGER t AFTER INSERT ON log_unit BEGIN INSERT INTO younger VALUES (1); END",)
_BODY = "BEGIN INSERT INTO younger VALUES (1); RETURN NULL; END"
ON_POSTGRESQL = (
    f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$",
    "CREATE TRIGGER t AFTER INSERT ON log_unit EXECUTE FUNCTION f()",
)


@pytest.mark.parametrize("rows", [False, True], ids=["log-only", "with-rows"])
def test_commit_that_the_database_refuses_is_rolled_back(
    hot: HotConnection, log_database: Database, rows: bool
) -> None:
    with log_database.writing() as connection:
        for statement in DEFERRED + (ON_SQLITE if log_database.dialect == "sqlite" else ON_POSTGRESQL):
            connection.execute(text(statement))
    with pytest.raises(RolledBackError):
        hot.commit(Units().make(2), filled() if rows else Writes(), 1)
    assert require_whole_log(log_database) == 0
    with pytest.raises(UnavailableError):
        append(log_database, Units().make())
    with log_database.writing() as connection:
        on = "" if log_database.dialect == "sqlite" else " ON log_unit"
        connection.execute(text(f"DROP TRIGGER t{on}"))
    assert hot.commit(Units().make(2), filled() if rows else Writes(), 1) == 0


def test_reserved_numbers_follow_each_other_within_a_partition(hot: HotConnection) -> None:
    assert [hot.take_ids(0, 100), hot.take_ids(0, 10), hot.take_ids(1, 5), hot.take_ids(0, 1)] == [
        1,
        101,
        1,
        111,
    ]


def test_reserved_numbers_are_never_given_to_another_node(hot: HotConnection, log_database: Database) -> None:
    other = hot_connection(log_database)
    taken = [hot.take_ids(0, 10), other.take_ids(0, 10), hot.take_ids(0, 10)]
    other.close()
    assert taken == [1, 11, 21]


def test_closed_connection_opens_again(hot: HotConnection) -> None:
    hot.commit(Units().make(2), filled(), 1)
    hot.close()
    hot.close()
    assert len(hot.read_tokens([BASE + 11])) == 1


def test_schema_that_is_missing_is_unavailable(hot: HotConnection, log_database: Database) -> None:
    with log_database.writing() as connection:
        connection.execute(text("DROP TABLE token"))
    with pytest.raises(UnavailableError):
        hot.read_tokens([1])
    with pytest.raises(UnavailableError):
        hot.commit(Units().make(), Writes(tokens=[token(1, 1)]), 1)
    assert hot.commit(Units().make(), Writes(), 1) == 0


def test_read_on_a_lost_connection_is_unavailable_and_the_next_one_works(
    log_postgres: Database, migrated_postgres_url: str
) -> None:
    hot = PostgresqlHotConnection(log_postgres)
    hot.commit(Units().make(2), filled(), 1)
    terminate_others(migrated_postgres_url)
    with pytest.raises(UnavailableError) as caught:
        hot.read_tokens([BASE + 11])
    assert type(caught.value) is UnavailableError
    assert len(hot.read_tokens([BASE + 11])) == 1
    hot.close()


def test_lock_held_by_another_is_waited_for_and_then_given_up(log_postgres: Database) -> None:
    hot = PostgresqlHotConnection(log_postgres)
    hot.read_tokens([1])
    held = hot._connection
    assert held is not None
    held.execute("SET lock_timeout = 100")
    with log_postgres.writing() as connection:
        connection.execute(select(tables.counter).with_for_update())
        with pytest.raises(UnavailableError):
            hot.commit(Units().make(2), filled(), 1)
    assert hot.commit(Units().make(2), filled(), 1) == 0
    hot.close()


def test_sqlite_writer_that_waits_too_long_is_unavailable(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.vault.storage.conftest import with_counter
    from vault.storage import database as module

    monkeypatch.setattr(module, "LOCK_TIMEOUT_MS", 100)
    database = with_counter(migrated_sqlite_url)
    hot = SqliteHotConnection(database)
    with database.writing():
        with pytest.raises(UnavailableError):
            hot.commit(Units().make(), Writes(), 1)
        assert hot.read_tokens([1]) == []
    assert hot.commit(Units().make(), Writes(), 1) == 0
    hot.close()
    database.close()
