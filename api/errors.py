"""What an error is in HTTP: one table for the vault's, and the few that HTTP has of its own.

Guarantees
- Every answer that is not a success is ``application/problem+json`` (RFC 9457)
  with a stable ``code``, the request id and never a value of the caller's.
- A class that is not in the table is an outage (503) when the vault raised it
  and an internal error (500) when not; neither says what it was.

Does not: decide what is logged. The façade has logged a refusal before it is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import orjson

from vault.domain import errors

Header = tuple[bytes, bytes]

PROBLEM_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:piivault:problem:"

RETRY_SECONDS: Final = 1
"""For an outage: long enough not to be a hammer, short enough for a database that fails over."""

SEALED_SECONDS: Final = 30
"""Somebody has to unseal by hand."""

STATUS: Final[Mapping[type[errors.VaultError], tuple[int, str]]] = MappingProxyType(
    {
        errors.VaultError: (500, "Internal error"),
        errors.InvalidInputError: (422, "Invalid input"),
        errors.InvalidValueError: (422, "Invalid value"),
        errors.LimitExceededError: (422, "Over a limit"),
        errors.AuthenticationError: (401, "Not authenticated"),
        errors.SessionExpiredError: (401, "Session over"),
        errors.TooManyAttemptsError: (429, "Too many attempts"),
        errors.AccessDeniedError: (403, "Not allowed"),
        errors.PurposeNotAllowedError: (403, "Purpose not allowed"),
        errors.SubjectRestrictedError: (403, "Subject restricted"),
        errors.ApprovalRequiredError: (403, "Approval required"),
        errors.UnknownTokenError: (404, "Unknown token"),
        errors.TokenRevokedError: (410, "Token revoked"),
        errors.SubjectErasedError: (410, "Subject erased"),
        errors.TokenSpentError: (410, "Token spent"),
        errors.NotFoundError: (404, "Not found"),
        errors.ConflictError: (409, "Conflict"),
        errors.IdempotencyConflictError: (409, "Idempotency key used before"),
        errors.KeySuspendedError: (409, "Key suspended"),
        errors.TamperDetectedError: (500, "Stored data does not verify"),
        errors.UnavailableError: (503, "Unavailable"),
        errors.SealedError: (503, "Sealed"),
        errors.LogUnavailableError: (503, "Log unavailable"),
        errors.OutcomeUnknownError: (503, "Outcome unknown"),
    }
)
"""Status and title of every class of the vault's errors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer that is not a success."""

    status: int
    code: str
    title: str
    detail: str
    field: str = ""
    rule: str = ""
    headers: tuple[Header, ...] = ()

    def body(self, request_id: str) -> bytes:
        """Return the problem document."""
        document: dict[str, object] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.field:
            document["field"] = self.field
        if self.rule:
            document["rule"] = self.rule
        return orjson.dumps(document)


class HttpError(Exception):
    """An error that HTTP has and the vault has not."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class ClientGoneError(Exception):
    """The caller has hung up before the request was whole: nobody is there to answer."""


CLOSE: Final[tuple[Header, ...]] = ((b"connection", b"close"),)

NOT_FOUND: Final = Problem(404, "not_found", "Not found", "there is no such route")
INTERNAL: Final = Problem(
    500,
    "internal",
    "Internal error",
    "something went wrong here; the log of the server has this request id",
)


def malformed_json(rule: str) -> HttpError:
    """Return the error of a body that is not JSON: ``syntax``, ``encoding`` or ``depth``."""
    detail = "the body is not JSON in UTF-8"
    return HttpError(Problem(400, "malformed_json", "Malformed JSON", detail, field="body", rule=rule))


def malformed_request(field: str, rule: str, detail: str) -> HttpError:
    """Return the error of a request that HTTP itself would not have."""
    return HttpError(Problem(400, "malformed_request", "Malformed request", detail, field=field, rule=rule))


def unsupported_media_type(expected: str) -> HttpError:
    """Return the error of a body of another type than the route takes."""
    detail = f"the body has to be {expected}, not encoded in any further way"
    problem = Problem(
        415,
        "unsupported_media_type",
        "Unsupported media type",
        detail,
        field="Content-Type",
        rule="media_type",
    )
    return HttpError(problem)


def body_too_large(limit: int, *, close: bool) -> HttpError:
    """Return the error of a body over the cap; ``close`` when the rest is not worth reading."""
    detail = f"a body has at most {limit} bytes"
    headers = CLOSE if close else ()
    problem = Problem(
        413, "limit_exceeded", "Over a limit", detail, field="body", rule="too_large", headers=headers
    )
    return HttpError(problem)


def body_too_slow() -> HttpError:
    """Return the error of a body that does not arrive."""
    detail = "the body did not arrive in time"
    return HttpError(Problem(408, "request_timeout", "Request timeout", detail, headers=CLOSE))


def method_not_allowed(allowed: str) -> HttpError:
    """Return the error of a route that has no such method."""
    detail = "this route has no such method"
    headers = ((b"allow", allowed.encode("ascii")),) if allowed else ()
    problem = Problem(405, "method_not_allowed", "Method not allowed", detail, headers=headers)
    return HttpError(problem)


def problem_of(error: Exception) -> Problem:
    """Return the answer that ``error`` stands for; INTERNAL for what nobody foresaw."""
    if isinstance(error, HttpError):
        return error.problem
    if not isinstance(error, errors.VaultError):
        return INTERNAL
    kind = type(error)
    if kind not in STATUS:
        # Storage has errors that mean "again" to the layers between; to a caller they are an outage.
        return _problem(errors.UnavailableError("the vault cannot do this now; ask again"))
    return INTERNAL if kind is errors.VaultError else _problem(error)


def _problem(error: errors.VaultError) -> Problem:
    status, title = STATUS[type(error)]
    field, rule = "", ""
    if isinstance(error, errors.InvalidInputError):
        field, rule = error.field, error.rule
    elif isinstance(error, errors.PurposeNotAllowedError):
        field, rule = "purpose", "not_allowed"
    elif isinstance(error, errors.IdempotencyConflictError):
        field, rule = "Idempotency-Key", "used"
    return Problem(status, error.code, title, error.detail, field, rule, _headers(error))


def _headers(error: errors.VaultError) -> tuple[Header, ...]:
    if isinstance(error, errors.SessionExpiredError):
        return ((b"www-authenticate", b'Bearer realm="piivault", error="invalid_token"'),)
    if isinstance(error, errors.AuthenticationError):
        return ((b"www-authenticate", b'Bearer realm="piivault"'),)
    if isinstance(error, errors.TooManyAttemptsError):
        return ((b"retry-after", str(error.retry_after).encode("ascii")),)
    if isinstance(error, errors.SealedError):
        return ((b"retry-after", str(SEALED_SECONDS).encode("ascii")),)
    if isinstance(error, errors.UnavailableError):
        return ((b"retry-after", str(RETRY_SECONDS).encode("ascii")),)
    return ()
