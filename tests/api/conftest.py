"""A served vault: one shared by tests that leave it as it was, and one of a test's own on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.world import World, open_world, populate


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world on SQLite, shared. Tests that end sessions or turn the clock far take ``own_world``."""
    opened = open_world(tmp_path_factory.mktemp("world") / "home")
    with opened.client:
        populate(opened)
        yield opened


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite of this test's own."""
    opened = open_world(tmp_path / "home")
    with opened.client:
        populate(opened)
        yield opened


@pytest.fixture
def each_world(tmp_path: Path, migrated_url: str) -> Iterator[World]:
    """A world of this test's own, once on each kind of database."""
    opened = open_world(tmp_path / "home", migrated_url)
    with opened.client:
        populate(opened)
        yield opened
