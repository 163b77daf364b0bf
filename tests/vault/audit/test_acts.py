"""An act on a data subject that is in the log has its tombstone, or nothing is signed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from tests.vault.audit.builders import entry_in_parts, entry_of, whole
from tests.vault.audit.logs import Log
from vault.audit.acts import act_of
from vault.audit.entry import Entry, encode
from vault.audit.note import checkpoint_unverified
from vault.domain.errors import TamperDetectedError
from vault.domain.model import Outcome
from vault.storage import tables

APPROVED = (("approved_by", "stf_00000000000000000002"), ("ground", "subject_request"))
PROPOSED = (("approval", "apr_00000000000000000001"), ("ground", "subject_request"))


def said(action: Any, target: tuple[tuple[str, str], ...] = (), **more: Any) -> Entry:
    plain = replace(entry_of(), outcome=Outcome.DONE, reveal=None, items=None)
    return replace(plain, action=action, target=target, **more)


ACTS = [
    (said("subject:restrict"), "restrict"),
    (said("subject:restrict", items=entry_of().items), "restrict"),
    (said("subject:erase", APPROVED), "erase"),
    (said("subject:lift", APPROVED), "lift"),
]
OTHERS = [
    said("subject:erase", PROPOSED),
    said("subject:lift", PROPOSED),
    said("subject:show"),
    said("subject:show", APPROVED),
    said("subject:erase", APPROVED, outcome=Outcome.REFUSED, error="conflict"),
    said("subject:restrict", outcome=Outcome.REFUSED, error="not_found"),
    said("approval:decide", APPROVED),
    said("token:show"),
    said("token:show", actor=replace(entry_of().actor, name='"action":"subject:restrict')),
]


@pytest.mark.parametrize(("entry", "act"), ACTS)
def test_entry_of_an_act_that_was_done_says_which(entry: Entry, act: str) -> None:
    assert act_of(whole(entry)) == act


@pytest.mark.parametrize("entry", OTHERS)
def test_other_entries_say_none(entry: Entry) -> None:
    assert act_of(whole(entry)) is None


def test_first_part_alone_says_it() -> None:
    parts = encode(replace(entry_in_parts(), outcome=Outcome.DONE, action=said("subject:restrict").action))
    assert [act_of(part) for part in parts] == ["restrict", None]


def append(log: Log, *entries: Entry) -> int:
    with log.journal.unit() as unit:
        unit.append(entries, revision=None, revise=False)
    return unit.receipts[0].index


def leave(log: Log, seq: int, log_index: int, act: str) -> None:
    row = {"seq": seq, "log_index": log_index, "act": act, "subject_id": 1, "at_us": 1}
    log.tamper(insert(tables.tombstone).values(**row, version=1, mac=b""))


def test_acts_with_their_tombstones_are_integrated(audit_log: Log) -> None:
    first = append(audit_log, *(entry for entry, _ in ACTS), *OTHERS)
    for seq, (_, act) in enumerate(ACTS):
        leave(audit_log, seq, first + seq, act)
    progress = audit_log.integrate()
    assert progress is not None
    assert progress.size == len(ACTS) + len(OTHERS)


def test_nothing_is_signed_over_an_act_whose_tombstone_was_deleted(audit_log: Log) -> None:
    append(audit_log, entry_of(1))
    audit_log.integrate()
    index = append(audit_log, *(entry for entry, _ in ACTS))
    for seq in range(len(ACTS) - 1):
        leave(audit_log, seq, index + seq, ACTS[seq][1])
    with pytest.raises(TamperDetectedError) as refused:
        audit_log.integrate()
    assert (refused.value.table, refused.value.reference) == ("tombstone", "log.4")
    assert [checkpoint_unverified(note).size for note in audit_log.checkpoints()] == [1]


def test_tombstone_of_another_act_does_not_do(audit_log: Log) -> None:
    leave(audit_log, 0, append(audit_log, ACTS[2][0]), "lift")
    with pytest.raises(TamperDetectedError):
        audit_log.integrate()


def test_many_acts_are_looked_up_in_portions(audit_log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.storage.tombstones._AT_ONCE", 2)
    first = append(audit_log, *[ACTS[0][0]] * 5)
    for seq in range(5):
        leave(audit_log, seq, first + seq, "restrict")
    progress = audit_log.integrate()
    assert progress is not None
    assert progress.size == 5
