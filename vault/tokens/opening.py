"""Open a whole batch in one piece: the way nearly all of them go.

Every check of the way item by item is made here, too. Where one fails nothing
comes of it, and what is amiss is found again, named, logged and alarmed item
by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from keys.envelope import DataKey, open_all
from keys.errors import MalformedError
from keys.padding import unpad
from keys.tokens import NONCE_LENGTH, DecodedToken
from vault.access.standing import FieldSlot
from vault.domain.model import SubjectState
from vault.storage.hot import TokenRow
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import Bench

WORTH_ONE_PIECE: Final = 4
"""Fewer items are opened one by one: that is quicker."""

SealedRow = tuple[int, bytes, int, int, bytes, int]
"""A token row that has its envelope."""


@dataclass(slots=True)
class Batch:
    """What was opened, by column, in the order of the request."""

    opened: list[tuple[FieldSlot, str]]
    log_subjects: list[bytes]
    token_ids: list[int]
    fields: list[str]


def open_in_one_piece(
    decoded: Sequence[DecodedToken | MalformedError], bench: Bench, verdicts: Verdicts
) -> Batch | None:
    """Return the batch, or None unless every item of it opens and may be released. HOT."""
    rows = _matched(decoded, bench)
    if not rows:
        return None
    token_ids, _, subject_ids, field_ids, envelopes, _ = (list(column) for column in zip(*rows, strict=True))
    slots = {field_id: bench.standing.by_id[field_id] for field_id in dict.fromkeys(field_ids)}
    if any(verdicts.refusal(slot.name) is not None for slot in slots.values()):
        return None
    keys = _keys(set(subject_ids), bench)
    if keys is None:
        return None
    parts = {field_id: slot.context_part for field_id, slot in slots.items()}
    try:
        contexts = bench.standing.value_context.values(
            subject_ids, list(map(parts.__getitem__, field_ids)), token_ids
        )
        padded = open_all(list(map(keys.__getitem__, subject_ids)), contexts, envelopes)
        texts = None if padded is None else list(map(unpad, padded))
    except MalformedError:
        return None
    if texts is None:
        return None
    subjects = bench.reads.subjects
    opened = list(zip(map(slots.__getitem__, field_ids), texts, strict=True))
    log_subjects = [subjects[subject_id].log_subject for subject_id in subject_ids]
    names = {field_id: slot.name for field_id, slot in slots.items()}
    return Batch(opened, log_subjects, token_ids, list(map(names.__getitem__, field_ids)))


def _matched(decoded: Sequence[DecodedToken | MalformedError], bench: Bench) -> list[SealedRow] | None:
    """Return the row of each token, or None unless each has one that it may name and that is not revoked."""
    if len(decoded) < WORTH_ONE_PIECE or set(map(type, decoded)) != {DecodedToken}:
        return None
    tokens = [token for token in decoded if isinstance(token, DecodedToken)]
    stored, by_id = bench.reads.tokens, bench.standing.by_id
    found: list[TokenRow | None] = [stored.get(token.row_id) for token in tokens]
    rows = [row for row in found if row is not None and row[4] is not None]
    if len(rows) != len(tokens):
        return None
    nonces = [row[1] for row in rows]
    if set(map(len, nonces)) != {NONCE_LENGTH}:
        return None
    if not compare_digest(b"".join(nonces), b"".join([token.nonce for token in tokens])):
        return None
    prefixes = {slot.id: slot.field.type.prefix for slot in by_id.values()}
    if [prefixes.get(row[3]) for row in rows] != [token.prefix for token in tokens]:
        return None
    return rows  # type: ignore[return-value]  # the envelopes have been looked at


def _keys(subject_ids: set[int], bench: Bench) -> dict[int, DataKey] | None:
    """Return the one data key of each subject, or None unless each is open and has just one."""
    subjects = bench.reads.subjects
    keys = {}
    for subject_id in subject_ids:
        subject = subjects.get(subject_id)
        if subject is None or subject.broken or subject.state is not SubjectState.OPEN:
            return None
        if len(subject.by_generation) != 1:
            return None
        keys[subject_id] = subject.by_generation[subject.newest]
    return keys
