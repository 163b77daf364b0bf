"""Approvals: what waits for a second person, and the decision."""

from __future__ import annotations

from typing import Final

from vault.access.approvals import DECIDERS, decide_approval, list_approvals
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.rotation import destruction
from vault.storage.approvals import ApprovalRow

ALL_DECIDERS: Final = {**DECIDERS, destruction.KIND: destruction.DECIDER}


class Approvals:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def decide(self, request: Request, approval_id: str, *, approve: bool) -> Made[ApprovalRow]:
        """Approve or refuse. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return decide_approval(self._changes, request, approval_id, approve=approve, deciders=ALL_DECIDERS)

    def list(self, request: Request) -> Made[tuple[ApprovalRow, ...]]:
        """Return every approval. Raises AccessDeniedError."""
        return list_approvals(self._changes, request)


__all__ = ["ApprovalRow", "Approvals"]
