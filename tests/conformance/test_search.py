"""Search, on both databases: equality on one field, a budget of misses, no trace of what was looked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, update

from keys.keyring import KeyKind, generate_key
from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, phone
from tests.support.furnished import MEMBER, PARTNER
from vault.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    InvalidValueError,
    LimitExceededError,
    PurposeNotAllowedError,
    TooManyAttemptsError,
    VaultError,
)
from vault.storage import tables

LIMIT = 30
"""Of the policy: misses in a minute."""


def test_finds_every_live_token_of_a_value_however_it_is_written(counter: Counter) -> None:
    two = counter.tokenize(phone("010-1234-5678"), phone("010-1234-5678"), phone("010-9999-5678"))["items"][
        :2
    ]
    gone = counter.token()
    counter.revoke(gone)
    found = counter.search(PHONE, "+82 10 1234 5678")
    assert found == [{"token": one["token"], "subject": one["subject"], "field": PHONE} for one in two]
    entry = counter.last().entry
    assert counter.last().outcomes == ["found", "found"]
    assert entry.items is not None
    assert [row.token for row in entry.items.rows()] == [counter.row_id(one["token"]) for one in two]
    assert entry.decision.grants == counter.furnished.grants["shop"][:1]


def test_a_miss_finds_nothing_and_is_logged(counter: Counter) -> None:
    assert counter.search(PHONE, "010-1234-5678") == []
    entry = counter.last().entry
    assert (entry.action, entry.error, entry.items and entry.items.n) == ("token:search", "", 0)


def test_the_same_text_in_another_field_is_no_hit(counter: Counter) -> None:
    counter.token("minji77", field=LOGIN)
    assert counter.search("member.oauth_subject", "minji77") == []


def test_misses_run_out_hits_do_not(counter: Counter) -> None:
    counter.token()
    for _ in range(LIMIT + 5):
        assert counter.search(PHONE, "010-1234-5678")
    for at in range(LIMIT):
        assert counter.search(PHONE, f"010-2222-{at:04d}") == []
    with pytest.raises(TooManyAttemptsError) as refused:
        counter.search(PHONE, "010-1234-5678")
    assert 1 <= refused.value.retry_after <= 60
    assert counter.last().entry.error == "too_many_attempts"
    assert counter.last().entry.items is None
    assert counter.search(PHONE, "010-1234-5678", by="minji")
    counter.furnished.clock.pass_time(seconds=refused.value.retry_after)
    assert counter.search(PHONE, "010-1234-5678")


def test_searches_of_one_unit_count_one_after_another(counter: Counter) -> None:
    """Whoever asks a thousand times at once gets no more guesses than who asks in turn."""
    works = [counter.searching(PHONE, f"010-2222-{at:04d}") for at in range(LIMIT * 3)]
    counter.together(*works)
    assert [type(work.error) for work in works] == [type(None)] * LIMIT + [TooManyAttemptsError] * (2 * LIMIT)


def test_a_search_decided_twice_counts_once(counter: Counter) -> None:
    for at in range(LIMIT):
        counter.tamper()
        counter.search(PHONE, f"010-2222-{at:04d}")
    with pytest.raises(TooManyAttemptsError):
        counter.search(PHONE, "010-1234-5678")


def _refusal(counter: Counter, field: str, value: str, **more: Any) -> VaultError:
    with pytest.raises(VaultError) as refused:
        counter.search(field, value, **more)
    assert counter.last().entry.error == refused.value.code
    assert value.encode() not in counter.last().body
    return refused.value


def test_refuses_enumerated_fields(counter: Counter) -> None:
    refused = _refusal(counter, GENDER, "FEMALE")
    assert isinstance(refused, InvalidInputError)
    assert (refused.field, refused.rule) == ("field", "not_searchable")


def test_refuses_unknown_fields_values_and_purposes(counter: Counter) -> None:
    unknown = _refusal(counter, "member.nonsense", "nonsense-value")
    assert isinstance(unknown, InvalidInputError)
    assert unknown.rule == "unknown_field"
    assert isinstance(_refusal(counter, PHONE, "no phone"), InvalidValueError)
    assert isinstance(_refusal(counter, PHONE, "010-1234-5678", purpose="guesses"), PurposeNotAllowedError)
    assert isinstance(_refusal(counter, PHONE, "010-1234-5678", purpose=PARTNER), PurposeNotAllowedError)


def test_refuses_a_field_that_was_not_granted(counter: Counter) -> None:
    refused = _refusal(counter, LOGIN, "minji77", by="desk")
    assert isinstance(refused, AccessDeniedError)
    assert counter.last().entry.decision.rule == refused.rule == "grant_field"


def test_refuses_rather_than_cuts_more_than_a_thousand(counter: Counter) -> None:
    for count in (1000, 1):
        counter.tokenize(*(phone("010-1234-5678") for _ in range(count)))
        if count == 1000:
            assert len(counter.search(PHONE, "010-1234-5678")) == 1000
    refused = _refusal(counter, PHONE, "010-1234-5678")
    assert isinstance(refused, LimitExceededError)
    assert refused.rule == "too_many_matches"


def test_finds_values_digested_before_and_after_a_new_lookup_key(counter: Counter) -> None:
    before = counter.token()
    keyring = counter.vault.standings.current.keyring
    root = counter.vault.standings.roots.held
    key = generate_key(KeyKind.LOOKUP, PHONE, 2, vault_id=keyring.vault_id, root=root)
    named = {"kind": KeyKind.LOOKUP.value, "scope": PHONE}
    times = {"created_at": 0, "changed_at": 0}
    counter.tamper(
        update(tables.key).filter_by(**named, version=1).values(state="deactivated"),
        insert(tables.key).values(**named, version=2, state="active", wrapped=key.wrapped, **times),
    )
    counter.token("010-9999-9999")
    after = counter.token()
    assert [counter.row_of(token)["digest_version"] for token in (before, after)] == [1, 2]
    assert [found["token"] for found in counter.search(PHONE, "010-1234-5678")] == [before, after]


def test_a_digest_put_on_another_row_finds_nothing(counter: Counter) -> None:
    """Whoever could place digests would have the vault make the token of any row."""
    known, victim = counter.token(), counter.token("010-9999-8888")
    digest = counter.row_of(known)["digest"]
    counter.change(tables.token, {"id": counter.row_id(victim)}, digest=digest)
    assert [found["token"] for found in counter.search(PHONE, "010-1234-5678")] == [known]
    assert counter.alarms() == [("token", str(counter.row_id(victim)))]


def test_a_match_whose_key_is_broken_alarms_and_is_left_out(counter: Counter) -> None:
    token = counter.token()
    counter.change(tables.data_key, {"subject_id": counter.row_of(token)["subject_id"]}, generation=7)
    assert counter.search(PHONE, "010-1234-5678") == []
    assert [table for table, _ in counter.alarms()] == ["data_key"]


def test_a_match_of_nobody_is_left_out(counter: Counter) -> None:
    token = counter.token()
    counter.tamper(tables.subject.delete())
    assert counter.search(PHONE, "010-1234-5678", purpose=MEMBER) == []
    assert token
