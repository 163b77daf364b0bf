"""The authority key is replaced under everybody's feet, and the old one ends, on both databases."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from tests.conformance.counter import Counter, phone
from tests.conformance.rotating import (
    approve,
    census,
    destroy,
    job,
    propose,
    reseal,
    rotate,
    second_administrator,
    start_reseal,
    state_of,
)
from vault.access.alarms import SEALED
from vault.access.sealing import key_version
from vault.domain.errors import AccessDeniedError, ConflictError, InvalidInputError, UnavailableError
from vault.rotation import reseal as module
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError


@pytest.fixture
def two(counter: Counter) -> Counter:
    """A vault with a second administrator and its log in the tree."""
    second_administrator(counter)
    counter.verify_log()
    return counter


def _versions(counter: Counter) -> dict[str, set[int]]:
    """Return which authority keys the rows of each table are sealed under."""
    keys = counter.vault.standings.refresh().keyring.authority
    with counter.vault.changes.database.reading() as connection:
        return {
            kind.table.name: {key_version(keys, row) for row in kind.everything(connection)}
            for kind in SEALED
        }


def _works(counter: Counter) -> None:
    """Let everybody do what they do."""
    token = counter.token("010-1234-5678")
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"
    counter.furnished.login("minji")
    counter.vault.staff.list(counter.furnished.request(counter.actor("admin")))
    assert counter.alarms() == []
    counter.verify_log()


def test_everything_goes_on_through_rotation_reseal_and_end(two: Counter) -> None:
    node = two.node()
    assert rotate(two, "authority").new == 2
    _works(two)
    done = reseal(two, "authority")
    assert (done.state, done.target, done.failed) == ("done", "authority", 0)
    _works(two)
    assert set.union(*_versions(two).values()) == {2}
    assert census(two, "authority").total == 0
    destroy(two, "authority")
    assert state_of(two, "authority") == "destroyed"
    _works(two)
    two.tokenize(phone("010-1234-5679"), at=node)
    assert two.alarms() == []


def test_a_reseal_changes_nothing_but_the_code(two: Counter) -> None:
    def rows() -> dict[str, list[dict[str, Any]]]:
        with two.vault.changes.database.reading() as connection:
            return {
                kind.table.name: [
                    {name: value for name, value in row.items() if name != "mac"}
                    for row in connection.execute(
                        select(kind.table).order_by(*kind.table.primary_key.columns)
                    ).mappings()
                ]
                for kind in SEALED
            }

    rotate(two, "authority")
    before = rows()
    reseal(two, "authority")
    assert rows() == before


def test_history_that_no_decision_reads_is_sealed_anew_too(two: Counter) -> None:
    grant = two.furnished.grants["minji"][0]
    two.vault.grants.revoke(two.furnished.request(two.actor("admin")), grant)
    rotate(two, "authority")
    reseal(two, "authority", size=2)
    history = [row for row in two.rows(tables.grant) if row["id"] == grant]
    assert len(history) == 3
    assert _versions(two)["access_grant"] == {2}


def test_a_row_that_does_not_verify_is_left_alarms_and_keeps_the_key(two: Counter) -> None:
    minji = two.furnished.people["minji"]
    rotate(two, "authority")
    two.change(tables.staff, {"id": minji}, team="ethics")
    before = two.row(tables.staff, id=minji)
    done = reseal(two, "authority")
    assert (done.state, done.failed) == ("done", 1)
    assert two.row(tables.staff, id=minji) == before
    assert ("staff", minji) in two.alarms()
    assert dict(census(two, "authority").counts)["unverified"] == 1
    with pytest.raises(ConflictError, match="1 unverified"):
        propose(two, "authority")


def test_a_planted_row_is_not_made_genuine(two: Counter) -> None:
    with two.vault.changes.database.reading() as connection:
        row = dict(connection.execute(select(tables.staff).limit(1)).mappings().one())
    rotate(two, "authority")
    two.tamper(insert(tables.staff).values(**{**row, "id": "stf_planted", "login": "planted"}))
    assert reseal(two, "authority").failed == 1
    assert "stf_planted" not in two.vault.standings.refresh().authority.staff


def test_a_row_changed_while_its_portion_is_made_keeps_the_change(
    two: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(two, "authority")
    start_reseal(two, "authority")
    prepare = module.prepare
    changed = False

    def changes_meanwhile(*arguments: Any) -> module.Portion:
        nonlocal changed
        portion = prepare(*arguments)
        if not changed and any(before.table.name == "staff_secret" for before, _ in portion.changed):
            changed = True
            for login in ("admin", "officer", "minji", "chief", "second"):
                two.furnished.login(login)
        return portion

    monkeypatch.setattr(module, "prepare", changes_meanwhile)
    while two.vault.worker.portion(size=50) is not None:
        pass
    assert changed
    assert (job(two).state, job(two).failed) == ("done", 0)
    assert census(two, "authority").counts["rows"] == 0
    two.furnished.login("minji")
    assert two.alarms() == []


def test_a_rotation_during_a_reseal_is_followed_to_the_newest_key(two: Counter) -> None:
    rotate(two, "authority")
    start_reseal(two, "authority")
    two.vault.worker.portion(size=3)
    two.vault.worker.portion(size=3)
    assert rotate(two, "authority").new == 3
    while two.vault.worker.portion(size=3) is not None:
        pass
    assert job(two).state == "done"
    assert set.union(*_versions(two).values()) == {3}


def test_a_node_that_comes_back_late_writes_nothing(two: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(two, "authority")
    start_reseal(two, "authority")
    late, other = two.vault.worker, two.node().worker
    prepare = module.prepare

    def stands_still(*arguments: Any) -> module.Portion:
        monkeypatch.setattr(module, "prepare", prepare)
        portion = prepare(*arguments)
        two.furnished.clock.pass_time(seconds=16)
        other.portion(size=3)
        return portion

    monkeypatch.setattr(module, "prepare", stands_still)
    with pytest.raises(RolledBackError):
        late.portion(size=3)
    assert late.portion(size=3) is None


def test_refuses_the_end_while_rows_hang_on_it(two: Counter) -> None:
    rotate(two, "authority")
    two.verify_log()
    with pytest.raises(ConflictError, match="rows still hang"):
        propose(two, "authority")


def test_an_old_row_put_back_before_the_approval_keeps_the_key(two: Counter) -> None:
    old = dict(two.row(tables.staff, id=two.furnished.people["minji"]))
    rotate(two, "authority")
    reseal(two, "authority")
    two.verify_log()
    waiting = propose(two, "authority")
    two.change(tables.staff, {"id": old["id"]}, mac=old["mac"])
    with pytest.raises(ConflictError, match="1 rows"):
        approve(two, waiting)
    assert state_of(two, "authority") == "deactivated"


def test_an_old_row_put_back_after_the_end_does_not_verify(two: Counter) -> None:
    """What a rotation gives beside a fresh key: copies of rows from before are worth nothing."""
    old = dict(two.row(tables.staff, id=two.furnished.people["minji"]))
    rotate(two, "authority")
    reseal(two, "authority")
    two.verify_log()
    destroy(two, "authority")
    two.tamper(delete(tables.staff_secret).filter_by(staff_id=old["id"]))
    two.change(tables.staff, {"id": old["id"]}, **old)
    assert old["id"] not in two.vault.standings.refresh().authority.staff


def test_the_tree_of_the_log_keeps_the_key_until_it_is_integrated(two: Counter) -> None:
    rotate(two, "authority")
    reseal(two, "authority", size=50)
    assert census(two, "authority").counts["trees"] == 1
    with pytest.raises(ConflictError, match="1 trees"):
        propose(two, "authority")
    two.verify_log()
    assert census(two, "authority").counts["trees"] == 0


def test_a_request_asked_again_after_the_rotation_is_not_done_twice(two: Counter) -> None:
    first = two.tokenize(phone("010-1234-5678"), key="once", body=b"body")
    rotate(two, "authority")
    again = two.tokenize(phone("010-1234-5678"), key="once", body=b"body")
    assert (again["items"], again["replayed"]) == (first["items"], True)
    assert two.count(tables.token) == 1
    other = two.tokenizing([phone("010-9999-5678")], key="once", body=b"another")
    with pytest.raises(ConflictError):
        two.vault.tokens.complete(other)


def test_records_of_requests_keep_the_key_for_their_day(two: Counter) -> None:
    two.tokenize(phone("010-1234-5678"), key="once", body=b"body")
    rotate(two, "authority")
    reseal(two, "authority", size=50)
    two.verify_log()
    assert census(two, "authority").counts["idempotency_records"] == 1
    with pytest.raises(ConflictError, match="1 idempotency records"):
        propose(two, "authority")
    two.furnished.clock.pass_time(days=1, minutes=2)
    two.verify_log()
    assert census(two, "authority").total == 0


def test_rows_of_a_table_that_the_reseal_does_not_know_keep_the_key(
    two: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tuple(kind for kind in SEALED if kind.table.name != "policy")
    monkeypatch.setattr("vault.rotation.hanging.SEALED", known)
    monkeypatch.setattr("vault.rotation.reseal.SEALED", known)
    rotate(two, "authority")
    reseal(two, "authority", size=50)
    assert census(two, "authority").counts["unverified"] == 1


@pytest.mark.parametrize("kind", ["wrapping", "lookup", "session", "log_mac", "log_signing", "token", "x"])
def test_refuses_to_reseal_what_cannot_be(two: Counter, kind: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        start_reseal(two, kind)
    assert refused.value.rule == ("unknown" if kind == "x" else "not_resealed")
    assert two.last().entry.error == "invalid_input"


def test_one_kind_at_a_time_and_whoever_starts_it_again_joins(two: Counter) -> None:
    rotate(two, "authority")
    started = start_reseal(two, "authority")
    assert start_reseal(two, "authority").id == started.id
    with pytest.raises(ConflictError, match="wait"):
        start_reseal(two, "staff_data")


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_reseal(counter: Counter, who: str) -> None:
    with pytest.raises(AccessDeniedError):
        counter.vault.keys.reseal(counter.furnished.request(counter.actor(who)), "authority")


@pytest.mark.parametrize(
    "cursor", ["", "1:2", "[]", "[99, [], 0]", '[0, ["a", "b"], 0]', '["0", [], 0]', "[0, [null], 0]"]
)
def test_a_cursor_that_is_none_begins_the_pass_anew(two: Counter, cursor: str) -> None:
    rotate(two, "authority")
    started = start_reseal(two, "authority")
    two.tamper(update(tables.job).filter_by(id=started.id).values(cursor=cursor))
    while two.vault.worker.portion(size=50) is not None:
        pass
    assert census(two, "authority").counts["rows"] == 0


@pytest.mark.parametrize("target", ["session", "nothing", ""])
def test_a_planted_job_of_another_kind_is_left_alone(two: Counter, target: str) -> None:
    rotate(two, "authority")
    started = start_reseal(two, "authority")
    two.tamper(update(tables.job).filter_by(id=started.id).values(target=target))
    before = two.next_index()
    assert two.vault.worker.portion(size=50) is None
    assert two.next_index() == before
    assert start_reseal(two, "authority").id != started.id
    assert ("job", started.id) in two.alarms()


def test_nothing_is_called_broken_for_want_of_a_key(two: Counter) -> None:
    rotate(two, "staff_data")
    start_reseal(two, "staff_data")
    two.change(tables.key, {"kind": "staff_data", "version": 2}, state="suspended")
    with pytest.raises(UnavailableError):
        two.vault.worker.portion(size=50)
    assert two.alarms() == []


def test_two_nodes_reseal_while_people_log_in_and_the_revision_moves(two: Counter) -> None:
    rotate(two, "authority")
    start_reseal(two, "authority")
    nodes = [two.node(), two.node()]
    faults: list[BaseException] = []

    def work(vault: Vault) -> None:
        try:
            while job(two).state == "running":
                with suppress(StaleRevisionError, RolledBackError):
                    vault.worker.portion(size=3)
                    vault.worker.release()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            faults.append(error)

    threads = [Thread(target=work, args=(vault,)) for vault in nodes]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        two.tamper()
        two.furnished.login("minji")
        # Time passes with each code that is shown, and a session does not outlive ten idle minutes.
        assert two.token()
    for thread in threads:
        thread.join()
    assert faults == []
    assert set.union(*_versions(two).values()) == {2}
    assert two.alarms() == []
    two.verify_log()
