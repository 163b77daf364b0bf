"""Show what a token is without opening it, and revoke it.

Revoking destroys the sealed copy behind this token: the row stays, so that the
token is known to be gone, and nothing can bring the value back. Other tokens
of the same value keep their own copies.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keys.errors import MalformedError
from keys.tokens import DecodedToken, TokenKind
from vault.audit.packing import NO_SUBJECT, Items
from vault.audit.receipt import Receipt
from vault.domain.actions import Action
from vault.domain.errors import SubjectRestrictedError, UnknownTokenError, VaultError
from vault.domain.model import Actor, Origin, SubjectState
from vault.storage.hot import TokenRow
from vault.tokens.detokenize import match
from vault.tokens.kinds import ERASED, REVOKED, SPENT, WORDS, gone, gone_error
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import SUBJECT_PREFIX, Bench, HotWork, Needs, Reads, Result

UNKNOWN = "there is no such token, or it is not for you"


class ShowWork(HotWork):
    """Metadata of one token."""

    action = Action.TOKEN_SHOW
    outcome = "shown"

    def __init__(self, actor: Actor, origin: Origin, *, token: str, purpose: str) -> None:
        super().__init__(actor, origin, purpose, "")
        self._token = token

    def restart(self) -> None:
        """See the base."""
        super().restart()
        self._decoded: DecodedToken | MalformedError | None = None
        self._packed: Items | None = None
        self._answer: Result = {}

    @property
    def size(self) -> int:
        """One token."""
        return 1

    def begin(self, bench: Bench) -> None:
        """See the base."""
        self._verdicts = Verdicts(self, bench)
        self._verdicts.require_any()
        self._decoded = bench.standing.keyring.tokens.decode_many([self._token])[0]

    def need(self, needs: Needs) -> None:
        """See the base."""
        if isinstance(self._decoded, DecodedToken):
            needs.tokens.add(self._decoded.row_id)

    def need_more(self, reads: Reads, needs: Needs) -> None:
        """See the base."""
        if isinstance(self._decoded, DecodedToken):
            row = reads.tokens.get(self._decoded.row_id)
            if row is not None:
                needs.subjects.add(row[2])

    def complete(self, bench: Bench) -> None:
        """See the base. Raises UnknownTokenError, for a token that is not for this actor as well."""
        decoded = self._decoded
        row = match(decoded, bench) if isinstance(decoded, DecodedToken) else None
        if row is None or not isinstance(decoded, DecodedToken):
            raise UnknownTokenError(UNKNOWN)
        slot = bench.standing.by_id[row[3]]
        subject = bench.reads.subjects.get(row[2])
        log_subject = NO_SUBJECT if subject is None else subject.log_subject
        denied = self._verdicts.refusal(slot.name)
        try:
            if denied is not None:
                raise UnknownTokenError(UNKNOWN)
            self.act(row, bench)
        except VaultError as error:
            # The log says whose token it was and what really refused it; the caller is told less.
            code = error.code if denied is None else denied.code
            self._packed = Items.pack([log_subject], [row[0]], [slot.name], [code])
            raise
        self.decision = self._verdicts.decision()
        self._packed = Items.pack([log_subject], [row[0]], [slot.name], [self.outcome])
        self._answer = {
            "token": self._token,
            "field": slot.name,
            "created_at": datetime.fromtimestamp(row[5] / 1_000_000, UTC).isoformat(),
            "state": self._state(row),
            "kind": WORDS[decoded.kind],
            "audience": None if row[7] is None else bench.audience_ids.name_of(row[7], bench.connection),
        }
        if subject is not None:
            self._answer["subject"] = bench.standing.keyring.tokens.active.encode(
                SUBJECT_PREFIX, subject.id, subject.nonce, TokenKind.SUBJECT
            )

    def _state(self, row: TokenRow) -> str:
        if row[4] is None:
            return "spent" if gone(row) == SPENT else "revoked"
        return "revoked" if self.revises else "live"

    def act(self, row: TokenRow, bench: Bench) -> None:  # noqa: ARG002 - the bench is for those who write
        """Do nothing more: the token is only shown. Raises SubjectErasedError."""
        if row[4] is None and gone(row) == ERASED:
            raise gone_error(ERASED)

    def items(self) -> Items | None:
        """See the base."""
        return self._packed

    def withhold(self, leaf_hashes: tuple[bytes, ...]) -> None:
        """See the base. Nothing was opened."""

    def finish(self, receipt: Receipt) -> Result:
        """See the base."""
        answer: dict[str, Any] = {"log_index": receipt.index, **self._answer}
        return answer


class RevokeWork(ShowWork):
    """Destroy the sealed copy behind one token."""

    action = Action.TOKEN_REVOKE
    outcome = "revoked"
    revises = True

    def act(self, row: TokenRow, bench: Bench) -> None:
        """Revoke. Raises TokenRevokedError, TokenSpentError, SubjectErasedError, SubjectRestrictedError."""
        if row[4] is None:
            raise gone_error(gone(row))
        if row[0] in bench.writes.revoked:
            raise gone_error(REVOKED)
        if any(row[0] == spent for spent, _ in bench.writes.spent):
            raise gone_error(SPENT)
        subject = bench.reads.subjects.get(row[2])
        if subject is not None and subject.state is SubjectState.RESTRICTED:
            # To destroy is to process as well; an erasure is open to them, with the officer's consent.
            raise SubjectRestrictedError("processing of this subject is restricted")
        bench.writes.revoked.append(row[0])
