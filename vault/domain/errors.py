"""The error tree of the vault.

Every error carries a stable ``code`` and identifiers, never a value of a data
subject. What is unknown and what is forbidden raise the same error, so that a
caller learns nothing from the difference. Transport codes live in
``api/errors.py`` and ``cli/errors.py``; a test walks this tree and fails on a
leaf without one.

VaultError
├── InvalidInputError              the caller's input is malformed
│   ├── InvalidValueError          a field value breaks a rule of its type
│   └── LimitExceededError         over a stated cap; never truncated
├── AuthenticationError            one outward message for every cause
│   └── SessionExpiredError        idle, absolute or credential lifetime is over
├── TooManyAttemptsError           throttled; says when to come back
├── AccessDeniedError              the decision says no
│   ├── PurposeNotAllowedError     the purpose is not open to this actor and field
│   ├── SubjectRestrictedError      the subject's processing is restricted
│   └── ApprovalRequiredError      allowed once somebody else has approved it
├── UnknownTokenError              unknown, or not for this actor: the same answer
├── TokenRevokedError              gone; only said to an actor whose grant covers it
├── SubjectErasedError             gone with the whole person; said to the same
├── TokenSpentError                opened before, and good for that once; said like the one above
├── NotFoundError                  a named thing of the vault's own does not exist
├── ConflictError                  already exists, already decided, or stale
│   ├── IdempotencyConflictError   the key was used with another body
│   └── KeySuspendedError          hangs on a key of which nobody knows yet whether it is safe
├── TamperDetectedError            a row or ciphertext fails verification; alarms
└── UnavailableError               nothing was revealed and nothing was half-written
    ├── SealedError                the keys are not in memory
    ├── LogUnavailableError        the log cannot be written
    └── OutcomeUnknownError        a commit was sent and its answer lost
"""

from __future__ import annotations

from typing import ClassVar


class VaultError(Exception):
    """Root of the tree. ``code`` is stable; ``detail`` is safe to show to the caller."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", *, reference: str | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail or self.code
        self.reference = reference


class InvalidInputError(VaultError):
    """Input is malformed: names the ``field`` and the ``rule``, never the value."""

    code = "invalid_input"

    def __init__(self, detail: str, *, field: str, rule: str) -> None:
        super().__init__(detail)
        self.field = field
        self.rule = rule


class InvalidValueError(InvalidInputError):
    """A field value breaks ``rule`` of its type."""

    code = "invalid_value"


class LimitExceededError(InvalidInputError):
    """A request is over a stated cap. Nothing was truncated and nothing was done."""

    code = "limit_exceeded"


class AuthenticationError(VaultError):
    """Who is asking could not be established. The cause is in the log, not in the answer."""

    code = "authentication_failed"


class SessionExpiredError(AuthenticationError):
    """A session or access token was valid once and is not any more."""

    code = "session_expired"


class TooManyAttemptsError(VaultError):
    """Throttled. ``retry_after`` is in whole seconds."""

    code = "too_many_attempts"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class AccessDeniedError(VaultError):
    """The decision says no, or the thing is unknown to this actor.

    ``rule`` names the condition that failed, for the log: it is not for the caller.
    """

    code = "access_denied"

    def __init__(self, detail: str = "", *, rule: str = "", reference: str | None = None) -> None:
        super().__init__(detail, reference=reference)
        self.rule = rule


class PurposeNotAllowedError(AccessDeniedError):
    """The purpose is unknown or not open to this actor, action and field."""

    code = "purpose_not_allowed"


class SubjectRestrictedError(AccessDeniedError):
    """Processing of this subject is restricted; only said to an actor whose grant covers it."""

    code = "subject_restricted"


class ApprovalRequiredError(AccessDeniedError):
    """The act takes effect only when another person has approved it."""

    code = "approval_required"


class UnknownTokenError(VaultError):
    """Malformed, unknown or not for this actor."""

    code = "unknown_token"


class TokenRevokedError(VaultError):
    """The token was revoked and its sealed copy destroyed."""

    code = "token_revoked"


class SubjectErasedError(VaultError):
    """The data subject was erased, and all that was sealed for it destroyed."""

    code = "subject_erased"


class TokenSpentError(VaultError):
    """The token was good for one opening and has had it. Only said to an actor whose grant covers it."""

    code = "token_spent"


class NotFoundError(VaultError):
    """A staff member, service, grant, approval, subject or entry of that id does not exist for the caller."""

    code = "not_found"


class ConflictError(VaultError):
    """Already exists, already decided, or changed since it was read."""

    code = "conflict"


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used before with another body, or is in flight."""

    code = "idempotency_conflict"


class KeySuspendedError(ConflictError):
    """What is sealed hangs on a suspended key: it stays shut until the key is resumed or known to be bad."""

    code = "key_suspended"


class TamperDetectedError(VaultError):
    """A stored row, key or ciphertext does not verify. An alarm entry is in the log.

    ``table`` is what an alarm about it names: where the thing lies that does not verify.
    """

    code = "tamper_detected"

    def __init__(self, detail: str = "", *, reference: str | None = None, table: str = "log") -> None:
        super().__init__(detail, reference=reference)
        self.table = table


class UnavailableError(VaultError):
    """The vault cannot serve now. Nothing was revealed, nothing was half-written."""

    code = "unavailable"


class SealedError(UnavailableError):
    """The vault is sealed."""

    code = "sealed"


class LogUnavailableError(UnavailableError):
    """The log cannot be written, so nothing is revealed or changed."""

    code = "log_unavailable"


class OutcomeUnknownError(UnavailableError):
    """A commit was sent and its answer was lost. Ask again with the same idempotency key."""

    code = "outcome_unknown"
