"""Keys: list, rotate, re-wrap, census, destroy."""

from __future__ import annotations

from keys.keyring import KeyKind
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.rotation import census, destruction, epochs, jobs
from vault.rotation.census import Hanging
from vault.rotation.destruction import Proposed
from vault.rotation.epochs import KeyInfo, Rotated
from vault.rotation.jobs import JobView


class Keys:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def list(self, request: Request) -> list[KeyInfo]:
        """List every key, its state and what hangs on it. Raises AccessDeniedError."""
        return epochs.list_keys(self._changes, request)

    def rotate(self, request: Request, *, kind: str = "wrapping", scope: str = "") -> Rotated:
        """Make and activate the next version of a key.

        Raises AccessDeniedError, InvalidInputError, NotFoundError.
        """
        return epochs.rotate(self._changes, request, KeyKind(kind), scope)

    def rewrap(self, request: Request) -> Made[JobView]:
        """Start the re-wrap of what hangs on other epochs, or join it. Raises AccessDeniedError."""
        return jobs.start_rewrap(self._changes, request)

    def redigest(self, request: Request, scope: str) -> Made[JobView]:
        """Start to digest anew what hangs on older lookup keys of ``scope``, or join it.

        Raises AccessDeniedError, ConflictError, NotFoundError.
        """
        return jobs.start_redigest(self._changes, request, scope)

    def reseal(self, request: Request, kind: str) -> Made[JobView]:
        """Start to seal anew what hangs on older authority or staff-data keys, or join it.

        Raises AccessDeniedError, ConflictError, InvalidInputError.
        """
        return jobs.start_reseal(self._changes, request, kind)

    def jobs(self, request: Request) -> Made[tuple[JobView, ...]]:
        """Return the jobs that run or ran last, with their progress. Raises AccessDeniedError."""
        return jobs.list_jobs(self._changes, request)

    def census(self, request: Request) -> Made[tuple[Hanging, ...]]:
        """Count what hangs on each key, in one snapshot. Raises AccessDeniedError."""
        return census.take_census(self._changes, request)

    def destroy(self, request: Request, *, kind: str, scope: str, version: int) -> Made[Proposed]:
        """Ask another administrator to destroy a key.

        Raises AccessDeniedError, ConflictError, InvalidInputError, NotFoundError.
        """
        return destruction.propose(self._changes, request, kind=kind, scope=scope, version=version)


__all__ = ["Hanging", "JobView", "KeyInfo", "Keys", "Proposed", "Rotated"]
