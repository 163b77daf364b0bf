"""A copy of the database that was put back by other means is not served before it is settled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.returning import ERASED, KEPT, do, outside, require_gone
from tests.conformance.yard import Yard, new_yard
from vault.assembly import unseal_on_host
from vault.assembly.serving import open_to_serve
from vault.audit.integrator import log_keys
from vault.audit.tombstones import read
from vault.domain.errors import (
    ApprovalRequiredError,
    ConflictError,
    TamperDetectedError,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    return new_yard(request, tmp_path)


def copied_before_an_erasure(yard: Yard) -> dict[str, list[dict[str, Any]]]:
    """Copy the rows, then store somebody and erase them; return what was copied."""
    yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    do(yard, "erase", yard.counter.token(ERASED))
    yard.counter.verify_log()
    return rows


def test_a_raw_copy_is_not_served_until_it_is_settled(yard: Yard) -> None:
    erased, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    with pytest.raises(ConflictError):
        yard.restore_raw(yard.settings)
    do(yard, "erase", erased)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with pytest.raises(TamperDetectedError, match="piivault restore --raw"):
        open_to_serve(yard.settings)
    restored = yard.restore_raw(yard.settings)
    assert (restored.replayed, restored.newer) == ({"erase": 1}, True)
    open_to_serve(yard.settings).close()
    with yard.opened(yard.furnished.home) as counter:
        require_gone(yard, counter, erased, kept)
        stones = read(
            yard.settings.checkpoint.with_name("tombstones"),
            log_keys(counter.vault.standings.current.keyring),
        ).tombstones
        assert [stone.act for stone in stones] == ["erase"]
    with pytest.raises(ConflictError):
        yard.restore_raw(yard.settings)


def test_a_node_whose_database_goes_back_under_it_serves_nothing_any_more(yard: Yard) -> None:
    rows = copied_before_an_erasure(yard)
    newest = yard.raw_copy()
    node = open_to_serve(yard.settings)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("", False)
    yard.put_back(rows, yard.settings.database_url)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("tamper_detected", True)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("tamper_detected", True)
    assert yard.counter.alarms() != []
    yard.put_back(newest, yard.settings.database_url)
    node.upkeep.round()
    assert not node.is_sealed
    node.close()


def test_a_raw_copy_that_has_grown_again_is_not_served_either(yard: Yard) -> None:
    rows = copied_before_an_erasure(yard)
    seen = yard.counter.next_index()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with yard.opened(yard.furnished.home) as counter:
        while counter.next_index() <= seen:
            counter.show(counter.token("010-1234-0000"))
    with pytest.raises(TamperDetectedError, match="piivault restore --raw"):
        open_to_serve(yard.settings)
    first = yard.restore_raw(yard.settings)
    open_to_serve(yard.settings).close()
    require_kept_aside(yard, first.log_before)
    # And once more: what the first restore kept stays.
    yard.put_back(rows, yard.settings.database_url)
    with pytest.raises(TamperDetectedError, match=r"piivault restore \(--raw .* --log-key"):
        open_to_serve(yard.settings)
    yard.restore_raw(yard.settings, log_keys=(first.log_key,))
    require_kept_aside(yard, first.log_before, first.log_key.partition("+")[0])


def test_a_raw_copy_on_which_others_were_erased_since_is_refused_with_the_way_out(yard: Yard) -> None:
    first, second = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    do(yard, "erase", first)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with yard.opened(yard.furnished.home) as counter:
        yard.counter = counter
        do(yard, "erase", second)
    with pytest.raises(TamperDetectedError, match="as it was before anybody was erased on it"):
        yard.restore_raw(yard.settings, vouch=yard.vouchers())
    yard.put_back(rows, yard.settings.database_url)
    assert yard.restore_raw(yard.settings).replayed == {"erase": 1}


def require_kept_aside(yard: Yard, *logs: str) -> None:
    """Return if there is a checkpoint of each of ``logs`` beside the one in force, and named after it."""
    kept = {
        path: path.read_text().splitlines()[:2]
        for path in yard.settings.checkpoint.parent.glob("checkpoint.of-*")
    }
    assert sorted(log for log, _ in kept.values()) == sorted(logs)
    assert all(
        path.name.endswith(f".of-{log.replace('/', '-')}-{size}") for path, (log, size) in kept.items()
    )


def test_a_copy_of_a_sealed_vault_is_settled_and_stays_sealed(yard: Yard) -> None:
    erased = yard.counter.token(ERASED)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    for row in rows["counter"]:
        row["sealed"] = True
    do(yard, "erase", erased)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    yard.restore_raw(yard.settings)
    unseal_on_host(yard.settings, clock=yard.furnished.clock)
    open_to_serve(yard.settings).close()


def test_a_raw_copy_whose_tombstones_were_put_back_too_needs_two_people(yard: Yard) -> None:
    token = yard.counter.token(ERASED)
    yard.counter.verify_log()
    older = outside(yard, "older")
    rows = yard.raw_copy()
    do(yard, "erase", token)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    for path in yard.settings.checkpoint.parent.glob("tombstones*"):
        path.unlink()
    options = {"tombstones": older["tombstones"]}
    with pytest.raises(ApprovalRequiredError):
        yard.restore_raw(yard.settings, **options)
    restored = yard.restore_raw(yard.settings, vouch=yard.vouchers(), **options)
    assert (restored.replayed, restored.gap is not None) == ({}, True)
    open_to_serve(yard.settings).close()


def test_the_file_in_the_home_is_used_where_it_is_newer_than_the_one_given(yard: Yard) -> None:
    token = yard.counter.token(ERASED)
    yard.counter.verify_log()
    older = outside(yard, "older")
    rows = yard.raw_copy()
    do(yard, "erase", token)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    restored = yard.restore_raw(yard.settings, tombstones=older["tombstones"])
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
