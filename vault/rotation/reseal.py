"""Seal anew what hangs on older authority or staff-data keys, as background work.

Authority: the MAC of every sealed row, history included, is made anew under
the key in force (docs/formats/envelope.md 9.1); nothing else of the row
changes, its version neither. Staff data: each authenticator secret is opened
and sealed anew (envelope.md 6), and its row with it, as its next version.

Only what verifies is sealed. A row that does not stays as it is and raises an
alarm, and the key cannot end while it does. A row that changes meanwhile is
left to the next pass: whoever changed it has sealed it under the key in force.
The tree of the log is no part of this: it is sealed with every entry anyway.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from keys.envelope import staff_version_of
from keys.errors import KeysError
from keys.keyring import KeyKind, Keyring
from vault.access.alarms import SEALED
from vault.access.invitations import open_totp, seal_totp
from vault.access.sealing import Alarm, key_version, seal, verify
from vault.access.standing import Standing
from vault.domain.errors import InvalidInputError, TamperDetectedError, UnavailableError
from vault.rotation.cursors import after_pass
from vault.storage import hanging
from vault.storage.database import Connection
from vault.storage.jobs import JobRow
from vault.storage.resealing import Key, key_of, read_after, replace_seals
from vault.storage.rows import SealedRow
from vault.storage.staff import InvitationRow, StaffSecretRow

KIND: Final = "reseal"

_TOTP: Final[tuple[type[StaffSecretRow | InvitationRow], ...]] = (StaffSecretRow, InvitationRow)

RESEALED: Final = frozenset({KeyKind.AUTHORITY, KeyKind.STAFF_DATA})
"""Kinds whose things can be sealed anew."""

WHY_NOT: Final = {
    KeyKind.WRAPPING: "use rewrap",
    KeyKind.LOOKUP: "use redigest",
    KeyKind.SESSION: "nobody knows the secrets; they end by themselves, or when they are replaced",
    KeyKind.LOG_MAC: "the log moves on by itself",
    KeyKind.LOG_SIGNING: "the log moves on by itself",
    KeyKind.TOKEN: "tokens keep the key they were made with",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a portion begins: which table, after which key; how much was done before this pass."""

    table: int
    after: Key
    done_before: int
    idle: int = 0
    """Passes before it, one after the other, in which nothing was moved."""

    def text(self) -> str:
        """Return what the job's row holds."""
        return json.dumps([self.table, list(self.after), self.done_before, self.idle])


def start(done: int, idle: int = 0) -> Place:
    """Return the beginning of a pass of a job that has ``done`` so much, after so many ``idle`` ones."""
    return Place(0, (), done, idle)


def _place(job: JobRow) -> Place:
    """Return where ``job`` is; the beginning of a pass where its cursor is none."""
    try:
        table, after, done_before, idle = json.loads(job.cursor)
    except (ValueError, TypeError):
        return start(job.done)
    numbers = isinstance(table, int) and isinstance(done_before, int) and isinstance(idle, int)
    if not numbers or not isinstance(after, list) or not 0 <= table < len(_kinds(KeyKind(job.target))):
        return start(job.done)
    wanted = len(_kinds(KeyKind(job.target))[table].table.primary_key.columns)
    if len(after) not in {0, wanted} or not all(isinstance(part, str | int) for part in after):
        return start(job.done)
    return Place(table, tuple(after), done_before, idle)


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of one table sealed anew, not yet written."""

    names: tuple[str, ...]
    """Columns to write."""
    changed: list[tuple[SealedRow, SealedRow]]
    alarms: list[Alarm]
    """Rows that do not verify or open."""
    next: Place | None
    """Where the next portion begins; None at the end of the pass."""
    remaining: int
    """At the end of a pass, what hangs on another version; else 0."""


def require_kind(kind: str) -> KeyKind:
    """Return the kind. Raises InvalidInputError for one whose things cannot be sealed anew."""
    known = ", ".join(sorted(RESEALED))
    if kind not in set(KeyKind):
        raise InvalidInputError(f"kind: one of {known}", field="kind", rule="unknown")
    found = KeyKind(kind)
    if found not in RESEALED:
        raise InvalidInputError(
            f"kind: one of {known}; of {kind}: {WHY_NOT[found]}", field="kind", rule="not_resealed"
        )
    return found


def outstanding(connection: Connection, keyring: Keyring, kind: KeyKind) -> int:
    """Count what hangs on another version of ``kind`` than the one in force; what is broken counts, too."""
    if kind is KeyKind.AUTHORITY:
        sealed, broken = count_rows(connection, keyring)
        return sum(sealed.values()) - sealed[keyring.authority.active_version] + broken
    sealed = Counter(hanging.count_totp(connection))
    return sum(sealed.values()) - sealed[keyring.staff_data.active_version]


def count_rows(connection: Connection, keyring: Keyring) -> tuple[Counter[int], int]:
    """Count every sealed row by the key that its MAC verifies under, and those that verify under none.

    It is the MACs that are looked at: no column says what a row hangs on.
    """
    found: Counter[int] = Counter()
    broken = 0
    for kind in SEALED:
        for row in kind.everything(connection):
            try:
                found[key_version(keyring.authority, row)] += 1
            except TamperDetectedError:
                broken += 1
    return found, broken


def prepare(connection: Connection, standing: Standing, job: JobRow, size: int) -> Portion:
    """Read ``size`` rows after the job's place and seal in memory those that hang on an older key."""
    kind, place = KeyKind(job.target), _place(job)
    # Without a key in force nothing is wrong with any row.
    _require_active(standing.keyring, kind)
    kinds = _kinds(kind)
    found = read_after(connection, kinds[place.table], place.after, limit=size)
    changed: list[tuple[SealedRow, SealedRow]] = []
    alarms = []
    for row in found:
        try:
            after = _sealed_anew(row, standing.keyring, kind)
        except (TamperDetectedError, UnavailableError, KeysError):
            alarms.append(Alarm(row.table.name, row.row_id))
            continue
        if after is not None:
            changed.append((row, after))
    next_place = _next(place, found, kinds, size)
    return Portion(
        names=("mac",) if kind is KeyKind.AUTHORITY else ("totp_sealed", "version", "mac"),
        changed=changed,
        alarms=alarms,
        next=next_place,
        remaining=0 if next_place is not None else outstanding(connection, standing.keyring, kind),
    )


def write(connection: Connection, job: JobRow, portion: Portion, *, now_us: int) -> JobRow:
    """Write ``portion`` in the open transaction; return the job as it is after it."""
    done = replace_seals(connection, portion.changed, portion.names)
    after = replace(job, done=job.done + done, failed=job.failed + len(portion.alarms))
    if portion.next is not None:
        return replace(after, cursor=portion.next.text())
    left = portion.remaining - done
    return after_pass(after, _place(job), left, lambda idle: start(after.done, idle).text(), now_us=now_us)


def _require_active(keyring: Keyring, kind: KeyKind) -> None:
    """Raise UnknownKeyVersionError unless there is a key to seal under."""
    _ = keyring.authority.active_version
    if kind is KeyKind.STAFF_DATA:
        _ = keyring.staff_data.active_version


def _kinds(kind: KeyKind) -> tuple[type[SealedRow], ...]:
    return SEALED if kind is KeyKind.AUTHORITY else _TOTP


def _next(
    place: Place, found: list[SealedRow], kinds: tuple[type[SealedRow], ...], size: int
) -> Place | None:
    # A key of another sort is planted, and comes after all others: SQLite lets somebody put one there.
    keys = [key for key in map(key_of, found) if all(isinstance(part, str | int) for part in key)]
    if len(found) == size and keys:
        return replace(place, after=keys[-1])
    if place.table + 1 < len(kinds):
        return replace(place, table=place.table + 1, after=())
    return None


def _sealed_anew(row: SealedRow, keyring: Keyring, kind: KeyKind) -> SealedRow | None:
    """Return ``row`` under the key in force; None when it is. Raises TamperDetectedError, KeysError."""
    if kind is KeyKind.AUTHORITY:
        version = key_version(keyring.authority, row)
        return None if version == keyring.authority.active_version else seal(keyring.authority, row)
    verify(keyring.authority, row)
    assert isinstance(row, StaffSecretRow | InvitationRow)  # the kinds of _TOTP
    if staff_version_of(row.totp_sealed) == keyring.staff_data.active_version:
        return None
    secret = open_totp(keyring, row.row_id, row.totp_sealed)
    fresh = seal_totp(keyring, row.row_id, secret)
    return seal(keyring.authority, replace(row, totp_sealed=fresh, version=row.version + 1))
