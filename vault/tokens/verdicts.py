"""Decisions of one request, field by field, and what the log says decided.

A batch has a thousand items and a few fields: each field is decided once per
request, and a yes is good for every request alike until the revision moves or
its own time comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vault.access.decision import PURPOSED, Permit, Question, decide, furthest, refusal
from vault.audit.entry import Decision
from vault.domain.errors import AccessDeniedError, InvalidInputError
from vault.tokens.work import Bench, HotWork

ALLOWED: Final = "grant"
PARTLY: Final = "grant_in_part"


class Verdicts:
    """What one work may do with which field, decided at one standing."""

    def __init__(self, work: HotWork, bench: Bench) -> None:
        self._bench = bench
        self._question = Question(
            actor=work.actor,
            action=work.action,
            purpose=work.purpose,
            reveal=work.reveal,
            address=work.origin.address,
            reasoned=bool(work.reason),
        )
        self._by_field: dict[str, Permit | AccessDeniedError] = {}
        self._used: dict[str, AccessDeniedError | None] = {}
        # A dict, for its order: the entry names grants in order of first use.

    def require_any(self) -> None:
        """Refuse the whole request when the purpose opens no field to this actor at all.

        Raises PurposeNotAllowedError, also for an unknown purpose,
        InvalidInputError for a missing reason, or AccessDeniedError. Depends on
        nothing that was looked up, so it tells nothing about the existence of a token.
        """
        refusals = []
        for name in self._fields():
            verdict = self._verdict(name)
            if isinstance(verdict, Permit):
                return
            refusals.append(verdict)
        refused = furthest(refusals) if refusals else refusal("purpose")
        if refused.rule == "reason":
            # Which purposes want one stands in the published policy.
            raise InvalidInputError("reason: this purpose needs one", field="reason", rule="required")
        raise refused

    def _fields(self) -> Iterable[str]:
        """Return the fields in question, in the policy's order. Raises PurposeNotAllowedError."""
        policy, asked = self._bench.standing.authority.policy, self._question
        if not asked.purpose and asked.action not in PURPOSED:
            return policy.fields
        purpose = policy.purposes.get(asked.purpose)
        if purpose is None:
            raise refusal("purpose")
        return [name for name in policy.fields if name in purpose.fields]

    def refusal(self, field: str) -> AccessDeniedError | None:
        """Return why the field is refused, or None when it is permitted. HOT: once per item."""
        if field not in self._used:
            verdict = self._by_field.get(field) or self._verdict(field)
            self._used[field] = None if isinstance(verdict, Permit) else verdict
        return self._used[field]

    def decision(self) -> Decision:
        """Return what the entry says: the rule, and the distinct grants that were used."""
        used = [self._by_field[name] for name in self._used]
        permits = [verdict for verdict in used if isinstance(verdict, Permit)]
        grants = tuple(dict.fromkeys(grant for permit in permits for grant in permit.grants))
        rule = ALLOWED if len(permits) == len(used) else PARTLY
        return Decision(rule, grants, self._bench.standing.revision)

    def _verdict(self, field: str) -> Permit | AccessDeniedError:
        question, bench = self._question, self._bench
        actor = question.actor
        key = (
            actor.id,
            actor.session,
            question.action,
            question.purpose,
            question.reveal,
            question.address,
            question.reasoned,
            field,
        )
        verdict: Permit | AccessDeniedError | None = bench.permits.get(key)
        if not isinstance(verdict, Permit) or verdict.until_us <= bench.now_us:
            verdict = self._decide(field)
            if isinstance(verdict, Permit):
                bench.permits[key] = verdict
        self._by_field[field] = verdict
        return verdict

    def _decide(self, field: str) -> Permit | AccessDeniedError:
        question = self._question
        try:
            return decide(
                self._bench.standing.authority,
                Question(
                    actor=question.actor,
                    action=question.action,
                    fields=(field,),
                    purpose=question.purpose,
                    reveal=question.reveal,
                    address=question.address,
                    reasoned=question.reasoned,
                ),
                self._bench.now_us,
            )
        except AccessDeniedError as error:
            return error.with_traceback(None)
