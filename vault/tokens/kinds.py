"""Kinds of token (token.md 2.2): which one an item asks for, which one a row is of, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keys.tokens import TokenKind
from vault.domain.errors import SubjectErasedError, TokenRevokedError, TokenSpentError, VaultError
from vault.policy.model import Recipient
from vault.storage.hot import TokenRow
from vault.storage.subjects import NOBODY
from vault.tokens.drafts import ItemDraft, refused
from vault.tokens.requests import TokenizeItem
from vault.tokens.work import Bench

REVOKED: Final = "token_revoked"
SPENT: Final = "token_spent"
ERASED: Final = "subject_erased"

WORDS: Final[Mapping[TokenKind, str]] = {
    TokenKind.RANDOM: "random",
    TokenKind.ONE_TIME: "one_time",
    TokenKind.AUDIENCE: "audience",
}
"""What a request and an answer call each kind."""

_ASKED: Final = {word: kind for kind, word in WORDS.items()}
_STORED: Final = {int(kind): kind for kind in WORDS if kind is not TokenKind.RANDOM}


def choose(draft: ItemDraft, item: TokenizeItem, recipients: Mapping[str, Recipient]) -> None:
    """Take note of the kind that ``item`` asks for; ``draft`` has a field that the actor may write.

    Raises InvalidInputError: unknown_kind, exclusive, required, unknown_audience, not_received. All of them
    tell what the published policy tells.
    """
    if not item.kind and not item.audience:
        return
    kind = _ASKED.get(item.kind) if item.kind else TokenKind.AUDIENCE
    if kind is None:
        raise refused("kind", "unknown_kind", f"is one of: {', '.join(_ASKED)}")
    if kind is TokenKind.AUDIENCE:
        draft.audience = _audience(draft, item, recipients)
    elif item.audience:
        raise refused("audience", "exclusive", "goes with the kind audience only")
    draft.kind = kind


def _audience(draft: ItemDraft, item: TokenizeItem, recipients: Mapping[str, Recipient]) -> str:
    assert draft.slot is not None  # an item without a field has been refused
    if not item.audience:
        raise refused("audience", "required", "says for whom a token of this kind is")
    recipient = recipients.get(item.audience)
    if recipient is None:
        raise refused("audience", "unknown_audience", "the policy declares no such recipient")
    if draft.slot.name not in recipient.fields:
        raise refused("field", "not_received", "is none that the policy lets this recipient have")
    if not item.subject and not item.external_ref:
        # Of a subject that nobody can name again there is nothing to be the same.
        raise refused("subject", "required", "a token for an audience is of a named subject")
    return recipient.code


def kind_of(row: TokenRow) -> TokenKind | None:
    """Return the kind of a stored token; None for a number that no token of ours has there."""
    return TokenKind.RANDOM if row[6] is None else _STORED.get(row[6])


def gone(row: TokenRow) -> str:
    """Return the code that tells why a row without an envelope has none."""
    if row[2] == NOBODY:
        return ERASED
    return REVOKED if row[8] is None else SPENT


def gone_error(code: str) -> VaultError:
    """Return the error of a code that ``gone`` gave."""
    if code == SPENT:
        return TokenSpentError("the token was good for one opening and has had it")
    if code == ERASED:
        return SubjectErasedError("the subject was erased")
    return TokenRevokedError("the token was revoked before")


class Spending:
    """The one-time tokens opened in a unit: each once, however many items and requests name it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ids: set[int] | None = None

    def take(self, row: TokenRow) -> bool:
        """Say whether a token that can be opened may be; from then on a one-time token may not."""
        if row[6] is None or kind_of(row) is not TokenKind.ONE_TIME:
            return True
        spent = self._bench.writes.spent
        if self._ids is None:
            self._ids = {row_id for row_id, _ in spent}
        if row[0] in self._ids:
            return False
        self._ids.add(row[0])
        spent.append((row[0], self._bench.now_us))
        return True
