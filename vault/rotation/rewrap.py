"""Re-wrap data keys under the epoch in force, as background work (docs/formats/envelope.md 5.5).

The data keys and every value under them stay as they are: only what wraps them
changes. Reading and re-wrapping happen before the transaction, so the log's
lock is held for the append alone; a row that has changed meanwhile is left for
the next pass.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

from keys.datakeys import Binding
from keys.errors import DecryptionError, KeysError
from keys.keyring import Keyring
from vault.access.sealing import Alarm
from vault.access.standing import Standing
from vault.rotation import cursors
from vault.rotation.cursors import after_portion
from vault.storage import keys as rows
from vault.storage.database import Connection
from vault.storage.jobs import JobRow

KIND: Final = "rewrap"
NUMBERS: Final = 2
"""Of a cursor: subject id and generation."""

NONCE: Final = 12


@dataclass(frozen=True, slots=True)
class Portion:
    """Data keys re-wrapped and not yet written."""

    epoch: int
    """The active epoch, to which they go."""
    changed: list[tuple[int, int, bytes, bytes]]
    broken: list[int]
    """Subjects whose key does not unwrap where it stands."""
    last: tuple[int, ...] | None
    """The last one seen; None at the end of the pass."""
    remaining: int
    """At the end of a pass, data keys still to be moved; else 0."""

    @property
    def alarms(self) -> list[Alarm]:
        """What the log has to say about the broken ones."""
        return [Alarm("data_key", str(subject_id)) for subject_id in self.broken]


def outstanding(connection: Connection, keyring: Keyring) -> int:
    """Count the data keys that hang on another epoch than the active one.

    Those on a compromised epoch do not count and do not move: that would only
    hide that their values are to be sealed anew. Nor do those on a suspended one,
    which do not open. Those whose row says the active epoch and whose header does
    not count: the census has them, too.
    """
    stay, active = _staying(keyring), keyring.active_epoch().epoch
    return sum(
        count
        for (stated, header), count in rows.count_by_header(connection).items()
        if stated not in stay or (stated == active and header != active)
    )


def prepare(connection: Connection, standing: Standing, job: JobRow, size: int) -> Portion:
    """Read up to ``size`` data keys after the job's cursor and re-wrap them in memory."""
    keyring = standing.keyring
    active = keyring.active_epoch()
    subject, generation = cursors.parse(job.cursor, NUMBERS, job.done).at
    stay = _staying(keyring)
    found = rows.read_data_keys_outside(
        connection, stay, active=active.epoch, after=(subject, generation), limit=size
    )
    changed = []
    broken = []
    # One draw for all nonces: a call costs as much as a wrap.
    noise = memoryview(os.urandom(NONCE * len(found)))
    for at, (subject_id, generation_id, epoch, wrapped, state) in enumerate(found):
        nonce = bytes(noise[at * NONCE : (at + 1) * NONCE])
        try:
            if state is None:
                # A key of nobody: there is nothing it could be bound to.
                raise DecryptionError
            binding = Binding(subject_id, generation_id, state)
            fresh = keyring.epoch(epoch).rewrap(binding, wrapped, to=active, nonce=nonce)
        except KeysError:
            broken.append(subject_id)
        else:
            changed.append((subject_id, generation_id, wrapped, fresh))
    ended = len(found) < size
    return Portion(
        epoch=active.epoch,
        changed=changed,
        broken=broken,
        last=None if ended else (found[-1][0], found[-1][1]),
        remaining=outstanding(connection, keyring) if ended else 0,
    )


def _staying(keyring: Keyring) -> set[int]:
    return {keyring.active_epoch().epoch, *keyring.compromised_epochs, *keyring.suspended_epochs}


def write(connection: Connection, job: JobRow, portion: Portion, *, now_us: int) -> JobRow:
    """Write ``portion`` in the open transaction; return the job as it is after it."""
    changed = rows.replace_data_keys(connection, portion.epoch, portion.changed)
    after = replace(
        job, target=str(portion.epoch), done=job.done + changed, failed=job.failed + len(portion.broken)
    )
    return after_portion(after, portion.last, portion.remaining - changed, NUMBERS, now_us=now_us)
