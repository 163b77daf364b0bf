"""Seal anew, under other data keys, what hangs on suspect ones, as background work (envelope.md 4.8).

Whoever has an epoch may have every data key that hung on it, so to wrap those
anew takes nothing from them: the values themselves need other keys. Each is
opened and sealed in memory and given to nobody; tokens and digests stay as they
are. A person whose values are too many for one portion has two data keys until
the last of them has moved.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from keys.datakeys import Binding, generate_data_key
from keys.envelope import NONCE_LENGTH, DataKey, generation_of
from keys.errors import DecryptionError, KeysError
from vault.access.sealing import Alarm
from vault.access.standing import Standing
from vault.domain.references import EXTERNAL_REF_FIELD
from vault.rotation import cursors
from vault.rotation.cursors import LOWEST, after_portion
from vault.storage import suspects as rows
from vault.storage.database import Connection
from vault.storage.jobs import JobRow
from vault.storage.suspects import GenerationRow, Resealed, ValueRow

KIND: Final = "reencrypt"
NUMBERS: Final = 2
"""Of a cursor: subject, and the last of its values that was seen; ``LOWEST`` when all of them were."""

VALUES_EACH: Final = 4
"""A portion takes so many times fewer people than values: most have a few each."""


@dataclass(slots=True)
class Portion:
    """What is sealed anew and not yet written."""

    epoch: int
    """The active epoch, on which the new data keys hang."""
    last: tuple[int, int] | None
    """Where the next portion begins; None at the end of the pass."""
    remaining: int
    """At the end of a pass, suspect data keys; else 0."""
    alarms: list[Alarm] = field(default_factory=list)
    """What the log has to say about what does not open."""
    made: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    """New data keys, as rows."""
    values: list[Resealed] = field(default_factory=list)
    references: list[Resealed] = field(default_factory=list)
    left: list[tuple[int, int]] = field(default_factory=list)
    """Suspect data keys, by subject and generation, under which nothing should be any more."""
    seen: int = 0
    """Suspect data keys of the people whom this portion finishes."""


def outstanding(connection: Connection, standing: Standing) -> int:
    """Count the suspect data keys."""
    return rows.count_suspect(connection, standing.keyring.compromised_epochs)


def prepare(connection: Connection, standing: Standing, job: JobRow, size: int) -> Portion:
    """Read up to ``size`` values after the job's cursor and seal them anew in memory."""
    part = _slice(connection, standing, job, size)
    portion = Portion(
        epoch=standing.keyring.active_epoch().epoch,
        last=part.last,
        remaining=outstanding(connection, standing) if part.last is None else 0,
    )
    resealing = _Resealing(standing, portion)
    people = [*part.finished, *part.begun]
    resealing.unwrap(rows.read_generations(connection, people), finished=part.finished)
    resealing.take_references(rows.read_references(connection, people))
    resealing.take_values(part.values)
    portion.left = resealing.emptied(part.finished)
    return portion


def write(connection: Connection, job: JobRow, portion: Portion, *, now_us: int) -> JobRow:
    """Write ``portion`` in the open transaction; return the job as it is after it.

    Raises RolledBackError when somebody has just made one of the data keys.
    """
    rows.insert_generations(connection, portion.made)
    rows.replace_values(connection, portion.values)
    rows.replace_references(connection, portion.references)
    dropped = rows.drop_empty(connection, portion.left)
    after = replace(
        job,
        target=str(portion.epoch),
        done=job.done + dropped,
        failed=job.failed + portion.seen - dropped,
    )
    return after_portion(after, portion.last, portion.remaining - dropped, NUMBERS, now_us=now_us)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Whose values a portion is about, and where it ends."""

    finished: list[int]
    """People of whom nothing is left after it."""
    begun: list[int]
    """Whoever has more values than it takes, or nobody."""
    values: list[ValueRow]
    last: tuple[int, int] | None


def _slice(connection: Connection, standing: Standing, job: JobRow, size: int) -> _Slice:
    subject, value = cursors.parse(job.cursor, NUMBERS, job.done).at
    limit = size // VALUES_EACH + 1
    people = rows.read_suspect_subjects(
        connection,
        standing.keyring.compromised_epochs,
        after=subject,
        itself=value != LOWEST,
        limit=limit,
    )
    found = rows.read_values(connection, people, after=(subject, value), limit=size + 1)
    if len(found) <= size:
        return _Slice(people, [], found, (people[-1], LOWEST) if len(people) == limit else None)
    beyond, found = found[-1].subject_id, found[:-1]
    finished = [person for person in people if person < beyond]
    if found[-1].subject_id == beyond:
        return _Slice(finished, [beyond], found, (beyond, found[-1].id))
    return _Slice(finished, [], found, (finished[-1], LOWEST))


@dataclass(frozen=True, slots=True)
class _Held:
    """The data keys of one person."""

    by_generation: dict[int, DataKey]
    suspect: frozenset[int]
    goal: DataKey
    """What the values are sealed under from now on."""


class _Resealing:
    """One portion while it is made."""

    def __init__(self, standing: Standing, portion: Portion) -> None:
        self._standing = standing
        self._portion = portion
        self._held: dict[int, _Held] = {}
        self._broken: set[int] = set()
        """People of whom something does not open: their data keys stay."""

    def unwrap(self, found: Iterable[GenerationRow], *, finished: Collection[int]) -> None:
        """Take the data keys of everybody; make the next one where the newest is suspect."""
        keyring = self._standing.keyring
        compromised = keyring.compromised_epochs
        for subject_id, group in groupby(found, key=lambda row: row.subject_id):
            keys = list(group)
            suspect = frozenset(row.generation for row in keys if row.suspect or row.epoch in compromised)
            if subject_id in finished:
                self._portion.seen += len(suspect)
            if not keyring.suspended_epochs.isdisjoint(row.epoch for row in keys):
                # They wait until that opens again, and count as failed till then.
                continue
            try:
                self._held[subject_id] = self._hold(keys, suspect)
            except KeysError:
                # As everywhere: who has one key that does not unwrap is touched by nobody.
                self._report("data_key", subject_id, subject_id)

    def _hold(self, keys: list[GenerationRow], suspect: frozenset[int]) -> _Held:
        by_generation = {row.generation: self._unwrapped(row) for row in keys}
        newest = keys[-1]
        if newest.generation not in suspect:
            return _Held(by_generation, suspect, by_generation[newest.generation])
        generation, secret = newest.generation + 1, generate_data_key()
        binding = Binding(newest.subject_id, generation, _state(newest))
        epoch = self._standing.keyring.active_epoch()
        wrapped = epoch.wrap(binding, os.urandom(NONCE_LENGTH), secret)
        self._portion.made.append((newest.subject_id, generation, epoch.epoch, wrapped))
        return _Held(by_generation, suspect, DataKey(generation, secret))

    def _unwrapped(self, row: GenerationRow) -> DataKey:
        binding = Binding(row.subject_id, row.generation, _state(row))
        return self._standing.keyring.epoch(row.epoch).unwrap(binding, row.wrapped)

    def take_references(self, found: Iterable[tuple[int, bytes]]) -> None:
        """Seal anew the external references that are under a suspect data key."""
        part = self._standing.value_context.field_part(EXTERNAL_REF_FIELD)
        for subject_id, envelope in found:
            try:
                sealed = self._resealed(subject_id, part, subject_id, envelope)
            except KeysError:
                self._report("subject", subject_id, subject_id)
            else:
                if sealed is not None:
                    self._portion.references.append((subject_id, envelope, sealed))

    def take_values(self, found: Iterable[ValueRow]) -> None:
        """Seal anew the values that are under a suspect data key."""
        for value in found:
            slot = self._standing.by_id.get(value.field_id)
            try:
                if slot is None:
                    # There is no place that it could be bound to.
                    raise DecryptionError
                sealed = self._resealed(value.subject_id, slot.context_part, value.id, value.envelope)
            except KeysError:
                self._report("token", value.id, value.subject_id)
            else:
                if sealed is not None:
                    self._portion.values.append((value.id, value.envelope, sealed))

    def _resealed(self, subject_id: int, part: bytes, record_id: int, envelope: bytes) -> bytes | None:
        """Return the envelope under the new data key; None where it is under no suspect one.

        Raises KeysError for what does not open.
        """
        held = self._held.get(subject_id)
        if held is None:
            return None
        generation = generation_of(envelope)
        key = held.by_generation.get(generation)
        if key is None:
            raise DecryptionError
        if generation not in held.suspect:
            return None
        context = self._standing.value_context.value(subject_id, part, record_id)
        # Padded as it is: nobody has to know what it says.
        return held.goal.seal(context, os.urandom(NONCE_LENGTH), key.open(context, envelope))

    def emptied(self, finished: Iterable[int]) -> list[tuple[int, int]]:
        """Return the suspect data keys of those of ``finished`` of whom everything opened."""
        return [
            (subject_id, generation)
            for subject_id in finished
            if subject_id in self._held and subject_id not in self._broken
            for generation in sorted(self._held[subject_id].suspect)
        ]

    def _report(self, table: str, row_id: int, subject_id: int) -> None:
        self._broken.add(subject_id)
        self._portion.alarms.append(Alarm(table, str(row_id)))


def _state(row: GenerationRow) -> int:
    """Return the state a data key is bound to. Raises DecryptionError for a key of nobody."""
    if row.state is None:
        raise DecryptionError
    return row.state
