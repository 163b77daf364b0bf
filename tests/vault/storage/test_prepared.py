"""Statements through libpq: binary values arrive as they are, errors are the driver's, a loss is final."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.cutting_proxy import CuttingProxy
from tests.support.postgres import PostgresCluster
from vault.domain.errors import UnavailableError
from vault.storage.database import Database
from vault.storage.hot_postgresql import PostgresqlHotConnection
from vault.storage.prepared import Prepared, Statements, bytea_array, int4, int8, int8_array


@pytest.fixture
def connection(postgres: PostgresCluster) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of the driver's own."""
    with psycopg.connect(f"host={postgres.folder} user=postgres dbname=postgres", autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize("kind", [Statements, Prepared])
def test_values_arrive_as_they_are(
    connection: psycopg.Connection[tuple[object, ...]], kind: type[Statements]
) -> None:
    statements = kind(connection)
    numbers, texts = [0, -1, (1 << 63) - 1, -(1 << 63)], [b"", b"\0\xff", b"a" * 70_000]
    for _ in range(2):
        rows = statements.run(
            "SELECT $1::int8, $2::int4, $3::bytea, $4::int8[], $5::bytea[]",
            (int8(-5), int4(7), b"\0x", int8_array(numbers), bytea_array(texts)),
        )
        assert rows == [(-5, 7, b"\0x", numbers, texts)]


def test_empty_arrays_arrive_empty(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    rows = Prepared(connection).run("SELECT $1::int8[], $2::bytea[]", (int8_array([]), bytea_array([])))
    assert rows == [([], [])]


@pytest.mark.parametrize("kind", [Statements, Prepared])
def test_errors_are_the_drivers_and_leave_the_connection_usable(
    connection: psycopg.Connection[tuple[object, ...]], kind: type[Statements]
) -> None:
    statements = kind(connection)
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero) as raised:
            statements.run("SELECT 1 / $1::int8", (int8(0),))
        assert raised.value.diag.severity_nonlocalized == "ERROR"
    with pytest.raises(psycopg.errors.SyntaxError):
        statements.run("SELEC")
    assert statements.run("SELECT 1 / $1::int8", (int8(1),)) == [(1,)]


def test_a_command_says_what_was_done(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    statements = Prepared(connection)
    assert [statements.command(text) for text in ("BEGIN", "SET LOCAL jit = off", "COMMIT")] == [
        "BEGIN",
        "SET",
        "COMMIT",
    ]
    statements.command("BEGIN")
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements.command("SELECT 1 / 0")
    assert statements.command("COMMIT") == "ROLLBACK"


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_refuses_a_number_that_does_not_fit(number: int) -> None:
    with pytest.raises(OverflowError):
        int8(number)
    with pytest.raises(OverflowError):
        int4(number >> 32)


def test_a_connection_lost_while_it_is_set_up_is_no_connection(
    fragile_postgres: PostgresCluster, fragile_url: str
) -> None:
    with CuttingProxy(fragile_postgres.folder) as proxy:
        database = Database.open(proxy.url(fragile_url))
        hot = PostgresqlHotConnection(database)
        proxy.lose_request(b"plan_cache_mode")
        with pytest.raises(UnavailableError):
            hot.read_tokens([1])
        assert hot.read_tokens([1]) == []
        hot.close()
        database.close()
