"""Decide whether an act is allowed: a pure function of what was loaded, the question and the time.

An act is allowed when every condition holds; there is no condition that allows
by itself and none that another can overrule, so their order changes which one
is named in the log and nothing else. The rules, in that order:

==================  =====================================================================
``actor``           the person or service is known, active and its row verifies
``owner``           the person who answers for the service is active
``credential``      the credential is alive; the password is not past its age and grace
``password_age``    plaintext only: the password is not past its age
``network``         the service may come from this address
``role``            staff: the role may do this at all
``purpose``         the policy knows the purpose
``purpose_role``    the purpose is open to this role, team or kind of actor
``purpose_field``   the purpose uses the field
``reason``          a reason was given where the purpose wants one
``grant``           some grant is held
``grant_…``         one grant covers ``action``, ``field``, ``purpose``, ``reveal``, ``network``
                    and ``time``
``grant_approval``  and is in force: approved by another person where it has to be
==================  =====================================================================

What is unknown and what is forbidden raise the same error with the same text;
``rule`` is for the log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vault.access.authority import Authority, GrantRule, HeldCredential, ServiceAccount, StaffMember
from vault.access.identities import DAY_US
from vault.access.networks import within
from vault.access.roles import permitted
from vault.domain.actions import GRANTABLE, Action
from vault.domain.errors import AccessDeniedError, PurposeNotAllowedError
from vault.domain.model import Actor, ActorKind, Reveal
from vault.policy.model import READING_ROLES
from vault.policy.policy import Policy
from vault.storage.services import CredentialRow

PASSWORD_AGE_US: Final = 90 * DAY_US
"""A password older than this yields no plaintext: the published policy promises renewal."""

PASSWORD_GRACE_US: Final = 7 * DAY_US
"""So much longer one may log in, to renew it. After that only a new invitation helps."""

DENIED: Final = "you may not do this, or it does not exist"
PURPOSE_CLOSED: Final = "this purpose does not exist or is not open to you"

PURPOSED: Final = frozenset({Action.TOKEN_DETOKENIZE, Action.TOKEN_SEARCH, Action.TOKEN_TOKENIZE})
"""Acts that must name a purpose. The others touch no value; where they name one it counts as well."""

_OF_PURPOSE: Final = frozenset({"purpose", "purpose_role", "purpose_field", "grant_purpose"})

FOREVER: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks to do. Of ``actor`` only kind, id and session count; the rest is loaded."""

    actor: Actor
    action: Action
    fields: tuple[str, ...] = ()
    purpose: str = ""
    reveal: Reveal | None = None
    address: str = ""
    reasoned: bool = False
    """Whether a reason was given. The reason itself decides nothing."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer yes, with what it rests on."""

    rule: str
    """``grant``, or ``role`` for an act that goes with a role."""
    grants: tuple[str, ...]
    """Ids of the grants it rests on, each once, in the order of the fields."""
    revision: int
    """What was loaded; at another revision the answer must be asked for again."""
    until_us: int
    """At this time at the latest the answer must be asked for again."""


@dataclass(frozen=True, slots=True)
class Conjunct:
    """One condition of an explained decision."""

    rule: str
    passed: bool


class _Basis:
    """What a decision in the making rests on: grants, and when each thing it rests on lapses."""

    __slots__ = ("grants", "limits")

    def __init__(self) -> None:
        self.grants: list[GrantRule] = []
        self.limits: list[int] = []


def decide(authority: Authority, question: Question, now_us: int) -> Permit:
    """Return a permit for all of ``question.fields``. HOT: microseconds.

    Raises PurposeNotAllowedError for a purpose that is unknown or closed to
    actor or field, AccessDeniedError otherwise; ``rule`` names the condition.
    """
    basis = _Basis()
    for rule, passed in _conditions(authority, question, now_us, basis):
        if not passed:
            raise refusal(rule)
    return Permit(
        rule="grant" if basis.grants else "role",
        grants=tuple(dict.fromkeys([grant.id for grant in basis.grants])),
        revision=authority.revision,
        until_us=min(basis.limits),
    )


def explain(authority: Authority, question: Question, now_us: int) -> tuple[Conjunct, ...]:
    """Return every condition that applies, and whether it holds. All hold exactly when ``decide`` permits."""
    return tuple(Conjunct(*held) for held in _conditions(authority, question, now_us, _Basis()))


def refusal(rule: str) -> AccessDeniedError:
    """Return the error of a failed condition. Its text does not depend on what failed."""
    if rule in _OF_PURPOSE:
        return PurposeNotAllowedError(PURPOSE_CLOSED, rule=rule)
    return AccessDeniedError(DENIED, rule=rule)


def _conditions(
    authority: Authority, question: Question, now_us: int, basis: _Basis
) -> Iterator[tuple[str, bool]]:
    """Yield each condition in turn: its rule, and whether it holds."""
    actor = question.actor
    holder: StaffMember | ServiceAccount | None = None
    if actor.kind is ActorKind.STAFF:
        holder = authority.staff.get(actor.id)
    elif actor.kind is ActorKind.SERVICE:
        holder = authority.services.get(actor.id)
    yield "actor", holder is not None and holder.row.state == "active"
    if holder is None:
        return
    if isinstance(holder, StaffMember):
        yield from _of_staff(holder, question, now_us, basis)
    else:
        held = authority.credentials_by_id.get(actor.session)
        yield from _of_service(holder, held, question, now_us)
        if held is not None:
            basis.limits.append(ends_at(held.row))
    if question.action in GRANTABLE:
        yield from _of_purpose(authority.policy, holder, question)
        yield from _of_grants(holder.grants, question, now_us, basis)


def _of_staff(
    member: StaffMember, question: Question, now_us: int, basis: _Basis
) -> Iterator[tuple[str, bool]]:
    set_at = -FOREVER if member.password_set_at is None else member.password_set_at
    limit = set_at + PASSWORD_AGE_US + PASSWORD_GRACE_US
    yield "credential", now_us < limit
    if question.reveal is Reveal.PLAIN:
        limit = set_at + PASSWORD_AGE_US
        yield "password_age", now_us < limit
    basis.limits.append(limit)
    if question.action in GRANTABLE:
        yield "role", not READING_ROLES.isdisjoint(member.row.roles)
    else:
        yield "role", permitted(question.action, member.row.roles)


def _of_service(
    account: ServiceAccount, held: HeldCredential | None, question: Question, now_us: int
) -> Iterator[tuple[str, bool]]:
    yield "owner", account.owner_active
    yield "credential", held is not None and held.service is account and now_us < ends_at(held.row)
    yield "network", within(question.address, account.networks)
    yield "role", question.action in GRANTABLE


def ends_at(row: CredentialRow) -> int:
    """Return when a credential stops: its expiry, or its revocation if that is earlier."""
    return row.expires_at if row.revoked_at is None else min(row.expires_at, row.revoked_at)


def _of_purpose(
    policy: Policy, holder: StaffMember | ServiceAccount, question: Question
) -> Iterator[tuple[str, bool]]:
    if not question.purpose and question.action not in PURPOSED:
        return
    purpose = policy.purposes.get(question.purpose)
    yield "purpose", purpose is not None
    if purpose is None:
        return
    try:
        purpose.require_actor(holder.actor)
    except PurposeNotAllowedError:
        yield "purpose_role", False
    else:
        yield "purpose_role", True
    yield "purpose_field", purpose.fields.issuperset(question.fields)
    if question.action in PURPOSED:
        yield "reason", question.reasoned or not purpose.reason_required


def _of_grants(
    grants: tuple[GrantRule, ...], question: Question, now_us: int, basis: _Basis
) -> Iterator[tuple[str, bool]]:
    yield "grant", bool(grants and question.fields)
    for name in question.fields if grants else ():
        candidates: Sequence[GrantRule] = grants
        for rule, covers in _COVERS:
            covering = [grant for grant in candidates if covers(grant, question, name, now_us)]
            yield rule, bool(covering)
            # After a failure the rest is explained for the grants that came furthest.
            candidates = covering or candidates
        basis.grants.append(candidates[0])
        basis.limits.append(candidates[0].valid_until)


def _covers_action(grant: GrantRule, question: Question, _name: str, _now_us: int) -> bool:
    return question.action in grant.actions


def _covers_field(grant: GrantRule, _question: Question, name: str, _now_us: int) -> bool:
    return name in grant.fields


def _covers_purpose(grant: GrantRule, question: Question, _name: str, _now_us: int) -> bool:
    return question.purpose in grant.purposes if question.purpose else question.action not in PURPOSED


def _covers_reveal(grant: GrantRule, question: Question, _name: str, _now_us: int) -> bool:
    if question.reveal is None:
        return question.action is not Action.TOKEN_DETOKENIZE
    return question.reveal in grant.reveals


def _covers_network(grant: GrantRule, question: Question, _name: str, _now_us: int) -> bool:
    return within(question.address, grant.networks)


def _covers_time(grant: GrantRule, _question: Question, _name: str, now_us: int) -> bool:
    return grant.valid_from <= now_us < grant.valid_until


def _is_approved(grant: GrantRule, _question: Question, _name: str, _now_us: int) -> bool:
    return grant.approved


_COVERS: Final[tuple[tuple[str, Callable[[GrantRule, Question, str, int], bool]], ...]] = (
    ("grant_action", _covers_action),
    ("grant_field", _covers_field),
    ("grant_purpose", _covers_purpose),
    ("grant_reveal", _covers_reveal),
    ("grant_network", _covers_network),
    ("grant_time", _covers_time),
    ("grant_approval", _is_approved),
)
"""One grant has to pass all of them: two grants do not add up to one."""

RULES: Final = (
    *("actor", "owner", "credential", "password_age", "network", "role"),
    *("purpose", "purpose_role", "purpose_field", "reason", "grant"),
    *(rule for rule, _ in _COVERS),
)
"""Every rule, in the order it is looked at."""


def furthest(refusals: Iterable[AccessDeniedError]) -> AccessDeniedError:
    """Return the refusal that came furthest: the one that says most about what is missing."""
    return max(refusals, key=lambda refused: RULES.index(refused.rule))
