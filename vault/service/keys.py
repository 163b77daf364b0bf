"""Keys: list, rotate, suspend, compromise, re-wrap, re-encrypt, census, destroy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keys.keyring import KeyKind
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.lifecycle.bound import Bound, Part, read_bound
from vault.rotation import census, compromise, destruction, epochs, jobs, suspension
from vault.rotation.census import Hanging
from vault.rotation.compromise import Compromised
from vault.rotation.destruction import Proposed
from vault.rotation.epochs import KeyInfo, Rotated
from vault.rotation.jobs import JobView
from vault.rotation.suspension import Doubted
from vault.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Listing:
    """Every key, and the bound of copies of the database of today."""

    keys: list[KeyInfo]
    bound: Bound


class Keys:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def list(self, request: Request) -> Listing:
        """List every key, and the day by which copies of the database of today are dead, in one snapshot.

        Raises AccessDeniedError.
        """

        def look(connection: Connection, standing: Standing) -> Listing:
            infos = epochs.list_keys(connection, standing, request.now_us)
            return Listing(infos, read_bound(connection, standing.authority.policy.cryptoperiods))

        return self._changes.observe(request, Action.KEY_LIST, look).value

    def rotate(
        self, request: Request, *, kind: str = "wrapping", scope: str = "", reason: str = ""
    ) -> Made[Rotated]:
        """Make and activate the next version of a key.

        Raises AccessDeniedError, InvalidInputError, NotFoundError.
        """
        return epochs.rotate(self._changes, replace(request, reason=reason), KeyKind(kind), scope)

    def suspend(self, request: Request, *, kind: str, version: int, reason: str) -> Made[Doubted]:
        """Have nothing open under a wrapping key until it is resumed or known to be compromised.

        Raises AccessDeniedError, ConflictError, InvalidInputError, NotFoundError.
        """
        asked = replace(request, reason=reason)
        return suspension.suspend(self._changes, asked, kind=KeyKind(kind), version=version)

    def resume(self, request: Request, *, kind: str, version: int, reason: str) -> Made[Doubted]:
        """Have what hangs on a suspended wrapping key open again. Raises as ``suspend`` does."""
        asked = replace(request, reason=reason)
        return suspension.resume(self._changes, asked, kind=KeyKind(kind), version=version)

    def compromise(
        self,
        request: Request,
        *,
        kind: str,
        scope: str,
        version: int,
        reason: str,
        everybody: bool = False,
    ) -> Made[Compromised]:
        """Mark a key compromised: a successor takes its place, what hangs on it moves.

        ``everybody``: every data key counts as suspect, for an epoch that was
        known before a re-wrap. Raises AccessDeniedError, ConflictError,
        InvalidInputError, NotFoundError.
        """
        asked = replace(request, reason=reason)
        return compromise.compromise(
            self._changes, asked, kind=KeyKind(kind), scope=scope, version=version, everybody=everybody
        )

    def compromise_subject(self, request: Request, subject: str, *, reason: str) -> Made[Compromised]:
        """Mark the data keys of one subject suspect. Raises as ``compromise`` does."""
        return compromise.compromise_subject(self._changes, replace(request, reason=reason), subject)

    def reencrypt(self, request: Request) -> Made[JobView]:
        """Start to seal anew what hangs on suspect data keys, or join it. Raises AccessDeniedError."""
        return compromise.start_reencrypt(self._changes, request)

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

    def destroy(
        self, request: Request, *, kind: str, scope: str, version: int, reason: str
    ) -> Made[Proposed]:
        """Ask another administrator to destroy a key.

        Raises AccessDeniedError, ConflictError, InvalidInputError, NotFoundError.
        """
        asked = replace(request, reason=reason)
        return destruction.propose(self._changes, asked, kind=kind, scope=scope, version=version)


__all__ = [
    "Bound",
    "Compromised",
    "Doubted",
    "Hanging",
    "JobView",
    "KeyInfo",
    "Keys",
    "Listing",
    "Part",
    "Proposed",
    "Rotated",
]
