"""A vault to act in, on both kinds of database, or on the embedded one where the database is no matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vault.access.world import Someone, World


@pytest.fixture
def world(migrated_url: str, tmp_path: Path) -> Iterator[World]:
    """A vault after init, once on each kind of database."""
    made = World(migrated_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def embedded(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A vault after init, on SQLite."""
    made = World(migrated_sqlite_url, tmp_path)
    yield made
    made.close()


@dataclass
class Office:
    """A vault with its first two people at work."""

    world: World
    administrator: Someone
    officer: Someone


@pytest.fixture
def office(embedded: World) -> Office:
    """A vault on SQLite with administrator and officer logged in."""
    return Office(embedded, *embedded.found())


@pytest.fixture
def any_office(world: World) -> Office:
    """The same on each kind of database."""
    return Office(world, *world.found())
