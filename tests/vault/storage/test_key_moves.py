"""The database itself refuses a move of a key's state that envelope.md 10.3 does not know."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from sqlalchemy import insert, select, update

from keys.states import TRANSITIONS, KeyState
from vault.domain.errors import VaultError
from vault.storage import migrate, tables
from vault.storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    migrate.upgrade(opened)
    yield opened
    opened.close()


def _insert(database: Database, version: int, state: KeyState) -> None:
    row = {"kind": "wrapping", "scope": "", "version": version, "state": state.value, "wrapped": b"x"}
    with database.writing() as connection:
        connection.execute(insert(tables.key), [{**row, "created_at": 1, "changed_at": 1}])


def _move(database: Database, version: int, state: KeyState) -> None:
    with database.writing() as connection:
        connection.execute(update(tables.key).filter_by(version=version).values(state=state.value))


def test_every_pair_of_states_is_moved_or_refused_as_the_table_says(database: Database) -> None:
    for version, (old, new) in enumerate(product(KeyState, KeyState), start=1):
        _insert(database, version, old)
        if new in TRANSITIONS[old] or new is old:
            _move(database, version, new)
            wanted = new
        else:
            with pytest.raises(VaultError):
                _move(database, version, new)
            wanted = old
        with database.reading() as connection:
            found = connection.execute(select(tables.key.c.state).filter_by(version=version)).scalar_one()
        assert found == wanted.value, f"{old} to {new}"


def test_other_columns_change_in_any_state(database: Database) -> None:
    _insert(database, 1, KeyState.DESTROYED)
    with database.writing() as connection:
        connection.execute(update(tables.key).values(wrapped=b""))


def test_a_state_that_is_none_is_refused(database: Database) -> None:
    _insert(database, 1, KeyState.ACTIVE)
    with pytest.raises(VaultError), database.writing() as connection:
        connection.execute(update(tables.key).values(state="forgotten"))
