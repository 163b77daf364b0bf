"""Rotate the wrapping key, and list keys.

A rotation makes a new epoch, activates it and deactivates the old one, which
from then on only unwraps (NIST SP 800-57 Part 1, section 7). It raises the
revision, so on every node whatever is logged after it uses the new epoch. What
hangs on the old one is moved by :mod:`vault.rotation.rewrap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from keys.keyring import KeyKind, KeyRecord, generate_key
from keys.states import KeyState, require_transition
from vault.access.changes import Attempt, Change, Changes
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.rotation.periods import Due, Light, due_dates
from vault.storage import keys as rows
from vault.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Rotated:
    """Epochs before and after."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as an operator sees it: never its material."""

    kind: str
    scope: str
    version: int
    state: str
    created_at: str
    changed_at: str
    data_keys: int | None
    """Data keys still wrapped under this epoch; None for other kinds."""
    due_at: str | None
    """When it is to be replaced; None for a key that is not in use or has no cryptoperiod."""
    light: Light | None
    """How late that is."""


def rotate(changes: Changes, request: Request) -> Rotated:
    """Make and activate the next epoch. Raises AccessDeniedError, UnavailableError."""

    def act(attempt: Attempt) -> Change[Rotated]:
        epochs = [record for record in rows.read_keys(attempt.connection) if record.kind is KeyKind.WRAPPING]
        old = next(record for record in epochs if record.state is KeyState.ACTIVE)
        version = max(record.version for record in epochs) + 1
        vault_id = attempt.keyring.vault_id
        root = changes.standings.roots.current(attempt.connection, vault_id)
        new = generate_key(KeyKind.WRAPPING, "", version, vault_id=vault_id, root=root)
        rows.insert_keys(attempt.connection, [new], now_us=attempt.now_us)
        _move(attempt, old, KeyState.DEACTIVATED)
        _move(attempt, new, KeyState.ACTIVE)
        target = {"from": str(old.version), "to": str(new.version)}
        return Change(Rotated(old.version, new.version), target, revises=True)

    return changes.make(request, Action.KEY_ROTATE, act).value


def list_keys(changes: Changes, request: Request) -> list[KeyInfo]:
    """List every key with its state and what still hangs on it. Logged."""

    def look(connection: Connection, standing: Standing) -> list[KeyInfo]:
        counts = rows.count_data_keys(connection)
        dates = rows.read_key_dates(connection)
        due = {found.name: found for found in due_dates(standing, request.now_us)}
        return [
            _info(record, dates[record.name], counts, due.get(record.name))
            for record in rows.read_keys(connection)
        ]

    return changes.observe(request, Action.KEY_LIST, look).value


def _move(attempt: Attempt, record: KeyRecord, state: KeyState) -> None:
    require_transition(record.state, state)
    rows.set_key_state(attempt.connection, record, state, now_us=attempt.now_us)


def _info(record: KeyRecord, dates: tuple[int, int], counts: dict[int, int], due: Due | None) -> KeyInfo:
    created, changed = map(_moment, dates)
    return KeyInfo(
        kind=record.kind.value,
        scope=record.scope,
        version=record.version,
        state=record.state.value,
        created_at=created,
        changed_at=changed,
        data_keys=counts.get(record.version, 0) if record.kind is KeyKind.WRAPPING else None,
        due_at=None if due is None else _moment(due.at_us),
        light=None if due is None else due.light,
    )


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat()
