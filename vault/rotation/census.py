"""The census: what still hangs on each key, from one snapshot of the database.

A key that nothing hangs on may be destroyed. Counted are data keys and sealed
values per epoch of the wrapping key, and digests per version of a lookup key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
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

    @property
    def total(self) -> int:
        """Everything together; zero means that nobody would miss the key."""
        return (self.data_keys or 0) + (self.values or 0) + (self.digests or 0)


def take_census(changes: Changes, request: Request) -> Made[tuple[Hanging, ...]]:
    """Count what hangs on every wrapping and lookup key. Raises AccessDeniedError. Logged."""

    def look(connection: Connection, _standing: Standing) -> tuple[Hanging, ...]:
        return count(connection)

    return changes.observe(request, Action.KEY_CENSUS, look)


def count(connection: Connection) -> tuple[Hanging, ...]:
    """Count in the snapshot of ``connection``."""
    data_keys = rows.count_data_keys(connection)
    values = counts.count_values(connection)
    digests = counts.count_digests(connection)
    marked = counts.count_marked(connection)
    found = []
    for record in rows.read_keys(connection):
        if record.kind is KeyKind.WRAPPING:
            found.append(_of_epoch(record, data_keys, values, marked))
        elif record.kind is KeyKind.LOOKUP:
            found.append(_of_lookup(record, digests))
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
