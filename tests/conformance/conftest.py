"""A furnished vault for each test, once on each kind of database: a copy, since making one takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.counter import Counter
from tests.conformance.keeper import Keeper
from tests.conformance.restoring import PostgresBench
from tests.support.furnished import Furnished, copy, furnish
from tests.support.postgres import PostgresCluster


@pytest.fixture(scope="session")
def furnished_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """The vault to copy on SQLite, closed."""
    furnished = furnish(tmp_path_factory.mktemp("furnished") / "home")
    furnished.vault.close()
    return furnished


@pytest.fixture(scope="session")
def bench_postgres(
    postgres: PostgresCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresBench]:
    """The database that the tests on PostgreSQL have one after another."""
    bench = PostgresBench(postgres, tmp_path_factory.mktemp("furnished") / "home")
    yield bench
    bench.close()


@pytest.fixture
def on_sqlite(furnished_sqlite: Furnished, tmp_path: Path) -> Iterator[Counter]:
    """A furnished vault on SQLite."""
    counter = Counter(copy(furnished_sqlite, tmp_path / "home"))
    yield counter
    counter.close()


@pytest.fixture
def on_postgresql(bench_postgres: PostgresBench, tmp_path: Path) -> Iterator[Counter]:
    """A furnished vault on PostgreSQL."""
    counter = Counter(copy(bench_postgres.template, tmp_path / "home", bench_postgres.url))
    yield counter
    counter.close()
    bench_postgres.clear()


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest) -> Counter:
    """A furnished vault and what one does at its counter, once on each kind of database."""
    made: Counter = request.getfixturevalue(f"on_{request.param}")
    return made


@pytest.fixture
def keeper(counter: Counter) -> Keeper:
    """The same vault with somebody who may act on whole subjects."""
    return Keeper(counter)
