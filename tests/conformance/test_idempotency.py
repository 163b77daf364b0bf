"""An idempotency key makes tokenize happen once: the same body is answered as before, another is refused."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from sqlalchemy import update

from tests.conformance.counter import GENDER, PHONE, Counter, item, phone
from tests.support.furnished import MEMBER
from vault.access import grants
from vault.domain.errors import (
    ConflictError,
    IdempotencyConflictError,
    PurposeNotAllowedError,
    TamperDetectedError,
)
from vault.storage import tables


def test_the_same_body_is_answered_as_before(counter: Counter) -> None:
    items = [phone("010-1234-5678", label="a", reference="r1"), item(GENDER, "?", label="a"), phone("12")]
    first = counter.tokenize(*items, key="k1")
    again = counter.tokenize(*items, key="k1")
    assert again.pop("replayed") is True
    assert again["leaf_hash"] == counter.last().leaf.hex() != first["leaf_hash"]
    assert again["log_index"] == counter.last().index == first["log_index"] + 1
    assert again["items"] == first["items"]
    assert counter.count(tables.token) == 1
    assert counter.last().outcomes == ["existing", "invalid_value", "invalid_value"]


def test_a_replay_says_what_existed_before_and_what_is_gone_since(counter: Counter) -> None:
    counter.tokenize(phone("010-1234-5678", external_ref="user-1"))
    items = [phone("010-1234-5678", external_ref="user-1", reference="kept"), phone("010-1111-2222")]
    first = counter.tokenize(*items, key="k1")["items"]
    counter.revoke(first[1]["token"])
    work = counter.tokenizing(items, key="k1")
    kept, gone = counter.vault.tokens.complete(work)["items"]
    assert kept == first[0]
    assert kept["existing"] is True
    assert gone == {"error": {"code": "token_revoked", "field": "token", "rule": "token_revoked"}}
    assert work.partial


def test_a_replay_tells_nothing_that_is_forbidden_by_now(counter: Counter) -> None:
    furnished, admin = counter.furnished, counter.actor("admin")
    service, furnished.actors["till"] = furnished.service(admin, "till")
    made = [
        furnished.grant(admin, ("service", service), ("token:tokenize",), purposes=(MEMBER,), fields=(field,))
        for field in (PHONE, GENDER)
    ]
    items = [phone("010-1234-5678", label="m"), item(GENDER, "F", label="m")]
    first = counter.tokenize(*items, key="k1", by="till")["items"]
    grants.revoke(counter.vault.changes, furnished.request(admin), made[0])
    forbidden, kept = counter.tokenize(*items, key="k1", by="till")["items"]
    assert forbidden["error"]["code"] == "access_denied"
    assert kept == first[1]


def test_another_body_is_refused(counter: Counter) -> None:
    counter.tokenize(phone("010-1234-5678"), key="k1")
    with pytest.raises(IdempotencyConflictError):
        counter.tokenize(phone("010-1234-5679"), key="k1")
    assert counter.last().entry.error == "idempotency_conflict"
    assert counter.count(tables.token) == 1


def test_a_key_belongs_to_one_actor(counter: Counter) -> None:
    mine = counter.tokenize(phone("010-1234-5678"), key="k1")
    theirs = counter.tokenize(phone("010-1234-5678"), key="k1", by="desk")
    assert "replayed" not in theirs
    assert theirs["items"][0]["token"] != mine["items"][0]["token"]


def test_a_refused_request_uses_up_no_key(counter: Counter) -> None:
    with pytest.raises(PurposeNotAllowedError):
        counter.tokenize(phone("010-1234-5678"), purpose="nothing", key="k1", body=b"wrong")
    assert counter.count(tables.idempotency) == 0
    assert "replayed" not in counter.tokenize(phone("010-1234-5678"), key="k1", body=b"right")


def test_requests_of_one_unit_with_one_key_happen_once(counter: Counter) -> None:
    works = [counter.tokenizing([phone("010-1234-5678")], key="k1", body=b"same") for _ in range(4)]
    counter.together(*works)
    done = [work for work in works if work.error is None]
    assert len(done) == 1
    assert {type(work.error) for work in works} == {type(None), IdempotencyConflictError}
    assert counter.count(tables.token) == 1
    assert counter.tokenize(phone("010-1234-5678"), key="k1", body=b"same")["replayed"] is True


def test_two_nodes_racing_with_one_key_happen_once(counter: Counter) -> None:
    other = counter.node()
    answers: list[list[str]] = [[], []]
    start = Barrier(2)

    def run(at: int) -> None:
        vault = (counter.vault, other)[at]
        for round_ in range(15):
            start.wait()
            token = ""
            while not token:
                work = counter.tokenizing([phone("010-1234-5678")], key=f"k{round_}", body=b"same")
                try:
                    token = vault.tokens.complete(work)["items"][0]["token"]
                except ConflictError:
                    continue
            answers[at].append(token)

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1]
    assert counter.count(tables.token) == counter.count(tables.subject) == 15
    counter.verify_log()


def test_the_record_holds_no_value_and_no_key(counter: Counter) -> None:
    counter.tokenize(phone("010-1234-5678", external_ref="mushroom"), phone("no phone"), key="order-4711")
    row = counter.rows(tables.idempotency, order_by="scope")[0]
    stored = b"".join(bytes(row[name]) for name in ("scope", "body_mac", "result"))
    for plain in (b"12345678", b"1234-5678", b"mushroom", b"no phone", b"order"):
        assert plain not in stored


def _results(counter: Counter) -> dict[bytes, bytes]:
    rows = counter.rows(tables.idempotency, order_by="scope")
    return {bytes(row["scope"]): bytes(row["result"]) for row in rows}


def test_a_record_moved_or_changed_in_the_database_makes_no_token(counter: Counter) -> None:
    """Whoever could write row ids there would have the vault make the token of any row."""
    counter.tokenize(phone("010-9999-8888"), key="victim", by="desk")
    before = set(_results(counter))
    counter.tokenize(phone("010-1234-5678"), key="mine", body=b"same")
    results = _results(counter)
    (victim,) = before
    (mine,) = results.keys() - before
    for forged in (results[victim], results[mine][:-1] + b"\xc3", b""):
        counter.tamper(update(tables.idempotency).filter_by(scope=mine).values(result=forged))
        with pytest.raises(TamperDetectedError):
            counter.tokenize(phone("010-1234-5678"), key="mine", body=b"same")
        assert counter.log()[-1 if forged != results[victim] else -2].entry.error == "tamper_detected"
    assert counter.alarms() == [("idempotency", mine.hex())]
    counter.tamper(update(tables.idempotency).filter_by(scope=mine).values(result=results[mine]))
    assert counter.tokenize(phone("010-1234-5678"), key="mine", body=b"same")["replayed"] is True
