"""Shapes of bodies off the hot path. They decode and document.

Lengths here only bound the work; what a member may be is the vault's to say.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from vault.domain.model import Reveal
from vault.service.grants import DEFAULT_DAYS as GRANT_DAYS
from vault.service.services import DEFAULT_DAYS, DEFAULT_OVERLAP_HOURS

Short = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=200)]
Secret = Annotated[str, Meta(min_length=1, max_length=1_024)]
Code = Annotated[str, Meta(min_length=1, max_length=16)]
Note = Annotated[str, Meta(min_length=1, max_length=500)]
Names = Annotated[list[Short], Meta(max_length=200)]
KeyKind = Literal[
    "authority", "log_mac", "log_signing", "lookup", "session", "staff_data", "token", "wrapping"
]
Days = Annotated[int, Meta(ge=1, le=365)]
Hours = Annotated[int, Meta(ge=0, le=720)]


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent: no member that the shape has not."""


class LoginBody(Body, frozen=True):
    """Log in."""

    login: Secret
    password: Secret
    code: Code
    """Of the authenticator."""


class PasswordBody(Body, frozen=True):
    """Set a new password with the old one."""

    login: Secret
    password: Secret
    code: Code
    new_password: Secret


class InvitationBody(Body, frozen=True):
    """Begin an enrolment."""

    invitation: Short


class FinishBody(Body, frozen=True):
    """Finish an enrolment."""

    invitation: Short
    password: Secret
    code: Code


class InviteBody(Body, frozen=True):
    """Register a person."""

    login: Short
    name: Short
    role: Short
    team: Text = ""
    employer: Text = ""


class ServiceBody(Body, frozen=True):
    """Register a service."""

    name: Short
    owner: Short
    networks: Names = []
    expires_in_days: Days = DEFAULT_DAYS


class RotateBody(Body, frozen=True):
    """Ask for a service's next secret."""

    overlap_hours: Hours = DEFAULT_OVERLAP_HOURS
    expires_in_days: Days = DEFAULT_DAYS


class GrantBody(Body, frozen=True):
    """Propose a grant."""

    actor_kind: Short
    actor_id: Short
    actions: Names
    fields: Names
    reason: Note
    purposes: Names = []
    reveal: Reveal | None = None
    networks: Names = []
    valid_days: Days = GRANT_DAYS


class DecisionBody(Body, frozen=True):
    """Decide what waits."""

    decision: Literal["approve", "refuse"]


class RotateKeyBody(Body, frozen=True):
    """Which key to rotate; the wrapping key when nothing is said."""

    kind: KeyKind = "wrapping"
    scope: Annotated[str, Meta(max_length=200)] = ""
    """Of a lookup key: its field, or ``ref/`` and the kind of subject."""
    reason: Annotated[str, Meta(max_length=500)] = ""


class ResealBody(Body, frozen=True):
    """What to seal anew."""

    kind: Literal["authority", "staff_data"]


class RedigestBody(Body, frozen=True):
    """Whose digests to make anew."""

    scope: Annotated[str, Meta(min_length=1, max_length=200)]


class DestroyKeyBody(Body, frozen=True):
    """Propose the destruction of a key."""

    kind: KeyKind
    version: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
    reason: Note
    scope: Annotated[str, Meta(max_length=200)] = ""
    """Of a lookup key: its field, or ``ref/`` and the kind of subject."""


class SubjectBody(Body, frozen=True):
    """Restrict a data subject, or ask the officer to lift that or to erase it."""

    ground: Literal[
        "consent_withdrawn",
        "court_order",
        "purpose_fulfilled",
        "retention_over",
        "subject_request",
        "unlawful_processing",
    ]
    purpose: Text = ""
    """Where the grant is limited to some."""
    reason: Note | None = None
    """For the log; no personal data in it."""
