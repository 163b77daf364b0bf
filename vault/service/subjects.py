"""Data subjects: show, restrict, ask the officer to lift a restriction or to erase somebody."""

from __future__ import annotations

from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.lifecycle import erasure, restriction, showing
from vault.lifecycle.asking import GROUNDS, Ask
from vault.lifecycle.proposals import Proposed
from vault.lifecycle.showing import SubjectView


class Subjects:
    """Thread-safe. Each act raises AccessDeniedError, NotFoundError (unknown, or not for the caller)."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def show(self, request: Request, ask: Ask) -> Made[SubjectView]:
        """Show state and number of live tokens; no value. Raises TamperDetectedError."""
        return showing.show(self._changes, request, ask)

    def restrict(self, request: Request, ask: Ask) -> Made[str]:
        """Restrict at once; return the id. Raises ConflictError, InvalidInputError, SubjectErasedError."""
        return restriction.restrict(self._changes, request, ask)

    def lift(self, request: Request, ask: Ask) -> Made[Proposed]:
        """Ask the officer to lift a restriction.

        Raises ConflictError, InvalidInputError, SubjectErasedError.
        """
        return restriction.propose_lifting(self._changes, request, ask)

    def erase(self, request: Request, ask: Ask) -> Made[Proposed]:
        """Ask the officer to erase somebody. Raises ConflictError, InvalidInputError, SubjectErasedError."""
        return erasure.propose(self._changes, request, ask)


__all__ = ["GROUNDS", "Ask", "Proposed", "SubjectView", "Subjects"]
