"""Open a whole batch in one piece: the way nearly all of them go.

Every check of the way item by item is made here, too. Where one fails nothing
comes of it, and what is amiss is found again, named, logged and alarmed item
by item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hmac import compare_digest

from keys.envelope import DataKey, open_all
from keys.errors import MalformedError
from keys.padding import unpad_all
from keys.tokens import NONCE_LENGTH, TokenBatch, TokenKind
from vault.access.standing import FieldSlot
from vault.storage.hot import TokenRow
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import Bench


@dataclass(slots=True)
class Batch:
    """What was opened, by column, in the order of the request."""

    fields: dict[int, FieldSlot]
    """Those that occur, by id."""
    field_ids: Sequence[int]
    texts: list[str]
    """Normalised values."""
    log_subjects: list[bytes]
    token_ids: Sequence[int]

    def names(self) -> list[str]:
        """Return the name of the field of each."""
        names = {field_id: slot.name for field_id, slot in self.fields.items()}
        return list(map(names.__getitem__, self.field_ids))


def open_in_one_piece(tokens: TokenBatch, bench: Bench, verdicts: Verdicts) -> Batch | None:
    """Return the batch, or None unless every item of it opens and may be released. HOT."""
    rows = _matched(tokens, bench)
    if rows is None:
        return None
    token_ids, _, subject_ids, field_ids, envelopes, *_ = zip(*rows, strict=True)
    fields = _permitted(zip(field_ids, tokens.starts, strict=True), bench, verdicts)
    keys = _keys(set(subject_ids), bench)
    if fields is None or keys is None:
        return None
    parts = {field_id: slot.context_part for field_id, slot in fields.items()}
    try:
        contexts = bench.standing.value_context.values(
            subject_ids, list(map(parts.__getitem__, field_ids)), token_ids
        )
        padded = open_all(list(map(keys.__getitem__, subject_ids)), contexts, envelopes)
        texts = None if padded is None else unpad_all(padded)
    except MalformedError:
        return None
    if texts is None:
        return None
    subjects = bench.reads.subjects
    log_subjects = {subject_id: subjects[subject_id].log_subject for subject_id in keys}
    return Batch(fields, field_ids, texts, list(map(log_subjects.__getitem__, subject_ids)), token_ids)


def _matched(tokens: TokenBatch, bench: Bench) -> list[TokenRow] | None:
    """Return the row of each token, or None unless each has one, with its nonce and kind, that is not gone.

    None for one-time tokens, too: whether one may be opened depends on the items before it.
    """
    if tokens.kind is TokenKind.ONE_TIME:
        return None
    kind = None if tokens.kind is TokenKind.RANDOM else int(tokens.kind)
    rows = list(map(bench.reads.tokens.get, tokens.row_ids))
    found = [row for row in rows if row is not None and row[4] is not None and row[6] == kind]
    if len(found) != len(rows):
        return None
    nonces = [row[1] for row in found]
    if set(map(len, nonces)) != {NONCE_LENGTH} or not compare_digest(b"".join(nonces), tokens.nonces):
        return None
    return found


def _permitted(
    named: Iterable[tuple[int, str]], bench: Bench, verdicts: Verdicts
) -> dict[int, FieldSlot] | None:
    """Return the fields by id, or None unless each is permitted and the tokens have its prefix.

    ``named`` has the field of each row and what its token begins with.
    """
    slots = {}
    for field_id, start in dict.fromkeys(named):
        slot = bench.standing.by_id.get(field_id)
        if slot is None or f"{slot.field.type.prefix}_" != start or verdicts.refusal(slot.name) is not None:
            return None
        slots[field_id] = slot
    return slots


def _keys(subject_ids: set[int], bench: Bench) -> dict[int, DataKey] | None:
    """Return the one data key of each subject, or None unless each is open and has just one."""
    subjects = bench.reads.subjects
    if not subject_ids <= subjects.keys():
        return None
    keys: dict[int, DataKey] = {}
    for subject_id in subject_ids:
        sole = subjects[subject_id].sole
        if sole is None:
            return None
        keys[subject_id] = sole
    return keys
