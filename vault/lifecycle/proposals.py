"""Acts on a data subject that wait for the privacy officer: proposed by one, approved by another.

The proposer's right is looked at again when the officer approves: whoever has
left or lost the grant meanwhile has nothing carried out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vault.access.approval_rows import open_approval
from vault.access.authority import GrantRule, ServiceAccount, StaffMember
from vault.access.changes import Attempt
from vault.access.decision import DENIED
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, ConflictError, NotFoundError
from vault.lifecycle.asking import Ask, fields_of_kind, names_of
from vault.policy.model import READING_ROLES
from vault.storage.approvals import ApprovalRow
from vault.storage.subjects import SubjectRow, read_subject

ERASURE = "erasure"
LIFTING = "lifting"
KINDS = {ERASURE: Action.SUBJECT_ERASE, LIFTING: Action.SUBJECT_LIFT}


@dataclass(frozen=True, slots=True)
class Proposed:
    """What waits for the officer."""

    approval_id: str
    subject: str
    """Text of the id."""


def propose(attempt: Attempt, kind: str, subject: SubjectRow, ask: Ask) -> ApprovalRow:
    """Take a proposal down. Raises ConflictError while one of somebody who still may waits.

    One of somebody who may not any more is withdrawn: nobody could approve it.
    """
    for waiting in _open_about(attempt, subject.id):
        if waiting.kind != kind:
            continue
        if _still_may(attempt, waiting, subject):
            raise ConflictError("this waits for the officer already")
        withdraw(attempt, waiting)
    target = f"{subject.id}/{ask.ground}"
    return attempt.put(open_approval(kind, target, by=attempt.request.actor.id, now_us=attempt.now_us))


def proposed(attempt: Attempt, row: ApprovalRow) -> tuple[SubjectRow, str]:
    """Return subject and ground of a proposal that the officer may approve.

    Raises NotFoundError, AccessDeniedError (own_request) where the proposer is a service that the
    officer answers for, ConflictError where the proposer may not do this any more.
    """
    number, _, ground = row.target.partition("/")
    subject = read_subject(attempt.connection, int(number))
    if subject is None:
        raise NotFoundError("no such subject")
    service = attempt.authority.services.get(row.proposed_by)
    if service is not None and service.row.owner == attempt.request.actor.id:
        raise AccessDeniedError(DENIED, rule="own_request")
    if not _still_may(attempt, row, subject):
        raise ConflictError("whoever proposed this may not any more: refuse it, and have it proposed again")
    return subject, ground


def withdraw_others(attempt: Attempt, subject_id: int, decided: ApprovalRow) -> None:
    """Withdraw what else waits about a subject that is gone."""
    for waiting in _open_about(attempt, subject_id):
        if waiting.id != decided.id:
            withdraw(attempt, waiting)


def withdraw(attempt: Attempt, row: ApprovalRow) -> None:
    """Close a proposal as refused, by whoever acts."""
    attempt.change(row, state="refused", decided_by=attempt.request.actor.id, decided_at=attempt.now_us)


def _open_about(attempt: Attempt, subject_id: int) -> Iterable[ApprovalRow]:
    return [
        row
        for row in attempt.authority.approvals.values()
        if row.state == "open" and row.kind in KINDS and row.target.partition("/")[0] == str(subject_id)
    ]


def _still_may(attempt: Attempt, row: ApprovalRow, subject: SubjectRow) -> bool:
    """Say whether the proposer holds what the proposal took, for the fields as they are now.

    Address and credential are not looked at: they were when it was proposed, and nobody is asking now.
    """
    authority = attempt.authority
    holder = authority.staff.get(row.proposed_by) or authority.services.get(row.proposed_by)
    if holder is None or not _acts(holder):
        return False
    action, now_us = KINDS[row.kind], attempt.now_us
    covered = {name for grant in holder.grants if _counts(grant, action, now_us) for name in grant.fields}
    live = names_of(attempt, subject.id)
    if live:
        return covered.issuperset(live)
    return not covered.isdisjoint(fields_of_kind(authority, subject.kind))


def _acts(holder: StaffMember | ServiceAccount) -> bool:
    if holder.row.state != "active":
        return False
    if isinstance(holder, ServiceAccount):
        return holder.owner_active
    return not READING_ROLES.isdisjoint(holder.row.roles)


def _counts(grant: GrantRule, action: Action, now_us: int) -> bool:
    return grant.approved and action in grant.actions and grant.valid_from <= now_us < grant.valid_until
