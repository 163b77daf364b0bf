"""What a tokenize request is answered with, and what its entry says became of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keys.tokens import TokenKind
from vault.audit.packing import NO_SUBJECT, Items
from vault.tokens.drafts import ItemDraft, explain
from vault.tokens.kinds import REVOKED, SPENT, gone, kind_of
from vault.tokens.replay import ItemRecord
from vault.tokens.requests import TokenizeItem
from vault.tokens.sealing import slot_of
from vault.tokens.work import SUBJECT_PREFIX, Bench, Result

EXISTING: Final = "existing"
SEALED: Final = "sealed"
REPLACED: Final = "replaced"
"""An existing token stands for another value from now on; only a token for an audience can."""

GONE: Final = {code: {"code": code, "field": "token", "rule": code} for code in (REVOKED, SPENT)}


def token_texts(done: Sequence[ItemDraft], bench: Bench) -> Iterator[str]:
    """Yield the token of each item, in order. HOT: one cipher call for each kind that occurs."""
    tokens = bench.standing.keyring.tokens.active
    texts: dict[TokenKind, Iterator[str]] = {}
    for kind in {draft.kind for draft in done}:
        some = [draft for draft in done if draft.kind is kind]
        prefixes = [slot_of(draft).field.type.prefix for draft in some]
        ids, nonces = [draft.token_id for draft in some], [draft.token_nonce for draft in some]
        texts[kind] = iter(tokens.encode_many(prefixes, ids, nonces, kind))
    return (next(texts[draft.kind]) for draft in done)


def subject_texts(done: list[ItemDraft], bench: Bench) -> dict[int, str]:
    """Return the text of each subject that occurs, by row id."""
    subjects = {
        draft.subject.keys.id: draft.subject.keys.nonce
        for draft in done
        if draft.subject is not None and draft.subject.keys is not None
    }
    texts = bench.standing.keyring.tokens.active.encode_many(
        [SUBJECT_PREFIX] * len(subjects), list(subjects), list(subjects.values()), TokenKind.SUBJECT
    )
    return dict(zip(subjects, texts, strict=True))


def subject_id(draft: ItemDraft) -> int:
    """Return the row id of an item's subject, 0 where it has an error or none."""
    subject = draft.subject
    return 0 if draft.error is not None or subject is None or subject.keys is None else subject.keys.id


def log_subject(draft: ItemDraft) -> bytes:
    """Return what the log calls an item's subject."""
    subject = draft.subject
    return NO_SUBJECT if subject is None or subject.keys is None else subject.keys.log_subject


def outcome(draft: ItemDraft) -> str:
    """Return what the log says became of an item."""
    if draft.error is not None:
        return draft.error.code
    if draft.replaced:
        return REPLACED
    return EXISTING if draft.existing else SEALED


def answer_again(
    items: Sequence[TokenizeItem], drafts: Sequence[ItemDraft], records: Sequence[ItemRecord], bench: Bench
) -> tuple[list[Result], Items]:
    """Return answers and packed items as before, from the rows of then; what is gone since is gone."""
    tokens = bench.standing.keyring.tokens.active
    answers: list[Result] = []
    packed: list[tuple[bytes, int, str, str]] = []
    for item, draft, record in zip(items, drafts, records, strict=True):
        token_id, owner_id, error, existing = record
        if draft.error is not None:
            # Decided anew: what was allowed then may be forbidden now.
            error = explain(draft.error, item.field if draft.slot else "field")
        answer: Result = {"reference": item.reference} if item.reference else {}
        row = bench.reads.tokens.get(token_id)
        subject = bench.reads.subjects.get(owner_id)
        slot = bench.standing.by_name.get(item.field)
        kind = None if row is None else kind_of(row)
        if error or row is None or row[4] is None or kind is None or subject is None or slot is None:
            answer["error"] = error or GONE[REVOKED if row is None else gone(row)]
        else:
            answer["token"] = tokens.encode(slot.field.type.prefix, token_id, row[1], kind)
            answer["subject"] = tokens.encode(SUBJECT_PREFIX, owner_id, subject.nonce, TokenKind.SUBJECT)
            if existing:
                answer["existing"] = True
        answers.append(answer)
        packed.append(
            (
                NO_SUBJECT if subject is None else subject.log_subject,
                token_id,
                "" if slot is None else slot.name,
                EXISTING if "token" in answer else answer["error"]["code"],
            )
        )
    return answers, Items.pack(*(list(column) for column in zip(*packed, strict=True)))
