"""Promises 1 and 2: nothing is revealed and nothing changes unless its entry is durable."""

from __future__ import annotations

from threading import Event

import pytest
from sqlalchemy import delete, insert, update

from tests.conformance.counter import PHONE, WAIT, Counter, phone
from tests.support.furnished import phones
from vault.domain.errors import VaultError
from vault.domain.ids import RequestId
from vault.storage import tables
from vault.tokens.work import HotWork

CHANGING = ("subject", "data_key", "token", "idempotency", "log_note", "log_unit", "counter")


def _block_the_log(counter: Counter) -> None:
    """Put an entry where the next one has to go: the append fails, everything before it has worked."""
    next_index = counter.next_index()
    counter.tamper(insert(tables.log_entry).values(idx=next_index, leaf=b"", body=b""))


def _unblock_the_log(counter: Counter) -> None:
    counter.tamper(tables.log_entry.delete().where(tables.log_entry.c.body == b""))


def _works(counter: Counter, token: str) -> dict[str, HotWork]:
    return {
        "tokenize": counter.tokenizing([phone("010-9999-8888")], key="k1", reason="ticket 4711"),
        "detokenize": counter.detokenizing([token]),
        "search": counter.searching(PHONE, "010-1234-5678"),
        "show": counter.showing(token),
        "revoke": counter.revoking(token),
        "refused": counter.detokenizing([token], by="chief"),
    }


@pytest.mark.parametrize("act", ["tokenize", "detokenize", "search", "show", "revoke", "refused"])
def test_without_its_entry_nothing_is_revealed_and_nothing_changes(counter: Counter, act: str) -> None:
    token = counter.token()
    _block_the_log(counter)
    before = {name: counter.rows(tables.metadata.tables[name], order_by=_key(name)) for name in CHANGING}
    work = _works(counter, token)[act]
    with pytest.raises(VaultError) as failed:
        counter.vault.tokens.complete(work)
    assert failed.value.code in {"conflict", "unavailable", "log_unavailable"}
    assert work.result == {}
    assert {
        name: counter.rows(tables.metadata.tables[name], order_by=_key(name)) for name in CHANGING
    } == before
    _unblock_the_log(counter)
    again = _works(counter, token)[act]
    counter.together(again)
    assert (again.error is None) is (act != "refused")
    counter.verify_log()


def _key(name: str) -> str:
    return str(tables.metadata.tables[name].primary_key.columns[0].name)


def test_what_was_opened_is_out_of_reach_until_the_entry_is_durable(counter: Counter) -> None:
    token = counter.token()
    _block_the_log(counter)
    work = counter.detokenizing([token])
    with pytest.raises(VaultError):
        counter.vault.tokens.complete(work)
    held = [value for value in vars(work).values() if isinstance(value, list | tuple | str | dict)]
    assert "5678" not in repr(held)
    assert "5678" not in repr(vars(work)["_withheld"])


def test_the_entry_is_there_when_the_answer_is(counter: Counter) -> None:
    token = counter.token()
    work = counter.detokenizing([token])
    seen: list[RequestId] = []
    answered = Event()

    def look() -> None:
        seen.append(counter.entry(work.result["log_index"]).origin.request)
        answered.set()

    counter.vault.tokens.start(work, look)
    assert answered.wait(WAIT)
    assert seen == [work.origin.request]


def test_a_tail_cut_off_and_written_anew_alarms(counter: Counter) -> None:
    """There are as many entries as before, all of them ours, and a restart makes another writer."""
    for _ in range(3):
        counter.token()
    counter.vault.upkeep.round()
    assert counter.vault.upkeep.health.trouble == ""
    size = counter.next_index()
    counter.tamper(
        delete(tables.log_entry).where(tables.log_entry.c.idx >= size - 2),
        delete(tables.log_unit).where(tables.log_unit.c.first >= size - 2),
        update(tables.counter).values(next_index=size - 2),
    )
    other = counter.node()
    for value in phones(2):
        counter.tokenize(phone(value), at=other)
    assert counter.next_index() == size
    other.upkeep.round()
    assert other.upkeep.health.trouble == "tamper_detected"
    assert ("log", str(size)) in counter.alarms()
