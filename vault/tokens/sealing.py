"""Make the rows of one tokenize request: new subjects, their data keys, tokens.

Randomness is drawn once per request and sliced: a call per value costs as much
as half its encryption.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from keys.datakeys import Binding, generate_data_key
from keys.envelope import DataKey, generation_of
from keys.errors import KeysError
from keys.lookup import LookupKey
from keys.padding import pad, unpad
from vault.access.standing import FieldSlot
from vault.domain.model import SubjectState
from vault.tokens.drafts import EXTERNAL_REF_FIELD, ItemDraft, SubjectDraft
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.work import Bench

TOKEN_NONCE: Final = 8
SEAL_NONCE: Final = 12
LOG_SUBJECT: Final = 16
FIRST_GENERATION: Final = 1
REF_BUCKETS: Final = (32, 64, 128, 256, 512, 1024)


def seal_items(drafts: Sequence[ItemDraft], maker: int, bench: Bench) -> None:
    """Give every draft its token row, making the subjects that do not exist yet."""
    row_ids, connection, rows = bench.row_ids, bench.connection, bench.writes.tokens
    context = bench.standing.value_context.value
    noise = os.urandom((TOKEN_NONCE + SEAL_NONCE) * len(drafts))
    lookups: dict[str, LookupKey | None] = {}
    at = 0
    for draft in drafts:
        slot, subject = draft.slot, draft.subject
        assert slot is not None  # a draft without a field or subject has an error and is not here
        assert subject is not None
        keys = subject.keys or new_subject(subject, bench)
        token_id = row_ids.token(keys.id, connection)
        nonce = noise[at : at + TOKEN_NONCE]
        seal_nonce = noise[at + TOKEN_NONCE : at + TOKEN_NONCE + SEAL_NONCE]
        at += TOKEN_NONCE + SEAL_NONCE
        envelope = keys.by_generation[keys.newest].seal(
            context(keys.id, slot.context_part, token_id),
            seal_nonce,
            pad(draft.value, slot.field.type.buckets),
        )
        if slot.name not in lookups:
            lookups[slot.name] = _lookup(slot, bench)
        lookup = lookups[slot.name]
        version, digest = (None, None) if lookup is None else (lookup.version, lookup.digest(draft.value))
        rows.append((token_id, nonce, keys.id, slot.id, bench.now_us, maker, version, digest, envelope))
        draft.token_id, draft.token_nonce = token_id, nonce


def new_subject(draft: SubjectDraft, bench: Bench) -> SubjectKeys:
    """Make a subject with a data key of its own."""
    noise = os.urandom(TOKEN_NONCE + LOG_SUBJECT + 2 * SEAL_NONCE)
    nonce, log_subject = noise[:8], noise[8:24]
    wrap_nonce, ref_nonce = noise[24:36], noise[36:]
    subject_id = bench.row_ids.subject(bench.connection)
    secret = generate_data_key()
    epoch = bench.standing.keyring.active_epoch()
    state = SubjectState.OPEN
    wrapped = epoch.wrap(Binding(subject_id, FIRST_GENERATION, state), wrap_nonce, secret)
    key = DataKey(FIRST_GENERATION, secret)
    ref_envelope = None
    if draft.digest is not None:
        context = _reference_context(subject_id, bench)
        ref_envelope = key.seal(context, ref_nonce, pad(draft.reference, REF_BUCKETS))
    bench.writes.subjects.append(
        (subject_id, nonce, draft.kind, state, log_subject, draft.digest, ref_envelope, bench.now_us)
    )
    bench.writes.data_keys.append((subject_id, FIRST_GENERATION, epoch.epoch, wrapped))
    draft.keys = SubjectKeys(
        subject_id, nonce, draft.kind, log_subject, state, {FIRST_GENERATION: key}, FIRST_GENERATION
    )
    bench.fresh.append(draft.keys)
    return draft.keys


def _lookup(slot: FieldSlot, bench: Bench) -> LookupKey | None:
    """Return the key of the field's digests, or None for a field that cannot be searched."""
    return bench.standing.keyring.lookup(slot.name) if slot.field.type.searchable else None


def open_reference(keys: SubjectKeys, envelope: bytes | None, bench: Bench) -> str | None:
    """Return the external reference sealed beside a subject, None when there is none that opens."""
    if envelope is None:
        return None
    try:
        key = keys.by_generation[generation_of(envelope)]
        return unpad(key.open(_reference_context(keys.id, bench), envelope))
    except (KeysError, KeyError):
        return None


def _reference_context(subject_id: int, bench: Bench) -> bytes:
    context = bench.standing.value_context
    return context.value(subject_id, context.field_part(EXTERNAL_REF_FIELD), subject_id)
