"""Grants: propose, revoke, list."""

from __future__ import annotations

from vault.access import grants
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.access.grants import DEFAULT_DAYS, Proposed, Terms
from vault.storage.grants import GrantRow


class Grants:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def propose(self, request: Request, terms: Terms) -> Made[Proposed]:
        """Take a grant down. Raises AccessDeniedError, InvalidInputError, NotFoundError, ConflictError."""
        return grants.propose(self._changes, request, terms)

    def revoke(self, request: Request, grant_id: str) -> Made[None]:
        """End a grant, or withdraw one. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return grants.revoke(self._changes, request, grant_id)

    def list(self, request: Request) -> Made[tuple[GrantRow, ...]]:
        """Return every grant as it is now. Raises AccessDeniedError."""
        return grants.list_grants(self._changes, request)


__all__ = ["DEFAULT_DAYS", "GrantRow", "Grants", "Proposed", "Terms"]
