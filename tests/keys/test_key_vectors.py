"""Sets of keys, moves between their states, and what a state allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.errors import UnknownKeyVersionError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.states import KeyState, require_transition
from keys.wrappers.keyfile import KeyFileWrapper
from tests.keys.vectors import cases, load, refusal

VECTORS = load("keys")
SETS = VECTORS["sets"]
MOVES = VECTORS["transitions"]
VAULT = bytes(range(16))


@pytest.fixture
def wrapper(tmp_path: Path) -> KeyFileWrapper:
    return KeyFileWrapper.create(tmp_path / "root.key")


def named(key: dict[str, Any]) -> KeyRecord:
    return KeyRecord(KeyKind(key["kind"]), key["scope"], key["version"], KeyState(key["state"]), b"")


def in_state(kind: KeyKind, state: KeyState, wrapper: KeyFileWrapper) -> KeyRecord:
    scope = "member.phone" if kind is KeyKind.LOOKUP else ""
    record = generate_key(kind, scope, 1, vault_id=VAULT, root=wrapper)
    return dataclasses.replace(record, state=state)


def allowed(use: Callable[[], object]) -> bool:
    try:
        use()
    except UnknownKeyVersionError:
        return False
    return True


@cases(SETS["valid"])
def test_set_of_keys_is_unlocked(case: dict[str, Any], wrapper: KeyFileWrapper) -> None:
    records = []
    for record in map(named, case["keys"]):
        made = generate_key(record.kind, record.scope, record.version, vault_id=VAULT, root=wrapper)
        records.append(dataclasses.replace(made, state=record.state))
    Keyring.unlock(VAULT, records, wrapper)


@cases(SETS["malformed"])
def test_refuses_set_of_keys(case: dict[str, Any], wrapper: KeyFileWrapper) -> None:
    with refusal(case):
        Keyring.unlock(VAULT, [named(key) for key in case["keys"]], wrapper)


@cases(MOVES["valid"])
def test_move_is_legal(case: dict[str, Any]) -> None:
    require_transition(KeyState(case["from"]), KeyState(case["to"]))


@cases(MOVES["malformed"])
def test_refuses_move(case: dict[str, Any]) -> None:
    with refusal(case):
        require_transition(KeyState(case["from"]), KeyState(case["to"]))


def test_vectors_hold_every_move_once() -> None:
    moves = [(case["from"], case["to"]) for case in MOVES["valid"] + MOVES["malformed"]]
    assert sorted(moves) == sorted((old.value, new.value) for old in KeyState for new in KeyState)


@cases(VECTORS["uses"])
def test_state_allows_what_the_vector_says(case: dict[str, Any], wrapper: KeyFileWrapper) -> None:
    records = [in_state(kind, KeyState.ACTIVE, wrapper) for kind in (KeyKind.LOOKUP, KeyKind.AUTHORITY)]
    before = Keyring.unlock(VAULT, records, wrapper)
    code = before.authority.mac("t", "1", version=1, row=b"row")
    later = [dataclasses.replace(record, state=KeyState(case["state"])) for record in records]
    after = Keyring.unlock(VAULT, later, wrapper)
    assert allowed(lambda: after.lookup("member.phone")) is case["protect"]
    assert allowed(lambda: after.authority.mac("t", "1", version=1, row=b"row")) is case["protect"]
    assert allowed(lambda: after.lookup_all("member.phone")) is case["read"]
    assert (
        allowed(lambda: after.authority.verify("t", "1", version=1, row=b"row", code=code))
        is (case["verify"])
    )
