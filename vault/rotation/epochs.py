"""Rotate keys, and list them.

A rotation makes a new epoch, activates it and deactivates the old one, which
from then on only unwraps (NIST SP 800-57 Part 1, section 7). It raises the
revision, so on every node whatever is logged after it uses the new epoch. What
hangs on the old one is moved by :mod:`vault.rotation.rewrap`, ``redigest`` or
``reseal``, or ends by itself. A log signing key that was replaced goes on to
sign checkpoints, beside the new one, until it is destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keys.keyring import MAX_KEY_VERSION, SCOPED, KeyKind, KeyRecord, generate_key, open_signing_key
from keys.rootkey import RootSlot
from keys.signing import SigningKey
from keys.states import KeyState, require_transition
from keys.tokens import MAX_TOKEN_KEY_VERSION
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vault.rotation.names import named, require_scope
from vault.rotation.periods import Due, Light, due_dates
from vault.storage import keys as rows
from vault.storage.database import Connection
from vault.storage.roots import read_roots

_HIGHEST: Final = {KeyKind.TOKEN: MAX_TOKEN_KEY_VERSION}
"""Last versions, where a format has few."""


MOST_SIGNERS: Final = 8
"""Keys of the log that sign at once: a note holds sixteen signatures, and the others are for witnesses."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """Versions before and after."""

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


def rotate(
    changes: Changes, request: Request, kind: KeyKind = KeyKind.WRAPPING, scope: str = ""
) -> Made[Rotated]:
    """Make the next version of a key and put it in force; the one before only reads from then on.

    Without a ``scope`` the log signing key is the one there is; its successor has the
    same name. Raises AccessDeniedError, NotFoundError, InvalidInputError,
    ConflictError (no version is left, or too many keys of the log sign), UnavailableError.
    """
    target = named(kind.value, require_scope(scope))

    def act(attempt: Attempt) -> Change[Rotated]:
        records = [record for record in rows.read_keys(attempt.connection) if record.kind is kind]
        _require_fitting(kind, scope, records)
        old = next((record for record in records if _is_meant(record, scope)), None)
        if old is None:
            raise NotFoundError("there is no such key in force")
        if kind is KeyKind.LOG_SIGNING and len(attempt.keyring.signers) >= MOST_SIGNERS:
            raise ConflictError("too many keys of the log sign already: destroy one that was replaced first")
        version = max(record.version for record in records if record.scope == old.scope) + 1
        if version > _HIGHEST.get(kind, MAX_KEY_VERSION):
            raise ConflictError("no version of this kind is left")
        vault_id = attempt.keyring.vault_id
        # If the root key has changed since, so has the revision, and nothing of this is written.
        root = changes.standings.roots.held
        new = generate_key(kind, old.scope, version, vault_id=vault_id, root=root)
        rows.insert_keys(attempt.connection, [new], now_us=attempt.now_us)
        _move(attempt, old, KeyState.DEACTIVATED)
        _move(attempt, new, KeyState.ACTIVE)
        said = {**target, "from": str(old.version), "to": str(new.version)}
        if kind is KeyKind.LOG_SIGNING:
            said |= _public_halves(attempt, open_signing_key(new, vault_id=vault_id, root=root))
        return Change(Rotated(old.version, new.version), said, revises=True)

    return changes.make(request, Action.KEY_ROTATE, act, target=target)


def _require_fitting(kind: KeyKind, scope: str, records: Sequence[KeyRecord]) -> None:
    """Raise InvalidInputError for a scope too many, or one too few; ``records`` are those of ``kind``."""
    if scope and kind not in SCOPED:
        raise InvalidInputError(f"scope: a {kind.value} key has none", field="scope", rule="not_scoped")
    if kind is KeyKind.LOOKUP and not scope:
        known = ", ".join(sorted({record.scope for record in records if record.state is KeyState.ACTIVE}))
        raise InvalidInputError(f"scope: a lookup key is of one of {known}", field="scope", rule="required")


def _is_meant(record: KeyRecord, scope: str) -> bool:
    any_scope = record.kind is KeyKind.LOG_SIGNING and not scope
    return record.state is KeyState.ACTIVE and (any_scope or record.scope == scope)


def _public_halves(attempt: Attempt, new: SigningKey) -> dict[str, str]:
    """Return what the entry says of both keys of the log: whoever trusts one can tell the other by it."""
    old = attempt.keyring.signer
    return {
        "from_key": old.key_id.hex(),
        "from_public": old.public.hex(),
        "to_key": new.key_id.hex(),
        "to_public": new.public.hex(),
    }


def list_keys(connection: Connection, standing: Standing, now_us: int) -> list[KeyInfo]:
    """Return every key with its state and what still hangs on it, as ``connection`` sees it."""
    counts = rows.count_data_keys(connection)
    dates = rows.read_key_dates(connection)
    due = {found.name: found for found in due_dates(standing, now_us)}
    return [
        _info(record, dates[record.name], counts, due.get(record.name))
        for record in rows.read_keys(connection)
    ] + _root(connection, due)


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


def _root(connection: Connection, due: Mapping[str, Due]) -> list[KeyInfo]:
    """Return the root key in force: its state is that of its copy for daily use."""
    return [
        KeyInfo(
            kind="root",
            scope="",
            version=row.version,
            state=row.state,
            created_at=_moment(row.created_at),
            changed_at=_moment(row.created_at),
            data_keys=None,
            due_at=None if late is None else _moment(late.at_us),
            light=None if late is None else late.light,
        )
        for row in read_roots(connection)
        if (row.slot, row.state) == (RootSlot.LIVE.value, "active")
        for late in [due.get(f"root//{row.version}")]
    ]


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat()
