"""Do again, on restored rows, what was done to data subjects since the copy was made.

The tombstone file says what, in order. A subject that was made after the copy
is not there and needs nothing; its tombstone is kept all the same, so that the
next restore knows of it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Final

from keys.datakeys import Binding
from keys.errors import KeysError
from vault.access.changes import Attempt
from vault.audit.tombstones import Tombstone
from vault.domain.errors import TamperDetectedError
from vault.domain.model import SubjectState
from vault.storage import keys as key_rows
from vault.storage import subjects as rows
from vault.storage import suspects
from vault.storage.tombstones import TombstoneRow, tombstones_from

LOG_SUBJECT: Final = 16
NONCE: Final = 12
PAGE: Final = 1_000

_STATES: Final = {
    "restrict": (SubjectState.OPEN, SubjectState.RESTRICTED),
    "lift": (SubjectState.RESTRICTED, SubjectState.OPEN),
}


def replay(attempt: Attempt, stones: Sequence[Tombstone]) -> Counter[str]:
    """Do again what ``stones`` say beyond what the rows know of; return how often each act was done.

    Raises TamperDetectedError when the rows know of other acts than the file says.
    """
    known = _require_same(attempt, stones)
    done: Counter[str] = Counter()
    for stone in stones[known:]:
        if _do(attempt, stone):
            done[stone.act] += 1
        attempt.put(
            TombstoneRow(
                seq=stone.seq,
                log_index=stone.log_index,
                act=stone.act,
                subject_id=stone.subject_id,
                at_us=stone.at_us,
                version=1,
                mac=b"",
            )
        )
    return done


def _require_same(attempt: Attempt, stones: Sequence[Tombstone]) -> int:
    """Return how many tombstones the rows have; each must be that of the file, as far as that goes."""
    known = 0
    while page := tombstones_from(attempt.connection, known, PAGE):
        for row in map(attempt.genuine, page):
            told = (row.seq, row.log_index, row.act, row.subject_id, row.at_us)
            stone = stones[row.seq] if row.seq < len(stones) else None
            if row.seq != known or (stone is not None and told != _told(stone)):
                raise TamperDetectedError(
                    f"the tombstone file is not that of these rows: their act {row.seq} is another,"
                    f" that of entry {row.log_index} of their log. Take the copy as it was before anybody was"
                    " erased on it, settle that, and erase those people again",
                    reference=str(row.seq),
                )
            known += 1
    return known


def _told(stone: Tombstone) -> tuple[int, int, str, int, int]:
    return stone.seq, stone.log_index, stone.act, stone.subject_id, stone.at_us


def _do(attempt: Attempt, stone: Tombstone) -> bool:
    """Do one act; say whether there was something to do it to."""
    subject = rows.read_subject(attempt.connection, stone.subject_id)
    if subject is None:
        return False
    if stone.act == "erase":
        # Also where the state says that it was done: what the rows say of that is not to be relied on.
        rows.destroy(attempt.connection, subject.id, log_subject=os.urandom(LOG_SUBJECT))
        return True
    before, after = _STATES[stone.act]
    if subject.state != before:
        return False
    rewrap(attempt, subject.id, after)
    rows.set_state(attempt.connection, subject.id, before, after)
    return True


def rewrap(attempt: Attempt, subject_id: int, state: SubjectState) -> None:
    """Bind each data key of a subject to its new state. One that does not open stays, and never will."""
    epoch = attempt.keyring.active_epoch()
    changed = []
    found = list(key_rows.read_data_keys_of(attempt.connection, [subject_id]))
    doubted = attempt.keyring.compromised_epochs | attempt.keyring.suspended_epochs
    if not doubted.isdisjoint(number for _, _, number, _, _ in found):
        # Under another epoch nobody would see that its values are to be sealed anew (envelope.md 4.9).
        suspects.mark_subject(attempt.connection, subject_id)
    for _, generation, number, wrapped, before in found:
        binding = Binding(subject_id, generation, before or 0)
        try:
            old = attempt.keyring.epoch(number)
            new = old.rewrap(binding, wrapped, to=epoch, nonce=os.urandom(NONCE), state=state)
        except KeysError:
            continue
        changed.append((subject_id, generation, wrapped, new))
    key_rows.replace_data_keys(attempt.connection, epoch.epoch, changed)
