"""What an error is in HTTP: status, headers, and nothing that should stay inside."""

from __future__ import annotations

import json
import logging

import pytest

from api.errors import INTERNAL, Problem, problem_of
from api.faults import report
from vault.domain import errors
from vault.storage.errors import RolledBackError, SchemaError, StaleRevisionError

REQUEST = "req_" + "0" * 32


@pytest.mark.parametrize(
    "error", [StaleRevisionError("CANARY"), RolledBackError("CANARY"), SchemaError("CANARY")]
)
def test_errors_of_storage_are_an_outage_and_no_more(error: errors.VaultError) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (503, "unavailable")
    assert "CANARY" not in problem.detail


@pytest.mark.parametrize("error", [ValueError("CANARY"), KeyError("CANARY"), errors.VaultError("CANARY")])
def test_what_nobody_foresaw_says_nothing(error: Exception) -> None:
    assert problem_of(error) is INTERNAL


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (errors.AuthenticationError(), 401, (b"www-authenticate", b'Bearer realm="piivault"')),
        (
            errors.SessionExpiredError(),
            401,
            (b"www-authenticate", b'Bearer realm="piivault", error="invalid_token"'),
        ),
        (errors.TooManyAttemptsError("later", retry_after=61), 429, (b"retry-after", b"61")),
        (errors.UnavailableError(), 503, (b"retry-after", b"1")),
        (errors.LogUnavailableError(), 503, (b"retry-after", b"1")),
        (errors.OutcomeUnknownError(), 503, (b"retry-after", b"1")),
        (errors.SealedError(), 503, (b"retry-after", b"30")),
    ],
)
def test_caller_is_told_what_to_do(
    error: errors.VaultError, status: int, header: tuple[bytes, bytes]
) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.headers) == (status, error.code, (header,))


def test_rule_of_a_denial_stays_in_the_log() -> None:
    document = json.loads(problem_of(errors.AccessDeniedError("no", rule="grant_time")).body(REQUEST))
    assert "rule" not in document
    assert "grant_time" not in str(document)


def test_document_names_member_and_rule() -> None:
    error = errors.InvalidValueError("phone: too long", field="items[1].value", rule="too_long")
    assert json.loads(problem_of(error).body(REQUEST)) == {
        "type": "urn:piivault:problem:invalid_value",
        "title": "Invalid value",
        "status": 422,
        "code": "invalid_value",
        "detail": "phone: too long",
        "request_id": REQUEST,
        "field": "items[1].value",
        "rule": "too_long",
    }


def test_fault_is_logged_by_place_and_class_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        secret = "CANARY"
        raise ValueError(secret)

    caplog.set_level(logging.DEBUG, logger="piivault.api")
    try:
        fail()
    except ValueError as error:
        report(error, INTERNAL, REQUEST)
    assert REQUEST in caplog.text
    assert "ValueError at tests.api.test_errors:" in caplog.text
    assert "CANARY" not in caplog.text


def test_refusals_are_no_faults(caplog: pytest.LogCaptureFixture) -> None:
    report(ValueError(), Problem(422, "invalid_input", "", ""), REQUEST)
    report(ValueError(), INTERNAL, REQUEST)
    assert caplog.text.count(REQUEST) == 1
    assert "at unknown" in caplog.text
