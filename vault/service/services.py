"""Service accounts: create, rotate, revoke, list."""

from __future__ import annotations

from collections.abc import Iterable

from vault.access import services
from vault.access.authority import ServiceAccount
from vault.access.changes import Changes, Made
from vault.access.entries import Request
from vault.access.identities import HOUR_US
from vault.access.services import DEFAULT_DAYS, DEFAULT_OVERLAP_US, Secret

DEFAULT_OVERLAP_HOURS = DEFAULT_OVERLAP_US // HOUR_US


class Services:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def create(
        self,
        request: Request,
        *,
        name: str,
        owner: str,
        networks: Iterable[str] = (),
        days: int = DEFAULT_DAYS,
    ) -> Made[Secret]:
        """Register a service. Raises AccessDeniedError, InvalidInputError, NotFoundError, ConflictError."""
        return services.create(self._changes, request, name=name, owner=owner, networks=networks, days=days)

    def rotate(
        self,
        request: Request,
        service_id: str,
        *,
        days: int = DEFAULT_DAYS,
        overlap_hours: int = DEFAULT_OVERLAP_HOURS,
    ) -> Made[Secret]:
        """Return another secret; the one before it stays good for the overlap.

        Raises AccessDeniedError, InvalidInputError, NotFoundError, ConflictError.
        """
        overlap_us = overlap_hours * HOUR_US
        return services.rotate(self._changes, request, service_id, days=days, overlap_us=overlap_us)

    def revoke(self, request: Request, service_id: str) -> Made[None]:
        """Stop a service for good. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return services.revoke(self._changes, request, service_id)

    def list(self, request: Request) -> Made[tuple[ServiceAccount, ...]]:
        """Return every service. Raises AccessDeniedError."""
        return services.list_services(self._changes, request)


__all__ = ["DEFAULT_DAYS", "DEFAULT_OVERLAP_HOURS", "Secret", "ServiceAccount", "Services"]
