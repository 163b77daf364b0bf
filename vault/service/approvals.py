"""Approvals: what waits for a second person, and the decision."""

from __future__ import annotations

from typing import Final

from vault.access.approvals import DECIDERS, decide_approval, list_approvals
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.domain.model import Role
from vault.lifecycle import erasure, restriction
from vault.lifecycle.erasure import Scan
from vault.lifecycle.proposals import ERASURE, LIFTING
from vault.rotation import destruction
from vault.storage.approvals import ApprovalRow

ALL_DECIDERS: Final = {
    **DECIDERS,
    destruction.KIND: destruction.DECIDER,
    LIFTING: restriction.DECIDER,
}
"""Of every kind but erasures, which take a look at the database first."""


class Approvals:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def decide(self, request: Request, approval_id: str, *, approve: bool) -> Made[ApprovalRow]:
        """Approve or refuse. Raises AccessDeniedError, NotFoundError, ConflictError."""
        found = self._scanned(request, approval_id) if approve else None
        deciders = {**ALL_DECIDERS, ERASURE: erasure.decider(found)}
        return decide_approval(self._changes, request, approval_id, approve=approve, deciders=deciders)

    def _scanned(self, request: Request, approval_id: str) -> Scan | None:
        """Return what an erasure needs looked up before its transaction; None for anything else."""
        authority = self._changes.standing(request.now_us).authority
        row = authority.approvals.get(approval_id)
        if row is None or (row.kind, row.state) != (ERASURE, "open"):
            return None
        person = authority.staff.get(request.actor.id)
        # Nobody else's decision comes to anything, so nobody else has the vault search.
        if person is None or Role.OFFICER not in person.row.roles:
            return None
        return erasure.scan(self._changes, row)

    def list(self, request: Request) -> Made[tuple[ApprovalRow, ...]]:
        """Return every approval. Raises AccessDeniedError."""
        return list_approvals(self._changes, request)


__all__ = ["ApprovalRow", "Approvals"]
