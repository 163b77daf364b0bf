"""A commit whose answer is lost is an unknown outcome; one that was never sent certainly did not happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from tests.support.cutting_proxy import CuttingProxy
from tests.support.faults import superuser, terminate_others
from tests.support.postgres import PostgresCluster
from tests.vault.storage.test_hot import BASE, filled, token
from tests.vault.storage.units import Units, append, require_whole_log
from vault.domain.errors import LogUnavailableError, OutcomeUnknownError, UnavailableError
from vault.storage import tables
from vault.storage.database import Connection, Database
from vault.storage.hot import Writes
from vault.storage.hot_postgresql import PostgresqlHotConnection


@dataclass
class Line:
    """A database behind a proxy, the same one past it, and a connection as the lane holds it."""

    proxy: CuttingProxy
    database: Database
    past: Database
    hot: PostgresqlHotConnection


@pytest.fixture
def line(fragile_postgres: PostgresCluster, fragile_url: str) -> Iterator[Line]:
    """A way to the database that can be cut."""
    with CuttingProxy(fragile_postgres.folder) as proxy:
        database, past = Database.open(proxy.url(fragile_url)), Database.open(fragile_url)
        hot = PostgresqlHotConnection(database)
        yield Line(proxy, database, past, hot)
        hot.close()
        database.close()
        past.close()


def test_lost_answer_of_a_unit_with_rows_is_unknown_and_it_is_there(line: Line) -> None:
    line.proxy.lose_answer(b"COMMIT")
    with pytest.raises(OutcomeUnknownError):
        line.hot.commit(Units().make(2), filled(), 1)
    assert line.proxy.cuts == 1
    assert require_whole_log(line.past) == 2
    assert len(line.hot.read_tokens([BASE + 11])) == 1


def test_lost_answer_of_a_unit_that_only_logs_is_unknown_and_it_is_there(line: Line) -> None:
    unit = Units().make(2)
    line.proxy.lose_answer(unit.writer)
    with pytest.raises(OutcomeUnknownError):
        line.hot.commit(unit, Writes(), 1)
    assert require_whole_log(line.past) == 2
    assert line.hot.commit(Units().make(), Writes(), 1) == 2


def test_lost_commit_is_unknown_and_it_is_not_there(line: Line) -> None:
    line.proxy.lose_request(b"COMMIT")
    with pytest.raises(OutcomeUnknownError):
        line.hot.commit(Units().make(2), filled(), 1)
    assert require_whole_log(line.past) == 0
    assert line.hot.commit(Units().make(2), filled(), 1) == 0


@pytest.mark.parametrize("pattern", [b"BEGIN", b"COPY token", b"writer", b"INSERT INTO idempotency"])
@pytest.mark.parametrize("lose", [CuttingProxy.lose_request, CuttingProxy.lose_answer])
def test_connection_lost_before_commit_was_sent_is_certain(
    line: Line, pattern: bytes, lose: Callable[[CuttingProxy, bytes], None]
) -> None:
    unit = Units().make(2)
    lose(line.proxy, unit.writer if pattern == b"writer" else pattern)
    with pytest.raises(UnavailableError) as caught:
        line.hot.commit(unit, filled(), 1)
    assert type(caught.value) is UnavailableError
    assert require_whole_log(line.past) == 0
    assert line.hot.commit(Units().make(2), filled(), 1) == 0
    assert len(line.hot.read_tokens([BASE + 11])) == 1


def test_connection_lost_while_reading_is_unavailable_and_opened_again(line: Line) -> None:
    line.hot.commit(Units().make(2), filled(), 1)
    line.proxy.lose_answer(b"FROM token")
    with pytest.raises(UnavailableError) as caught:
        line.hot.read_tokens([BASE + 11])
    assert type(caught.value) is UnavailableError
    assert len(line.hot.read_tokens([BASE + 11])) == 1


def test_commit_is_not_sent_on_a_connection_opened_since(line: Line) -> None:
    """There it would succeed, having nothing to commit."""

    class Ending(list[tuple[bytes, bytes, int, int, bytes]]):
        def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int, bytes]]:
            line.hot.close()
            return iter(())

    writes = Writes(tokens=[token(1, 1)], replays=Ending([(b"", b"", 0, 0, b"")]))
    with pytest.raises(UnavailableError) as caught:
        line.hot.commit(Units().make(), writes, 1)
    assert type(caught.value) is UnavailableError
    assert require_whole_log(line.past) == 0


def test_transaction_that_the_server_gave_up_is_not_taken_for_committed(line: Line) -> None:
    """COMMIT of a failed transaction succeeds as ROLLBACK."""

    class Spoiling(list[tuple[bytes, bytes, int, int, bytes]]):
        def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int, bytes]]:
            held = line.hot._connection
            assert held is not None
            with pytest.raises(Exception, match="division"):
                held.execute("SELECT 1 / 0")
            return iter(())

    writes = Writes(tokens=[token(1, 1)], replays=Spoiling([(b"", b"", 0, 0, b"")]))
    with pytest.raises(UnavailableError) as caught:
        line.hot.commit(Units().make(), writes, 1)
    assert type(caught.value) is UnavailableError
    assert require_whole_log(line.past) == 0
    assert line.hot.commit(Units().make(), Writes(), 1) == 0


def test_lost_answer_off_the_hot_path_is_unknown(line: Line) -> None:
    line.proxy.lose_answer(b"COMMIT\0")
    with pytest.raises(OutcomeUnknownError):
        append(line.database, Units().make())
    assert require_whole_log(line.past) == 1
    assert append(line.database, Units().make()) == 1


def test_connection_lost_in_the_append_off_the_hot_path_is_certain(line: Line) -> None:
    line.proxy.lose_request(b"UPDATE counter")
    with pytest.raises(LogUnavailableError):
        append(line.database, Units().make())
    assert require_whole_log(line.past) == 0
    assert append(line.database, Units().make()) == 0


def test_backend_killed_at_any_moment_leaves_units_whole(fragile_url: str) -> None:
    """Whatever was acknowledged is there, and what was certainly rolled back is not."""
    database = Database.open(fragile_url)
    hot = PostgresqlHotConnection(database)
    units = Units()
    acknowledged, refused, unknown = set(), set(), 0
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.003):
            terminate_others(fragile_url)

    killer = threading.Thread(target=kill)
    killer.start()
    for number in range(1, 151):
        try:
            hot.commit(units.make(), Writes(tokens=[token(number, 1)]), 1)
            acknowledged.add(number)
        except OutcomeUnknownError:
            units, unknown = Units(), unknown + 1
        except UnavailableError:
            refused.add(number)
    stop.set()
    killer.join()
    found = {row[0] - BASE for row in _read_all(database, 150)}
    hot.close()
    assert acknowledged <= found
    assert not refused & found
    assert require_whole_log(database) == len(found)
    assert unknown + len(refused) > 0
    database.close()


def _read_all(database: Database, last: int) -> list[tuple[int, ...]]:
    hot = PostgresqlHotConnection(database)
    rows = hot.read_tokens([BASE + number for number in range(1, last + 1)])
    hot.close()
    return [(row[0],) for row in rows]


@pytest.fixture
def standby_url(fragile_url: str) -> Iterator[str]:
    """A database whose server waits for a synchronous standby that is not there."""
    with superuser(fragile_url) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nowhere'")
        connection.execute("SELECT pg_reload_conf()")
        await_true(connection, "SELECT current_setting('synchronous_standby_names') = 'nowhere'")
    yield fragile_url
    with superuser(fragile_url) as connection:
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_reload_conf()")
        await_true(connection, "SELECT current_setting('synchronous_standby_names') = ''")


def await_true(connection: object, statement: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        (true,) = connection.execute(statement).fetchone()  # type: ignore[attr-defined]  # a psycopg connection
        if true:
            return
        time.sleep(0.01)
    raise AssertionError(f"never true: {statement}")


def cancelling_the_wait(url: str, act: Callable[[], object]) -> None:
    """Run ``act``, and cancel whoever waits for a standby."""

    def cancel() -> None:
        waits = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'"
        with superuser(url) as connection:
            await_true(connection, f"SELECT count(*) = 1 {waits}")
            connection.execute(f"SELECT pg_cancel_backend(pid) {waits}")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        act()
    finally:
        canceller.join()


@pytest.mark.parametrize("rows", [False, True], ids=["log-only", "with-rows"])
def test_cancelled_wait_for_the_standby_is_unknown(standby_url: str, rows: bool) -> None:
    database = Database.open(standby_url)
    hot = PostgresqlHotConnection(database)
    with pytest.raises(OutcomeUnknownError, match="standby"):
        cancelling_the_wait(
            standby_url, lambda: hot.commit(Units().make(2), filled() if rows else Writes(), 1)
        )
    assert require_whole_log(database) == 2
    hot.close()
    database.close()


def test_cancelled_wait_off_the_hot_path_is_unknown(standby_url: str) -> None:
    database = Database.open(standby_url)
    with pytest.raises(OutcomeUnknownError, match="standby"):
        cancelling_the_wait(standby_url, lambda: append(database, Units().make()))
    assert require_whole_log(database) == 1
    database.close()


def test_cancelled_wait_of_a_reservation_says_nothing_about_the_next_unit(
    standby_url: str,
) -> None:
    database = Database.open(standby_url)
    hot = PostgresqlHotConnection(database)
    cancelling_the_wait(standby_url, lambda: hot.take_ids(0, 10))
    held = hot._connection
    assert held is not None
    held.execute("SET synchronous_commit = local")
    assert hot.commit(Units().make(), Writes(), 1) == 0
    hot.close()
    database.close()


def test_rollback_on_a_connection_that_is_gone_is_a_rollback(line: Line) -> None:
    def ended(connection: Connection) -> None:
        connection.execute(update(tables.counter).values(revision=9))
        terminate_others(line.past.engine.url.render_as_string())
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"), line.database.writing() as connection:
        ended(connection)
    assert append(line.database, Units().make(), revision=1) == 0
