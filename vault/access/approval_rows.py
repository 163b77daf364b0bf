"""Open a request for the officer's decision. Deciding is in ``approvals``."""

from __future__ import annotations

from vault.access.identities import new_approval_id
from vault.storage.approvals import ApprovalRow


def open_approval(kind: str, target: str, *, by: str, now_us: int) -> ApprovalRow:
    """Return the unsealed row of a request: ``kind`` is ``enrolment`` or ``grant``."""
    return ApprovalRow(
        id=new_approval_id(),
        kind=kind,
        target=target,
        proposed_by=by,
        proposed_at=now_us,
        state="open",
        decided_by="",
        decided_at=None,
        version=1,
        mac=b"",
    )
