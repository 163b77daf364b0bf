"""Approvals: what waits for a second person, and the decision."""

from __future__ import annotations

from vault.access.approvals import decide_approval, list_approvals
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.storage.approvals import ApprovalRow


class Approvals:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def decide(self, request: Request, approval_id: str, *, approve: bool) -> Made[ApprovalRow]:
        """Approve or refuse. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return decide_approval(self._changes, request, approval_id, approve=approve)

    def list(self, request: Request) -> Made[tuple[ApprovalRow, ...]]:
        """Return every approval. Raises AccessDeniedError."""
        return list_approvals(self._changes, request)


__all__ = ["ApprovalRow", "Approvals"]
