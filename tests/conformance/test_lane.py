"""Works that share a unit: none fails another, none waits for another, and the lane outlives them all."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import text

from tests.conformance.counter import PHONE, Counter, item, phone
from tests.support.furnished import phones
from vault.domain.errors import ConflictError, UnavailableError, VaultError
from vault.storage import tables
from vault.storage.lane import UNIT_ITEMS
from vault.tokens.requests import MAX_ITEMS
from vault.tokens.work import HotWork


def test_one_work_that_the_database_refuses_fails_alone(counter: Counter) -> None:
    works: list[HotWork] = []
    poisoned = _ambushed(counter)
    for at, value in enumerate(phones(20)):
        works.append(poisoned if at == 7 else counter.tokenizing([phone(value)]))
    counter.together(*works)
    assert isinstance(poisoned.error, ConflictError)
    others = [work for work in works if work is not poisoned]
    assert [work.error for work in others] == [None] * 19
    tokens = [work.result["items"][0]["token"] for work in others]
    assert len(counter.detokenize(*tokens)["items"]) == 19
    assert counter.count(tables.subject) == 19
    counter.verify_log()


def _ambushed(counter: Counter) -> HotWork:
    """Return a tokenize work whose rows break a constraint, as they would had another node been first."""
    work = counter.tokenizing([phone("010-6666-6666")], key="ambush", body=b"1")
    complete = work.complete

    def collide(bench: Any) -> None:
        complete(bench)
        row = bench.writes.subjects[-1]
        bench.writes.subjects.append((row[0] + 1, *row[1:]))

    work.complete = collide  # type: ignore[method-assign]
    return work


def test_a_fault_in_one_answer_reaches_its_caller_alone(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    token = counter.token()
    faulty, good = counter.detokenizing([token]), counter.detokenizing([token])

    def fail(_receipt: object) -> dict[str, Any]:
        raise ZeroDivisionError("010-1234-5678")

    faulty.finish = fail  # type: ignore[method-assign,assignment]
    counter.together(faulty, good)
    assert isinstance(faulty.error, VaultError)
    assert faulty.error.code == "internal"
    assert good.result["items"][0]["value"] == "010-1234-5678"
    assert "ZeroDivisionError" in caplog.text
    assert "5678" not in caplog.text


@pytest.mark.parametrize(("step", "spared"), [("begin", True), ("complete", True), ("items", False)])
def test_a_fault_of_the_vault_reveals_nothing_and_leaves_the_log_sound(
    counter: Counter, caplog: pytest.LogCaptureFixture, step: str, *, spared: bool
) -> None:
    """While a work is decided and opened it fails alone; where its entry is made, with its unit."""
    token = counter.token()
    faulty, good = counter.detokenizing([token]), counter.detokenizing([token])

    def fail(*_: object) -> None:
        raise ZeroDivisionError("010-1234-5678")

    setattr(faulty, step, fail)
    counter.together(faulty, good)
    assert faulty.error is not None
    assert faulty.error.code == "internal"
    assert faulty.result == {}
    if spared:
        assert good.result["items"][0]["value"] == "010-1234-5678"
    else:
        assert good.error is not None
        assert (good.error.code, good.result) == ("internal", {})
    assert "ZeroDivisionError" in caplog.text
    assert "5678" not in caplog.text
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"
    counter.verify_log()


def test_a_caller_that_is_gone_stops_nobody(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> None:
        raise RuntimeError("the loop is closed")

    token = counter.token()
    counter.vault.tokens.start(counter.detokenizing([token]), gone)
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"
    assert "a delivery failed" in caplog.text


def test_a_missing_key_refuses_the_work_that_needs_it_alone(counter: Counter) -> None:
    token = counter.token()
    counter.change(tables.key, {"kind": "lookup", "scope": PHONE}, state="suspended")
    needing, other = counter.tokenizing([phone("010-6666-6666")]), counter.detokenizing([token])
    counter.together(needing, other)
    assert isinstance(needing.error, UnavailableError)
    assert other.result["items"][0]["value"] == "010-1234-5678"
    assert counter.count(tables.token) == 1
    counter.verify_log()


def test_a_failing_look_at_what_holds_now_leaves_the_lane_alive(counter: Counter) -> None:
    token = counter.token()
    counter.tamper(text("ALTER TABLE access_grant RENAME TO elsewhere"))
    for _ in range(2):
        with pytest.raises(UnavailableError):
            counter.detokenize(token)
    counter.tamper(text("ALTER TABLE elsewhere RENAME TO access_grant"))
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"


def test_requests_that_arrive_together_share_units(counter: Counter) -> None:
    threads, each = 16, 15
    start = Barrier(threads)
    units, entries = counter.count(tables.log_unit), counter.count(tables.log_entry)

    def run(at: int) -> None:
        start.wait()
        for value in phones(each, start=100 * at):
            counter.token(value)

    running = [Thread(target=run, args=(at,)) for at in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert counter.count(tables.log_entry) - entries == threads * each
    assert counter.count(tables.log_unit) - units < threads * each / 2
    counter.verify_log()


def test_a_unit_takes_no_more_than_its_cap(counter: Counter) -> None:
    values = phones(300)
    works = [counter.tokenizing(map(phone, values)) for _ in range(24)]
    before = counter.count(tables.log_unit)
    counter.together(*works)
    bounds = [unit["size"] for unit in counter.rows(tables.log_unit, order_by="first")][before:]
    assert all(work.error is None for work in works)
    sizes = _items_by_unit(counter, before)
    assert len(bounds) > 3
    assert sum(sizes) == 24 * 300
    assert max(sizes) < UNIT_ITEMS + MAX_ITEMS


def _items_by_unit(counter: Counter, skip: int) -> list[int]:
    items = {logged.index: logged.entry.items.n if logged.entry.items else 0 for logged in counter.log()}
    return [
        sum(items[at] for at in range(unit["first"], unit["first"] + unit["size"]))
        for unit in counter.rows(tables.log_unit, order_by="first")[skip:]
    ]


def test_a_lone_request_waits_for_nobody(counter: Counter) -> None:
    before = counter.count(tables.log_unit)
    counter.token()
    assert counter.count(tables.log_unit) == before + 1


def test_subjects_of_a_unit_that_was_given_up_are_not_remembered(counter: Counter) -> None:
    poisoned = _ambushed(counter)
    counter.together(poisoned)
    assert isinstance(poisoned.error, ConflictError)
    assert counter.count(tables.subject) == counter.count(tables.data_key) == counter.count(tables.token) == 0
    answer = counter.tokenize(item(PHONE, "010-6666-6666"), key="ambush", body=b"1")
    assert "replayed" not in answer
