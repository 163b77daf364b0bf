"""What every work has in common, before any lane."""

from __future__ import annotations

from vault.domain.errors import ConflictError, UnavailableError
from vault.domain.ids import RequestId
from vault.domain.model import STRANGER, Origin
from vault.storage.errors import RolledBackError
from vault.tokens.single import ShowWork

ORIGIN = Origin(RequestId("req_" + "0" * 32), "127.0.0.1")


def _work() -> ShowWork:
    return ShowWork(STRANGER, ORIGIN, token="phn_", purpose="")


def test_a_work_nobody_waits_for_may_fail() -> None:
    work = _work()
    error = UnavailableError()
    work.fail(error)
    assert work.error is error


def test_a_refusal_by_the_database_is_a_conflict_to_the_caller() -> None:
    work = _work()
    work.fail(RolledBackError("the database refused a statement (23505)"))
    assert type(work.error) is ConflictError
    assert "23505" not in str(work.error)
