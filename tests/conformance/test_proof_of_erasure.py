"""An erasure from the officer's approval to the certificate that somebody verifies elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import delete

from tests.conformance.counter import Counter
from tests.conformance.keeper import Keeper
from tests.conformance.stones import filed, round_of
from vault.audit.acts import act_of
from vault.audit.certificate import open_certificate
from vault.audit.integrator import log_key
from vault.storage import tables


def test_acts_of_people_are_filed_and_an_erasure_is_certified(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody(external_ref="user-1")
    keeper.restrict(subject)
    keeper.lift(subject)
    keeper.erase(subject)
    assert round_of(counter.vault) == ""
    stones, through = filed(counter)
    assert [stone.act for stone in stones] == ["restrict", "lift", "erase"]
    assert {stone.subject_id for stone in stones} == {counter.row_id(subject)}
    assert through <= counter.next_index()
    assert [act_of(counter.log(stone.log_index)[0].body) for stone in stones] == ["restrict", "lift", "erase"]
    (row,) = counter.rows(tables.certificate)
    certificate = open_certificate(row["note"], log_key(counter.vault.standings.current.keyring))
    facts = json.loads(row["facts"])
    assert certificate.lines["subject"] == subject == facts["subject"]
    assert certificate.log_index == stones[2].log_index
    assert certificate.lines["values destroyed"] == str(facts["values"])
    counter.verify_log()


@pytest.mark.parametrize("act", ["restrict", "erase"])
def test_act_whose_tombstone_was_deleted_is_never_signed(keeper: Keeper, counter: Counter, act: str) -> None:
    subject, _ = keeper.somebody()
    assert round_of(counter.vault) == ""
    done: Callable[[str], object] = getattr(keeper, act)
    done(subject)
    counter.tamper(delete(tables.tombstone))
    assert round_of(counter.vault) == "tamper_detected"
    assert any(table == "tombstone" and row.startswith("log.") for table, row in counter.alarms())
    assert [row["note"] for row in counter.rows(tables.certificate)] in ([], [None])
