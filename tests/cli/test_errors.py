from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import (
    EXIT_CODES,
    Failure,
    ProblemError,
    exit_code,
    exit_code_of,
    failure_of,
    known_errors,
)
from keys.errors import WrapperUnavailableError
from vault.domain import errors
from vault.domain.errors import InvalidInputError, TooManyAttemptsError, VaultError

TABLE = [
    (errors.VaultError, 1),
    (errors.InvalidInputError, 2),
    (errors.InvalidValueError, 2),
    (errors.LimitExceededError, 2),
    (errors.AuthenticationError, 3),
    (errors.SessionExpiredError, 3),
    (errors.TooManyAttemptsError, 3),
    (errors.AccessDeniedError, 4),
    (errors.PurposeNotAllowedError, 4),
    (errors.SubjectRestrictedError, 4),
    (errors.ApprovalRequiredError, 4),
    (errors.UnknownTokenError, 4),
    (errors.TokenRevokedError, 4),
    (errors.SubjectErasedError, 4),
    (errors.TokenSpentError, 4),
    (errors.NotFoundError, 4),
    (errors.ConflictError, 5),
    (errors.IdempotencyConflictError, 5),
    (errors.KeySuspendedError, 5),
    (errors.TamperDetectedError, 6),
    (errors.UnavailableError, 7),
    (errors.SealedError, 7),
    (errors.LogUnavailableError, 7),
    (errors.OutcomeUnknownError, 7),
]


@pytest.mark.parametrize(("kind", "code"), TABLE)
def test_exit_code_of_each_error(kind: type[VaultError], code: int) -> None:
    assert exit_code(kind) == code
    assert exit_code_of(kind.code) == code


def test_no_error_of_the_domain_is_left_to_chance() -> None:
    declared = {kind for kind in known_errors() if kind.__module__ == "vault.domain.errors"}
    assert declared == {kind for kind, _ in TABLE}
    unmapped = [kind for kind in declared if kind is not VaultError and exit_code(kind) == 1]
    assert unmapped == []


def test_every_row_of_the_table_is_reached() -> None:
    assert set(EXIT_CODES) <= {kind for kind, _ in TABLE}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((400, 2), (413, 2), (415, 2), (422, 2), (401, 3), (429, 3), (403, 4), (404, 4), (410, 4), (409, 5)),
        *((502, 7), (503, 7), (504, 7), (500, 1), (418, 1)),
    ],
)
def test_a_code_of_a_newer_server_goes_by_its_status(status: int, code: int) -> None:
    assert exit_code_of("not_known_yet", status) == code


def test_line_names_code_and_request() -> None:
    problem = {"code": "access_denied", "detail": "you may not", "request_id": "req_0"}
    failure = failure_of(ProblemError(403, problem))
    assert failure.line() == "piivault: access_denied: you may not (request req_0)"
    assert failure.exit_code == 4
    assert failure.document() == {
        "error": {"code": "access_denied", "detail": "you may not", "request_id": "req_0"},
        "exit_code": 4,
    }


def test_line_names_field_and_rule_once() -> None:
    error = InvalidInputError("limit: 1 to 100", field="limit", rule="range")
    assert failure_of(error).line() == "piivault: invalid_input: limit: 1 to 100 (rule range)"


def test_line_says_when_to_come_back() -> None:
    failure = failure_of(TooManyAttemptsError("too many", retry_after=30))
    assert failure.line() == "piivault: too_many_attempts: too many (retry after 30 s)"
    assert failure.document()["error"]["retry_after"] == 30


def test_an_answer_without_problem_document_is_still_said() -> None:
    failure = ProblemError(502, {}).failure
    assert failure == Failure("http_502", "the server answered 502", 7)


def test_a_key_file_that_cannot_be_used_is_said_in_full() -> None:
    failure = failure_of(WrapperUnavailableError("permissions", "key file /k"))
    assert failure.exit_code == 7
    assert "permissions" in failure.line()
    assert "/k" in failure.line()


def test_a_file_that_cannot_be_used_is_named() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        Path("/nonexistent/file").read_bytes()
    failure = failure_of(caught.value)
    assert failure.line() == "piivault: file: /nonexistent/file: No such file or directory"
    assert failure_of(OSError(28, "No space left on device")).detail == "No space left on device"


def test_what_nobody_foresaw_is_named_by_kind_and_place_never_by_its_text() -> None:
    def fail() -> None:
        raise RuntimeError("010-1234-5678")

    with pytest.raises(RuntimeError) as caught:
        fail()
    failure = failure_of(caught.value)
    assert failure.exit_code == 1
    assert "RuntimeError at tests.cli.test_errors:" in failure.line()
    assert "1234" not in failure.line()
    assert "an unknown place" in failure_of(RuntimeError("x")).line()
