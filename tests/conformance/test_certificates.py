"""A certificate of destruction is signed once its tombstone is outside, and says what was done."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import delete, update

from keys.states import KeyState
from tests.conformance.counter import Counter
from tests.conformance.stones import SUBJECT, filed, leave, round_of
from vault.audit.certificate import Certificate, open_certificate
from vault.audit.integrator import log_key
from vault.audit.merkle import leaf_hash
from vault.domain.errors import AccessDeniedError, ConflictError, NotFoundError, TamperDetectedError
from vault.lifecycle import certificates as module
from vault.lifecycle.certificates import Issuing, list_certificates, show_certificate
from vault.storage import tables

FACTS: dict[str, Any] = {
    "subject": "sub_0000000000000000",
    "data_keys": 1,
    "values": 3,
    "digests": 2,
    "references": 1,
    "ground": "subject_request",
    "proposed_by": "stf_00000000000000000001",
    "approved_by": "stf_00000000000000000002",
    "approval": "apr_00000000000000000001",
}


def notes(counter: Counter) -> list[str | None]:
    return [row["note"] for row in counter.rows(tables.certificate, order_by="seq")]


def opened(counter: Counter, note: str | None) -> Certificate:
    assert note is not None
    return open_certificate(note, log_key(counter.vault.standings.current.keyring))


def test_certificate_says_what_was_done_and_where_it_stands(counter: Counter) -> None:
    index = leave(counter, facts=FACTS)
    assert round_of(counter.vault) == ""
    (row,) = counter.rows(tables.certificate)
    lines = opened(counter, row["note"]).lines
    assert {name: lines[name] for name in list(lines)[:7]} == {
        "certificate": row["id"],
        "act": "erase",
        "subject": "sub_0000000000000000",
        "ground": "subject_request",
        "proposed by": "stf_00000000000000000001",
        "approved by": "stf_00000000000000000002",
        "approval": "apr_00000000000000000001",
    }
    counts = [lines[f"{name} destroyed"] for name in ("data keys", "values", "digests", "references")]
    assert counts == ["1", "3", "2", "1"]
    assert (lines["log index"], lines["tombstone"]) == (str(index), "0")
    assert lines["leaf hash"] == leaf_hash(counter.log(index)[0].body).hex()
    assert lines["decided at"][:4] == lines["issued at"][:4]


def test_it_names_the_day_by_which_old_copies_are_dead_and_every_key_of_it(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    round_of(counter.vault)
    certificate = opened(counter, notes(counter)[0])
    names = [part.partition(" ")[0] for part in certificate.hangs_on]
    assert {"wrapping//1", "root//1", "lookup/member.phone/1", "lookup/ref/member/1"} <= set(names)
    assert all("(active), to be replaced and destroyed by 20" in part for part in certificate.hangs_on[:-1])
    assert certificate.hangs_on[-1].startswith("root//3 (to come), will seal what is left then, gone by 20")
    days = [part.rsplit(" ", 1)[1] for part in certificate.hangs_on]
    assert certificate.lines["copies dead by"] == max(days)


def test_nothing_is_certified_before_the_tombstone_is_outside(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(counter, facts=FACTS)

    def lost(*_: object, **__: object) -> None:
        raise OSError

    with monkeypatch.context() as power:
        power.setattr("vault.audit.tombstone_file.append_file", lost)
        assert round_of(counter.vault) == "unavailable"
    assert notes(counter) == [None]
    assert filed(counter).tombstones == []
    assert round_of(counter.vault) == ""
    assert opened(counter, notes(counter)[0]).lines["tombstone"] == "0"


def test_nothing_is_certified_before_a_checkpoint_covers_the_entry(counter: Counter) -> None:
    index = leave(counter, facts=FACTS)
    issuing = Issuing(counter.vault.changes)
    issuing.issue(filed=1, size=index, now_us=counter.vault.now_us())
    assert notes(counter) == [None]
    issuing.issue(filed=1, size=index + 1, now_us=counter.vault.now_us())
    assert notes(counter) != [None]


def test_issue_is_in_the_log_with_the_hash_of_the_text(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    round_of(counter.vault)
    entry = counter.last().entry
    assert entry.action == "certificate:issue"
    (row,) = counter.rows(tables.certificate)
    assert dict(entry.target)["certificate"] == row["id"]
    assert dict(entry.target)["tombstone"] == "0"
    assert re.fullmatch("[0-9a-f]{64}", dict(entry.target)["note"])
    counter.verify_log()


def test_signed_once_whoever_else_looks(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    node = counter.node()
    assert round_of(counter.vault) == ""
    before = notes(counter)
    assert round_of(node) == ""
    assert round_of(counter.vault) == ""
    assert notes(counter) == before


def test_node_that_lost_the_race_says_nothing_is_wrong(counter: Counter) -> None:
    index = leave(counter, facts=FACTS)
    now_us = counter.vault.now_us()
    mine = Issuing(counter.vault.changes)
    found = mine._look(1, index + 1, now_us)
    round_of(counter.vault)
    before = notes(counter)
    with pytest.raises(ConflictError):
        module._store(counter.vault.changes, found.standing, found.ready, now_us)
    assert notes(counter) == before
    mine.issue(filed=1, size=index + 1, now_us=now_us)
    assert notes(counter) == before


def test_more_than_a_page_is_signed_round_by_round(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for at in range(5):
        leave(counter, subject=SUBJECT + at, facts=FACTS)
    signed = []
    for _ in range(3):
        assert round_of(counter.vault) == ""
        signed.append(sum(note is not None for note in notes(counter)))
    assert signed == [2, 4, 5]


def test_overdue_keys_are_said_to_be(counter: Counter) -> None:
    counter.furnished.clock.pass_time(minutes=5)
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
    leave(counter, facts=FACTS)
    round_of(counter.vault)
    hangs_on = opened(counter, notes(counter)[0]).hangs_on
    (old,) = [part for part in hangs_on if part.startswith("wrapping//1 ")]
    assert f"({KeyState.DEACTIVATED.value}), to be destroyed, due since " in old


# Somebody who holds the database


def _facts_changed(counter: Counter) -> str:
    counter.tamper(update(tables.certificate).values(facts=json.dumps({**FACTS, "values": 0})))
    return "certificate"


def _note_planted(counter: Counter) -> str:
    counter.tamper(update(tables.certificate).values(note="a note"))
    return "certificate"


def test_altered_facts_are_not_signed_and_alarm(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    leave(counter, subject=SUBJECT + 1, facts=FACTS)
    counter.tamper(
        update(tables.certificate).where(tables.certificate.c.seq == 0).values(facts='{"log_index":0}')
    )
    assert round_of(counter.vault) == "tamper_detected"
    assert notes(counter)[0] is None
    assert notes(counter)[1] is not None
    assert "certificate" in {table for table, _ in counter.alarms()}


def test_certificate_moved_to_another_tombstone_is_not_signed(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    leave(counter, "restrict", SUBJECT + 1)
    counter.tamper(update(tables.certificate).values(seq=1))
    assert round_of(counter.vault) == "tamper_detected"
    assert notes(counter) == [None]


def test_certificate_without_its_tombstone_is_not_signed(counter: Counter) -> None:
    index = leave(counter, facts=FACTS)
    counter.tamper(delete(tables.tombstone))
    with pytest.raises(TamperDetectedError) as refused:
        Issuing(counter.vault.changes).issue(filed=1, size=index + 1, now_us=counter.vault.now_us())
    assert refused.value.table == "certificate"


def test_certificate_whose_entry_was_changed_is_not_signed(counter: Counter) -> None:
    index = leave(counter, facts=FACTS)
    counter.tamper(update(tables.log_entry).where(tables.log_entry.c.idx == index).values(body=b"{}"))
    with pytest.raises(TamperDetectedError):
        Issuing(counter.vault.changes).issue(filed=1, size=index + 1, now_us=counter.vault.now_us())


@pytest.mark.parametrize("meddle", [_facts_changed, _note_planted])
def test_altered_certificate_is_not_shown_and_alarms(counter: Counter, meddle: Any) -> None:
    leave(counter, facts=FACTS)
    round_of(counter.vault)
    table = meddle(counter)
    (row,) = counter.rows(tables.certificate)
    request = counter.furnished.request(counter.actor("officer"))
    with pytest.raises(TamperDetectedError):
        show_certificate(counter.vault.changes, request, row["id"])
    assert (table, row["id"]) in counter.alarms()


def test_altered_certificate_hides_no_other_in_the_list(counter: Counter) -> None:
    for at in range(3):
        leave(counter, subject=SUBJECT + at, facts=FACTS)
    round_of(counter.vault)
    counter.tamper(
        update(tables.certificate).where(tables.certificate.c.seq == 1).values(facts='{"at_us":0}')
    )
    request = counter.furnished.request(counter.actor("officer"))
    found = list_certificates(counter.vault.changes, request, 1 << 30)
    assert [(one.seq, one.verifies) for one in found] == [(2, True), (1, False), (0, True)]
    assert (found[1].facts, found[1].note) == ({}, None)
    assert ("certificate", found[1].id) in counter.alarms()


# Reading them


def test_listed_newest_first_and_page_by_page(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(3):
        leave(counter, subject=SUBJECT + at, facts=FACTS)
    monkeypatch.setattr(module, "PAGE", 2)
    request = counter.furnished.request(counter.actor("chief"))
    first = list_certificates(counter.vault.changes, request, 1 << 30)
    second = list_certificates(counter.vault.changes, request, first[-1].seq)
    assert [view.seq for view in (*first, *second)] == [2, 1, 0]
    assert first[0].note is None
    assert first[0].facts["values"] == 3


def test_shown_to_those_who_oversee_and_logged(counter: Counter) -> None:
    leave(counter, facts=FACTS)
    round_of(counter.vault)
    (row,) = counter.rows(tables.certificate)
    for name in ("admin", "officer", "chief"):
        request = counter.furnished.request(counter.actor(name))
        assert show_certificate(counter.vault.changes, request, row["id"]).note == row["note"]
        entry = counter.last().entry
        assert (entry.action, dict(entry.target)) == ("certificate:show", {"certificate": row["id"]})


def test_handler_and_service_see_none(counter: Counter) -> None:
    for name in ("minji", "shop"):
        request = counter.furnished.request(counter.actor(name))
        with pytest.raises(AccessDeniedError):
            list_certificates(counter.vault.changes, request, 1)
        with pytest.raises(AccessDeniedError):
            show_certificate(counter.vault.changes, request, "crt_00000000000000000000")


def test_unknown_certificate_is_not_found(counter: Counter) -> None:
    request = counter.furnished.request(counter.actor("officer"))
    with pytest.raises(NotFoundError):
        show_certificate(counter.vault.changes, request, "crt_00000000000000000000")
