"""Fixtures for everybody: databases, and a home that is nobody's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keys.wrappers.passphrase import Argon2Cost
from tests.support.postgres import BINARIES_VARIABLE, PostgresCluster
from tests.support.schema import migrate
from tests.support.scratch import scratch

pytest_plugins = ["tests.support.strictness", "tests.support.holders", "tests.support.statements"]

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch()))

_FIXTURE = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One private PostgreSQL for all tests of this process, started when the first one asks."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def own_postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL for this test alone, to stop, start and break."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: PostgresCluster) -> Iterator[str]:
    """URL of an empty PostgreSQL database of this test's own."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database of this test's own; the file does not exist yet."""
    return f"sqlite:///{tmp_path / 'vault.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of this test's own; the test runs once on each kind of database."""
    return str(request.getfixturevalue(_FIXTURE[request.param]))


@pytest.fixture
def migrated_postgres_url(postgres: PostgresCluster) -> Iterator[str]:
    """URL of a PostgreSQL database of this test's own, at the latest schema and empty."""
    url = postgres.create_database(template=postgres.template("migrated", migrate))
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the latest schema, to copy."""
    path = tmp_path_factory.mktemp("migrated") / "vault.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite: Path, sqlite_url: str) -> str:
    """URL of a SQLite database of this test's own, at the latest schema and empty."""
    shutil.copy(migrated_sqlite, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """Like ``database_url``, at the latest schema."""
    return str(request.getfixturevalue(f"migrated_{_FIXTURE[request.param]}"))


@pytest.fixture
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever seals with a passphrase in this process, and names no cost, takes the least there is."""
    monkeypatch.setattr(Argon2Cost.__init__, "__defaults__", (8, 1, 1))


@pytest.fixture
def tmp_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, with nothing of the real user's settings in sight."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in list(os.environ):
        if name.startswith(("PIIVAULT_", "XDG_")) and name != BINARIES_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home
