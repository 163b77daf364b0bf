"""Make the rows of one tokenize request: new subjects, their data keys, tokens.

Randomness is drawn once per request and sliced: a call per value costs as much
as half its encryption. For the same reason every step is taken for all values
before the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Final, TypeVar

from keys.datakeys import Binding, generate_data_key
from keys.envelope import DataKey, generation_of, seal_all
from keys.errors import KeysError
from keys.padding import pad, pad_all, unpad
from keys.tokens import TokenKind
from vault.access.standing import FieldSlot
from vault.domain.model import SubjectState
from vault.domain.references import EXTERNAL_REF_FIELD
from vault.tokens.drafts import ItemDraft, SubjectDraft
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.work import Bench

T = TypeVar("T")

_NONE: Final = repeat(None)

TOKEN_NONCE: Final = 8
SEAL_NONCE: Final = 12
LOG_SUBJECT: Final = 16
FIRST_GENERATION: Final = 1
REF_BUCKETS: Final = (32, 64, 128, 256, 512, 1024)


def seal_items(
    drafts: Sequence[ItemDraft], maker: int, bench: Bench, *, kind: TokenKind = TokenKind.RANDOM
) -> None:
    """Give every draft its token row, making the subjects that do not exist yet. HOT, column by column."""
    if not drafts:
        return
    owners = [owner_of(draft, bench) for draft in drafts]
    slots = [slot_of(draft) for draft in drafts]
    subject_ids = [owner.id for owner in owners]
    token_ids = bench.row_ids.tokens(subject_ids, bench.connection)
    nonces, seal_nonces = _noise(len(drafts))
    values = [draft.value for draft in drafts]
    # What is to be opened once is not to be found again.
    versions, digests = _digests(slots, values, bench) if kind is not TokenKind.ONE_TIME else (_NONE, _NONE)
    rows = zip(
        *(token_ids, nonces, subject_ids, [slot.id for slot in slots]),
        *(repeat(bench.now_us), repeat(maker), versions, digests),
        _envelopes(slots, values, bench, owners=owners, token_ids=token_ids, nonces=seal_nonces),
        strict=False,
    )
    if kind is TokenKind.RANDOM:
        bench.writes.tokens += rows
    else:
        audiences = [draft.audience_id or None for draft in drafts]
        bench.writes.kinded += [
            (*row, int(kind), audience) for row, audience in zip(rows, audiences, strict=True)
        ]
    for draft, token_id, nonce in zip(drafts, token_ids, nonces, strict=True):
        draft.token_id, draft.token_nonce = token_id, nonce


def replace_items(drafts: Sequence[ItemDraft], bench: Bench) -> None:
    """Seal the value of each draft in the place of the one that its token stands for."""
    if not drafts:
        return
    owners = [owner_of(draft, bench) for draft in drafts]
    slots = [slot_of(draft) for draft in drafts]
    values = [draft.value for draft in drafts]
    token_ids = [draft.token_id for draft in drafts]
    _, seal_nonces = _noise(len(drafts))
    versions, digests = _digests(slots, values, bench)
    envelopes = _envelopes(slots, values, bench, owners=owners, token_ids=token_ids, nonces=seal_nonces)
    bench.writes.replaced += zip(token_ids, versions, digests, envelopes, strict=True)


def _envelopes(
    slots: Sequence[FieldSlot],
    values: Sequence[str],
    bench: Bench,
    *,
    owners: Sequence[SubjectKeys],
    token_ids: Sequence[int],
    nonces: Sequence[bytes],
) -> list[bytes]:
    """Return the envelope of each value, bound to subject, field and token."""
    contexts = bench.standing.value_context.values(
        [owner.id for owner in owners], [slot.context_part for slot in slots], token_ids
    )
    keys = [owner.sealing or new_generation(owner, bench) for owner in owners]
    return seal_all(keys, contexts, nonces, _padded(slots, values))


def owner_of(draft: ItemDraft, bench: Bench) -> SubjectKeys:
    """Return the subject of an item that has no error, made now if it is a new one."""
    subject = draft.subject
    assert subject is not None  # a draft without a subject has an error and does not come here
    return subject.keys or new_subject(subject, bench)


def slot_of(draft: ItemDraft) -> FieldSlot:
    """Return the field of an item that has no error."""
    assert draft.slot is not None  # as above
    return draft.slot


def _noise(count: int) -> tuple[list[bytes], list[bytes]]:
    """Return a nonce for each token and one for each envelope."""
    noise = os.urandom((TOKEN_NONCE + SEAL_NONCE) * count)
    middle, end = TOKEN_NONCE * count, len(noise)
    return (
        [noise[at : at + TOKEN_NONCE] for at in range(0, middle, TOKEN_NONCE)],
        [noise[at : at + SEAL_NONCE] for at in range(middle, end, SEAL_NONCE)],
    )


def _padded(slots: Sequence[FieldSlot], values: Sequence[str]) -> Sequence[bytes]:
    return _by_field(slots, values, lambda slot, some: pad_all(some, slot.field.type.buckets))


def _digests(
    slots: Sequence[FieldSlot], values: Sequence[str], bench: Bench
) -> tuple[Sequence[int | None], Sequence[bytes | None]]:
    """Return version and digest of each value, None and None in fields that cannot be searched."""
    lookups = {
        slot.id: bench.standing.keyring.lookup(slot.name) if slot.field.type.searchable else None
        for slot in _distinct(slots)
    }

    def digests(slot: FieldSlot, some: Sequence[str]) -> Sequence[bytes | None]:
        lookup = lookups[slot.id]
        return [None] * len(some) if lookup is None else lookup.digest_all(some)

    versions = {field_id: None if lookup is None else lookup.version for field_id, lookup in lookups.items()}
    return [versions[slot.id] for slot in slots], _by_field(slots, values, digests)


def _by_field(
    slots: Sequence[FieldSlot], values: Sequence[str], make: Callable[[FieldSlot, Sequence[str]], Sequence[T]]
) -> Sequence[T]:
    """Return what ``make`` gives for the values of each field, back in their order."""
    fields = _distinct(slots)
    if len(fields) == 1:
        return make(fields[0], values)
    made: dict[int, Iterator[T]] = {}
    for field in fields:
        some = [value for slot, value in zip(slots, values, strict=True) if slot is field]
        made[field.id] = iter(make(field, some))
    return [next(made[slot.id]) for slot in slots]


def _distinct(slots: Sequence[FieldSlot]) -> list[FieldSlot]:
    return list({slot.id: slot for slot in slots}.values())


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
        (
            *(subject_id, nonce, draft.kind, state, log_subject),
            *(draft.digest, ref_envelope, bench.now_us, draft.version),
        )
    )
    bench.writes.data_keys.append((subject_id, FIRST_GENERATION, epoch.epoch, wrapped))
    draft.keys = SubjectKeys(
        subject_id, nonce, draft.kind, log_subject, state, {FIRST_GENERATION: key}, FIRST_GENERATION
    ).ready()
    bench.fresh.append(draft.keys)
    return draft.keys


def new_generation(owner: SubjectKeys, bench: Bench) -> DataKey:
    """Return the next data key of a subject whose newest is suspect: made once for the whole unit.

    Another node, or the job that seals everything anew, may make the same
    generation. The database lets one of them have it; the other begins again.
    """
    made = bench.renewed.get(owner.id)
    if made is not None:
        return made[1]
    generation, secret = owner.newest + 1, generate_data_key()
    epoch = bench.standing.keyring.active_epoch()
    binding = Binding(owner.id, generation, owner.state)
    wrapped = epoch.wrap(binding, os.urandom(SEAL_NONCE), secret)
    key = DataKey(generation, secret)
    bench.renewed[owner.id] = len(bench.writes.data_keys), key
    bench.writes.data_keys.append((owner.id, generation, epoch.epoch, wrapped))
    bench.writes.contended = True
    return key


def open_reference(keys: SubjectKeys, envelope: bytes | None, bench: Bench) -> str | None:
    """Return the external reference sealed beside a subject, None when there is none that opens."""
    if envelope is None:
        return None
    try:
        key = keys.by_generation[generation_of(envelope)]
        return unpad(key.open(_reference_context(keys.id, bench), envelope))
    except KeysError:
        return None
    except KeyError:
        bench.missing.add((keys.id, envelope))
        return None


def _reference_context(subject_id: int, bench: Bench) -> bytes:
    context = bench.standing.value_context
    return context.value(subject_id, context.field_part(EXTERNAL_REF_FIELD), subject_id)
