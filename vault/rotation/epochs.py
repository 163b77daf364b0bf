"""Rotate the wrapping key, and re-wrap data keys under the new epoch.

A rotation makes a new epoch, activates it and deactivates the old one, which
from then on only unwraps (NIST SP 800-57 Part 1, section 7). The re-wrap takes
data keys in portions, each with its log entry in one transaction; whatever
stops it, the next run goes on, because what is left is what still hangs on
another epoch. Values are not touched and no node has to be told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keys.datakeys import Binding
from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.states import KeyState, require_transition
from keys.wrappers import KeyWrapper
from vault.access.changes import Attempt, Change, Changes
from vault.access.entries import Request
from vault.access.sealing import Alarm
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.storage import keys as rows
from vault.storage.database import Connection

PORTION: Final = 500
"""Data keys re-wrapped in one transaction: a few milliseconds under the log's lock."""

NONCE: Final = 12


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


Cursor = tuple[int, int]
"""Subject id and generation of the last data key seen."""

START: Final[Cursor] = (-1, -1)


@dataclass(frozen=True, slots=True)
class RewrapPortion:
    """What one portion of a re-wrap did."""

    epoch: int
    """The active epoch, to which the keys went."""
    rewrapped: int
    remaining: int
    """Data keys that still hang on another epoch."""
    broken: tuple[int, ...]
    """Subjects whose key does not unwrap where it stands. Each has an alarm in the log."""
    next: Cursor | None
    """Where to go on; None at the end."""


def rotate(changes: Changes, request: Request, wrapper: KeyWrapper) -> Rotated:
    """Make and activate the next epoch. Raises AccessDeniedError, UnavailableError."""

    def act(attempt: Attempt) -> Change[Rotated]:
        epochs = [record for record in rows.read_keys(attempt.connection) if record.kind is KeyKind.WRAPPING]
        old = next(record for record in epochs if record.state is KeyState.ACTIVE)
        version = max(record.version for record in epochs) + 1
        vault_id = attempt.keyring.vault_id
        new = generate_key(KeyKind.WRAPPING, "", version, vault_id=vault_id, wrapper=wrapper)
        rows.insert_keys(attempt.connection, [new], now_us=attempt.now_us)
        _move(attempt, old, KeyState.DEACTIVATED)
        _move(attempt, new, KeyState.ACTIVE)
        target = {"from": str(old.version), "to": str(new.version)}
        return Change(Rotated(old.version, new.version), target, revises=True)

    return changes.make(request, Action.KEY_ROTATE, act).value


def rewrap(changes: Changes, request: Request, after: Cursor = START) -> RewrapPortion:
    """Re-wrap one portion of data keys under the active epoch, from ``after`` on.

    Ask again with ``next`` until it is None. May be stopped at any time and run
    on two nodes at once: what is left is what still hangs on another epoch.
    Raises AccessDeniedError as soon as the actor may no longer do it.
    """
    portion = changes.make(request, Action.KEY_REWRAP, _Portion(after)).value
    broken = [Alarm("data_key", str(subject_id)) for subject_id in portion.broken]
    changes.alarms.report(broken, now_us=request.now_us)
    return portion


def list_keys(changes: Changes, request: Request) -> list[KeyInfo]:
    """List every key with its state and what still hangs on it. Logged."""

    def look(connection: Connection, _standing: Standing) -> list[KeyInfo]:
        counts = rows.count_data_keys(connection)
        dates = rows.read_key_dates(connection)
        return [_info(record, dates[record.name], counts) for record in rows.read_keys(connection)]

    return changes.observe(request, Action.KEY_LIST, look).value


class _Portion:
    """One portion, as an act of :class:`Changes`."""

    def __init__(self, after: Cursor) -> None:
        self._after = after

    def __call__(self, attempt: Attempt) -> Change[RewrapPortion]:
        keyring = attempt.keyring
        epoch = keyring.active_epoch().epoch
        found = rows.read_data_keys_outside(attempt.connection, epoch, after=self._after, limit=PORTION)
        changed = []
        broken = []
        for row in found:
            wrapped = _rewrapped(row, keyring)
            if wrapped is None:
                broken.append(row[0])
            else:
                changed.append((row[0], row[1], row[3], epoch, wrapped))
        rows.replace_data_keys(attempt.connection, changed)
        counts = rows.count_data_keys(attempt.connection)
        remaining = sum(count for version, count in counts.items() if version != epoch)
        last = (found[-1][0], found[-1][1]) if len(found) == PORTION else None
        target = {"epoch": str(epoch), "rewrapped": str(len(changed)), "remaining": str(remaining)}
        done = RewrapPortion(epoch, len(changed), remaining, tuple(broken), last)
        return Change(done, target, revises=False)


def _rewrapped(row: rows.DataKeyRow, keyring: Keyring) -> bytes | None:
    subject_id, generation, epoch, wrapped, state = row
    try:
        return keyring.epoch(epoch).rewrap(
            Binding(subject_id, generation, state),
            wrapped,
            to=keyring.active_epoch(),
            nonce=os.urandom(NONCE),
        )
    except KeysError:
        return None


def _move(attempt: Attempt, record: KeyRecord, state: KeyState) -> None:
    require_transition(record.state, state)
    rows.set_key_state(attempt.connection, record, state, now_us=attempt.now_us)


def _info(record: KeyRecord, dates: tuple[int, int], counts: dict[int, int]) -> KeyInfo:
    created, changed = (datetime.fromtimestamp(at / 1_000_000, UTC).isoformat() for at in dates)
    return KeyInfo(
        kind=record.kind.value,
        scope=record.scope,
        version=record.version,
        state=record.state.value,
        created_at=created,
        changed_at=changed,
        data_keys=counts.get(record.version, 0) if record.kind is KeyKind.WRAPPING else None,
    )
