"""How a command ends when it does not end well: one line, one exit code.

The codes are stable, scripts rely on them:

====  ==================================================================
code  meaning
====  ==================================================================
0     done
1     something else, a defect included
2     the input is malformed: an option, a file, a value
3     who is asking could not be established, or asked too often
4     not allowed, or there is no such thing: the two look alike
5     exists already, was decided already, or has changed since
6     a row, key, ciphertext or log does not verify
7     the vault cannot serve now; nothing was revealed or half-written
8     so far done; a person has to do what is printed, then the same command goes on
130   interrupted
====  ==================================================================

A line names the stable code of the error and, where a server answered, the
request id under which the log has it. It never carries a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from vault.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SubjectErasedError,
    TamperDetectedError,
    TokenRevokedError,
    TokenSpentError,
    TooManyAttemptsError,
    UnavailableError,
    UnknownTokenError,
    VaultError,
)

OTHER: Final = 1
WAITS: Final = 8
"""Not an error: what was printed is a person's to do, and the same command goes on after that."""
INTERRUPTED: Final = 130

KEYS: Final = "keys.errors"
"""Where the errors of the keys come from. They are known here by that alone: cli imports nothing of keys."""

EXIT_CODES: Final[Mapping[type[VaultError], int]] = MappingProxyType(
    {
        InvalidInputError: 2,
        AuthenticationError: 3,
        TooManyAttemptsError: 3,
        AccessDeniedError: 4,
        UnknownTokenError: 4,
        TokenRevokedError: 4,
        SubjectErasedError: 4,
        TokenSpentError: 4,
        NotFoundError: 4,
        ConflictError: 5,
        TamperDetectedError: 6,
        UnavailableError: 7,
        VaultError: OTHER,
    }
)
"""What an error of the vault exits with; a subclass does as its nearest base here."""

_OF_STATUS: Final[Mapping[int, int]] = MappingProxyType(
    {400: 2, 413: 2, 415: 2, 422: 2, 401: 3, 429: 3, 403: 4, 404: 4, 410: 4, 409: 5, 502: 7, 503: 7, 504: 7}
)
"""For a code that this release does not know, from a server that is newer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said about a command that failed."""

    code: str
    detail: str
    exit_code: int
    request_id: str = ""
    field: str = ""
    rule: str = ""
    retry_after: int | None = None

    def line(self) -> str:
        """Return the one line for people."""
        text = f"piivault: {self.code}: {self.detail}"
        named = [f"{name} {value}" for name, value in self._named() if value and value not in self.detail]
        if self.retry_after is not None:
            named.append(f"retry after {self.retry_after} s")
        return f"{text} ({', '.join(named)})" if named else text

    def _named(self) -> Iterator[tuple[str, str]]:
        yield "field", self.field
        yield "rule", self.rule
        yield "request", self.request_id

    def document(self) -> dict[str, Any]:
        """Return the one object for programs."""
        error: dict[str, Any] = {"code": self.code, "detail": self.detail}
        error |= {key: value for key, value in self._members() if value}
        return {"error": error, "exit_code": self.exit_code}

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from (("field", self.field), ("rule", self.rule), ("request_id", self.request_id))
        yield "retry_after", self.retry_after


class ProblemError(Exception):
    """A server refused or failed, and said why in a problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http_{status}")
        detail = problem.get("detail") or problem.get("title") or f"the server answered {status}"
        super().__init__(str(detail))
        self.failure: Final = Failure(
            code=self.code,
            detail=str(detail),
            exit_code=exit_code_of(self.code, status),
            request_id=str(problem.get("request_id", "")),
            field=str(problem.get("field", "")),
            rule=str(problem.get("rule", "")),
            retry_after=problem.get("retry_after"),
        )


def failure_of(error: BaseException) -> Failure:
    """Return what is said about ``error``. Of what is not ours only kind and place, never its text."""
    if isinstance(error, ProblemError):
        return error.failure
    if isinstance(error, VaultError):
        return Failure(
            code=error.code,
            detail=error.detail,
            exit_code=exit_code(type(error)),
            field=getattr(error, "field", ""),
            rule=error.rule if isinstance(error, InvalidInputError) else "",
            retry_after=getattr(error, "retry_after", None),
        )
    if type(error).__module__ == KEYS:
        # What a local command meets when it unlocks a vault. Its text has rules and names, never a value.
        return Failure("keys", f"the keys cannot be used: {error}", exit_code(UnavailableError))
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return Failure("file", f"{where}{error.strerror}", OTHER)
    return Failure("internal", f"{type(error).__name__} at {_place(error)}; please report this", OTHER)


def exit_code(kind: type[VaultError]) -> int:
    """Return the exit code of an error class."""
    return next(EXIT_CODES[base] for base in kind.__mro__ if base in EXIT_CODES)


def exit_code_of(code: str, status: int = 0) -> int:
    """Return the exit code of an error known by its stable ``code``, or else by its HTTP status."""
    for kind in known_errors():
        if kind.code == code:
            return exit_code(kind)
    return _OF_STATUS.get(status, OTHER)


def known_errors(base: type[VaultError] = VaultError) -> Iterator[type[VaultError]]:
    """Yield ``base`` and every class below it."""
    yield base
    for kind in base.__subclasses__():
        yield from known_errors(kind)


def _place(error: BaseException) -> str:
    """Return module and line where ``error`` was raised; a traceback would show more than that."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
