"""A key of which nobody knows whether it is safe, on both databases: nothing opens under it until then."""

from __future__ import annotations

from typing import Any

import pytest

from keys.keyring import KeyKind
from keys.states import KeyState
from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.conformance.keeper import Keeper
from tests.conformance.rotating import rotate
from tests.conformance.suspicion import (
    WHY,
    census,
    compromise,
    fill,
    finish,
    generations,
    job_of,
    resume,
    suspend,
    values_of,
)
from tests.support.furnished import phones
from vault.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    InvalidValueError,
    KeySuspendedError,
    NotFoundError,
)
from vault.rotation import rewrap
from vault.rotation.periods import Light
from vault.rotation.suspension import Doubted
from vault.storage import tables
from vault.storage.errors import StaleRevisionError

SHUT = "key_suspended"


def _rewrap(counter: Counter) -> None:
    counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin")))


def _states(counter: Counter) -> list[str]:
    rows = counter.rows(tables.key, order_by="version")
    return [row["state"] for row in rows if row["kind"] == "wrapping"]


def test_nothing_opens_under_it_on_any_node_and_the_vault_goes_on_under_another(counter: Counter) -> None:
    tokens = fill(counter, 3)
    node = counter.node()
    # Both nodes hold these data keys in memory.
    for vault in (counter.vault, node):
        assert values_of(counter, *tokens, at=vault) == list(phones(3))
    assert suspend(counter) == Doubted("wrapping//1", 2, 3)
    assert _states(counter) == ["suspended", "active"]
    for vault in (node, counter.vault, counter.node()):
        assert values_of(counter, *tokens, at=vault) == [SHUT] * 3
        made = counter.tokenize(phone("010-9999-0001"), at=vault)["items"][0]["token"]
        assert values_of(counter, made, tokens[0], at=vault) == ["010-9999-0001", SHUT]
    assert counter.alarms() == []
    counter.verify_log()


def test_the_log_says_who_and_why_and_what_was_refused(counter: Counter) -> None:
    tokens = fill(counter, 2)
    before = counter.next_index()
    suspend(counter)
    suspended, rotated = (logged.entry for logged in counter.log(before))
    assert (suspended.action, suspended.actor.id) == ("key:suspend", counter.actor("admin").id)
    assert dict(suspended.target) == {
        "key": "wrapping//1",
        "from": "active",
        "to": "suspended",
        "data_keys": "2",
    }
    assert (rotated.action, dict(rotated.target)) == (
        "key:rotate",
        {"kind": "wrapping", "from": "1", "to": "2"},
    )
    chief = counter.furnished.request(counter.actor("chief"))
    assert counter.vault.audit.show(chief, before)["reason"] == WHY
    counter.detokenize(*tokens)
    assert counter.last().outcomes == [SHUT, SHUT]
    resume(counter)
    resumed = counter.last().entry
    assert resumed.action == "key:resume"
    assert dict(resumed.target)["from"] == "suspended"
    assert dict(resumed.target)["to"] == "deactivated"
    counter.verify_log()


def test_what_is_new_of_a_person_behind_it_is_refused_and_nobody_elses(counter: Counter) -> None:
    answers = counter.tokenize(phone("010-1111-1111", external_ref="user-1"))["items"]
    suspend(counter)
    more = counter.tokenize(
        phone("010-1111-1111", external_ref="user-1"),
        item(LOGIN, "minji77", subject=answers[0]["subject"]),
        phone("010-2222-2222", external_ref="user-2"),
    )["items"]
    assert [answer.get("error", {}).get("code") for answer in more] == [SHUT, SHUT, None]
    assert counter.last().outcomes == [SHUT, SHUT, "sealed"]
    assert values_of(counter, more[2]["token"]) == ["010-2222-2222"]
    assert counter.alarms() == []
    resume(counter)
    again = counter.tokenize(phone("010-1111-1111", external_ref="user-1"))["items"][0]
    assert (again["token"], again["existing"]) == (answers[0]["token"], True)


def test_a_search_that_would_leave_somebody_out_is_refused(counter: Counter) -> None:
    token = counter.token("010-1111-1111")
    suspend(counter)
    other = counter.token("010-2222-2222")
    assert [hit["token"] for hit in counter.search(PHONE, "010-2222-2222")] == [other]
    assert counter.search(PHONE, "010-3333-3333") == []
    with pytest.raises(KeySuspendedError):
        counter.search(PHONE, "010-1111-1111")
    assert counter.last().entry.error == SHUT
    resume(counter)
    assert [hit["token"] for hit in counter.search(PHONE, "010-1111-1111")] == [token]


def test_a_one_time_token_is_not_spent_by_the_refusal(counter: Counter) -> None:
    token = counter.token("010-1111-1111", kind="one_time")
    suspend(counter)
    assert values_of(counter, token) == [SHUT]
    resume(counter)
    assert values_of(counter, token) == ["010-1111-1111"]


def test_tokens_of_people_behind_it_are_shown_and_revoked(counter: Counter) -> None:
    token, other = fill(counter, 2)
    suspend(counter)
    assert counter.show(token)["state"] == "live"
    counter.revoke(other)
    resume(counter)
    assert values_of(counter, token, other) == [phones(1)[0], "token_revoked"]


def test_a_replaced_epoch_is_suspended_and_the_one_in_force_stays(counter: Counter) -> None:
    tokens = fill(counter, 3)
    rotate(counter, "wrapping")
    new = counter.token("010-9999-0001")
    before = counter.next_index()
    assert suspend(counter) == Doubted("wrapping//1", None, 3)
    assert len(counter.log(before)) == 1
    assert _states(counter) == ["suspended", "active"]
    assert values_of(counter, new, *tokens) == ["010-9999-0001", *[SHUT] * 3]


def test_a_resumed_epoch_reads_again_on_every_node_and_does_not_seal(counter: Counter) -> None:
    tokens = fill(counter, 3)
    node = counter.node()
    suspend(counter)
    assert values_of(counter, *tokens, at=node) == [SHUT] * 3
    assert resume(counter) == Doubted("wrapping//1", None, 3)
    assert _states(counter) == ["deactivated", "active"]
    for vault in (node, counter.vault):
        assert values_of(counter, *tokens, at=vault) == list(phones(3))
    counter.token("010-9999-0001")
    assert generations(counter) == [(1, 1)] * 3 + [(1, 2)]
    _rewrap(counter)
    assert finish(counter, kind="rewrap").done == 3
    assert suspend(counter).data_keys == 0
    assert values_of(counter, *tokens) == list(phones(3))


def test_a_suspended_epoch_turns_out_to_be_compromised(counter: Counter) -> None:
    tokens = fill(counter, 3)
    suspend(counter)
    done = compromise(counter)
    assert (done.successor, done.suspect) == (None, 3)
    assert values_of(counter, *tokens) == list(phones(3))
    assert (finish(counter).done, job_of(counter).failed) == (3, 0)
    assert generations(counter) == [(2, 2)] * 3
    assert values_of(counter, *tokens) == list(phones(3))
    assert counter.alarms() == []


def test_the_rewrap_leaves_it_and_the_census_counts_it_and_it_does_not_end(counter: Counter) -> None:
    fill(counter, 3)
    rotate(counter, "wrapping")
    counter.token("010-9999-0001")
    suspend(counter)
    rotate(counter, "wrapping")
    _rewrap(counter)
    done = finish(counter, kind="rewrap")
    assert (done.done, done.failed, done.state) == (1, 0, "done")
    assert generations(counter) == [(1, 1)] * 3 + [(1, 3)]
    found = census(counter)["wrapping//1"]
    assert (found.state, found.data_keys, found.values) == ("suspended", 3, 3)
    request = counter.furnished.request(counter.actor("admin"))
    with pytest.raises(ConflictError, match="the key is suspended"):
        counter.vault.keys.destroy(request, kind="wrapping", scope="", version=1, reason=WHY)
    assert counter.alarms() == []


def test_a_portion_of_a_rewrap_that_began_before_is_not_written(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a data key would leave the epoch on its way, and open."""
    tokens = fill(counter, 3)
    node = counter.node()
    rotate(counter, "wrapping")
    _rewrap(counter)
    prepare = rewrap.prepare

    def slowly(*args: Any) -> rewrap.Portion:
        portion = prepare(*args)
        suspend(counter)
        return portion

    monkeypatch.setattr(rewrap, "prepare", slowly)
    with pytest.raises(StaleRevisionError):
        node.worker.portion()
    monkeypatch.undo()
    assert generations(counter) == [(1, 1)] * 3
    node.worker.release()
    done = finish(counter, kind="rewrap")
    assert (done.state, done.done) == ("done", 0)
    assert values_of(counter, *tokens) == [SHUT] * 3


def test_digests_of_people_behind_it_wait_without_an_alarm(counter: Counter) -> None:
    tokens = fill(counter, 3)
    suspend(counter)
    counter.token("010-9999-0001")
    rotate(counter, "lookup", scope=PHONE)
    request = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.redigest(request, PHONE)
    done = finish(counter, kind="redigest", size=1)
    assert (done.state, done.done, done.failed) == ("done", 1, 3)
    assert counter.alarms() == []
    resume(counter)
    # The later of two jobs is the one that began later.
    counter.furnished.clock.pass_time(seconds=1)
    counter.vault.keys.redigest(counter.furnished.request(counter.actor("admin")), PHONE)
    done = finish(counter, kind="redigest")
    assert (done.done, done.failed) == (3, 0)
    assert [hit["token"] for hit in counter.search(PHONE, phones(1)[0])] == [tokens[0]]


def test_people_with_a_key_behind_it_wait_to_be_sealed_anew_without_an_alarm(counter: Counter) -> None:
    tokens = fill(counter, 3)
    suspend(counter)
    other = counter.token("010-9999-0001")
    # Every data key there is counts as suspect, those that nobody can open included.
    rotate(counter, "wrapping")
    compromise(counter, 2, everybody=True)
    done = finish(counter)
    assert (done.state, done.done, done.failed) == ("done", 1, 3)
    assert values_of(counter, other, *tokens) == ["010-9999-0001", *[SHUT] * 3]
    resume(counter)
    counter.vault.keys.reencrypt(counter.furnished.request(counter.actor("admin")))
    done = finish(counter)
    assert (done.done, done.failed) == (3, 0)
    assert values_of(counter, other, *tokens) == ["010-9999-0001", *phones(3)]
    assert counter.alarms() == []


def test_of_somebody_with_two_data_keys_the_other_one_opens(counter: Counter) -> None:
    """As while a compromised epoch is being left, and the next one is doubted."""
    made = counter.tokenize(phone("010-1111-1111"))["items"][0]
    old, subject = made["token"], made["subject"]
    compromise(counter)
    new = counter.token("010-2222-2222", subject=subject)
    assert generations(counter) == [(1, 1), (2, 2)]
    suspend(counter, 2)
    assert values_of(counter, old, new) == ["010-1111-1111", SHUT]
    refused = counter.tokenize(phone("010-3333-3333", subject=subject))["items"][0]
    assert refused["error"]["code"] == SHUT
    assert finish(counter).failed == 1
    resume(counter, 2)
    counter.vault.keys.reencrypt(counter.furnished.request(counter.actor("admin")))
    assert finish(counter).failed == 0
    assert values_of(counter, old, new) == ["010-1111-1111", "010-2222-2222"]
    assert counter.alarms() == []


def test_somebody_behind_it_is_erased(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    suspend(counter)
    keeper.erase(subject)
    assert values_of(counter, *tokens) == ["subject_erased"] * 2
    assert generations(counter) == []
    resume(counter)
    assert values_of(counter, *tokens) == ["subject_erased"] * 2
    counter.verify_log()


def test_somebody_behind_it_is_shown_and_neither_restricted_nor_freed(
    keeper: Keeper, counter: Counter
) -> None:
    subject, tokens = keeper.somebody()
    other, shut = keeper.somebody("010-2222-2222")
    keeper.restrict(other)
    waiting = keeper.propose("lift", other)
    suspend(counter)
    assert (keeper.show(subject).state, keeper.show(other).state) == ("open", "restricted")
    assert values_of(counter, *tokens, *shut) == [SHUT] * 2 + ["subject_restricted"] * 2
    with pytest.raises(KeySuspendedError):
        keeper.restrict(subject)
    assert counter.last().entry.error == SHUT
    with pytest.raises(KeySuspendedError):
        keeper.decide(waiting.approval_id)
    resume(counter)
    keeper.restrict(subject)
    keeper.decide(waiting.approval_id)
    assert values_of(counter, tokens[0], shut[0]) == ["subject_restricted", "010-2222-2222"]
    assert counter.alarms() == []


def test_a_server_starts_while_a_key_is_suspended(counter: Counter) -> None:
    tokens = fill(counter, 3)
    suspend(counter)
    counter.vault.close()
    counter.vault = counter.furnished.vault = counter.furnished.reopen()
    assert values_of(counter, *tokens) == [SHUT] * 3
    resume(counter)
    assert values_of(counter, *tokens) == list(phones(3))


def test_the_state_is_yellow_until_it_is_resumed(counter: Counter) -> None:
    suspend(counter)
    status = counter.vault.status()
    assert (status.keys, status.suspended, status.compromised) == (Light.YELLOW, ("wrapping//1",), ())
    compromise(counter, 2)
    assert counter.vault.status().keys is Light.RED
    compromise(counter)
    assert counter.vault.status().suspended == ()


def test_a_key_that_was_put_behind_it_raises_an_alarm(counter: Counter) -> None:
    """Who holds the database can write the epoch beside a data key, not into it."""
    (hers,) = fill(counter, 1)
    suspend(counter)
    mine = counter.token("010-9999-0001")
    subject_id = counter.row_of(mine)["subject_id"]
    counter.change(tables.data_key, {"subject_id": subject_id}, epoch=1)
    assert values_of(counter, mine, hers) == ["tamper_detected", SHUT]
    assert counter.alarms() == [("data_key", str(subject_id))]


@pytest.mark.parametrize("kind", sorted({kind.value for kind in KeyKind} - {"wrapping"}))
def test_refuses_any_other_kind(counter: Counter, kind: str) -> None:
    for act in (suspend, resume):
        with pytest.raises(InvalidInputError) as refused:
            act(counter, kind=kind)
        assert (refused.value.field, refused.value.rule) == ("kind", "wrapping_only")
        assert counter.last().entry.error == "invalid_input"


def test_refuses_without_a_reason_or_with_a_number_in_it(counter: Counter) -> None:
    for act in (suspend, resume):
        with pytest.raises(InvalidInputError) as refused:
            act(counter, reason="")
        assert (refused.value.field, refused.value.rule) == ("reason", "required")
        with pytest.raises(InvalidValueError):
            act(counter, reason="call 010-1234-5678")
    assert _states(counter) == ["active"]


def test_refuses_a_key_that_is_none(counter: Counter) -> None:
    for act in (suspend, resume):
        with pytest.raises(NotFoundError):
            act(counter, 9)
        assert counter.last().entry.error == "not_found"


def test_refuses_what_is_suspended_or_bad_already(counter: Counter) -> None:
    suspend(counter)
    with pytest.raises(ConflictError, match="suspended already"):
        suspend(counter)
    compromise(counter)
    with pytest.raises(ConflictError, match="compromised already"):
        suspend(counter)
    counter.change(tables.key, {"kind": "wrapping", "version": 1}, state="destroyed", wrapped=b"")
    with pytest.raises(ConflictError, match="destroyed already"):
        suspend(counter)
    assert counter.last().entry.error == "conflict"


def test_refuses_to_resume_what_is_not_suspended(counter: Counter) -> None:
    for states in (["active"], ["deactivated", "active"]):
        with pytest.raises(ConflictError, match=f"the key is {states[0]}"):
            resume(counter)
        assert _states(counter) == states
        rotate(counter, "wrapping")
    compromise(counter)
    with pytest.raises(ConflictError, match="the key is compromised"):
        resume(counter)


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_suspend_and_resume(counter: Counter, who: str) -> None:
    with pytest.raises(AccessDeniedError):
        suspend(counter, by=who)
    suspend(counter)
    with pytest.raises(AccessDeniedError):
        resume(counter, by=who)
    assert _states(counter) == [KeyState.SUSPENDED, KeyState.ACTIVE]
