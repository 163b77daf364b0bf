"""Who may act on a whole data subject, and how they ask.

Such an act needs a grant for every field in which the subject has live tokens;
where it has none, for one field of its kind. Whether somebody holds any such
grant at all is decided before the subject is looked for. After that a subject
that does not exist and one that is not for the caller look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Final, NoReturn, TypeVar

from keys.tokens import DecodedToken, TokenKind
from vault.access.authority import Authority
from vault.access.changes import REFUSALS, Attempt, Change, Changes, Made
from vault.access.decision import PURPOSED, Permit, Question, decide, furthest, refusal
from vault.access.entries import Request, Said
from vault.audit.entry import Decision
from vault.audit.packing import NO_SUBJECT, NO_TOKEN, Items
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, InvalidInputError, NotFoundError
from vault.domain.model import SubjectState
from vault.fields.notes import normalise_note
from vault.storage import subjects as rows
from vault.storage.keys import read_field_ids
from vault.storage.subjects import SubjectRow

T = TypeVar("T")

SUBJECT_PREFIX: Final = "sub"

UNKNOWN: Final = "there is no such subject, or it is not for you"

GROUNDS: Final = (
    "consent_withdrawn",
    "court_order",
    "purpose_fulfilled",
    "retention_over",
    "subject_request",
    "unlawful_processing",
)
"""Why somebody is erased or restricted, or that is lifted (PIPA Art. 21, 36, 37; GDPR Art. 17, 18)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """An act on a subject, as it is asked for."""

    subject: str
    """Text of its id."""
    purpose: str = ""
    ground: str = ""
    """One of ``GROUNDS``; empty for an act that needs none."""
    reason: str = ""
    """Free text; sealed beside the log."""


@dataclass(frozen=True, slots=True)
class Found:
    """The subject of an act that is allowed."""

    row: SubjectRow
    live: dict[str, int]
    """Number of live tokens by name of their field, in order of the name."""
    decision: Decision
    state: SubjectState


@dataclass(slots=True)
class _Course:
    """What an attempt has come to, for the entry of a refusal."""

    target: dict[str, str] = field(default_factory=dict)


def on_subject(
    changes: Changes,
    request: Request,
    action: Action,
    *,
    ask: Ask,
    act: Callable[[Attempt, Found], Change[T]],
) -> Made[T]:
    """Decide whether the actor may do ``action`` to this subject, do ``act`` and log it.

    Raises AccessDeniedError (a PurposeNotAllowedError, too) for somebody who may do this to nobody,
    NotFoundError where there is no such subject or it is not for them, InvalidInputError (ground),
    InvalidValueError (reason), and whatever ``act`` raises. Refusals are in the log.
    """
    course = _Course()
    question = _question(request, action, ask)

    def doing(attempt: Attempt) -> Change[T]:
        course.target = {}
        subject = _look_up(attempt, ask.subject)
        course.target = {"subject": str(subject.id)}
        return act(attempt, _permitted(attempt, question, subject))

    try:
        authority = changes.standing(request.now_us).authority
        _require_any(authority, question, request.now_us)
        _require_ground(ask, action)
        screened(ask)
    except REFUSALS as error:
        changes.refuse(request, action, error, purpose=_known(changes, ask))
        raise
    try:
        return changes.make_unasked(request, action, doing)
    except REFUSALS as error:
        changes.refuse(request, action, error, target=course.target, purpose=_known(changes, ask))
        if isinstance(error, AccessDeniedError):
            _say_unknown()
        raise


def said(ask: Ask, found: Found, outcome: str, *, linked: bool = False) -> Said:
    """Return what the entry says: the fields, the purpose, the reason, what was decided by.

    Only with ``linked`` does it carry the subject's name in the log. Where its target names the
    subject by its id it must not: an erasure could not part the two any more.
    """
    names = list(found.live)
    subject = found.row.log_subject if linked else NO_SUBJECT
    items = Items.pack([subject] * len(names), [NO_TOKEN] * len(names), names, [outcome] * len(names))
    return Said(
        decision=found.decision, purpose=ask.purpose, reason=screened(ask), items=items if names else None
    )


def screened(ask: Ask) -> str:
    """Return the reason in its one form. Raises InvalidValueError for one that holds what it must not."""
    return normalise_note(ask.reason, field="reason") if ask.reason else ""


def text_of(attempt: Attempt, subject: SubjectRow) -> str:
    """Return the id of a subject as callers know it."""
    return attempt.keyring.tokens.active.encode(SUBJECT_PREFIX, subject.id, subject.nonce, TokenKind.SUBJECT)


def names_of(attempt: Attempt, subject_id: int) -> dict[str, int]:
    """Return the number of live tokens by name of their field, in order of the name."""
    by_id = {number: name for name, number in read_field_ids(attempt.connection).items()}
    counts = rows.count_live(attempt.connection, subject_id)
    # A field that nobody declared was planted; no grant covers its name.
    return dict(sorted((by_id.get(number, f"?{number}"), count) for number, count in counts.items()))


def _question(request: Request, action: Action, ask: Ask) -> Question:
    return Question(
        actor=request.actor,
        action=action,
        purpose=ask.purpose,
        address=request.origin.address,
        reasoned=bool(ask.reason),
    )


def _known(changes: Changes, ask: Ask) -> str:
    """Return the purpose where the policy knows it: until then it is a stranger's free text."""
    return ask.purpose if ask.purpose in changes.standings.current.authority.policy.purposes else ""


def _require_ground(ask: Ask, action: Action) -> None:
    if action is not Action.SUBJECT_SHOW and ask.ground not in GROUNDS:
        raise InvalidInputError(f"ground: one of {', '.join(GROUNDS)}", field="ground", rule="unknown_ground")


def _require_any(authority: Authority, question: Question, now_us: int) -> None:
    """Refuse whoever may do this to nobody, in words that depend on nothing that was looked up."""
    policy = authority.policy
    names: Iterable[str] = policy.fields
    if question.purpose or question.action in PURPOSED:
        purpose = policy.purposes.get(question.purpose)
        if purpose is None:
            raise refusal("purpose")
        names = [name for name in policy.fields if name in purpose.fields]
    _any_of(authority, question, names, now_us)


def _any_of(authority: Authority, question: Question, names: Iterable[str], now_us: int) -> Permit:
    """Return the permit for the first field that is allowed; else raise the refusal that came furthest."""
    refusals = []
    for name in names:
        try:
            return decide(authority, replace(question, fields=(name,)), now_us)
        except AccessDeniedError as error:
            refusals.append(error.with_traceback(None))
    raise furthest(refusals) if refusals else refusal("grant_field")


def _look_up(attempt: Attempt, text: str) -> SubjectRow:
    decoded = attempt.keyring.tokens.decode_many([text])[0]
    if not isinstance(decoded, DecodedToken) or decoded.kind is not TokenKind.SUBJECT:
        _say_unknown()
    subject = rows.read_subject(attempt.connection, decoded.row_id)
    if subject is None or not compare_digest(subject.nonce, decoded.nonce):
        _say_unknown()
    return subject


def _permitted(attempt: Attempt, question: Question, subject: SubjectRow) -> Found:
    live = names_of(attempt, subject.id)
    if live:
        permit = decide(attempt.authority, replace(question, fields=tuple(live)), attempt.now_us)
    else:
        names = fields_of_kind(attempt.authority, subject.kind)
        permit = _any_of(attempt.authority, question, names, attempt.now_us)
    decision = Decision(rule=permit.rule, grants=permit.grants, revision=permit.revision)
    return Found(subject, live, decision, state_of(attempt, subject))


def fields_of_kind(authority: Authority, kind: str) -> list[str]:
    """Return the fields that subjects of ``kind`` have."""
    return [name for name, declared in authority.policy.fields.items() if declared.kind == kind]


def state_of(attempt: Attempt, subject: SubjectRow) -> SubjectState:
    """Return the state. Raises TamperDetectedError for one that is none, and alarms."""
    try:
        return SubjectState(subject.state)
    except ValueError:
        raise attempt.tampered("subject", subject.id) from None


def _say_unknown() -> NoReturn:
    raise NotFoundError(UNKNOWN) from None
