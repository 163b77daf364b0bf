"""The database itself refuses a move of a key's state that envelope.md 10.3 does not know."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

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


def test_a_key_is_sealed_anew_in_any_state_but_the_last(database: Database) -> None:
    for version, state in enumerate(KeyState, start=1):
        _insert(database, version, state)
        if state is KeyState.DESTROYED:
            with pytest.raises(VaultError):
                _set(database, version, wrapped=b"back again")
        else:
            _set(database, version, wrapped=b"sealed anew")


@pytest.mark.parametrize("columns", [{"kind": "lookup"}, {"scope": "x"}, {"version": 7}])
def test_a_key_keeps_its_name(database: Database, columns: dict[str, Any]) -> None:
    _insert(database, 1, KeyState.ACTIVE)
    with pytest.raises(VaultError):
        _set(database, 1, **columns)


def test_a_key_is_not_deleted(database: Database) -> None:
    _insert(database, 1, KeyState.DESTROYED)
    with pytest.raises(VaultError), database.writing() as connection:
        connection.execute(delete(tables.key))


def test_a_key_is_not_replaced(database: Database) -> None:
    _insert(database, 1, KeyState.DESTROYED)
    verb = "INSERT OR REPLACE" if database.dialect == "sqlite" else "INSERT"
    with pytest.raises(VaultError), database.writing() as connection:
        connection.execute(
            text(f"{verb} INTO key SELECT kind, scope, version, 'active', wrapped, 1, 1 FROM key")
        )


def _set(database: Database, number: int, **columns: Any) -> None:
    with database.writing() as connection:
        connection.execute(update(tables.key).filter_by(version=number).values(**columns))


def test_a_state_that_is_none_is_refused(database: Database) -> None:
    _insert(database, 1, KeyState.ACTIVE)
    with pytest.raises(VaultError), database.writing() as connection:
        connection.execute(update(tables.key).values(state="forgotten"))
