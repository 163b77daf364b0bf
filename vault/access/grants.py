"""Grants: who may do what with which fields, for which purpose, until when.

An administrator proposes. A grant that can yield plaintext, or that lets a
service see anything, is in force only when an officer has approved it; a
narrower one is in force at once. Rows are
never changed: what becomes of a grant is another version of it, so its whole
history stays (고시 Std 5(3), three years).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vault.access.approval_rows import open_approval
from vault.access.authority import Authority, needs_approval
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.decision import PURPOSED
from vault.access.departures import end_grant
from vault.access.entries import Request
from vault.access.identities import DAY_US, new_grant_id
from vault.access.naming import require_team
from vault.access.networks import parse_networks
from vault.domain.actions import GRANTABLE, Action
from vault.domain.errors import ConflictError, InvalidInputError
from vault.domain.model import ActorKind, Reveal
from vault.fields.notes import normalise_note
from vault.policy.model import READING_ROLES
from vault.storage.grants import GrantRow, grant_history

DEFAULT_DAYS: Final = 90
LONGEST_DAYS: Final = 365

TEAM: Final = "team"
ROLE: Final = "role"
HOLDERS: Final = (ActorKind.STAFF.value, ActorKind.SERVICE.value, TEAM, ROLE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a grant is to allow. Lists are explicit; there is no wildcard."""

    holder_kind: str
    """``staff``, ``service``, ``team`` or ``role``."""
    holder: str
    """Id of the person or service, code of the team, or name of the role."""
    actions: tuple[str, ...]
    fields: tuple[str, ...]
    purposes: tuple[str, ...]
    reason: str
    reveal: Reveal | None = None
    networks: tuple[str, ...] = ()
    days: int = DEFAULT_DAYS


@dataclass(frozen=True, slots=True)
class Proposed:
    """A grant as it was taken down: ``active``, or ``proposed`` until the officer has decided."""

    grant_id: str
    state: str
    approval_id: str
    """Empty for a grant that needs no approval."""
    valid_until: int


def propose(changes: Changes, request: Request, terms: Terms) -> Made[Proposed]:
    """Take a grant down. For administrators.

    Raises AccessDeniedError, InvalidInputError, NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[Proposed]:
        row = attempt.put(_row(attempt, terms))
        approval_id = ""
        if row.state == "proposed":
            by = attempt.request.actor.id
            approval_id = attempt.put(open_approval("grant", row.id, by=by, now_us=attempt.now_us)).id
        proposed = Proposed(row.id, row.state, approval_id, row.valid_until)
        return Change(proposed, {"grant": row.id}, revises=True)

    return changes.make(request, Action.GRANT_PROPOSE, act)


def revoke(changes: Changes, request: Request, grant_id: str) -> Made[None]:
    """End a grant, or withdraw one that waits. For administrators and officers.

    No plaintext is released under it once this has returned, on any node.
    Raises AccessDeniedError, NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[None]:
        row = attempt.authority.require_grant(grant_id)
        if row.state not in {"active", "proposed"}:
            raise ConflictError("the grant is not in force and waits for nobody")
        end_grant(attempt, grant_id)
        return Change(None, {"grant": grant_id}, revises=True)

    return changes.make(request, Action.GRANT_REVOKE, act, target={"grant": grant_id})


def list_grants(changes: Changes, request: Request) -> Made[tuple[GrantRow, ...]]:
    """Return every grant as it is now. Raises AccessDeniedError."""

    def act(attempt: Attempt) -> Change[tuple[GrantRow, ...]]:
        return Change(tuple(attempt.authority.grants.values()), {}, revises=False)

    return changes.make(request, Action.GRANT_LIST, act)


def history(changes: Changes, request: Request, grant_id: str) -> Made[tuple[GrantRow, ...]]:
    """Return every version of one grant, oldest first.

    Raises AccessDeniedError, NotFoundError, TamperDetectedError.
    """

    def act(attempt: Attempt) -> Change[tuple[GrantRow, ...]]:
        attempt.authority.require_grant(grant_id)
        rows = tuple(map(attempt.genuine, grant_history(attempt.connection, grant_id)))
        return Change(rows, {"grant": grant_id}, revises=False)

    return changes.make(request, Action.GRANT_LIST, act, target={"grant": grant_id})


def _row(attempt: Attempt, terms: Terms) -> GrantRow:
    if not 1 <= terms.days <= LONGEST_DAYS:
        raise InvalidInputError("a grant is good for 1 to 365 days", field="days", rule="range")
    holder_kind, holder = _require_holder(attempt.authority, terms)
    _require_scope(attempt.authority, terms)
    row = GrantRow(
        id=new_grant_id(),
        actor_kind=holder_kind,
        actor_id=holder,
        actions=tuple(sorted(set(terms.actions))),
        fields=tuple(sorted(set(terms.fields))),
        purposes=tuple(sorted(set(terms.purposes))),
        reveal=terms.reveal.value if terms.reveal else "",
        networks=tuple(map(str, parse_networks(terms.networks))),
        valid_from=attempt.now_us,
        valid_until=attempt.now_us + terms.days * DAY_US,
        state="active",
        proposed_by=attempt.request.actor.id,
        decided_by="",
        reason=normalise_note(terms.reason, field="reason"),
        changed_at=attempt.now_us,
        version=1,
        mac=b"",
    )
    return replace(row, state="proposed") if needs_approval(row) else row


def _require_holder(authority: Authority, terms: Terms) -> tuple[str, str]:
    """Return kind and id of a holder that may hold grants. Raises InvalidInputError and others."""
    kind, holder = terms.holder_kind, terms.holder
    if kind == ActorKind.STAFF:
        member = authority.require_staff(holder)
        if member.row.state == "left":
            raise ConflictError("this person has left")
        _require_reading(member.row.roles)
    elif kind == ActorKind.SERVICE:
        if authority.require_service(holder).row.state != "active":
            raise ConflictError("the service is revoked")
    elif kind == ROLE:
        _require_reading((holder,))
    elif kind != TEAM or not require_team(holder):
        raise InvalidInputError(f"a holder is one of {', '.join(HOLDERS)}", field="holder", rule="kind")
    return kind, holder


def _require_reading(roles: tuple[str, ...]) -> None:
    if READING_ROLES.isdisjoint(roles):
        raise InvalidInputError("this role never reads personal data", field="holder", rule="role")


def _require_scope(authority: Authority, terms: Terms) -> None:
    """Refuse a grant that the policy could never let through, so that no grant misleads its readers."""
    policy = authority.require_policy()
    if not terms.actions or not GRANTABLE.issuperset(terms.actions):
        known = ", ".join(sorted(GRANTABLE))
        raise InvalidInputError(f"actions are some of {known}", field="actions", rule="action")
    if not terms.fields or not policy.fields.keys() >= set(terms.fields):
        raise InvalidInputError(
            "fields are some that the policy declares", field="fields", rule="unknown_field"
        )
    searched = Action.TOKEN_SEARCH in terms.actions
    if searched and not any(policy.fields[name].type.searchable for name in terms.fields):
        raise InvalidInputError("none of these fields can be searched", field="fields", rule="not_searchable")
    if not policy.purposes.keys() >= set(terms.purposes):
        raise InvalidInputError("the policy has no such purpose", field="purposes", rule="unknown_purpose")
    if not PURPOSED.isdisjoint(terms.actions) and not terms.purposes:
        raise InvalidInputError("these actions need a purpose", field="purposes", rule="required")
    used = {name for code in terms.purposes for name in policy.purposes[code].fields}
    if terms.purposes and not used.issuperset(terms.fields):
        raise InvalidInputError("no purpose of these uses this field", field="fields", rule="purpose_field")
    if (terms.reveal is not None) is not (Action.TOKEN_DETOKENIZE in terms.actions):
        raise InvalidInputError(
            "a reveal level goes with token:detokenize and only with it", field="reveal", rule="reveal"
        )
