"""Furnished vaults: on SQLite, and on a PostgreSQL of this folder's own that may be broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.counter import Counter
from tests.support.furnished import Furnished, copy, furnish
from tests.support.postgres import PostgresCluster


@pytest.fixture(scope="session")
def furnished_template(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """A closed vault on SQLite, to copy."""
    furnished = furnish(tmp_path_factory.mktemp("service") / "home")
    furnished.vault.close()
    return furnished


@pytest.fixture
def embedded(furnished_template: Furnished, tmp_path: Path) -> Iterator[Counter]:
    """A furnished vault on SQLite."""
    counter = Counter(copy(furnished_template, tmp_path / "home"))
    yield counter
    counter.close()


@dataclass(frozen=True)
class Fragile:
    """A server to break and a closed vault on it, to copy."""

    cluster: PostgresCluster
    template: Furnished
    database: str

    def url(self) -> str:
        """Copy the vault's database; return the URL of the copy."""
        return self.cluster.create_database(template=self.database)

    def open(self, home: Path, url: str) -> Counter:
        """Open the vault on a copy; ``url`` may lead there by a detour."""
        return Counter(copy(self.template, home, url))


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    """Each test leaves the server running."""
    made: list[Furnished] = []

    def prepare(url: str) -> None:
        made.append(furnish(tmp_path_factory.mktemp("fragile") / "home", url))
        made[0].vault.close()

    with PostgresCluster() as cluster:
        database = cluster.template("furnished", prepare)
        yield Fragile(cluster, made[0], database)
