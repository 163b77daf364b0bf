"""Shapes of answers about certificates of destruction."""

from __future__ import annotations

from api.v1.told import Answer


class CertificateSummary(Answer, frozen=True):
    """A certificate in a list."""

    id: str
    tombstone: int
    subject: str | None
    ground: str | None
    log_index: int | None
    decided_at: str | None
    verifies: bool
    """Whether the row is the vault's own. If not, nothing of it is told in a list, and there is an alarm."""
    signed: bool
    """Whether the tombstone is outside the database; seconds after the erasure it is."""


class CertificateList(Answer, frozen=True):
    """Certificates, the newest first."""

    items: tuple[CertificateSummary, ...]
    next: int | None
    """Pass as ``before`` for the next page; none at the end."""


class CertificateAnswer(CertificateSummary, frozen=True):
    """One certificate."""

    data_keys: int
    values: int
    digests: int
    references: int
    proposed_by: str
    approved_by: str
    approval: str
    note: str | None
    """The signed text, to be kept as it is; none until it is signed."""
