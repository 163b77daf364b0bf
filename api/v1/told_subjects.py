"""Shapes of answers about data subjects. They encode and document."""

from __future__ import annotations

from typing import Literal

from api.v1.told import Answer, Logged


class LiveTokens(Answer, frozen=True):
    """How many live tokens a subject has in one field."""

    field: str
    live: int


class SubjectAnswer(Logged, frozen=True):
    """What is kept of a data subject, without a value."""

    subject: str
    kind: str
    state: Literal["open", "restricted", "archived", "erased"]
    since: str
    """When it came into this state."""
    created_at: str
    fields: tuple[LiveTokens, ...]
    certificate: str | None
    """Id of the certificate of an erasure."""


class RestrictedAnswer(Logged, frozen=True):
    """A restriction that is in force."""

    subject: str


class SubjectProposal(Logged, frozen=True):
    """What waits for the privacy officer."""

    approval_id: str
    subject: str
