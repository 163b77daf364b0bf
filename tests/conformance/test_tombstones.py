"""Tombstones and certificates: rows of the transaction of the act, with its log index, on both databases."""

from __future__ import annotations

import json

import pytest

from tests.conformance.counter import Counter
from vault.access.changes import Attempt, Change
from vault.access.sealing import verify
from vault.domain.actions import Action
from vault.domain.errors import LogUnavailableError, TamperDetectedError
from vault.lifecycle import tombstones
from vault.lifecycle.tombstones import Act, Facts
from vault.storage import tables
from vault.storage.tombstones import (
    CertificateRow,
    TombstoneRow,
    certificate_of,
    last_tombstone_of,
    tombstones_from,
)

SUBJECT = 4711


def _do(counter: Counter, act: Act, *, facts: Facts | None = None, position: int = 0) -> int:
    """Do something that is logged twice; return the log index of the first entry."""

    def doing(attempt: Attempt) -> Change[None]:
        tombstones.leave(attempt, act, SUBJECT, position=position, facts=facts)
        return Change(None, {}, revises=True, also=((Action.KEY_LIST, {}),))

    request = counter.furnished.request(counter.actor("admin"))
    return counter.vault.changes.make(request, Action.VAULT_STATUS, doing).receipt.index


def _stones(counter: Counter) -> list[TombstoneRow]:
    with counter.vault.changes.database.reading() as connection:
        return tombstones_from(connection, 0, 100)


def _certificate(counter: Counter, seq: int) -> CertificateRow | None:
    with counter.vault.changes.database.reading() as connection:
        return certificate_of(connection, seq)


def test_numbers_have_no_gaps_and_each_has_the_index_of_its_entry(counter: Counter) -> None:
    first = _do(counter, "restrict")
    second = _do(counter, "lift", position=1)
    third = _do(counter, "erase", facts={})
    stones = _stones(counter)
    assert [(stone.seq, stone.act, stone.log_index) for stone in stones] == [
        (0, "restrict", first),
        (1, "lift", second + 1),
        (2, "erase", third),
    ]
    authority = counter.vault.standings.current.keyring.authority
    for stone in stones:
        verify(authority, stone)
        assert stone.subject_id == SUBJECT
    with counter.vault.changes.database.reading() as connection:
        assert last_tombstone_of(connection, SUBJECT) == stones[2]
        assert last_tombstone_of(connection, SUBJECT + 1) is None


def test_a_certificate_has_the_facts_in_one_form(counter: Counter) -> None:
    index = _do(counter, "erase", facts={"subject": "sub_x", "data_keys": 1})
    certificate = _certificate(counter, 0)
    assert certificate is not None
    verify(counter.vault.standings.current.keyring.authority, certificate)
    assert certificate.id.startswith("crt_")
    assert certificate.note is None
    at_us = certificate.created_at
    assert certificate.facts == (f'{{"at_us":{at_us},"data_keys":1,"log_index":{index},"subject":"sub_x"}}')
    assert json.loads(certificate.facts)["log_index"] == index


def test_only_with_facts_is_there_a_certificate(counter: Counter) -> None:
    _do(counter, "restrict")
    assert _certificate(counter, 0) is None


def test_nothing_is_left_where_the_act_fails(counter: Counter) -> None:
    def doing(attempt: Attempt) -> Change[None]:
        tombstones.leave(attempt, "restrict", SUBJECT)
        attempt.after_append(_fail)
        return Change(None, {}, revises=True)

    before = counter.next_index()
    request = counter.furnished.request(counter.actor("admin"))
    with pytest.raises(LogUnavailableError):
        counter.vault.changes.make(request, Action.VAULT_STATUS, doing)
    assert _stones(counter) == []
    assert counter.next_index() == before
    _do(counter, "restrict")
    assert [stone.seq for stone in _stones(counter)] == [0]
    counter.verify_log()


def _fail(_indexes: tuple[int, ...]) -> None:
    raise LogUnavailableError("no")


def test_there_is_no_index_before_the_append(counter: Counter) -> None:
    with (
        pytest.raises(LogUnavailableError, match="before the append"),
        counter.vault.changes.journal.unit() as unit,
    ):
        assert unit.indexes


def test_a_tombstone_that_somebody_altered_does_not_verify(counter: Counter) -> None:
    _do(counter, "restrict")
    counter.change(tables.tombstone, {"seq": 0}, subject_id=SUBJECT + 1)
    (stone,) = _stones(counter)
    with pytest.raises(TamperDetectedError):
        verify(counter.vault.standings.current.keyring.authority, stone)
