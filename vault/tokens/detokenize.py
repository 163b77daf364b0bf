"""Detokenize: read, open in memory, log, release.

Opening a one-time token consumes it, masked or plain, in the transaction of the
entry that says so: a mask tells a part of the value, and whoever may look twice
has not looked once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final

from keys.envelope import generation_of
from keys.errors import KeysError, MalformedError
from keys.padding import unpad
from keys.tokens import DecodedToken, TokenBatch, misspelt
from vault.access.sealing import Alarm
from vault.access.standing import FieldSlot
from vault.audit.packing import NO_SUBJECT, NO_TOKEN, Items
from vault.audit.receipt import Receipt, Withheld
from vault.domain.actions import Action
from vault.domain.errors import KeySuspendedError
from vault.domain.model import Actor, Origin, Reveal, SubjectState
from vault.storage.hot import TokenRow
from vault.tokens.kinds import ERASED, REVOKED, SPENT, Spending, gone, kind_of
from vault.tokens.opening import Batch, open_in_one_piece
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import Bench, HotWork, Needs, Reads, Result, require_size

UNKNOWN: Final = "unknown_token"
RESTRICTED: Final = "subject_restricted"
SUSPENDED: Final = KeySuspendedError.code
TAMPERED: Final = "tamper_detected"

EXPLAINED: Final = {
    code: {"code": code, "field": "token", "rule": code}
    for code in (UNKNOWN, REVOKED, SPENT, ERASED, RESTRICTED, SUSPENDED, TAMPERED)
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
        self._decoded: list[DecodedToken | MalformedError] | TokenBatch = []
        self._packed: Items | None = None
        self._withheld: Withheld[list[Opened | str] | Batch] | None = None
        self._found: list[Opened | str] | Batch = []

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
        texts = [item.token for item in self._items]
        tokens = bench.standing.keyring.tokens
        self._decoded = tokens.decode_batch(texts) or tokens.decode_each(texts)

    def need(self, needs: Needs) -> None:
        """See the base."""
        if isinstance(self._decoded, TokenBatch):
            needs.tokens.update(self._decoded.row_ids)
        else:
            needs.tokens.update([found.row_id for found in self._decoded if type(found) is DecodedToken])

    def need_more(self, reads: Reads, needs: Needs) -> None:
        """See the base. Nothing: the subjects of the tokens are read anyway."""

    def complete(self, bench: Bench) -> None:
        """See the base."""
        opened_as = "opened" if self._plain else "masked"
        decoded, batch = self._decoded, None
        if isinstance(decoded, TokenBatch):
            batch = open_in_one_piece(decoded, bench, self._verdicts)
            decoded = list(decoded.each()) if batch is None else []
        if batch is None:
            self._complete_each(decoded, bench, opened_as)
        else:
            self._found = batch
            names, outcomes = batch.names(), [opened_as] * len(batch.texts)
            self._packed = Items.pack(batch.log_subjects, batch.token_ids, names, outcomes)
        self.decision = self._verdicts.decision()

    def _complete_each(
        self, decoded: Sequence[DecodedToken | MalformedError], bench: Bench, opened_as: str
    ) -> None:
        subjects: list[bytes] = []
        tokens: list[int] = []
        fields: list[str] = []
        outcomes: list[str] = []
        by_id, keys_of, refusal = bench.standing.by_id, bench.reads.subjects, self._verdicts.refusal
        spending = Spending(bench)
        results: list[Opened | str] = []
        for token in decoded:
            row = match(token, bench)
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
                    if not isinstance(found, str) and not spending.take(row):
                        found = SPENT
                    outcomes.append(found if isinstance(found, str) else opened_as)
                else:
                    found = UNKNOWN
                    outcomes.append(refused.code)
                subjects.append(NO_SUBJECT if subject is None else subject.log_subject)
                tokens.append(row[0])
                fields.append(slot.name)
            results.append(found)
        self._found = results
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
        found = self._withheld.release(receipt)
        answers = self._answer_batch(found) if isinstance(found, Batch) else self._answer_each(found)
        for item, answer in zip(self._items, answers, strict=True):
            if item.reference:
                answer["reference"] = item.reference
        return {"log_index": receipt.index, "items": answers}

    def _answer_batch(self, batch: Batch) -> list[Result]:
        """Return the answers of a batch that opened whole. HOT."""
        reveal, plain = str(self.reveal), self._plain
        shows = {field_id: _show(slot, plain=plain) for field_id, slot in batch.fields.items()}
        if len(shows) == 1:
            (show,) = shows.values()
            shown = list(map(show, batch.texts))
        else:
            rows = zip(batch.field_ids, batch.texts, strict=True)
            shown = [shows[field_id](text) for field_id, text in rows]
        return [
            {"token": item.token, "field": name, "value": value, "reveal": reveal}
            for item, name, value in zip(self._items, batch.names(), shown, strict=True)
        ]

    def _answer_each(self, results: Sequence[Opened | str]) -> list[Result]:
        reveal = str(self.reveal)
        answers: list[Result] = []
        for item, found in zip(self._items, results, strict=True):
            if isinstance(found, tuple):
                slot, text = found
                shown = _show(slot, plain=self._plain)(text)
                answers.append({"token": item.token, "field": slot.name, "value": shown, "reveal": reveal})
                continue
            self.partial = True
            rule = misspelt(item.token) if found == UNKNOWN else ""
            error = EXPLAINED[found] | {"rule": rule} if rule else EXPLAINED[found]
            answers.append({"token": item.token, "error": error})
        return answers


def _show(slot: FieldSlot, *, plain: bool) -> Callable[[str], str]:
    return slot.field.type.display if plain else slot.field.type.mask


def match(decoded: DecodedToken | MalformedError, bench: Bench) -> TokenRow | None:
    """Return the row that a token text names, or None when there is none that it may name.

    Wrong text, no row, another nonce, a field of another type, another kind: one answer for all.
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
        bench.alarms.append(Alarm("token", str(row[0])))
        return None
    if slot.field.type.prefix != decoded.prefix or kind_of(row) is not decoded.kind:
        # Anybody can write another prefix or kind; whether the row was changed shows when it is opened.
        open_value(row, slot, bench.reads.subjects.get(row[2]), bench)
        return None
    return row


def open_value(row: TokenRow, slot: FieldSlot, subject: SubjectKeys | None, bench: Bench) -> Opened | str:
    """Return the field and the normalised value of a row, or the code of why not.

    What does not verify alarms and opens nothing: a ciphertext or key that was
    moved, a state that was flipped, a row whose subject is gone.
    """
    record_id, _, subject_id, _, envelope = row[:5]
    if envelope is None:
        return gone(row)
    if subject is None or subject.broken or subject.state is SubjectState.ERASED:
        bench.alarms.append(Alarm("data_key", str(subject_id)))
        return TAMPERED
    if subject.state is not SubjectState.OPEN:
        return RESTRICTED
    if subject.suspended and _generation(envelope) in subject.suspended:
        return SUSPENDED
    keys = subject.by_generation
    try:
        # A key refuses an envelope of another generation, so with one key there is nothing to look up.
        key = subject.sole or keys[generation_of(envelope)]
        context = bench.standing.value_context.value(subject_id, slot.context_part, record_id)
        return slot, unpad(key.open(context, envelope))
    except (KeysError, KeyError):
        generation = _generation(envelope)
        if generation is not None and generation not in keys:
            bench.missing.add((subject_id, envelope))
        bench.alarms.append(Alarm("token", str(record_id)))
        return TAMPERED


def _generation(envelope: bytes) -> int | None:
    """Return the generation that an envelope names, None where it is none."""
    try:
        return generation_of(envelope)
    except KeysError:
        return None
