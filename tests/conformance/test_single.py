"""Show and revoke one token, on both databases."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.conformance.counter import LOGIN, Counter, phone
from vault.domain.errors import (
    AccessDeniedError,
    PurposeNotAllowedError,
    TokenRevokedError,
    UnknownTokenError,
)
from vault.domain.model import Outcome
from vault.storage import tables


def test_shows_what_a_token_is_and_opens_nothing(counter: Counter) -> None:
    made = counter.tokenize(phone("010-1234-5678"))["items"][0]
    shown = counter.show(made["token"])
    assert datetime.fromisoformat(shown.pop("created_at")).utcoffset() is not None
    last = counter.last()
    assert shown == {
        "log_index": last.index,
        "leaf_hash": last.leaf.hex(),
        "token": made["token"],
        "subject": made["subject"],
        "field": "member.phone",
        "state": "live",
        "kind": "random",
        "audience": None,
    }
    assert last.outcomes == ["shown"]
    assert last.entry.outcome is Outcome.DONE
    assert b"12345678" not in last.body


def test_revoking_destroys_the_sealed_copy_and_its_digest(counter: Counter) -> None:
    token, kept = counter.token(), counter.token()
    revision = counter.vault.status().revision
    answer = counter.revoke(token)
    assert answer["state"] == "revoked"
    row = counter.row_of(token)
    assert (row["envelope"], row["digest"], row["digest_version"]) == (None, None, None)
    assert counter.vault.status().revision == revision + 1
    assert counter.last().outcomes == ["revoked"]
    assert counter.show(token)["state"] == "revoked"
    assert counter.detokenize(kept)["items"][0]["value"] == "010-1234-5678"


def test_a_token_is_revoked_once(counter: Counter) -> None:
    token = counter.token()
    counter.revoke(token)
    revision = counter.vault.status().revision
    with pytest.raises(TokenRevokedError):
        counter.revoke(token)
    last = counter.last()
    assert (last.entry.error, last.outcomes) == ("token_revoked", ["token_revoked"])
    assert counter.vault.status().revision == revision


def test_of_two_revocations_in_one_unit_one_succeeds(counter: Counter) -> None:
    token = counter.token()
    works = [counter.revoking(token) for _ in range(3)]
    counter.together(*works)
    assert [type(work.error) for work in works] == [type(None), TokenRevokedError, TokenRevokedError]


def test_a_revocation_comes_after_the_releases_of_its_unit(counter: Counter) -> None:
    token = counter.token()
    revoking, opening = counter.revoking(token), counter.detokenizing([token])
    counter.together(revoking, opening)
    assert opening.result["items"][0]["value"] == "010-1234-5678"
    assert revoking.result["log_index"] == opening.result["log_index"] + 1


@pytest.mark.parametrize("act", ["show", "revoke"])
def test_unknown_and_ungranted_tokens_look_alike(counter: Counter, act: str) -> None:
    login = counter.token("minji77", field=LOGIN)
    flipped = login[:-1] + ("0" if login[-1] != "0" else "1")
    told = []
    keys = counter.vault.standings.current.keyring.tokens
    never = keys.active.encode("lgn", 1 << 40, bytes(8))
    for token in (flipped, "nothing", never, login):
        with pytest.raises(UnknownTokenError) as refused:
            getattr(counter, act)(token, by="desk")
        told.append(str(refused.value))
    assert len(set(told)) == 1
    assert counter.row_of(login)["envelope"] is not None
    last = counter.last()
    assert last.entry.items is not None
    (row,) = last.entry.items.rows()
    assert row.token == counter.row_id(login)
    assert row.subject == bytes(counter.rows(tables.subject)[0]["log_subject"])
    assert (last.entry.error, row.outcome) == ("unknown_token", "access_denied")
    assert counter.log()[-2].entry.items is None


def test_a_revoked_token_of_another_field_says_nothing(counter: Counter) -> None:
    login = counter.token("minji77", field=LOGIN)
    counter.revoke(login)
    with pytest.raises(UnknownTokenError):
        counter.revoke(login, by="desk")


def test_a_token_without_its_subject_is_shown_without(counter: Counter) -> None:
    token = counter.token()
    counter.tamper(tables.subject.delete())
    assert "subject" not in counter.show(token)


@pytest.mark.parametrize("act", ["show", "revoke"])
def test_an_unknown_purpose_is_refused(counter: Counter, act: str) -> None:
    token = counter.token()
    with pytest.raises(PurposeNotAllowedError):
        getattr(counter, act)(token, purpose="curiosity")
    assert counter.last().entry.purpose == ""


def test_without_a_purpose_a_grant_is_needed_all_the_same(counter: Counter) -> None:
    number, login = counter.token(), counter.token("minji77", field=LOGIN)
    assert counter.show(number, by="desk", purpose="")["field"] == "member.phone"
    assert counter.last().entry.decision.grants == counter.furnished.grants["desk"][1:]
    with pytest.raises(UnknownTokenError):
        counter.show(login, by="desk", purpose="")
    assert counter.revoke(number, by="desk", purpose="")["state"] == "revoked"
    with pytest.raises(AccessDeniedError):
        counter.show(login, by="chief", purpose="")
