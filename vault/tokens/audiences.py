"""Tokens for an audience: one per subject, field and audience, whatever the value is today (token.md 2.11).

A recipient keeps one surrogate of a person while the value behind it changes,
and two recipients have surrogates that do not tell that they are of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keys.tokens import TokenKind
from vault.access.sealing import Alarm
from vault.domain.errors import TamperDetectedError, VaultError
from vault.storage.hot import Triple
from vault.tokens.detokenize import TAMPERED, open_value
from vault.tokens.drafts import ItemDraft
from vault.tokens.kinds import gone_error, kind_of
from vault.tokens.sealing import owner_of, replace_items, seal_items, slot_of
from vault.tokens.work import Bench


def place(drafts: Sequence[ItemDraft], maker: int, bench: Bench) -> None:
    """Give each draft the one token of its subject, field and audience, and that token the latest value.

    A draft whose token cannot be used gets an error.
    """
    first: dict[Triple, ItemDraft] = {}
    twins: list[tuple[ItemDraft, ItemDraft]] = []
    for draft in drafts:
        triple = (owner_of(draft, bench).id, slot_of(draft).id, draft.audience_id)
        earlier = first.setdefault(triple, draft)
        if earlier is not draft:
            # Said twice in one request: as if it had been said one after the other.
            earlier.value = draft.value
            draft.existing = True
            twins.append((draft, earlier))
    fresh = []
    for triple, draft in first.items():
        try:
            if not _found(triple, draft, bench):
                fresh.append((triple, draft))
        except VaultError as error:
            draft.error = error.with_traceback(None)
    start = len(bench.writes.kinded)
    seal_items([draft for _, draft in fresh], maker, bench, kind=TokenKind.AUDIENCE)
    bench.made.update((triple, start + at) for at, (triple, _) in enumerate(fresh))
    _replace([draft for draft in first.values() if draft.replaced], bench)
    for draft, earlier in twins:
        draft.token_id, draft.token_nonce, draft.error = earlier.token_id, earlier.token_nonce, earlier.error


def _found(triple: Triple, draft: ItemDraft, bench: Bench) -> bool:
    """Say whether there is a token already, and give it to ``draft``. Raises a VaultError if it is bad."""
    made = _made(triple, bench)
    if made is not None:
        draft.existing = draft.replaced = True
        draft.token_id, draft.token_nonce = made[0], made[1]
        return True
    row = bench.reads.audience_tokens.get(triple)
    if row is None:
        return False
    if kind_of(row) is not TokenKind.AUDIENCE:
        bench.alarms.append(Alarm("token", str(row[0])))
        raise _tampered()
    opened = open_value(row, slot_of(draft), owner_of(draft, bench), bench)
    if isinstance(opened, str):
        raise _tampered() if opened == TAMPERED else gone_error(opened)
    draft.existing = True
    # What another request of this unit has put there since is not in the row yet.
    draft.replaced = opened[1] != draft.value or row[0] in bench.changed
    draft.token_id, draft.token_nonce = row[0], row[1]
    return True


def _made(triple: Triple, bench: Bench) -> tuple[Any, ...] | None:
    """Return the row that an earlier request of this unit has made, unless that request came to nothing."""
    at, rows = bench.made.get(triple), bench.writes.kinded
    if at is None or at >= len(rows) or (rows[at][2], rows[at][3], rows[at][10]) != triple:
        return None
    return rows[at]


def _replace(drafts: Sequence[ItemDraft], bench: Bench) -> None:
    bench.changed.update(draft.token_id for draft in drafts)
    replace_items(drafts, bench)


def _tampered() -> TamperDetectedError:
    return TamperDetectedError("the token for this audience does not verify")
