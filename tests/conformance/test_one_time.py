"""A one-time token opens exactly once: within a batch, a unit, on two nodes, whatever happens in between."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest

from keys.tokens import TokenKind
from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, item, phone
from tests.conformance.rekinding import rekinded
from tests.conformance.test_detokenize import restrict
from tests.support.furnished import PARTNER, phones
from vault.audit.packing import NO_TOKEN
from vault.domain.errors import (
    PurposeNotAllowedError,
    TokenRevokedError,
    TokenSpentError,
    UnknownTokenError,
    VaultError,
)
from vault.domain.model import Reveal, SubjectState
from vault.service.vault import Vault
from vault.storage import tables

VALUE = "010-1234-5678"
SPENT = {"code": "token_spent", "field": "token", "rule": "token_spent"}


def once(value: str = VALUE, **more: Any) -> Any:
    return phone(value, kind="one_time", **more)


def made(counter: Counter, value: str = VALUE, **more: Any) -> str:
    return counter.token(value, kind="one_time", **more)


def told(answer: dict[str, Any]) -> str:
    return str(answer["value"] if "value" in answer else answer["error"]["code"])


def releases(counter: Counter, token: str) -> int:
    """Count how often the log says that ``token`` was opened."""
    row_id = counter.row_id(token)
    return sum(
        row.token == row_id and row.outcome in {"opened", "masked"}
        for logged in counter.log()
        if logged.entry.action == "token:detokenize" and logged.entry.items is not None
        for row in logged.entry.items.rows()
    )


def test_opens_once_and_then_says_that_it_was_opened(counter: Counter) -> None:
    token = made(counter)
    assert token.startswith("phn_2")
    first = counter.detokenize(token)
    assert first["items"][0]["value"] == VALUE
    assert counter.entry(first["log_index"]).items is not None
    again = counter.detokenizing([token])
    assert counter.vault.tokens.complete(again)["items"] == [{"token": token, "error": SPENT}]
    assert again.partial
    assert counter.last().outcomes == ["token_spent"]
    assert releases(counter, token) == 1
    counter.verify_log()


def test_opening_destroys_the_sealed_copy_and_leaves_the_revision(counter: Counter) -> None:
    token = made(counter)
    before, revision = counter.row_of(token), counter.vault.status().revision
    assert (before["kind"], before["audience_id"], before["spent_at"]) == (2, None, None)
    assert (before["digest"], before["digest_version"]) == (None, None)
    counter.detokenize(token)
    after = counter.row_of(token)
    assert after["envelope"] is None
    assert after["spent_at"] > before["created_at"]
    assert counter.vault.status().revision == revision


def test_a_mask_is_an_opening(counter: Counter) -> None:
    token = made(counter)
    assert counter.detokenize(token, reveal=Reveal.MASKED)["items"][0]["value"] == "010-****-5678"
    assert counter.refused(token) == "token_spent"
    assert counter.last().outcomes == ["token_spent"]


def test_of_one_token_twice_in_a_batch_the_first_item_opens(counter: Counter) -> None:
    token, other = made(counter), counter.token("010-9999-9999")
    answers = counter.detokenize(token, other, token, token)["items"]
    assert [told(answer) for answer in answers] == [VALUE, "010-9999-9999", "token_spent", "token_spent"]
    assert counter.last().outcomes == ["opened", "opened", "token_spent", "token_spent"]


@pytest.mark.parametrize("count", [2, 4, 300])
def test_a_batch_of_them_opens_whole_and_once(counter: Counter, count: int) -> None:
    values = list(phones(count))
    tokens = [answer["token"] for answer in counter.tokenize(*(once(value) for value in values))["items"]]
    assert [told(answer) for answer in counter.detokenize(*tokens)["items"]] == values
    assert {told(answer) for answer in counter.detokenize(*tokens)["items"]} == {"token_spent"}
    assert all(row["envelope"] is None for row in counter.rows(tables.token))


def test_of_several_requests_in_a_unit_one_opens(counter: Counter) -> None:
    token = made(counter)
    works = [counter.detokenizing([token, token]) for _ in range(4)]
    counter.together(*works)
    answers = [told(answer) for work in works for answer in work.result["items"]]
    assert answers == [VALUE] + ["token_spent"] * 7
    assert releases(counter, token) == 1
    counter.verify_log()


def test_a_request_that_may_not_open_it_leaves_it(counter: Counter) -> None:
    token, login = made(counter), counter.token("dalmuri7", field=LOGIN, kind="one_time")
    with pytest.raises(PurposeNotAllowedError):
        counter.detokenize(token, purpose="no_such_purpose")
    with pytest.raises(VaultError):
        counter.detokenize(token, by="chief")
    assert counter.refused(token, purpose=PARTNER) == "unknown_token"
    # The desk sees phone numbers, masked; login ids are not for it, and whole numbers neither.
    assert counter.refused(login, by="desk", reveal=Reveal.MASKED) == "unknown_token"
    with pytest.raises(VaultError):
        counter.detokenize(token, by="desk", reveal=Reveal.PLAIN)
    with pytest.raises(VaultError):
        counter.detokenize(token, reason="900101-1234568")
    assert [told(answer) for answer in counter.detokenize(token, login)["items"]] == [VALUE, "dalmuri7"]


def test_a_restricted_person_does_not_spend_it(counter: Counter) -> None:
    token = made(counter)
    subject_id = counter.row_of(token)["subject_id"]
    wrapped = counter.row(tables.data_key, subject_id=subject_id)["wrapped"]
    restrict(counter, subject_id, SubjectState.RESTRICTED)
    assert counter.refused(token) == "subject_restricted"
    # Open again, as before.
    counter.change(tables.data_key, {"subject_id": subject_id}, wrapped=wrapped)
    counter.change(tables.subject, {"id": subject_id}, state=SubjectState.OPEN)
    assert counter.detokenize(token)["items"][0]["value"] == VALUE


def test_that_it_was_spent_is_told_only_where_a_grant_covers_it(counter: Counter) -> None:
    login = counter.token("dalmuri7", field=LOGIN, kind="one_time")
    counter.detokenize(login)
    assert counter.refused(login, by="desk", reveal=Reveal.MASKED) == "unknown_token"
    assert counter.refused(login, by="minji") == "token_spent"
    with pytest.raises(UnknownTokenError):
        counter.show(login, by="desk")


def test_shows_its_kind_and_state(counter: Counter) -> None:
    token, withdrawn = made(counter), made(counter)
    assert {counter.show(token)[key] for key in ("kind", "state")} == {"one_time", "live"}
    assert counter.refused(token[:-1] + ("0" if token[-1] != "0" else "1")) == "unknown_token"
    counter.detokenize(token)
    assert {counter.show(token)[key] for key in ("kind", "state")} == {"one_time", "spent"}
    counter.revoke(withdrawn)
    assert {counter.show(withdrawn)[key] for key in ("kind", "state")} == {"one_time", "revoked"}
    assert counter.refused(withdrawn) == "token_revoked"


def test_a_spent_token_is_not_revoked_and_a_revoked_one_not_spent(counter: Counter) -> None:
    spent, revoked = made(counter), made(counter)
    counter.detokenize(spent)
    counter.revoke(revoked)
    revision = counter.vault.status().revision
    with pytest.raises(TokenSpentError):
        counter.revoke(spent)
    with pytest.raises(TokenRevokedError):
        counter.revoke(revoked)
    assert counter.vault.status().revision == revision
    assert counter.row_of(revoked)["spent_at"] is None


def test_of_opening_and_revoking_in_one_unit_the_opening_comes_first(counter: Counter) -> None:
    token = made(counter)
    revoking, opening = counter.revoking(token), counter.detokenizing([token])
    counter.together(revoking, opening)
    assert told(opening.result["items"][0]) == VALUE
    assert isinstance(revoking.error, TokenSpentError)
    assert counter.show(token)["state"] == "spent"


def test_no_search_and_no_import_finds_it(counter: Counter) -> None:
    first = counter.tokenize(once(external_ref="user-1"))["items"][0]
    assert "existing" not in first
    assert counter.search(PHONE, VALUE) == []
    second = counter.tokenize(once(external_ref="user-1"))["items"][0]
    assert "existing" not in second
    assert second["subject"] == first["subject"]
    assert second["token"] != first["token"]
    lasting = counter.tokenize(phone(VALUE, external_ref="user-1"))["items"][0]
    assert "existing" not in lasting
    assert lasting["token"].startswith("phn_0")
    assert [found["token"] for found in counter.search(PHONE, VALUE)] == [lasting["token"]]


def test_a_digest_put_on_its_row_makes_it_found_by_nobody(counter: Counter) -> None:
    token, lasting = made(counter), counter.row_of(counter.token())
    counter.change(
        tables.token,
        {"id": counter.row_id(token)},
        digest=lasting["digest"],
        digest_version=lasting["digest_version"],
    )
    assert len(counter.search(PHONE, VALUE)) == 1
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


@pytest.mark.parametrize("kind", [TokenKind.RANDOM, TokenKind.AUDIENCE])
@pytest.mark.parametrize("count", [1, 6])
def test_refuses_its_text_with_another_kind(counter: Counter, kind: TokenKind, count: int) -> None:
    tokens = [answer["token"] for answer in counter.tokenize(*map(once, phones(count)))["items"]]
    altered = [rekinded(token, kind) for token in tokens]
    assert {told(answer) for answer in counter.detokenize(*altered)["items"]} == {"unknown_token"}
    with pytest.raises(UnknownTokenError):
        counter.show(altered[0])
    with pytest.raises(UnknownTokenError):
        counter.revoke(altered[0])
    assert [told(answer) for answer in counter.detokenize(*tokens)["items"]] == list(phones(count))


@pytest.mark.parametrize("count", [1, 6])
def test_refuses_a_random_token_with_its_kind(counter: Counter, count: int) -> None:
    tokens = [counter.token(value) for value in phones(count)]
    altered = [rekinded(token, TokenKind.ONE_TIME) for token in tokens]
    assert {told(answer) for answer in counter.detokenize(*altered)["items"]} == {"unknown_token"}
    assert [told(answer) for answer in counter.detokenize(*tokens)["items"]] == list(phones(count))


@pytest.mark.parametrize("kind", [None, 0, 3, 7])
def test_refuses_a_row_whose_kind_was_changed(counter: Counter, kind: int | None) -> None:
    tokens = [made(counter, value) for value in phones(5)]
    counter.change(tables.token, {"id": counter.row_id(tokens[0])}, kind=kind)
    opened = [told(answer) for answer in counter.detokenize(*tokens)["items"]]
    assert opened == ["unknown_token", *phones(5)[1:]]


def test_a_replay_answers_with_it_until_it_is_spent(counter: Counter) -> None:
    items = [once(reference="r1"), item(GENDER, "F", kind="one_time"), phone(VALUE)]
    first = counter.tokenize(*items, key="k1")["items"]
    assert counter.tokenize(*items, key="k1")["items"] == first
    assert counter.count(tables.token) == 3
    counter.detokenize(first[0]["token"])
    spent, *others = counter.tokenize(*items, key="k1")["items"]
    assert spent == {"reference": "r1", "error": SPENT}
    assert others == first[1:]


def test_a_spent_token_is_not_in_a_replay_to_whoever_may_not_ask(counter: Counter) -> None:
    token = counter.tokenize(once(), key="k1")["items"][0]["token"]
    counter.detokenize(token)
    fresh = counter.tokenize(once(), key="k1", by="desk")["items"][0]
    assert fresh["token"] != token


@pytest.mark.parametrize(
    ("more", "field", "rule"),
    [
        ({"kind": "twice"}, "kind", "unknown_kind"),
        ({"kind": "expiring"}, "kind", "unknown_kind"),
        ({"kind": "ONE_TIME"}, "kind", "unknown_kind"),
        ({"kind": "one_time", "audience": "message_sender"}, "audience", "exclusive"),
        ({"kind": "random", "audience": "message_sender"}, "audience", "exclusive"),
    ],
)
def test_refuses_a_kind_there_is_not(counter: Counter, more: dict[str, str], field: str, rule: str) -> None:
    bad, good = counter.tokenize(phone(VALUE, **more), once())["items"]
    assert (bad["error"]["field"], bad["error"]["rule"]) == (field, rule)
    assert bad["error"]["code"] == "invalid_input"
    assert "token" in good
    entry = counter.last().entry
    assert entry.items is not None
    assert [row.token == NO_TOKEN for row in entry.items.rows()] == [True, False]


def test_random_is_what_nothing_said_means(counter: Counter) -> None:
    tokens = [counter.token(), counter.token(kind="random")]
    assert {counter.row_of(token)["kind"] for token in tokens} == {None}


def test_a_kind_is_not_asked_for_in_a_field_that_is_not_open(counter: Counter) -> None:
    answer = counter.tokenize(item("partner.phone", "02-123-4567", kind="twice"), phone(VALUE))["items"][0]
    assert answer["error"]["code"] in {"access_denied", "purpose_not_allowed"}


RACED = 60


def test_two_nodes_racing_for_each_token_open_it_exactly_once(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    tokens = [answer["token"] for answer in counter.tokenize(*map(once, phones(RACED)))["items"]]
    start = Barrier(4)
    got: list[list[tuple[str, str]]] = [[], [], [], []]

    def run(at: int, vault: Vault) -> None:
        start.wait()
        left = tokens if at % 2 else tokens[::-1]
        for first in range(0, RACED, 3):
            # Crosswise and overlapping: units of both nodes want the same rows in another order.
            batch = left[first : first + 5]
            answers = counter.detokenize(*batch, at=vault)["items"]
            got[at] += [(answer["token"], told(answer)) for answer in answers]

    threads = [Thread(target=run, args=(at, nodes[at // 2])) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [pair for of_thread in got for pair in of_thread]
    opened = [token for token, value in every if value != "token_spent"]
    assert sorted(opened) == sorted(tokens)
    assert {value for _, value in every} == {"token_spent", *phones(RACED)}
    assert [releases(counter, token) for token in tokens[::10]] == [1] * (RACED // 10)
    assert all(row["envelope"] is None for row in counter.rows(tables.token))
    counter.verify_log()


def test_of_opening_and_revoking_on_two_nodes_one_wins(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    tokens = [answer["token"] for answer in counter.tokenize(*map(once, phones(24)))["items"]]
    opened: dict[str, str] = {}
    revoked: list[str] = []

    def read(token: str) -> None:
        opened[token] = told(counter.detokenize(token, at=nodes[0])["items"][0])

    def revoke(token: str) -> None:
        try:
            counter.revoke(token, at=nodes[1])
        except TokenSpentError:
            return
        revoked.append(token)

    for token in tokens:
        threads = [Thread(target=act, args=(token,)) for act in (read, revoke)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for token in tokens:
        assert (opened[token] == "token_revoked") is (token in revoked)
        assert releases(counter, token) == (token not in revoked)
        assert counter.show(token)["state"] == ("revoked" if token in revoked else "spent")
    counter.verify_log()
