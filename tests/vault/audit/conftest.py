"""A log on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vault.audit.logs import Log
from vault.storage.database import Database


@pytest.fixture
def audit_log(migrated_url: str, tmp_path: Path) -> Iterator[Log]:
    """An empty log, once on each kind of database."""
    yield from _empty(migrated_url, tmp_path)


@pytest.fixture
def embedded_log(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[Log]:
    """An empty log on SQLite."""
    yield from _empty(migrated_sqlite_url, tmp_path)


def _empty(url: str, folder: Path) -> Iterator[Log]:
    database = Database.open(url)
    log = Log(database, folder / "checkpoint")
    log.begin()
    yield log
    database.close()
