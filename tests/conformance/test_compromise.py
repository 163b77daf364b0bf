"""A key that somebody else may have, on both databases: nothing new hangs on it, and everything leaves it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from keys.keyring import KeyKind
from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.conformance.rotating import rotate
from tests.conformance.suspicion import (
    WHY,
    census,
    compromise,
    fill,
    finish,
    generation_under,
    generations,
    job_of,
    values_of,
)
from tests.support.furnished import phones
from vault.access import changes
from vault.access.changes import ATTEMPTS
from vault.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    InvalidValueError,
    NotFoundError,
)
from vault.domain.model import Role
from vault.rotation import compromise as module
from vault.rotation.periods import Light
from vault.storage import suspects, tables
from vault.storage.database import Connection
from vault.storage.errors import StaleRevisionError


def _rewrap(counter: Counter) -> None:
    counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin")))
    while counter.vault.worker.portion() is not None:
        pass


def _destroy(counter: Counter, *, kind: str = "wrapping", scope: str = "", version: int = 1) -> None:
    office = counter.furnished
    if "second" not in office.actors:
        office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
        office.approve_all(counter.actor("officer"))
        office.actors["second"] = office.login("second")
    waiting = counter.vault.keys.destroy(
        office.request(counter.actor("admin")), kind=kind, scope=scope, version=version, reason=WHY
    ).value.approval_id
    counter.vault.approvals.decide(office.request(counter.actor("second")), waiting, approve=True)


def _state(counter: Counter, version: int = 1, kind: str = "wrapping", scope: str = "") -> str:
    return str(counter.row(tables.key, kind=kind, scope=scope, version=version)["state"])


def _reason(counter: Counter, index: int) -> str:
    request = counter.furnished.request(counter.actor("chief"))
    return str(counter.vault.audit.show(request, index)["reason"])


def test_the_vault_goes_on_under_a_new_epoch_at_once_on_every_node(counter: Counter) -> None:
    tokens = fill(counter, 5)
    node = counter.node()
    counter.tokenize(phone("010-9999-0001"), at=node)
    done = compromise(counter)
    assert (done.key, done.successor, done.suspect) == ("wrapping//1", 2, 6)
    assert (_state(counter), _state(counter, 2)) == ("compromised", "active")
    for vault in (node, counter.vault):
        made = counter.tokenize(phone("010-9999-0002"), at=vault)["items"][0]["token"]
        assert generations(counter, counter.row_of(made)["subject_id"]) == [(1, 2)]
    assert values_of(counter, *tokens, at=node) == list(phones(5))
    assert counter.alarms() == []


def test_each_transition_has_an_entry_with_its_reason(counter: Counter) -> None:
    fill(counter, 2)
    before = counter.next_index()
    compromise(counter)
    marked, rotated, started = (logged.entry for logged in counter.log(before))
    assert (marked.action, marked.actor.id) == ("key:compromise", counter.actor("admin").id)
    assert dict(marked.target) == {
        "key": "wrapping//1",
        "from": "active",
        "to": "compromised",
        "data_keys": "2",
    }
    assert (rotated.action, dict(rotated.target)) == (
        "key:rotate",
        {"kind": "wrapping", "from": "1", "to": "2"},
    )
    assert started.action == "key:reencrypt"
    assert dict(started.target) == {"job": job_of(counter).id, "epoch": "2", "data_keys": "2"}
    assert [_reason(counter, before + at) for at in range(3)] == [WHY, WHY, WHY]
    assert not any(WHY.encode() in logged.body for logged in counter.log())
    counter.verify_log()


def test_a_rotation_may_have_a_reason_and_a_destruction_has_one(counter: Counter) -> None:
    first = counter.next_index()
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")), reason="once a year")
    assert _reason(counter, first) == "once a year"
    second = counter.next_index()
    rotate(counter, "wrapping")
    assert _reason(counter, second) == ""
    _destroy(counter)
    (proposed,) = [
        logged.index
        for logged in counter.log()
        if logged.entry.action == "key:destroy" and "to" not in dict(logged.entry.target)
    ]
    assert _reason(counter, proposed) == WHY


def test_refuses_to_do_for_good_what_nobody_gave_a_reason_for(counter: Counter) -> None:
    request = counter.furnished.request(counter.actor("admin"))
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    keys = counter.vault.keys
    for act in (
        partial(keys.compromise, request, kind="wrapping", scope="", version=1, reason=""),
        partial(keys.compromise_subject, request, subject, reason=""),
        partial(keys.destroy, request, kind="wrapping", scope="", version=1, reason=""),
    ):
        with pytest.raises(InvalidInputError) as refused:
            act()
        assert (refused.value.field, refused.value.rule) == ("reason", "required")
        assert counter.last().entry.error == "invalid_input"
    assert _state(counter) == "active"


def test_refuses_a_reason_with_a_telephone_number_and_keeps_nothing_of_it(counter: Counter) -> None:
    with pytest.raises(InvalidValueError) as refused:
        compromise(counter, reason="call 010-1234-5678")
    assert (refused.value.field, refused.value.rule) == ("reason", "phone_number")
    assert _state(counter) == "active"
    assert counter.count(tables.log_note) == 0


def test_everything_is_sealed_anew_and_the_key_ends(counter: Counter) -> None:
    tokens = fill(counter, 5)
    both = counter.tokenize(phone("010-9999-0001", external_ref="user-1"), item(LOGIN, "minji77"))["items"]
    gone = counter.token("010-9999-0003")
    counter.revoke(gone)
    compromise(counter)
    found = census(counter)["wrapping//1"]
    # The reference counts as a value; of the revoked token the data key is left.
    assert (found.suspect_data_keys, found.suspect_values) == (8, 8)
    with pytest.raises(ConflictError, match="8 data keys"):
        _destroy(counter)
    done = finish(counter)
    assert (done.state, done.total, done.done, done.failed, done.target) == ("done", 8, 8, 0, "2")
    assert generations(counter) == [(2, 2)] * 8
    found = census(counter)["wrapping//1"]
    assert (found.total, found.suspect_data_keys, found.suspect_values) == (0, 0, 0)
    _destroy(counter)
    for vault in (counter.vault, counter.node()):
        assert values_of(counter, *tokens, at=vault) == list(phones(5))
        assert values_of(counter, *(answer["token"] for answer in both), at=vault) == [
            "010-9999-0001",
            "minji77",
        ]
    assert [found["token"] for found in counter.search(PHONE, "010-9999-0001")] == [both[0]["token"]]
    again = counter.tokenize(phone("010-9999-0001", external_ref="user-1"))["items"][0]
    assert (again["subject"], again["existing"]) == (both[0]["subject"], True)
    assert counter.alarms() == []
    counter.verify_log()


def test_an_epoch_that_is_out_of_use_is_marked_and_none_takes_its_place(counter: Counter) -> None:
    tokens = fill(counter, 3)
    rotate(counter, "wrapping")
    counter.token("010-9999-0001")
    done = compromise(counter)
    assert (done.successor, done.suspect) == (None, 3)
    assert dict(counter.log(counter.next_index() - 2)[0].entry.target)["from"] == "deactivated"
    finish(counter)
    assert generations(counter) == [(1, 2), *[(2, 2)] * 3]
    assert values_of(counter, *tokens) == list(phones(3))


def test_a_rewrap_leaves_a_compromised_epoch_to_the_other_job(counter: Counter) -> None:
    """Or a data key that somebody has would look like one that nobody has."""
    fill(counter, 3)
    rotate(counter, "wrapping")
    counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin")))
    compromise(counter)
    rotate(counter, "wrapping")
    # The re-wrap comes first: it began first.
    counter.vault.worker.portion()
    assert (job_of(counter, "rewrap").state, job_of(counter, "rewrap").done) == ("done", 0)
    assert generations(counter) == [(1, 1)] * 3
    finish(counter)
    assert generations(counter) == [(2, 3)] * 3


def test_everybody_is_sealed_anew_where_data_keys_had_left_the_epoch(counter: Counter) -> None:
    tokens = fill(counter, 3)
    rotate(counter, "wrapping")
    _rewrap(counter)
    assert compromise(counter).suspect == 0
    finish(counter)
    assert generations(counter) == [(1, 2)] * 3
    with pytest.raises(ConflictError, match="compromised already"):
        compromise(counter)
    done = compromise(counter, everybody=True)
    assert (done.successor, done.suspect) == (None, 3)
    assert (
        census(counter)["wrapping//2"].suspect_data_keys,
        census(counter)["wrapping//2"].suspect_values,
    ) == (
        3,
        3,
    )
    finish(counter)
    assert generations(counter) == [(2, 2)] * 3
    assert census(counter)["wrapping//2"].suspect_data_keys == 0
    assert values_of(counter, *tokens) == list(phones(3))


def test_everybody_is_marked_in_portions_and_each_is_logged(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARKED", 2)
    tokens = fill(counter, 5)
    rotate(counter, "wrapping")
    _rewrap(counter)
    before = counter.next_index()
    assert compromise(counter, everybody=True).suspect == 5
    said = [dict(logged.entry.target) for logged in counter.log(before)]
    assert [target["marked"] for target in said if "marked" in target] == ["2", "2", "1"]
    assert [target["everybody"] for target in said if "everybody" in target] == ["yes", "yes"]
    assert {row["suspect"] for row in counter.rows(tables.data_key, order_by="subject_id")} == {True}
    # Said once more, it finds them marked.
    before = counter.next_index()
    compromise(counter, everybody=True)
    again = [dict(logged.entry.target) for logged in counter.log(before)]
    assert [target["marked"] for target in again if "marked" in target] == ["0", "0", "0"]
    assert finish(counter).done == 5
    assert values_of(counter, *tokens) == list(phones(5))


def test_the_mark_comes_through_where_others_change_things_all_the_time(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everything is counted once, before it: a scan in each attempt would have it overtaken for ever."""
    fill(counter, 5)
    mark, tried = module._mark, []
    count, counted = suspects.count_suspect, []

    def mark_late(*arguments: Any) -> Any:
        tried.append(arguments)
        if len(tried) <= ATTEMPTS + 4:
            raise StaleRevisionError
        return mark(*arguments)

    def count_once(*arguments: Any) -> int:
        counted.append(arguments)
        return count(*arguments)

    monkeypatch.setattr(module, "_mark", mark_late)
    monkeypatch.setattr(suspects, "count_suspect", count_once)
    monkeypatch.setattr(changes, "LONGEST_PAUSE_S", 0.001)
    done = compromise(counter)
    assert (done.successor, done.suspect, len(counted)) == (2, 5, 1)
    assert _state(counter) == "compromised"


def test_marking_everybody_takes_smaller_portions_where_it_is_overtaken(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = fill(counter, 10)
    rotate(counter, "wrapping")
    mark_some, limits = suspects.mark_some, []

    def overtaken(connection: Connection, *, after: int, limit: int) -> tuple[int, int | None]:
        limits.append(limit)
        if limit > 3:
            raise StaleRevisionError
        return mark_some(connection, after=after, limit=limit)

    monkeypatch.setattr(suspects, "mark_some", overtaken)
    monkeypatch.setattr(module, "MARKED", 16)
    monkeypatch.setattr(module, "FEWEST_MARKED", 3)
    first = counter.next_index()
    assert compromise(counter, everybody=True).suspect == 10
    assert limits == [16, 8, 4, 3, 3, 3, 3]
    marked = [dict(logged.entry.target).get("marked") for logged in counter.log(first)]
    assert [number for number in marked if number] == ["3", "3", "3", "1"]
    finish(counter)
    assert values_of(counter, *tokens) == list(phones(10))


def test_nobody_seals_under_a_key_that_the_job_has_deleted(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While everybody is being marked, the job is quick and another node holds the keys of before."""
    monkeypatch.setattr(module, "MARKED", 1)
    people = counter.tokenize(*map(phone, phones(3)))["items"]
    rotate(counter, "wrapping")
    _rewrap(counter)
    node, quick = counter.node(), counter.node()
    tokens = [answer["token"] for answer in people]
    made: list[str] = []

    marking = module._Marking

    def between(*arguments: Any) -> Any:
        counter.vault.keys.reencrypt(counter.furnished.request(counter.actor("admin")))
        finish(counter, at=quick)
        for answer in people:
            written = counter.tokenize(phone("010-1234-5679", subject=answer["subject"]), at=node)
            made.append(written["items"][0]["token"])
        return marking(*arguments)

    assert values_of(counter, *tokens, at=node) == list(phones(3))
    monkeypatch.setattr(module, "_Marking", between)
    compromise(counter, everybody=True)
    finish(counter)
    assert values_of(counter, *tokens) == list(phones(3))
    assert values_of(counter, *made) == ["010-1234-5679"] * len(made)
    assert {generation_under(counter, token) for token in (*tokens, *made)} == {2}
    assert counter.alarms() == []


def test_everybody_is_sealed_anew_after_the_epoch_has_ended(counter: Counter) -> None:
    tokens = fill(counter, 2)
    rotate(counter, "wrapping")
    _rewrap(counter)
    _destroy(counter)
    with pytest.raises(ConflictError, match="destroyed already"):
        compromise(counter)
    assert compromise(counter, everybody=True).suspect == 2
    assert _state(counter) == "destroyed"
    finish(counter)
    assert generations(counter) == [(2, 2)] * 2
    assert values_of(counter, *tokens) == list(phones(2))


def test_the_data_keys_of_one_subject_are_replaced_and_nobody_elses(counter: Counter) -> None:
    mine, theirs = counter.tokenize(*map(phone, phones(2)))["items"]
    request = counter.furnished.request(counter.actor("admin"))
    before = counter.next_index()
    done = counter.vault.keys.compromise_subject(request, mine["subject"], reason=WHY).value
    assert (done.key, done.successor, done.suspect) == ("", None, 1)
    row = counter.row(tables.subject, id=counter.row_of(mine["token"])["subject_id"])
    assert dict(counter.entry(before).target) == {
        "subject": bytes(row["log_subject"]).hex(),
        "data_keys": "1",
    }
    assert _reason(counter, before) == WHY
    assert census(counter)["wrapping//1"].suspect_values == 1
    assert finish(counter).done == 1
    assert [generation_under(counter, answer["token"]) for answer in (mine, theirs)] == [2, 1]
    assert generations(counter) == [(1, 1), (2, 1)]
    assert values_of(counter, mine["token"], theirs["token"]) == list(phones(2))


def test_refuses_a_subject_that_is_none(counter: Counter) -> None:
    made = counter.tokenize(phone("010-1234-5678"))["items"][0]
    request = counter.furnished.request(counter.actor("admin"))
    subject_id = counter.row_of(made["token"])["subject_id"]
    for text in ("", "sub_nonsense", made["token"]):
        with pytest.raises(NotFoundError):
            counter.vault.keys.compromise_subject(request, text, reason=WHY)
    counter.change(tables.subject, {"id": subject_id}, nonce=bytes(8))
    with pytest.raises(NotFoundError):
        counter.vault.keys.compromise_subject(request, made["subject"], reason=WHY)
    assert counter.last().entry.error == "not_found"
    assert counter.count(tables.job) == 0


def test_a_lookup_key_is_replaced_and_every_digest_leaves_it(counter: Counter) -> None:
    token = counter.token("010-1234-5678")
    done = compromise(counter, kind="lookup", scope=PHONE)
    assert (done.key, done.successor, done.suspect) == (f"lookup/{PHONE}/1", 2, 1)
    counter.token("010-1234-5679")
    assert census(counter)[f"lookup/{PHONE}/2"].digests == 1
    assert [found["token"] for found in counter.search(PHONE, "010-1234-5678")] == [token]
    assert finish(counter, kind="redigest").done == 1
    assert census(counter)[f"lookup/{PHONE}/1"].total == 0
    _destroy(counter, kind="lookup", scope=PHONE)
    assert [found["token"] for found in counter.search(PHONE, "010-1234-5678")] == [token]
    assert job_of(counter, "redigest").target == PHONE


def test_a_lookup_key_is_replaced_while_another_scopes_digests_are_made(counter: Counter) -> None:
    counter.tokenize(phone("010-1234-5678", external_ref="user-1"))
    compromise(counter, kind="lookup", scope="ref/member")
    done = compromise(counter, kind="lookup", scope=PHONE)
    assert (done.successor, done.suspect, done.job) == (2, 1, None)
    assert _state(counter, kind="lookup", scope=PHONE) == "compromised"


def test_a_lookup_key_that_falls_during_the_digesting_begins_it_again(counter: Counter) -> None:
    for number in phones(6):
        counter.token(number)
    compromise(counter, kind="lookup", scope=PHONE)
    counter.vault.worker.portion(size=4)
    compromise(counter, 2, kind="lookup", scope=PHONE)
    done = finish(counter, kind="redigest")
    assert (done.state, done.done, done.total) == ("done", 10, 10)
    assert census(counter)[f"lookup/{PHONE}/3"].digests == 6


def test_a_compromised_key_turns_the_state_red_until_it_has_ended(counter: Counter) -> None:
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    assert counter.vault.status().keys is Light.GREEN
    compromise(counter)
    assert (counter.vault.status().keys, counter.vault.status().compromised) == (Light.RED, ("wrapping//1",))
    finish(counter)
    assert counter.vault.status().keys is Light.RED
    _destroy(counter)
    assert (counter.vault.status().keys, counter.vault.status().compromised) == (Light.GREEN, ())
    request = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.compromise_subject(request, subject, reason=WHY)
    assert (counter.vault.status().keys, counter.vault.status().compromised) == (Light.RED, ("data_key",))
    finish(counter)
    assert counter.vault.status().keys is Light.GREEN


@pytest.mark.parametrize("kind", sorted({kind.value for kind in KeyKind} - {"wrapping", "lookup"}))
def test_refuses_a_kind_that_does_not_rotate(counter: Counter, kind: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        compromise(counter, kind=kind)
    assert (refused.value.field, refused.value.rule) == ("kind", "not_rotating")


def test_refuses_everybody_for_a_lookup_key(counter: Counter) -> None:
    with pytest.raises(InvalidInputError) as refused:
        compromise(counter, kind="lookup", scope=PHONE, everybody=True)
    assert (refused.value.field, refused.value.rule) == ("all", "wrapping_only")
    assert _state(counter, kind="lookup", scope=PHONE) == "active"


def test_refuses_a_key_that_is_none(counter: Counter) -> None:
    for kind, scope, version in (("wrapping", "", 9), ("lookup", "member.nothing", 1), ("wrapping", "x", 1)):
        with pytest.raises(NotFoundError):
            compromise(counter, version, kind=kind, scope=scope)


def test_refuses_a_second_time(counter: Counter) -> None:
    compromise(counter)
    with pytest.raises(ConflictError, match="compromised already"):
        compromise(counter)
    assert counter.row(tables.key, kind="wrapping", version=2)["state"] == "active"


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_say_so(counter: Counter, who: str) -> None:
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    request = counter.furnished.request(counter.actor(who))
    with pytest.raises(AccessDeniedError):
        compromise(counter, by=who)
    with pytest.raises(AccessDeniedError):
        counter.vault.keys.compromise_subject(request, subject, reason=WHY)
    with pytest.raises(AccessDeniedError):
        counter.vault.keys.reencrypt(request)
    assert _state(counter) == "active"
    assert counter.count(tables.job) == 0
