"""Decide what waits for a second person: enrolments, grants that let something out, and acts on keys.

Nobody decides what they asked for, what is about themselves or what they would
gain by. The decision is a sealed row of its own and the thing decided carries
who decided; both have to agree before anything is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn

from vault.access import departures
from vault.access.authority import StaffMember
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.decision import DENIED
from vault.access.entries import Request
from vault.access.sealing import Alarm, sift
from vault.access.staff import require_present
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, ConflictError, NotFoundError
from vault.domain.model import ActorKind, Role
from vault.storage.approvals import ApprovalRow, all_approvals, one_approval
from vault.storage.grants import GrantRow

Decided = tuple[tuple[Action, dict[str, str]], ...]
"""What the log says beside the decision itself: an act and its target for each entry."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides one kind of approval, and what the decision does."""

    role: Role
    carry_out: Callable[..., Decided]
    """Called with attempt, row and ``approve``, in the transaction of the decision."""


def decide_approval(
    changes: Changes,
    request: Request,
    approval_id: str,
    *,
    approve: bool,
    deciders: Mapping[str, Decider] | None = None,
) -> Made[ApprovalRow]:
    """Approve or refuse. ``deciders`` says for each kind who may, and carries it out; else ``DECIDERS``.

    Somebody whose enrolment is refused has left: their grants and services end
    in the same transaction.

    Raises AccessDeniedError (also for one's own), NotFoundError, ConflictError
    (decided already, or what it is about has changed).
    """

    def act(attempt: Attempt) -> Change[ApprovalRow]:
        row = attempt.authority.approvals.get(approval_id)
        if row is None or row.state != "open":
            _refuse_decided(attempt, approval_id)
        decider = (deciders or DECIDERS)[row.kind]
        person = attempt.authority.require_staff(request.actor.id)
        if decider.role not in person.row.roles:
            raise AccessDeniedError(DENIED, rule="role")
        # What somebody asked for themselves they may take back.
        if person.row.id == row.target or (approve and person.row.id == row.proposed_by):
            raise AccessDeniedError(DENIED, rule="own_request")
        decided = attempt.change(
            row,
            state="approved" if approve else "refused",
            decided_by=person.row.id,
            decided_at=attempt.now_us,
        )
        also = decider.carry_out(attempt, row, approve=approve)
        return Change(decided, {"approval": row.id, row.kind: row.target}, revises=True, also=also)

    return changes.make(request, Action.APPROVAL_DECIDE, act, target={"approval": approval_id})


def list_approvals(changes: Changes, request: Request) -> Made[tuple[ApprovalRow, ...]]:
    """Return every approval, oldest first. Raises AccessDeniedError."""
    planted: set[Alarm] = set()

    def act(attempt: Attempt) -> Change[tuple[ApprovalRow, ...]]:
        genuine = sift(attempt.keyring.authority, all_approvals(attempt.connection), planted)
        return Change(tuple(genuine), {}, revises=False)

    made = changes.make(request, Action.APPROVAL_LIST, act)
    changes.alarms.report(sorted(planted), now_us=request.now_us)
    return made


def _refuse_decided(attempt: Attempt, approval_id: str) -> NoReturn:
    """Raise ConflictError for an approval that was decided, NotFoundError for one that is none of ours."""
    row = one_approval(attempt.connection, approval_id)
    genuine = sift(attempt.keyring.authority, [] if row is None else [row], set())
    if genuine and genuine[0].state != "open":
        raise ConflictError("this was decided already")
    raise NotFoundError("no such approval")


def _decide_grant(attempt: Attempt, row: ApprovalRow, *, approve: bool) -> Decided:
    grant = attempt.authority.require_grant(row.target)
    officer = attempt.authority.require_staff(attempt.request.actor.id)
    if grant.state != "proposed":
        raise ConflictError("the grant does not wait any more")
    if approve and _gains(officer, grant):
        raise AccessDeniedError(DENIED, rule="own_benefit")
    attempt.add_version(
        grant,
        state="active" if approve else "refused",
        decided_by=officer.row.id,
        changed_at=attempt.now_us,
    )
    return ()


def _gains(officer: StaffMember, grant: GrantRow) -> bool:
    """Say whether the officer would hold this grant."""
    holders = {(ActorKind.STAFF.value, officer.row.id), ("team", officer.row.team)}
    holders |= {("role", role) for role in officer.row.roles}
    return (grant.actor_kind, grant.actor_id) in holders


def _decide_enrolment(attempt: Attempt, row: ApprovalRow, *, approve: bool) -> Decided:
    person = require_present(attempt, row.target)
    if person.state != "waiting":
        raise ConflictError("this person does not wait any more")
    after = attempt.change(person, state="active" if approve else "left")
    if not approve:
        # Whoever was invited again still holds what they were given before. Sessions and codes they have
        # none: nobody who waits does.
        departures.end_rights(attempt, after)
    return ()


DECIDERS: Final = MappingProxyType(
    {
        "enrolment": Decider(Role.OFFICER, _decide_enrolment),
        "grant": Decider(Role.OFFICER, _decide_grant),
    }
)
"""Of what this package knows; others bring their own."""
