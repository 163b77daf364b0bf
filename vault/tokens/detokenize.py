"""Detokenize: read, open in memory, log, release."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, Final

from keys.envelope import generation_of
from keys.errors import KeysError, MalformedError
from keys.padding import unpad
from keys.tokens import DecodedToken, misspelt
from vault.access.sealing import Alarm
from vault.access.standing import FieldSlot
from vault.audit.packing import NO_SUBJECT, NO_TOKEN, Items
from vault.audit.receipt import Receipt, Withheld
from vault.domain.actions import Action
from vault.domain.model import Actor, Origin, Reveal, SubjectState
from vault.storage.hot import TokenRow
from vault.tokens.opening import open_in_one_piece
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import Bench, HotWork, Needs, Reads, Result, require_size

UNKNOWN: Final = "unknown_token"
REVOKED: Final = "token_revoked"
RESTRICTED: Final = "subject_restricted"
TAMPERED: Final = "tamper_detected"

EXPLAINED: Final = {
    code: {"code": code, "field": "token", "rule": code} for code in (UNKNOWN, REVOKED, RESTRICTED, TAMPERED)
}
Opened = tuple[FieldSlot, str]
"""Field and normalised value."""


class DetokenizeWork(HotWork):
    """One detokenize request."""

    action = Action.TOKEN_DETOKENIZE

    def __init__(self, actor: Actor, origin: Origin, request: DetokenizeRequest) -> None:
        super().__init__(actor, origin, request.purpose, request.reason or "")
        self._items: list[DetokenizeItem] = request.items
        self._plain = request.reveal is Reveal.PLAIN
        self.reveal = request.reveal

    def restart(self) -> None:
        """See the base."""
        super().restart()
        self._decoded: list[DecodedToken | MalformedError] = []
        self._packed: Items | None = None
        self._withheld: Withheld[list[Opened | str]] | None = None
        self._found: list[Opened | str] = []

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self._items)

    def begin(self, bench: Bench) -> None:
        """See the base. Fields are decided after the read: only the row says what they are."""
        self._verdicts = Verdicts(self, bench)
        self._verdicts.require_any()
        limits = bench.standing.authority.policy.limits
        limit = min(limits.detokenize_batch, limits.plain_batch) if self._plain else limits.detokenize_batch
        require_size(self.size, limit)
        self._decoded = bench.standing.keyring.tokens.decode_many([item.token for item in self._items])

    def need(self, needs: Needs) -> None:
        """See the base."""
        needs.tokens.update([found.row_id for found in self._decoded if type(found) is DecodedToken])

    def need_more(self, reads: Reads, needs: Needs) -> None:
        """See the base. Nothing: the subjects of the tokens are read anyway."""

    def complete(self, bench: Bench) -> None:
        """See the base."""
        opened_as = "opened" if self._plain else "masked"
        batch = open_in_one_piece(self._decoded, bench, self._verdicts)
        if batch is None:
            self._complete_each(bench, opened_as)
        else:
            self._found += batch.opened
            outcomes = [opened_as] * len(batch.opened)
            self._packed = Items.pack(batch.log_subjects, batch.token_ids, batch.fields, outcomes)
        self.decision = self._verdicts.decision()

    def _complete_each(self, bench: Bench, opened_as: str) -> None:
        subjects: list[bytes] = []
        tokens: list[int] = []
        fields: list[str] = []
        outcomes: list[str] = []
        by_id, keys_of, refusal = bench.standing.by_id, bench.reads.subjects, self._verdicts.refusal
        for decoded in self._decoded:
            row = match(decoded, bench)
            if row is None:
                found: Opened | str = UNKNOWN
                subjects.append(NO_SUBJECT)
                tokens.append(NO_TOKEN)
                fields.append("")
                outcomes.append(UNKNOWN)
            else:
                slot = by_id[row[3]]
                subject = keys_of.get(row[2])
                refused = refusal(slot.name)
                if refused is None:
                    found = open_value(row, slot, subject, bench)
                    outcomes.append(found if isinstance(found, str) else opened_as)
                else:
                    found = UNKNOWN
                    outcomes.append(refused.code)
                subjects.append(NO_SUBJECT if subject is None else subject.log_subject)
                tokens.append(row[0])
                fields.append(slot.name)
            self._found.append(found)
        self._packed = Items.pack(subjects, tokens, fields, outcomes)

    def items(self) -> Items | None:
        """See the base."""
        return self._packed

    def withhold(self, leaf_hashes: tuple[bytes, ...]) -> None:
        """See the base."""
        self._withheld = Withheld(self._found, leaf_hashes)
        self._found = []

    def finish(self, receipt: Receipt) -> Result:
        """See the base."""
        assert self._withheld is not None  # the lane withholds before it commits
        plain = self._plain
        reveal = str(Reveal.PLAIN if plain else Reveal.MASKED)
        answers = []
        answer: dict[str, Any]
        for item, found in zip(self._items, self._withheld.release(receipt), strict=True):
            if isinstance(found, tuple):
                slot, text = found
                field = slot.field.type
                shown = field.display(text) if plain else field.mask(text)
                answer = {"token": item.token, "field": slot.name, "value": shown, "reveal": reveal}
            else:
                self.partial = True
                answer = {"token": item.token, "error": EXPLAINED[found]}
                if found == UNKNOWN and (rule := misspelt(item.token)):
                    answer["error"] = EXPLAINED[found] | {"rule": rule}
            if item.reference:
                answer["reference"] = item.reference
            answers.append(answer)
        return {"log_index": receipt.index, "items": answers}


def match(decoded: DecodedToken | MalformedError, bench: Bench) -> TokenRow | None:
    """Return the row that a token text names, or None when there is none that it may name.

    Wrong text, no row, another nonce, a field of another type: one answer for all.
    """
    if type(decoded) is not DecodedToken:
        return None
    row = bench.reads.tokens.get(decoded.row_id)
    if row is None:
        return None
    if not compare_digest(row[1], decoded.nonce):
        # Only the token key makes a text that leads to a row we have: the row is not the one it was made for.
        bench.alarms.append(Alarm("token", str(row[0])))
        return None
    slot = bench.standing.by_id.get(row[3])
    if slot is None:
        return None
    if slot.field.type.prefix != decoded.prefix:
        # Anybody can write another prefix; whether the row was changed shows when it is opened.
        open_value(row, slot, bench.reads.subjects.get(row[2]), bench)
        return None
    return row


def open_value(row: TokenRow, slot: FieldSlot, subject: SubjectKeys | None, bench: Bench) -> Opened | str:
    """Return the field and the normalised value of a row, or the code of why not.

    What does not verify alarms and opens nothing: a ciphertext or key that was
    moved, a state that was flipped, a row whose subject is gone.
    """
    record_id, _, subject_id, _, envelope, _ = row
    if envelope is None:
        return REVOKED
    if subject is None or subject.broken:
        bench.alarms.append(Alarm("data_key", str(subject_id)))
        return TAMPERED
    if subject.state is not SubjectState.OPEN:
        return RESTRICTED
    try:
        keys = subject.by_generation
        # A key refuses an envelope of another generation, so with one key there is nothing to look up.
        key = keys[subject.newest] if len(keys) == 1 else keys[generation_of(envelope)]
        context = bench.standing.value_context.value(subject_id, slot.context_part, record_id)
        return slot, unpad(key.open(context, envelope))
    except (KeysError, KeyError):
        bench.alarms.append(Alarm("token", str(record_id)))
        return TAMPERED
