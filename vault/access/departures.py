"""What ends with a person's account, or with their enrolment."""

from __future__ import annotations

from vault.access.authority import ServiceAccount
from vault.access.changes import Attempt
from vault.access.decision import ends_at
from vault.domain.model import ActorKind
from vault.storage.grants import GrantRow
from vault.storage.services import ENDED
from vault.storage.sessions import close_sessions_of
from vault.storage.staff import StaffRow, open_invitations


def end_enrolment(attempt: Attempt, row: StaffRow) -> None:
    """End a person's sessions, unused invitations and pending enrolment."""
    close_sessions_of(attempt.connection, row.id, attempt.now_us)
    for invitation in attempt.sifted(open_invitations(attempt.connection, row.id)):
        attempt.change(invitation, used_at=attempt.now_us)
    _withdraw(attempt, "enrolment", row.id)


def end_rights(attempt: Attempt, row: StaffRow) -> None:
    """End a person's grants, the services they answer for, and what they proposed and nobody decided."""
    _withdraw_proposals(attempt, row.id)
    owned = [found for found in attempt.authority.services.values() if found.row.owner == row.id]
    holders = {(ActorKind.STAFF.value, row.id)}
    for account in owned:
        if account.row.state == "active":
            _stop(attempt, account)
            holders.add((ActorKind.SERVICE.value, account.row.id))
    for grant in _living(attempt):
        abandoned = grant.state == "proposed" and grant.proposed_by == row.id
        if abandoned or (grant.actor_kind, grant.actor_id) in holders:
            end_grant(attempt, grant.id)


def end_service(attempt: Attempt, account: ServiceAccount) -> None:
    """Stop a service for good: its credentials and grants end with it."""
    _stop(attempt, account)
    for grant in _living(attempt):
        if (grant.actor_kind, grant.actor_id) == (ActorKind.SERVICE, account.row.id):
            end_grant(attempt, grant.id)


def _stop(attempt: Attempt, account: ServiceAccount) -> None:
    attempt.change(account.row, state="revoked")
    for credential in account.credentials:
        if ends_at(credential) > attempt.now_us:
            attempt.change(credential, revoked_at=ENDED)


def _living(attempt: Attempt) -> list[GrantRow]:
    return [row for row in attempt.authority.grants.values() if row.state in {"active", "proposed"}]


def end_grant(attempt: Attempt, grant_id: str) -> None:
    """Revoke one grant, and withdraw the approval it waits for."""
    _withdraw(attempt, "grant", grant_id)
    attempt.add_version(
        attempt.authority.grants[grant_id],
        state="revoked",
        decided_by=attempt.request.actor.id,
        changed_at=attempt.now_us,
    )


def _withdraw_proposals(attempt: Attempt, staff_id: str) -> None:
    """Withdraw what a person proposed about keys and nobody decided: it would be one person's act."""
    for approval in attempt.authority.approvals.values():
        if (approval.kind, approval.proposed_by, approval.state) == ("key", staff_id, "open"):
            _withdraw(attempt, approval.kind, approval.target)


def _withdraw(attempt: Attempt, kind: str, target: str) -> None:
    for approval in attempt.authority.approvals.values():
        if (approval.kind, approval.target, approval.state) == (kind, target, "open"):
            attempt.change(
                approval,
                state="refused",
                decided_by=attempt.request.actor.id,
                decided_at=attempt.now_us,
            )
