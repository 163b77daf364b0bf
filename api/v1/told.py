"""Shapes of answers off the hot path. They encode and document."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from api.v1.told_bound import BoundView


class Answer(Struct, frozen=True):
    """What is answered."""


class Logged(Answer, frozen=True, kw_only=True):
    """An act, and where in the log it is."""

    log_index: int
    leaf_hash: str


class TokenAnswer(Answer, frozen=True):
    """An OAuth 2.0 access token (RFC 6749 section 5.1)."""

    access_token: str
    token_type: str
    expires_in: int


class StaffReference(Answer, frozen=True):
    """Whose session it is."""

    id: str
    name: str
    roles: tuple[str, ...]


class SessionAnswer(Answer, frozen=True):
    """A session; its secret is shown this once."""

    session: str
    session_id: str
    expires_at: str
    password_renewal_at: str
    """From then on the password yields no plaintext."""
    staff: StaffReference
    log_index: int
    warnings: tuple[str, ...] = ()
    """``password_renewal_due``, ``password_overdue``."""


class OfferAnswer(Answer, frozen=True):
    """What somebody with an invitation needs."""

    login: str
    name: str
    provisioning_uri: str
    secret: str
    suggested_password: str


class EnrolledAnswer(Answer, frozen=True):
    """Somebody who has enrolled."""

    staff_id: str
    login: str
    state: str
    """``active``, or ``waiting`` for the officer."""
    log_index: int


class InvitedAnswer(Logged, frozen=True):
    """Somebody invited; the code is shown this once."""

    staff_id: str
    invitation: str
    expires_at: str


class StaffView(Answer, frozen=True):
    """One person of the register."""

    id: str
    login: str
    name: str
    team: str
    employer: str
    roles: tuple[str, ...]
    state: str
    created_at: str
    password_set_at: str | None


class StaffList(Logged, frozen=True):
    """Everybody."""

    items: tuple[StaffView, ...]


class CredentialAnswer(Logged, frozen=True):
    """A service's new secret; it is shown this once."""

    service_id: str
    client_secret: str
    credential_id: str
    expires_at: str


class CredentialView(Answer, frozen=True):
    """One secret of a service, without the secret."""

    id: str
    created_at: str
    expires_at: str
    ends_at: str | None
    """When its overlap with the next one ends, if that is before it expires."""
    ended: bool
    """Whether it was ended outright; the log says when."""


class ServiceView(Answer, frozen=True):
    """One service."""

    id: str
    name: str
    owner: str
    networks: tuple[str, ...]
    state: str
    created_at: str
    credentials: tuple[CredentialView, ...]


class ServiceList(Logged, frozen=True):
    """Every service."""

    items: tuple[ServiceView, ...]


class ProposedAnswer(Logged, frozen=True):
    """A grant as it was taken down."""

    grant_id: str
    state: str
    """``active``, or ``proposed`` until the officer has decided."""
    valid_until: str
    approval_id: str | None


class GrantView(Answer, frozen=True):
    """One grant as it is now."""

    id: str
    actor_kind: str
    actor_id: str
    actions: tuple[str, ...]
    fields: tuple[str, ...]
    purposes: tuple[str, ...]
    reveal: str | None
    networks: tuple[str, ...]
    valid_from: str
    valid_until: str
    state: str
    proposed_by: str
    decided_by: str | None
    reason: str
    changed_at: str


class GrantList(Logged, frozen=True):
    """Every grant."""

    items: tuple[GrantView, ...]


class ApprovalView(Answer, frozen=True):
    """One request for a second person's decision."""

    id: str
    kind: str
    """``enrolment`` or ``grant``."""
    target: str
    state: str
    proposed_by: str
    proposed_at: str
    decided_by: str | None
    decided_at: str | None


class ApprovalList(Logged, frozen=True):
    """Every approval."""

    items: tuple[ApprovalView, ...]


class ApprovalAnswer(Logged, frozen=True):
    """A decision."""

    approval: ApprovalView


class TokenView(Logged, frozen=True):
    """What a token is, without its value."""

    token: str
    field: str
    created_at: str
    state: Literal["live", "revoked", "spent"]
    """A one-time token that was opened is spent."""
    kind: Literal["random", "one_time", "audience"]
    audience: str | None
    """Recipient for whom a token of that kind is; none for others, and once it is revoked."""
    subject: str


class KeyView(Answer, frozen=True):
    """One key, never its material."""

    kind: str
    scope: str
    version: int
    state: str
    created_at: str
    changed_at: str
    data_keys: int | None
    """Data keys that still hang on this epoch; none for other kinds."""
    due_at: str | None
    """When it is to be replaced; none for a key that is not in use or has no cryptoperiod."""
    light: Literal["green", "yellow", "red"] | None
    """How late that is."""


class KeyList(Answer, frozen=True):
    """Every key, and when copies of the database of today are dead."""

    items: tuple[KeyView, ...]
    bound: BoundView


class RotatedAnswer(Logged, frozen=True):
    """Versions before and after."""

    old: int
    new: int


class JobState(Answer, frozen=True):
    """Background work on keys, and how far it is."""

    id: str
    kind: str
    target: str
    """The epoch that data keys move to or are made under, the scope whose digests, or the kind whose rows."""
    state: Literal["running", "done"]
    total: int
    done: int
    failed: int
    """Those that did not move: what does not open, with an alarm in the log, or waits for a suspended key."""
    rate: float
    """Items per second since it started."""
    seconds_left: float | None
    """At that rate; none while nobody can tell."""
    node: str
    """The process that has it; empty when none has."""
    started_by: str
    started_at: str
    beat_at: str
    """When it moved last."""
    ended_at: str | None


class JobAnswer(Logged, frozen=True):
    """The job that was started or joined."""

    job: JobState


class JobList(Logged, frozen=True):
    """What runs, and of each kind what ran last."""

    items: tuple[JobState, ...]


class HangingView(Answer, frozen=True):
    """What hangs on one key; none where nothing of that sort can."""

    kind: str
    scope: str
    version: int
    state: str
    data_keys: int | None
    values: int | None
    digests: int | None
    suspect_data_keys: int | None
    """Of the data keys, those whose values are still to be sealed anew under others."""
    suspect_values: int | None
    counts: dict[str, int]
    """Of the other kinds, how much of what."""
    held_until: str | None
    """The key may not be destroyed before; none when only the counts decide."""
    total: int
    """Zero, and not held: the key may be destroyed once it is not active."""


class CensusAnswer(Logged, frozen=True):
    """What hangs on every key, from one state of the database."""

    items: tuple[HangingView, ...]


class DestructionAnswer(Logged, frozen=True):
    """A destruction that waits for another administrator."""

    approval_id: str
    key: str


class EntryAnswer(Answer, frozen=True):
    """One entry of the log (docs/formats/log-entry.md), with its place and its reason."""

    index: int
    leaf_hash: str
    reason: str
    id: str
    time: str
    action: str
    outcome: str


class EntryPage(Answer, frozen=True):
    """Entries of the log, the newest first."""

    items: list[dict[str, Any]]
    next: int | None
    """Pass as ``before``; none at the beginning of the log."""


class ExportAnswer(Answer, frozen=True):
    """Stored bytes of consecutive entries, in base64."""

    start: int
    size: int
    """Entries the newest checkpoint covers: an export ends there."""
    entries: list[str]
    checkpoints: list[str]
    """On the first page only."""


class LogKeyView(Answer, frozen=True):
    """A key that signs the log's checkpoints."""

    vkey: str
    since: str
    replaced_at: str | None
    """When another took over; none while it is in force."""


class VkeyAnswer(Answer, frozen=True):
    """Public key of the log."""

    vkey: str
    """The one in force."""
    keys: tuple[LogKeyView, ...]
    """Every one that signs, the one in force first."""


class StatusAnswer(Logged, frozen=True):
    """State of the vault."""

    vault_id: str
    database: str
    root_key: str
    revision: int
    sealed: bool
    next_index: int
    integrated: int
    trouble: str
    log_key: str
    keys: Literal["green", "yellow", "red"]
    """Yellow: a key is past its cryptoperiod, or suspended; red: thirty days past it, or compromised."""
    late_keys: tuple[str, ...]
    """Names of keys past their cryptoperiod."""
    compromised_keys: tuple[str, ...]
    """Names of keys that somebody else may have; ``data_key`` where data keys are marked suspect."""
    suspended_keys: tuple[str, ...]
    """Names of keys that open nothing until somebody knows whether they are safe."""


class HealthAnswer(Answer, frozen=True):
    """Whether to send requests here."""

    status: Literal["alive", "ready", "unready"]
    reasons: tuple[str, ...] = ()


class ReadyAnswer(HealthAnswer, frozen=True, kw_only=True):
    """Requests may come here."""

    keys: Literal["green", "yellow", "red"]
    """As in the status; ready all the same."""
