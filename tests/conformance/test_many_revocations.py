"""Promise 10 by the thousand: release turns into refusal at the index of the revocation, on every node.

Beside ``test_revocation_race``, which has every way to take a right away and
few revocations, there are thousands here, of three kinds. What the log says is
looked at entry by entry: before its revocation each request was released, and
after it refused, with nothing the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.counter import Counter, Logged, phone
from tests.conformance.keeper import Keeper
from tests.conformance.racing import Credentials, Giver, Grants, Reader, SubjectRace, TokenRace, race_rights
from tests.support.furnished import phones
from vault.domain.model import Outcome
from vault.service.vault import Vault
from vault.storage import tables

TOKENS = 2_000
"""Revoked on each database."""

BATCH = 1_000

PEOPLE = 120
"""Erased or restricted on each database."""

CLOSE = 100
"""At least so many tokens are released by the very entry before their revocation."""

RIGHTS = 125
"""Taken away in one stretch. A vault reads all it ever had at each change, so each stretch has a new one."""

STRETCHES = 16
"""Of each kind on each database with ``make soak``: 2,000 rights. Otherwise one, of the cheaper kind."""


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    """Else a node waits 5 ms whenever the other computes, and hardly ever gets between two of its steps."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    yield
    sys.setswitchinterval(usual)


def test_each_of_thousands_of_tokens_opens_until_its_revocation_and_never_after(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    tokens = [token for at in range(0, TOKENS, BATCH) for token in _tokens(counter, at)]
    start = counter.next_index()
    race = TokenRace(counter, nodes, tokens)
    race.run()
    log = counter.log(start)
    assert race.revoked.keys() == set(tokens)
    assert sorted(race.revoked.values()) == _made(log, "token:revoke")

    revoked = {counter.row_id(token): index for token, index in race.revoked.items()}
    opened, refused = _items(log, "opened"), _items(log, "token_revoked")
    assert [(index, token) for index, token in opened if index > revoked[token]] == []
    assert [(index, token) for index, token in refused if index < revoked[token]] == []
    assert len(opened) + len(refused) == sum(len(answer["items"]) for answer in race.answers)
    assert opened == {
        (answer["log_index"], counter.row_id(item["token"]))
        for answer in race.answers
        for item in answer["items"]
        if "value" in item
    }
    raced = {token for _, token in opened} & {token for _, token in refused}
    assert len(raced) >= TOKENS * 3 // 4
    assert sum((index - 1, token) in opened for token, index in revoked.items()) >= CLOSE
    for node in nodes:
        _require_all_revoked(counter, node, tokens)
    counter.verify_log()


def test_each_person_opens_until_the_erasure_or_restriction_and_never_after(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    made = counter.tokenize(*map(phone, phones(PEOPLE)))["items"]
    race = SubjectRace(Keeper(counter), nodes, {item["token"]: item["subject"] for item in made})
    start = counter.next_index()
    race.run()
    log = counter.log(start)
    assert sorted(race.revoked.values()) == sorted(
        _made(log, "subject:erase") + _made(log, "subject:restrict")
    )
    ended = {counter.row_id(token): index for token, index in race.revoked.items()}
    erased = {counter.row_id(token) for token in race.erased}
    opened = _items(log, "opened")
    refused = _items(log, "subject_erased") | _items(log, "subject_restricted")
    assert [(index, token) for index, token in opened if index > ended[token]] == []
    assert [(index, token) for index, token in refused if index < ended[token]] == []
    assert {token for _, token in _items(log, "subject_erased")} <= erased
    assert len(opened) + len(refused) == sum(len(answer["items"]) for answer in race.answers)
    raced = {token for _, token in opened} & {token for _, token in refused}
    assert len(raced) >= PEOPLE // 2
    stones = [row["log_index"] for row in counter.rows(tables.tombstone, order_by="seq")]
    assert stones == sorted(ended.values())
    counter.verify_log()


@pytest.mark.parametrize(
    ("way", "stretch"),
    [
        (Credentials, 0),
        *(
            pytest.param(way, stretch, marks=pytest.mark.soak)
            for way in (Credentials, Grants)
            for stretch in range(1, STRETCHES + 1)
        ),
    ],
)
def test_each_right_is_read_by_until_it_is_taken_away_and_never_after(
    counter: Counter, way: Callable[[Counter], Giver], stretch: int
) -> None:
    nodes = [counter.vault, counter.node()]
    token = counter.token(f"010-1234-{stretch:04d}")
    readers = [Reader(counter, node, token) for node in nodes]
    giver = way(counter)
    start = counter.next_index()
    rights = race_rights(giver, readers, nodes, RIGHTS)
    log = counter.log(start)
    assert [right.ends for right in rights] == _made(log, giver.action)

    reads = [logged for logged in log if logged.entry.action == "token:detokenize"]
    covered = {logged.index for logged in reads if any(right.covers(logged) for right in rights)}
    released = {logged.index for logged in reads if logged.entry.outcome is Outcome.RELEASED}
    assert sorted(released - covered) == []
    assert sorted(covered - released) == []
    refusing = {logged.entry.decision.rule for logged in reads if logged.index not in covered}
    assert refusing == {giver.rule}
    assert released == {index for reader in readers for index in reader.released}
    assert len(reads) - len(released) == RIGHTS * len(readers)
    assert len(released) >= RIGHTS * len(readers)
    assert sum(right.ends - 1 in released for right in rights) >= RIGHTS // 2
    counter.verify_log()


def _tokens(counter: Counter, start: int) -> list[str]:
    made = counter.tokenize(*map(phone, phones(BATCH, start=start)))
    return [answer["token"] for answer in made["items"]]


def _made(log: list[Logged], action: str) -> list[int]:
    """Return the indexes at which ``action`` was done."""
    return [logged.index for logged in log if logged.entry.action == action and not logged.entry.error]


def _items(log: list[Logged], outcome: str) -> set[tuple[int, int]]:
    """Return log index and row id of each token that a detokenize met with ``outcome``."""
    return {
        (logged.index, row.token)
        for logged in log
        if logged.entry.action == "token:detokenize" and logged.entry.items is not None
        for row in logged.entry.items.rows()
        if row.outcome == outcome
    }


def _require_all_revoked(counter: Counter, node: Vault, tokens: list[str]) -> None:
    for at in range(0, len(tokens), BATCH):
        answer = counter.detokenize(*tokens[at : at + BATCH], at=node)
        assert {item["error"]["code"] for item in answer["items"]} == {"token_revoked"}
