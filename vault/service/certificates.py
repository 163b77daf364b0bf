"""Certificates of destruction: list and show. The vault signs them by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vault.access.changes import Changes
from vault.access.entries import Request
from vault.lifecycle import certificates
from vault.lifecycle.certificates import CertificateView

FURTHEST: Final = (1 << 31) - 1
"""Above the number of every tombstone."""


@dataclass(frozen=True, slots=True)
class CertificatePage:
    """Certificates, the newest first, and where to go on."""

    views: tuple[CertificateView, ...]
    next: int | None
    """Pass as ``before`` for the next page; None at the end."""


class Certificates:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def list(self, request: Request, *, before: int = FURTHEST) -> CertificatePage:
        """Return a page. Raises AccessDeniedError, TamperDetectedError."""
        views = tuple(certificates.list_certificates(self._changes, request, before))
        return CertificatePage(views, views[-1].seq if len(views) == certificates.PAGE else None)

    def show(self, request: Request, certificate_id: str) -> CertificateView:
        """Return one. Raises AccessDeniedError, NotFoundError, TamperDetectedError."""
        return certificates.show_certificate(self._changes, request, certificate_id)


__all__ = ["FURTHEST", "CertificatePage", "CertificateView", "Certificates"]
