"""The census: what still hangs on each key, from one snapshot of the database.

A key that nothing hangs on may be destroyed. Counted are data keys and sealed
values per epoch of the wrapping key, digests per version of a lookup key, and
of every other kind what :mod:`vault.rotation.hanging` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keys.keyring import KeyKind, KeyRecord, Keyring
from keys.states import KeyState
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.rotation import hanging
from vault.rotation.hanging import Load
from vault.storage import census as counts
from vault.storage import keys as rows
from vault.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Hanging:
    """What hangs on one key. None: nothing of that sort can."""

    kind: str
    scope: str
    version: int
    state: str
    data_keys: int | None
    values: int | None
    digests: int | None
    suspect_data_keys: int | None = None
    """Of the data keys, those whose values are still to be sealed anew under others."""
    suspect_values: int | None = None
    """Those values."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of the other kinds, how much of what."""
    held_until_us: int | None = None
    """The key may not end before, in microseconds since the epoch. None: it is not held."""

    @property
    def total(self) -> int:
        """Everything together; zero, and not held, means that nobody would miss the key."""
        counted = sum(self.counts.values())
        return (self.data_keys or 0) + (self.values or 0) + (self.digests or 0) + counted


def take_census(changes: Changes, request: Request) -> Made[tuple[Hanging, ...]]:
    """Count what hangs on every key. Raises AccessDeniedError. Logged."""

    def look(connection: Connection, standing: Standing) -> tuple[Hanging, ...]:
        return count(connection, standing.keyring, request.now_us)

    return changes.observe(request, Action.KEY_CENSUS, look)


def count(connection: Connection, keyring: Keyring, now_us: int) -> tuple[Hanging, ...]:
    """Count in the snapshot of ``connection``, as of ``now_us``."""
    data_keys = rows.count_hanging(connection)
    values = counts.count_values(connection)
    digests = counts.count_digests(connection)
    marked = counts.count_marked(connection)
    scene = hanging.Scene(connection, keyring, rows.read_key_dates(connection), now_us)
    loads = {kind: look(scene) for kind, look in hanging.KINDS.items()}
    found = []
    for record in rows.read_keys(connection):
        if record.kind is KeyKind.WRAPPING:
            found.append(_of_epoch(record, data_keys, values, marked))
        elif record.kind is KeyKind.LOOKUP:
            found.append(_of_lookup(record, digests))
        else:
            found.append(_of_other(record, loads[record.kind](record)))
    return tuple(found)


def _of_epoch(
    record: KeyRecord,
    data_keys: Mapping[int, int],
    values: Mapping[tuple[int, bool], int],
    marked: Mapping[int, int],
) -> Hanging:
    version = record.version
    hanging, suspect = data_keys.get(version, 0), marked.get(version, 0)
    sealed, sealed_by_suspect = values.get((version, False), 0), values.get((version, True), 0)
    if record.state is KeyState.COMPROMISED:
        # Whoever has the epoch may have every one of them.
        suspect, sealed_by_suspect = hanging, sealed + sealed_by_suspect
    return Hanging(
        record.kind.value,
        record.scope,
        version,
        record.state.value,
        data_keys=hanging,
        values=sum(values.get((version, is_marked), 0) for is_marked in (False, True)),
        digests=None,
        suspect_data_keys=suspect,
        suspect_values=sealed_by_suspect,
    )


def _of_other(record: KeyRecord, load: Load) -> Hanging:
    return Hanging(
        record.kind.value,
        record.scope,
        record.version,
        record.state.value,
        data_keys=None,
        values=None,
        digests=None,
        counts=load.counts,
        held_until_us=load.held_until_us,
    )


def _of_lookup(record: KeyRecord, digests: Mapping[tuple[str, int], int]) -> Hanging:
    return Hanging(
        record.kind.value,
        record.scope,
        record.version,
        record.state.value,
        data_keys=None,
        values=None,
        digests=digests.get((record.scope, record.version), 0),
    )
