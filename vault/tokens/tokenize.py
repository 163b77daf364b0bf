"""Tokenize: decide, normalise and validate, seal under the subject's data key, log, answer with tokens.

Two tokens of one value are two tokens. Only an external reference makes a
request repeatable: an item whose subject was found by its reference, and of
which the same actor has made a token for the same value, is answered with it.
One-time tokens are new each time; a token for an audience is always the same.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from keys.tokens import TokenKind
from vault.access.sealing import Alarm
from vault.audit.packing import NO_TOKEN, Items
from vault.audit.receipt import Receipt
from vault.domain.actions import Action
from vault.domain.errors import (
    IdempotencyConflictError,
    KeySuspendedError,
    SubjectErasedError,
    SubjectRestrictedError,
    TamperDetectedError,
    VaultError,
)
from vault.domain.model import Actor, Origin, SubjectState
from vault.storage.hot import ReplayRow
from vault.tokens import replay as replays
from vault.tokens.answers import answer_again, log_subject, outcome, subject_id, subject_texts, token_texts
from vault.tokens.audiences import place
from vault.tokens.drafts import ItemDraft, SubjectDraft, SubjectDrafts, explain, refused, unknown_subject
from vault.tokens.kinds import choose
from vault.tokens.replay import ItemRecord, Replay
from vault.tokens.requests import TokenizeItem, TokenizeRequest
from vault.tokens.reuse import OwnTokens, maker_of
from vault.tokens.sealing import open_reference, seal_items
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import Bench, HotWork, Needs, Reads, Result, require_size


class TokenizeWork(HotWork):
    """One tokenize request."""

    action = Action.TOKEN_TOKENIZE

    def __init__(
        self, actor: Actor, origin: Origin, request: TokenizeRequest, *, replay: Replay | None = None
    ) -> None:
        super().__init__(actor, origin, request.purpose, request.reason or "")
        self._items: list[TokenizeItem] = request.items
        self._replay = replay

    def restart(self) -> None:
        """See the base."""
        super().restart()
        self._drafts: list[ItemDraft] = []
        self._subjects: SubjectDrafts | None = None
        self._packed: Items | None = None
        self._answers: list[dict[str, Any]] = []
        self._scopes: tuple[bytes, ...] = ()
        self._body_macs: tuple[bytes, ...] = ()
        self._records: list[ItemRecord] | None = None

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self._items)

    def begin(self, bench: Bench) -> None:
        """See the base."""
        self._bench = bench
        verdicts = Verdicts(self, bench)
        verdicts.require_any()
        require_size(self.size, bench.standing.authority.policy.limits.tokenize_batch)
        if self._replay is not None:
            self._scopes = self._replay.scopes(self.actor, bench.standing.keyring)
            self._body_macs = self._replay.body_macs(self.actor, bench.standing.keyring)
        self._subjects = SubjectDrafts(bench.standing, self._items)
        for item in self._items:
            draft = ItemDraft(bench.standing.by_name.get(item.field))
            self._drafts.append(draft)
            try:
                self._validate(item, draft, verdicts)
            except VaultError as error:
                # A kept traceback would hold the frames, and the frames the value.
                draft.error = error.with_traceback(None)
        self.decision = verdicts.decision()

    def _validate(self, item: TokenizeItem, draft: ItemDraft, verdicts: Verdicts) -> None:
        slot = draft.slot
        if slot is None:
            raise refused("field", "unknown_field", "the policy declares no such field")
        refusal = verdicts.refusal(slot.name)
        if refusal is not None:
            raise refusal
        assert self._subjects is not None  # begin makes it
        choose(draft, item, self._bench.standing.authority.policy.recipients)
        # Before the value: a row with one bad value still belongs to its external reference.
        draft.subject = self._subjects.of(item, slot.field.kind)
        value = draft.value = slot.field.type.normalise(item.value, slot.name)
        draft.warnings = slot.field.type.warnings(value)

    def need(self, needs: Needs) -> None:
        """See the base."""
        needs.replays.update(self._scopes)
        assert self._subjects is not None  # begin makes it
        for subject in self._subjects.all():
            if subject.claimed is not None:
                needs.subjects.add(subject.claimed[0])
            else:
                needs.references.update(subject.digests)

    def need_more(self, reads: Reads, needs: Needs) -> None:
        """See the base. Raises IdempotencyConflictError for another body, TamperDetectedError."""
        row = next((reads.replays[scope] for scope in self._scopes if scope in reads.replays), None)
        if row is not None:
            self._records = self._recall(row)
            needs.tokens.update(record[0] for record in self._records if record[0])
            needs.subjects.update(record[1] for record in self._records if record[1])
            return
        assert self._subjects is not None  # begin makes it
        for subject in self._subjects.all():
            named = subject.found_in(reads.references)
            if named is not None:
                needs.subjects.add(named[0])
                needs.subject_tokens.add(named[0])
                needs.makers.add(maker_of(self.actor))
        self._need_audiences(reads, needs)

    def _need_audiences(self, reads: Reads, needs: Needs) -> None:
        """Ask for the tokens that there may be for the audiences of the items."""
        ids, connection = self._bench.audience_ids, self._bench.connection
        for draft in self._drafts:
            subject = draft.subject
            if draft.kind is not TokenKind.AUDIENCE or subject is None or draft.error is not None:
                continue
            draft.audience_id = ids.id_of(draft.audience, connection)
            named = subject.claimed or subject.found_in(reads.references)
            if named is not None and draft.slot is not None:
                needs.audience_tokens.add((named[0], draft.slot.id, draft.audience_id))

    def _recall(self, row: ReplayRow) -> list[ItemRecord]:
        try:
            return replays.read(row, self._body_macs, self._bench.standing.keyring)
        except TamperDetectedError:
            self._bench.alarms.append(Alarm("idempotency", row[0].hex()))
            raise

    def complete(self, bench: Bench) -> None:
        """See the base."""
        if self._records is not None:
            self._answers, self._packed = answer_again(self._items, self._drafts, self._records, bench)
            self.partial = any("error" in answer for answer in self._answers)
            return
        if self._scopes and any(row[0] == self._scopes[0] for row in bench.writes.replays):
            raise IdempotencyConflictError("a request with this idempotency key is in flight")
        assert self._subjects is not None  # begin makes it
        for subject in self._subjects.all():
            try:
                self._find(subject, bench)
            except VaultError as error:
                subject.error = error.with_traceback(None)
        owned = OwnTokens(self.actor, bench)
        for draft in self._drafts:
            owner = draft.subject
            if draft.error is None and owner is not None:
                draft.error = owner.error
                if owner.existed and draft.error is None and draft.kind is TokenKind.RANDOM:
                    _reuse(draft, owned)
        self._seal(bench)
        self._pack(bench)
        if self._scopes:
            self._keep(bench)

    def _seal(self, bench: Bench) -> None:
        """Give every item that may have one its token."""
        maker = maker_of(self.actor)
        wanted: dict[TokenKind, list[ItemDraft]] = {}
        for draft in self._drafts:
            if draft.error is None and not draft.existing:
                wanted.setdefault(draft.kind, []).append(draft)
        for kind in (TokenKind.RANDOM, TokenKind.ONE_TIME):
            seal_items(wanted.get(kind, ()), maker, bench, kind=kind)
        place(wanted.get(TokenKind.AUDIENCE, ()), maker, bench)

    def _find(self, subject: SubjectDraft, bench: Bench) -> None:
        """Look the subject up among what was read. Raises what its items are then refused with."""
        if subject.claimed is not None:
            keys = bench.reads.subjects.get(subject.claimed[0])
            if keys is None or not compare_digest(keys.nonce, subject.claimed[1]):
                raise unknown_subject()
        else:
            named = subject.found_in(bench.reads.references)
            keys = None if named is None else bench.reads.subjects.get(named[0])
            if keys is None or named is None:
                return
            subject.existed = True
            intact = not keys.broken and not keys.suspended
            if intact and open_reference(keys, named[1], bench) != subject.reference:
                # The digest was moved: without this an import would write into another person.
                bench.alarms.append(Alarm("subject", str(keys.id)))
                raise TamperDetectedError("the external reference does not verify")
        if keys.broken:
            bench.alarms.append(Alarm("data_key", str(keys.id)))
            raise TamperDetectedError("the subject's key does not verify")
        if keys.kind != subject.kind:
            raise refused("subject", "kind_conflict", "one subject has fields of one kind")
        if keys.state is SubjectState.ERASED:
            raise SubjectErasedError("the subject was erased")
        if keys.state is not SubjectState.OPEN:
            raise SubjectRestrictedError("processing of this subject is restricted")
        if keys.suspended:
            raise KeySuspendedError("a key of this subject is suspended")
        subject.keys = keys

    def _pack(self, bench: Bench) -> None:
        """Make the entry's items and the answer."""
        drafts = self._drafts
        done = [draft for draft in drafts if draft.error is None]
        texts = token_texts(done, bench)
        subjects = subject_texts(done, bench)
        for item, draft in zip(self._items, drafts, strict=True):
            answer: dict[str, Any] = {"reference": item.reference} if item.reference else {}
            if draft.error is not None:
                self.partial = True
                answer["error"] = explain(draft.error, item.field if draft.slot else "field")
            else:
                answer["token"] = next(texts)
                answer["subject"] = subjects[subject_id(draft)]
                if draft.existing:
                    answer["existing"] = True
                if draft.warnings:
                    answer["warnings"] = draft.warnings
            self._answers.append(answer)
        self._packed = Items.pack(
            [log_subject(draft) for draft in drafts],
            [draft.token_id if draft.error is None else NO_TOKEN for draft in drafts],
            ["" if draft.slot is None else draft.slot.name for draft in drafts],
            [outcome(draft) for draft in drafts],
        )

    def _keep(self, bench: Bench) -> None:
        """Keep what was done, for whoever asks again with the same key."""
        records = [
            (draft.token_id, subject_id(draft), answer.get("error"), draft.existing)
            for draft, answer in zip(self._drafts, self._answers, strict=True)
        ]
        scope, body_mac = self._scopes[0], self._body_macs[0]
        bench.writes.replays.append(
            (
                scope,
                body_mac,
                bench.now_us,
                bench.position,
                replays.record(records, scope, body_mac, bench.standing.keyring),
            )
        )

    def items(self) -> Items | None:
        """See the base."""
        return self._packed

    def withhold(self, leaf_hashes: tuple[bytes, ...]) -> None:
        """See the base. Nothing was opened for the caller: tokens are not personal data."""

    def finish(self, receipt: Receipt) -> Result:
        """See the base."""
        # A replay has an entry of its own, and its receipt is for that one: it names the same tokens.
        answer: Result = {"log_index": receipt.index, "items": self._answers}
        if self._records is not None:
            answer["replayed"] = True
        return answer


def _reuse(draft: ItemDraft, owned: OwnTokens) -> None:
    """Take the token that this actor has for the value already, if there is one."""
    assert draft.slot is not None  # an item without a field or subject has an error
    assert draft.subject is not None
    assert draft.subject.keys is not None  # it was found
    row = owned.find(draft.subject.keys, draft.slot, draft.value)
    if row is not None:
        draft.existing = True
        draft.token_id, draft.token_nonce = row[0], row[1]
