"""A process gives its keys up when its database went back, and for nothing else that is found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conformance.counter import Counter
from vault.access.leases import Lease
from vault.access.standing import WENT_BACK
from vault.domain.errors import TamperDetectedError


def test_seals_itself_once_and_only_where_the_database_went_back(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    standings = counter.vault.standings

    def finding(reference: str) -> Any:
        def guard(*_: object) -> None:
            raise TamperDetectedError("found", reference=reference)

        return guard

    monkeypatch.setattr(standings, "guard", finding("head"))
    assert not standings.give_up_if_behind()
    assert counter.token()
    monkeypatch.setattr(standings, "guard", finding(WENT_BACK))
    assert standings.give_up_if_behind()
    assert counter.vault.is_sealed
    assert not standings.give_up_if_behind()


def test_a_holder_that_needs_no_renewal_is_not_asked() -> None:
    lease = Lease()
    lease.renew(datetime(2026, 12, 1, tzinfo=UTC))
    lease.require_well()
