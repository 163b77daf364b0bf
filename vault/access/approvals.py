"""Decide what waits for a second person: enrolments, and grants that let something out.

Nobody decides what they asked for, what is about themselves or what they would
gain by. The decision is a sealed row of its own and the thing decided carries
who decided; both have to agree before anything is in force.
"""

from __future__ import annotations

from vault.access import departures
from vault.access.authority import StaffMember
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.decision import DENIED
from vault.access.entries import Request
from vault.access.staff import require_present
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, ConflictError, NotFoundError
from vault.domain.model import ActorKind
from vault.storage.approvals import ApprovalRow
from vault.storage.grants import GrantRow


def decide_approval(
    changes: Changes, request: Request, approval_id: str, *, approve: bool
) -> Made[ApprovalRow]:
    """Approve or refuse. For officers.

    Somebody whose enrolment is refused has left: their grants and services end
    in the same transaction.

    Raises AccessDeniedError (also for one's own), NotFoundError, ConflictError
    (decided already, or what it is about has changed).
    """

    def act(attempt: Attempt) -> Change[ApprovalRow]:
        row = attempt.authority.approvals.get(approval_id)
        if row is None:
            raise NotFoundError("no such approval")
        if row.state != "open":
            raise ConflictError("this was decided already")
        officer = attempt.authority.require_staff(request.actor.id)
        if officer.row.id in {row.proposed_by, row.target}:
            raise AccessDeniedError(DENIED, rule="own_request")
        decided = attempt.change(
            row,
            state="approved" if approve else "refused",
            decided_by=officer.row.id,
            decided_at=attempt.now_us,
        )
        if row.kind == "grant":
            _decide_grant(attempt, row.target, officer, approve=approve)
        else:
            _decide_enrolment(attempt, row.target, approve=approve)
        return Change(decided, {"approval": row.id, row.kind: row.target}, revises=True)

    return changes.make(request, Action.APPROVAL_DECIDE, act, target={"approval": approval_id})


def list_approvals(changes: Changes, request: Request) -> Made[tuple[ApprovalRow, ...]]:
    """Return every approval, oldest first. Raises AccessDeniedError."""

    def act(attempt: Attempt) -> Change[tuple[ApprovalRow, ...]]:
        return Change(tuple(attempt.authority.approvals.values()), {}, revises=False)

    return changes.make(request, Action.APPROVAL_LIST, act)


def _decide_grant(attempt: Attempt, grant_id: str, officer: StaffMember, *, approve: bool) -> None:
    grant = attempt.authority.require_grant(grant_id)
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


def _gains(officer: StaffMember, grant: GrantRow) -> bool:
    """Say whether the officer would hold this grant."""
    holders = {(ActorKind.STAFF.value, officer.row.id), ("team", officer.row.team)}
    holders |= {("role", role) for role in officer.row.roles}
    return (grant.actor_kind, grant.actor_id) in holders


def _decide_enrolment(attempt: Attempt, staff_id: str, *, approve: bool) -> None:
    row = require_present(attempt, staff_id)
    if row.state != "waiting":
        raise ConflictError("this person does not wait any more")
    after = attempt.change(row, state="active" if approve else "left")
    if not approve:
        # Whoever was invited again still holds what they were given before. Sessions and codes they have
        # none: nobody who waits does.
        departures.end_rights(attempt, after)
