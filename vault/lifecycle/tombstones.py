"""Write what remains of an act on a data subject, in the transaction of the act.

A tombstone says that it was done, and a certificate what an erasure destroyed.
Both carry the log index of the entry, so they are written after the append.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from vault.access.changes import Attempt
from vault.access.identities import new_certificate_id
from vault.storage.tombstones import CertificateRow, TombstoneRow, next_seq

Act = Literal["erase", "restrict", "lift"]
Facts = Mapping[str, str | int]


def leave(
    attempt: Attempt, act: Act, subject_id: int, *, position: int = 0, facts: Facts | None = None
) -> None:
    """Have a tombstone of ``act`` written once it has its log index; with ``facts`` a certificate, too.

    ``position`` is that of its entry among those of the transaction: 0 for the act
    itself, 1 for the first of ``also``. The log index and the time are added to the facts.
    """

    def write(indexes: tuple[int, ...]) -> None:
        index = indexes[position]
        stone = TombstoneRow(
            seq=next_seq(attempt.connection),
            log_index=index,
            act=act,
            subject_id=subject_id,
            at_us=attempt.now_us,
            version=1,
            mac=b"",
        )
        attempt.put(stone)
        if facts is not None:
            attempt.put(
                CertificateRow(
                    id=new_certificate_id(),
                    seq=stone.seq,
                    facts=canonical({**facts, "log_index": index, "at_us": attempt.now_us}),
                    note=None,
                    created_at=attempt.now_us,
                    version=1,
                    mac=b"",
                )
            )

    attempt.after_append(write)


def canonical(facts: Facts) -> str:
    """Return ``facts`` as JSON of one form: sorted keys, no white space, ASCII."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))
