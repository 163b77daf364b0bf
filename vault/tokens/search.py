"""Search: which tokens stand for exactly this value of one field.

An act of its own with its own grant, because whoever can ask can test guesses:
searches without a hit are limited per actor and minute. The search term is in
no log in any form. What is found is opened and compared before it counts, so that
a digest put on another row finds nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from keys.tokens import TokenKind
from vault.access.sealing import Alarm
from vault.access.standing import FieldSlot
from vault.audit.packing import Items
from vault.audit.receipt import Receipt
from vault.domain.actions import Action
from vault.domain.errors import KeySuspendedError, LimitExceededError, TooManyAttemptsError
from vault.domain.model import Actor, Origin
from vault.storage.hot import MatchRow
from vault.tokens.detokenize import SUSPENDED, open_value
from vault.tokens.drafts import refused
from vault.tokens.kinds import kind_of
from vault.tokens.requests import SearchRequest
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.verdicts import Verdicts
from vault.tokens.work import SUBJECT_PREFIX, Bench, HotWork, Needs, Reads, Result

MATCHES: Final = 1_000
"""Most tokens one search may find; more is refused, not cut."""

MINUTE_US: Final = 60_000_000


class Misses:
    """Searches without a hit, per actor, over the last minute. One process counts for itself."""

    def __init__(self) -> None:
        self._at: dict[str, deque[int]] = {}

    def require(self, actor_id: str, limit: int, now_us: int) -> None:
        """Raise TooManyAttemptsError when the actor has missed ``limit`` times within a minute."""
        at = self._at.get(actor_id)
        while at and at[0] <= now_us - MINUTE_US:
            at.popleft()
        if at and len(at) >= limit:
            seconds = (at[0] + MINUTE_US - now_us) // 1_000_000 + 1
            raise TooManyAttemptsError("too many searches without a hit", retry_after=seconds)

    def add(self, actor_id: str, now_us: int) -> None:
        """Count one."""
        self._at.setdefault(actor_id, deque()).append(now_us)

    def take_back(self, actor_id: str) -> None:
        """Uncount the newest one: the unit it was part of did not come to be."""
        self._at[actor_id].pop()


class SearchWork(HotWork):
    """One search request."""

    action = Action.TOKEN_SEARCH

    def __init__(self, actor: Actor, origin: Origin, request: SearchRequest, misses: Misses) -> None:
        self._request = request
        self._misses = misses
        self._missed = False
        super().__init__(actor, origin, request.purpose, request.reason or "")

    def restart(self) -> None:
        """See the base."""
        super().restart()
        if self._missed:
            self._misses.take_back(self.actor.id)
            self._missed = False
        self._value = ""
        self._slot: FieldSlot | None = None
        self._digests: frozenset[bytes] = frozenset()
        self._matches: list[MatchRow] = []
        self._packed: Items | None = None
        self._answer: Result = {}

    @property
    def size(self) -> int:
        """One value is looked for."""
        return 1

    def begin(self, bench: Bench) -> None:
        """See the base. Raises InvalidInputError: unknown_field, not_searchable, or a rule of the type."""
        verdicts = Verdicts(self, bench)
        verdicts.require_any()
        slot = bench.standing.by_name.get(self._request.field)
        if slot is None:
            raise refused("field", "unknown_field", "the policy declares no such field")
        refusal = verdicts.refusal(slot.name)
        self.decision = verdicts.decision()
        if refusal is not None:
            raise refusal
        if not slot.field.type.searchable:
            raise refused("field", "not_searchable", "values of this type cannot be searched")
        self._require_patience(bench)
        self._value = slot.field.normalise(self._request.value)
        keys = bench.standing.keyring.lookup_all(slot.name)
        self._digests = frozenset(key.digest(self._value) for key in keys)
        self._slot = slot

    def _require_patience(self, bench: Bench) -> None:
        limits = bench.standing.authority.policy.limits
        self._misses.require(self.actor.id, limits.search_misses_per_minute, bench.now_us)

    def need(self, needs: Needs) -> None:
        """See the base."""
        needs.digests.update(self._digests)

    def need_more(self, reads: Reads, needs: Needs) -> None:
        """See the base."""
        assert self._slot is not None  # begin finds it
        ours, field_id = self._digests, self._slot.id
        self._matches = sorted(row for row in reads.matches if row[4] in ours and row[3] == field_id)
        needs.tokens.update(row[0] for row in self._matches)
        needs.subjects.update(row[2] for row in self._matches)

    def complete(self, bench: Bench) -> None:
        """See the base. Raises LimitExceededError, TooManyAttemptsError, KeySuspendedError."""
        slot = self._slot
        assert slot is not None  # begin finds it
        # Once more: others of this unit may have missed since it began.
        self._require_patience(bench)
        if len(self._matches) > MATCHES:
            raise LimitExceededError(
                f"the value has more than {MATCHES} tokens", field="value", rule="too_many_matches"
            )
        found = [
            (row, subject, kind)
            for row in self._matches
            if (subject := bench.reads.subjects.get(row[2])) is not None
            and (kind := self._kind(row, subject, bench)) is not None
        ]
        if not found:
            self._misses.add(self.actor.id, bench.now_us)
            self._missed = True
        tokens = bench.standing.keyring.tokens.active
        prefix = slot.field.type.prefix
        self._answer = {
            "items": [
                {
                    "token": tokens.encode(prefix, row[0], bytes(row[1]), kind),
                    "subject": tokens.encode(SUBJECT_PREFIX, subject.id, subject.nonce, TokenKind.SUBJECT),
                    "field": slot.name,
                    **_audience(row, bench),
                }
                for row, subject, kind in found
            ]
        }
        self._packed = Items.pack(
            [subject.log_subject for _, subject, _ in found],
            [row[0] for row, _, _ in found],
            [slot.name] * len(found),
            ["found"] * len(found),
        )

    def _kind(self, match: MatchRow, subject: SubjectKeys, bench: Bench) -> TokenKind | None:
        """Return the kind of a row that may be opened and holds the value itself, not only its digest."""
        assert self._slot is not None  # begin finds it
        row = bench.reads.tokens.get(match[0])
        if row is None:
            return None
        opened = open_value(row, self._slot, subject, bench)
        if opened == SUSPENDED:
            # An answer without it would say that nobody has this value.
            raise KeySuspendedError("a token of this value is sealed under a suspended key")
        if isinstance(opened, str):
            return None
        kind = kind_of(row)
        if opened[1] != self._value or kind is TokenKind.ONE_TIME:
            # A one-time token has no digest of ours: what is not to be opened twice is not to be found.
            bench.alarms.append(Alarm("token", str(match[0])))
            return None
        return kind

    def items(self) -> Items | None:
        """See the base."""
        return self._packed

    def withhold(self, leaf_hashes: tuple[bytes, ...]) -> None:
        """See the base. Nothing was opened."""

    def finish(self, receipt: Receipt) -> Result:
        """See the base."""
        return {"log_index": receipt.index, **self._answer}


def _audience(row: MatchRow, bench: Bench) -> dict[str, str]:
    return {} if row[5] is None else {"audience": bench.audience_ids.name_of(row[5], bench.connection)}
