"""Digest values anew under the lookup key in force, as background work (docs/formats/envelope.md 8).

While digests of both keys exist, search asks for both, so nothing is missed.
The values are opened in memory, compared with nothing and given to nobody; a
value that does not open keeps its old digest and raises an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from keys.datakeys import Binding
from keys.envelope import DataKey, generation_of
from keys.errors import KeysError, UnknownKeyVersionError
from keys.keyring import Keyring
from keys.padding import unpad
from vault.access.sealing import Alarm
from vault.access.standing import Standing
from vault.domain.references import EXTERNAL_REF_FIELD, REFERENCE_SCOPE
from vault.rotation import cursors
from vault.rotation.cursors import after_portion
from vault.storage import digests as rows
from vault.storage import keys as key_rows
from vault.storage.database import Connection
from vault.storage.digests import DigestRow, Shelf
from vault.storage.jobs import JobRow

KIND: Final = "redigest"
NUMBERS: Final = 1
"""Of a cursor: the row id."""


@dataclass(frozen=True, slots=True)
class Portion:
    """New digests, not yet written."""

    shelf: Shelf
    version: int
    changed: list[tuple[int, bytes, bytes]]
    broken: list[int]
    waiting: int
    """Those of people with a data key on a suspended epoch."""
    last: tuple[int, ...] | None
    remaining: int

    @property
    def alarms(self) -> list[Alarm]:
        """What the log has to say about the broken ones."""
        return [Alarm(self.shelf.table.name, str(row_id)) for row_id in self.broken]


def shelf_of(standing: Standing, scope: str) -> Shelf | None:
    """Return where the digests of a lookup key's scope are; None for a field the policy does not declare."""
    if scope.startswith(REFERENCE_SCOPE):
        return rows.of_references(scope.removeprefix(REFERENCE_SCOPE))
    slot = standing.by_name.get(scope)
    return None if slot is None else rows.of_field(slot.id)


def is_scope(standing: Standing, scope: str) -> bool:
    """Say whether there are a lookup key of ``scope`` and a place for its digests."""
    try:
        standing.keyring.lookup(scope)
    except UnknownKeyVersionError:
        return False
    return shelf_of(standing, scope) is not None


def outstanding(connection: Connection, standing: Standing, scope: str) -> int:
    """Count the digests of ``scope`` that hang on another version than the one in force."""
    shelf = shelf_of(standing, scope)
    version = standing.keyring.lookup(scope).version
    return 0 if shelf is None else rows.count_older(connection, shelf, version)


def prepare(connection: Connection, standing: Standing, job: JobRow, size: int) -> Portion:
    """Read up to ``size`` older digests after the job's cursor and make the new ones in memory."""
    shelf = shelf_of(standing, job.target)
    assert shelf is not None  # the field was declared when the job began; fields are never taken away
    active = standing.keyring.lookup(job.target)
    (after,) = cursors.parse(job.cursor, NUMBERS, job.done).at
    found = rows.read_older(connection, shelf, active.version, after=after, limit=size)
    keys, shut = data_keys_of(connection, standing.keyring, {row.subject_id for row in found})
    part = context_part(standing, job.target)
    changed = []
    broken = []
    waiting = 0
    for row in found:
        text = opened(row, keys.get(row.subject_id, ()), standing, part)
        if text is not None:
            changed.append((row.id, row.digest, active.digest(text)))
        elif row.subject_id in shut:
            waiting += 1
        else:
            broken.append(row.id)
    ended = len(found) < size
    return Portion(
        shelf=shelf,
        version=active.version,
        changed=changed,
        broken=broken,
        waiting=waiting,
        last=None if ended else (found[-1].id,),
        remaining=rows.count_older(connection, shelf, active.version) if ended else 0,
    )


def write(connection: Connection, job: JobRow, portion: Portion, *, now_us: int) -> JobRow:
    """Write ``portion`` in the open transaction; return the job as it is after it."""
    changed = rows.replace_digests(connection, portion.shelf, portion.version, portion.changed)
    after = replace(job, done=job.done + changed, failed=job.failed + len(portion.broken) + portion.waiting)
    return after_portion(after, portion.last, portion.remaining - changed, NUMBERS, now_us=now_us)


def context_part(standing: Standing, scope: str) -> bytes:
    """Return the part of a value's context that names what a scope digests."""
    if scope.startswith(REFERENCE_SCOPE):
        return standing.value_context.field_part(EXTERNAL_REF_FIELD)
    return standing.by_name[scope].context_part


def data_keys_of(
    connection: Connection, keyring: Keyring, subject_ids: set[int]
) -> tuple[dict[int, tuple[DataKey, ...]], frozenset[int]]:
    """Return the data keys of each subject that open where they stand, and who has one that is suspended."""
    found: dict[int, tuple[DataKey, ...]] = {}
    shut: set[int] = set()
    for subject_id, generation, epoch, wrapped, state in key_rows.read_data_keys_of(connection, subject_ids):
        if state is None:
            continue
        try:
            key = keyring.epoch(epoch).unwrap(Binding(subject_id, generation, state), wrapped)
        except KeysError:
            if epoch in keyring.suspended_epochs:
                shut.add(subject_id)
            continue
        found[subject_id] = (*found.get(subject_id, ()), key)
    return found, frozenset(shut)


def opened(row: DigestRow, keys: Sequence[DataKey], standing: Standing, part: bytes) -> str | None:
    """Return what a digest is of; None where that does not open."""
    if row.envelope is None:
        return None
    try:
        generation = generation_of(row.envelope)
        context = standing.value_context.value(row.subject_id, part, row.id)
        for key in keys:
            if key.generation == generation:
                return unpad(key.open(context, row.envelope))
    except KeysError:
        return None
    return None
