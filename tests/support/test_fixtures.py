"""The shared fixtures give what they say."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.postgres import BINARIES_VARIABLE
from vault.storage.database import Database
from vault.storage.migrate import require_current


def test_database_is_empty_and_answers(database_url: str) -> None:
    database = Database.open(database_url)
    try:
        with database.reading() as connection:
            assert connection.dialect.get_table_names(connection) == []
    finally:
        database.close()


def test_migrated_database_is_at_the_latest_schema(migrated_url: str) -> None:
    database = Database.open(migrated_url)
    try:
        require_current(database)
    finally:
        database.close()


def test_home_is_empty_and_private(tmp_home: Path) -> None:
    assert Path.home() == tmp_home
    assert list(tmp_home.iterdir()) == []
    assert tmp_home.stat().st_mode & 0o077 == 0
    named = {name for name in os.environ if name.startswith(("PIIVAULT_", "XDG_"))}
    assert named <= {BINARIES_VARIABLE}
