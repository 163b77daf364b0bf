"""A token for an audience is one per subject, field and audience, whatever the value is today."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest

from keys.tokens import TokenKind
from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, item, phone
from tests.conformance.rekinding import rekinded
from tests.conformance.test_detokenize import restrict
from tests.support.furnished import phones
from vault.domain.errors import ConflictError, TokenRevokedError, UnknownTokenError
from vault.domain.model import SubjectState
from vault.storage import tables

OLD, NEW = "010-1234-5678", "010-8765-4321"
SENDER, CENTRE = "message_sender", "call_centre"


def make(counter: Counter, value: str = OLD, *, ref: str = "user-1", to: str = SENDER, **more: Any) -> Any:
    """Return the answer for a phone number of somebody."""
    return counter.tokenize(phone(value, external_ref=ref, audience=to), **more)["items"][0]


def opened(counter: Counter, *tokens: str, **more: Any) -> list[str]:
    answers = counter.detokenize(*tokens, **more)["items"]
    return [answer["value"] if "value" in answer else answer["error"]["code"] for answer in answers]


def test_the_same_person_field_and_audience_have_the_same_token(counter: Counter) -> None:
    first = make(counter)
    assert first["token"].startswith("phn_3")
    assert "existing" not in first
    assert counter.last().outcomes == ["sealed"]
    assert make(counter) == {**first, "existing": True}
    assert counter.last().outcomes == ["existing"]
    by_id = counter.tokenize(phone(OLD, subject=first["subject"], audience=SENDER, kind="audience"))
    assert by_id["items"][0] == {**first, "existing": True}
    assert counter.count(tables.token) == counter.count(tables.subject) == 1
    assert opened(counter, first["token"], first["token"]) == [OLD, OLD]


def test_another_value_takes_the_place_of_the_one_before(counter: Counter) -> None:
    token = make(counter)["token"]
    before = counter.row_of(token)
    again = make(counter, NEW)
    assert (again["token"], again["existing"]) == (token, True)
    # Whether the value is another one is in the log; the answer would tell guesses apart.
    assert again.keys() == {"token", "subject", "existing"}
    assert counter.last().outcomes == ["replaced"]
    after = counter.row_of(token)
    assert (after["envelope"] != before["envelope"], after["digest"] != before["digest"]) == (True, True)
    assert (after["id"], after["nonce"], after["created_at"]) == tuple(
        before[column] for column in ("id", "nonce", "created_at")
    )
    assert opened(counter, token) == [NEW]
    assert counter.search(PHONE, OLD) == []
    assert [found["token"] for found in counter.search(PHONE, NEW)] == [token]
    counter.verify_log()


def test_the_same_value_again_writes_nothing(counter: Counter) -> None:
    token = make(counter)["token"]
    before = counter.row_of(token)
    make(counter, "01012345678")
    assert counter.row_of(token) == before


def test_two_audiences_have_unrelated_tokens(counter: Counter) -> None:
    sender, centre = make(counter, to=SENDER), make(counter, to=CENTRE)
    assert sender["token"] != centre["token"]
    assert counter.row_id(sender["token"]) != counter.row_id(centre["token"])
    make(counter, NEW, to=CENTRE)
    assert opened(counter, sender["token"], centre["token"]) == [OLD, NEW]
    assert {row["name"] for row in counter.rows(tables.audience)} == {SENDER, CENTRE}


def test_two_people_and_two_fields_have_tokens_of_their_own(counter: Counter) -> None:
    answers = counter.tokenize(
        phone(OLD, external_ref="user-1", audience=CENTRE),
        phone(OLD, external_ref="user-2", audience=CENTRE),
        item(LOGIN, "dalmuri7", external_ref="user-1", audience=CENTRE),
    )["items"]
    assert len({answer["token"] for answer in answers}) == 3
    assert counter.count(tables.subject) == 2


def test_enumerated_fields_may_have_them_and_are_not_found_by_value(counter: Counter) -> None:
    first, second = (
        counter.tokenize(item(GENDER, value, external_ref="user-1", audience=CENTRE))["items"][0]
        for value in ("F", "M")
    )
    assert second == {**first, "existing": True}
    assert counter.detokenize(first["token"])["items"][0]["value"] == "M"
    assert counter.row_of(first["token"])["digest"] is None


def test_labels_of_one_request_share_it_and_the_last_value_counts(counter: Counter) -> None:
    answers = counter.tokenize(
        phone(OLD, label="a", audience=SENDER),
        phone(NEW, label="a", audience=SENDER),
        phone(OLD, label="a"),
        phone(OLD, label="b", audience=SENDER),
    )["items"]
    assert answers[1] == {**answers[0], "existing": True}
    assert len({answer["token"] for answer in answers}) == 3
    assert counter.last().outcomes == ["sealed", "existing", "sealed", "sealed"]
    assert opened(counter, answers[0]["token"]) == [NEW]


def test_an_existing_one_said_twice_in_a_request_ends_at_the_last_value(counter: Counter) -> None:
    token = make(counter, NEW)["token"]
    answers = counter.tokenize(
        *(phone(value, external_ref="user-1", audience=SENDER) for value in (NEW, OLD, "010-5555-5555"))
    )["items"]
    assert {answer["token"] for answer in answers} == {token}
    assert opened(counter, token) == ["010-5555-5555"]


def test_requests_of_one_unit_share_it_in_their_order(counter: Counter) -> None:
    subject = counter.tokenize(item(GENDER, "F"))["items"][0]["subject"]
    values = [OLD, NEW, "010-5555-5555", OLD]
    works = [counter.tokenizing([phone(value, subject=subject, audience=SENDER)]) for value in values]
    counter.together(*works)
    answers = [work.result["items"][0] for work in works]
    assert len({answer["token"] for answer in answers}) == 1
    assert [answer.get("existing", False) for answer in answers] == [False, True, True, True]
    assert opened(counter, answers[0]["token"]) == [OLD]
    # Now that it exists: the second leaves the value as it finds it, were it not for the first.
    works = [counter.tokenizing([phone(value, subject=subject, audience=SENDER)]) for value in (NEW, OLD)]
    counter.together(*works)
    assert opened(counter, answers[0]["token"]) == [OLD]
    counter.verify_log()


def test_a_random_token_of_the_same_value_is_not_mistaken_for_it(counter: Counter) -> None:
    stable = make(counter)
    random = counter.tokenize(phone(OLD, external_ref="user-1"))["items"][0]
    assert "existing" not in random
    assert random["token"] != stable["token"]
    assert counter.tokenize(phone(OLD, external_ref="user-1"))["items"][0] == {**random, "existing": True}
    assert make(counter) == {**stable, "existing": True}


def test_whoever_may_tokenize_for_the_audience_gets_the_token_of_all(counter: Counter) -> None:
    mine = make(counter)
    assert make(counter, NEW, by="desk") == {**mine, "existing": True}
    assert opened(counter, mine["token"]) == [NEW]


def _rule(answer: dict[str, Any]) -> tuple[str, str]:
    return answer["error"]["field"], answer["error"]["rule"]


@pytest.mark.parametrize(
    ("more", "field", "rule"),
    [
        ({"audience": "nobody", "external_ref": "u"}, "audience", "unknown_audience"),
        ({"kind": "audience", "external_ref": "u"}, "audience", "required"),
        ({"audience": SENDER}, "subject", "required"),
        ({"audience": SENDER, "kind": "one_time", "external_ref": "u"}, "audience", "exclusive"),
    ],
)
def test_refuses_an_audience_that_is_none(
    counter: Counter, more: dict[str, str], field: str, rule: str
) -> None:
    bad, good = counter.tokenize(phone(OLD, **more), phone(OLD))["items"]
    assert _rule(bad) == (field, rule)
    assert "token" in good
    assert counter.count(tables.token) == counter.count(tables.subject) == 1
    assert counter.count(tables.audience) == 0


def test_refuses_a_field_that_the_audience_does_not_receive(counter: Counter) -> None:
    answer = counter.tokenize(item(GENDER, "F", external_ref="u", audience=SENDER))["items"][0]
    assert _rule(answer) == ("field", "not_received")
    assert answer["error"]["code"] == "invalid_input"


def test_refuses_it_to_whoever_may_not_write_the_field(counter: Counter) -> None:
    answer = counter.tokenize(
        item("partner.phone", "02-123-4567", external_ref="u", audience="nobody"), phone(OLD)
    )["items"][0]
    assert answer["error"]["code"] in {"access_denied", "purpose_not_allowed"}


def test_a_value_that_breaks_a_rule_leaves_the_one_there_is(counter: Counter) -> None:
    token = make(counter)["token"]
    assert make(counter, "12")["error"]["code"] == "invalid_value"
    assert opened(counter, token) == [OLD]


def test_a_restricted_person_keeps_the_value_there_is(counter: Counter) -> None:
    token = make(counter)["token"]
    restrict(counter, counter.row_of(token)["subject_id"], SubjectState.RESTRICTED)
    assert make(counter, NEW)["error"]["code"] == "subject_restricted"


def test_a_revoked_one_stays_revoked_and_gives_way_to_a_new_one(counter: Counter) -> None:
    first = make(counter)
    shown = counter.show(first["token"])
    assert (shown["kind"], shown["audience"], shown["state"]) == ("audience", SENDER, "live")
    counter.revoke(first["token"])
    shown = counter.show(first["token"])
    assert (shown["kind"], shown["audience"], shown["state"]) == ("audience", None, "revoked")
    second = make(counter)
    assert "existing" not in second
    assert second["token"] != first["token"]
    assert opened(counter, first["token"], second["token"]) == ["token_revoked", OLD]
    with pytest.raises(TokenRevokedError):
        counter.revoke(first["token"])
    assert make(counter) == {**second, "existing": True}


def test_search_finds_it_and_says_for_whom_it_is(counter: Counter) -> None:
    stable, random = make(counter), counter.tokenize(phone(OLD))["items"][0]
    found = {answer["token"]: answer for answer in counter.search(PHONE, OLD)}
    assert found.keys() == {stable["token"], random["token"]}
    assert found[stable["token"]]["audience"] == SENDER
    assert "audience" not in found[random["token"]]
    counter.vault = counter.node()
    assert counter.search(PHONE, OLD)[0]["audience"] == SENDER


@pytest.mark.parametrize("kind", [TokenKind.RANDOM, TokenKind.ONE_TIME])
@pytest.mark.parametrize("count", [1, 6])
def test_refuses_its_text_with_another_kind(counter: Counter, kind: TokenKind, count: int) -> None:
    tokens = [make(counter, value, ref=value)["token"] for value in phones(count)]
    altered = [rekinded(token, kind) for token in tokens]
    assert set(opened(counter, *altered)) == {"unknown_token"}
    with pytest.raises(UnknownTokenError):
        counter.show(altered[0])
    assert opened(counter, *tokens) == list(phones(count))
    assert opened(counter, *tokens) == list(phones(count))


@pytest.mark.parametrize("count", [1, 6])
def test_refuses_a_random_token_with_its_kind(counter: Counter, count: int) -> None:
    tokens = [counter.token(value) for value in phones(count)]
    assert set(opened(counter, *(rekinded(token, TokenKind.AUDIENCE) for token in tokens))) == {
        "unknown_token"
    }


@pytest.mark.parametrize("kind", [None, 2, 7])
def test_refuses_a_row_whose_kind_was_changed(counter: Counter, kind: int | None) -> None:
    token = make(counter)["token"]
    counter.change(tables.token, {"id": counter.row_id(token)}, kind=kind)
    assert opened(counter, token) == ["unknown_token"]
    assert make(counter)["error"]["code"] == "tamper_detected"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


def test_a_value_that_was_tampered_with_is_not_covered_up(counter: Counter) -> None:
    token, other = make(counter)["token"], counter.row_of(make(counter, ref="user-2")["token"])
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=other["envelope"])
    first, twin = counter.tokenize(*(phone(NEW, external_ref="user-1", audience=SENDER) for _ in range(2)))[
        "items"
    ]
    assert first["error"]["code"] == twin["error"]["code"] == "tamper_detected"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


def test_a_row_without_a_value_is_not_answered_with(counter: Counter) -> None:
    token = make(counter)["token"]
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=None)
    assert make(counter)["error"]["code"] == "token_revoked"


def test_a_replay_answers_with_the_same_token(counter: Counter) -> None:
    items = [
        phone(OLD, external_ref="user-1", audience=SENDER, reference="r1"),
        item(GENDER, "F", external_ref="user-1", audience=CENTRE),
        phone(OLD, external_ref="user-1", audience="nobody"),
    ]
    first = counter.tokenize(*items, key="k1")["items"]
    make(counter, NEW)
    again = counter.tokenize(*items, key="k1")
    assert again["items"] == first
    assert again["replayed"] is True
    # What was said after it is not undone by asking again.
    assert opened(counter, first[0]["token"]) == [NEW]
    counter.revoke(first[0]["token"])
    assert counter.tokenize(*items, key="k1")["items"][0]["error"]["code"] == "token_revoked"


def test_many_at_once_are_made_and_replaced_in_bulk(counter: Counter) -> None:
    def batch(start: int) -> list[str]:
        items = [
            phone(value, external_ref=f"user-{at}", audience=SENDER)
            for at, value in enumerate(phones(300, start=start))
        ]
        answers = counter.tokenize(*items)["items"]
        return [answer["token"] for answer in answers]

    tokens = batch(0)
    assert batch(5_000) == tokens
    assert counter.last().outcomes == ["replaced"] * 300
    assert opened(counter, *tokens) == list(phones(300, start=5_000))
    assert counter.count(tables.token) == 300


def test_two_nodes_racing_for_a_triple_get_one_token(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    subjects = [answer["subject"] for answer in counter.tokenize(*map(phone, phones(30)))["items"]]
    start = Barrier(2)
    found: list[dict[str, str]] = [{}, {}]

    def run(at: int) -> None:
        mine = subjects if at == 0 else subjects[::-1]
        start.wait()
        for first in range(0, 30, 3):
            # Crosswise: both want the same rows, in another order.
            some = mine[first : first + 6]
            items = [phone(OLD, subject=subject, audience=SENDER) for subject in some]
            answers = counter.tokenize(*items, at=nodes[at])["items"]
            found[at] |= {subject: answer["token"] for subject, answer in zip(some, answers, strict=True)}

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 30
    assert counter.count(tables.token) == 60
    assert set(opened(counter, *found[0].values())) == {OLD}
    counter.verify_log()


def test_two_nodes_racing_for_new_people_get_one_token_each(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    found: list[dict[str, str]] = [{}, {}]

    def run(at: int) -> None:
        for number in range(20):
            ref = f"user-{number}"
            while ref not in found[at]:
                try:
                    found[at][ref] = make(counter, ref=ref, at=nodes[at])["token"]
                except ConflictError:
                    continue

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert counter.count(tables.token) == counter.count(tables.subject) == 20


def test_nodes_racing_to_replace_leave_one_of_the_values(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    tokens = [make(counter, ref=f"user-{at}")["token"] for at in range(8)]

    def run(at: int) -> None:
        for turn in range(10):
            order = range(8) if at else range(7, -1, -1)
            value = phones(1, start=100 * at + turn)[0]
            counter.tokenize(
                *(phone(value, external_ref=f"user-{who}", audience=SENDER) for who in order), at=nodes[at]
            )

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(opened(counter, *tokens)) <= {phones(1, start=9)[0], phones(1, start=109)[0]}
    counter.verify_log()


def test_two_nodes_that_meet_two_audiences_first_give_them_two_ids(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    start = Barrier(2)

    def run(at: int) -> None:
        start.wait()
        make(counter, ref=f"user-{at}", to=(SENDER, CENTRE)[at], at=nodes[at])

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {row["id"]: row["name"] for row in counter.rows(tables.audience)}
    assert sorted(names) == [1, 2]
    assert set(names.values()) == {SENDER, CENTRE}
    rows = {row["audience_id"] for row in counter.rows(tables.token)}
    assert rows == {1, 2}
