"""Detokenize, on both databases: masked and plain, every refusal of an item, and what looks alike."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, update

from keys.datakeys import Binding, generate_data_key
from keys.envelope import generation_of
from keys.secret import SecretBytes
from keys.tokens import TokenKey
from tests.conformance.counter import GENDER, LOGIN, Counter, item, phone
from tests.support.furnished import phones
from vault.domain.errors import AccessDeniedError
from vault.domain.model import Outcome, Reveal, SubjectState
from vault.storage import tables

UNKNOWN = {"code": "unknown_token", "field": "token", "rule": "unknown_token"}


def _flipped(token: str, at: int) -> str:
    other = "0" if token[at] != "0" else "1"
    return token[:at] + other + token[at + 1 :]


def test_plain_shows_the_value_as_people_write_it(counter: Counter) -> None:
    token = counter.token("+82 10 1234 5678")
    answer = counter.detokenize(token)
    assert answer["items"] == [
        {"token": token, "field": "member.phone", "value": "010-1234-5678", "reveal": "plain"}
    ]
    assert answer["log_index"] == counter.last().index
    assert answer["leaf_hash"] == counter.last().leaf.hex()


def test_masked_shows_the_mask_even_to_who_may_see_all(counter: Counter) -> None:
    token = counter.token()
    (answer,) = counter.detokenize(token, reveal=Reveal.MASKED)["items"]
    assert answer["value"] == "010-****-5678"
    assert answer["reveal"] == "masked"
    assert counter.last().outcomes == ["masked"]


def test_a_masked_grant_yields_no_whole_value(counter: Counter) -> None:
    token = counter.token()
    with pytest.raises(AccessDeniedError) as refused:
        counter.detokenize(token, by="desk")
    assert counter.last().entry.decision.rule == refused.value.rule == "grant_reveal"
    assert counter.detokenize(token, by="desk", reveal=Reveal.MASKED)["items"][0]["value"] == "010-****-5678"


def test_a_thousand_tokens_come_back_in_order(counter: Counter) -> None:
    values = phones(1000)
    tokens = [answer["token"] for answer in counter.tokenize(*map(phone, values))["items"]]
    opened = counter.detokenize(*tokens[::-1])["items"]
    assert [answer["value"] for answer in opened] == values[::-1]
    assert not counter.detokenizing(tokens).partial
    counter.verify_log()


def test_references_of_the_caller_come_back(counter: Counter) -> None:
    work = counter.detokenizing([counter.token()])
    work._items[0] = type(work._items[0])(token=work._items[0].token, reference="r1")  # type: ignore[attr-defined]
    assert counter.vault.tokens.complete(work)["items"][0]["reference"] == "r1"


def _bad_tokens(counter: Counter) -> dict[str, str]:
    """Return tokens that all have to look the same to ``desk``."""
    answer = counter.tokenize(phone("010-1234-5678"))["items"][0]
    good, subject = answer["token"], answer["subject"]
    keys = counter.vault.standings.current.keyring.tokens
    row = counter.row_of(good)
    return {
        "shapeless": "what is this",
        "empty prefix": good[3:],
        "upper case": good.upper(),
        "flipped in the head": _flipped(good, 6),
        "flipped in the block": _flipped(good, 20),
        "flipped in the check": _flipped(good, 43),
        "a subject": subject,
        "another type": keys.active.encode("gen", row["id"], bytes(row["nonce"])),
        "another row": keys.active.encode("phn", row["id"] + 5_000, bytes(row["nonce"])),
        "another key": TokenKey(1, SecretBytes(bytes(32))).encode("phn", row["id"], bytes(row["nonce"])),
        "another key version": TokenKey(9, SecretBytes(bytes(32))).encode("phn", row["id"], bytes(8)),
        "a field that was not granted": counter.token("minji77", field=LOGIN),
    }


def test_tokens_that_are_wrong_in_any_way_look_alike(counter: Counter) -> None:
    bad = _bad_tokens(counter)
    work = counter.detokenizing([*bad.values(), counter.token()], by="desk", reveal=Reveal.MASKED)
    *answers, good = counter.vault.tokens.complete(work)["items"]
    for name, answer, token in zip(bad, answers, bad.values(), strict=True):
        # What anybody can see of a text may be said; the rest is one answer.
        rule = {"shapeless": "shape", "empty prefix": "shape", "upper case": "shape"}.get(name)
        rule = "check" if name.startswith("flipped") else rule
        assert answer == {"token": token, "error": UNKNOWN | ({"rule": rule} if rule else {})}, name
    assert good["value"] == "010-****-5678"
    assert work.partial
    assert counter.alarms() == []


def test_the_log_knows_an_ungranted_field_from_an_unknown_token(counter: Counter) -> None:
    login, subject = counter.token("minji77", field=LOGIN), counter.rows(tables.subject)[0]
    counter.detokenize(login, "nothing", by="desk", reveal=Reveal.MASKED)
    entry = counter.last().entry
    assert entry.items is not None
    refused, unknown = entry.items.rows()
    assert refused == (bytes(subject["log_subject"]), counter.row_id(login), LOGIN, "access_denied")
    assert unknown == (bytes(16), 0, "", "unknown_token")
    assert entry.outcome is Outcome.RELEASED


def test_a_revoked_token_says_so_to_whom_it_was_for(counter: Counter) -> None:
    phone_token, login = counter.token(), counter.token("minji77", field=LOGIN)
    for token in (phone_token, login):
        counter.revoke(token)
    assert counter.refused(phone_token) == "token_revoked"
    assert counter.last().outcomes == ["token_revoked"]
    assert counter.refused(phone_token, by="desk", reveal=Reveal.MASKED) == "token_revoked"
    assert counter.refused(login, by="desk", reveal=Reveal.MASKED) == "unknown_token"


def restrict(counter: Counter, subject_id: int, state: SubjectState) -> None:
    """Put a subject into another state as the vault itself will: flag and wrapped key together."""
    epoch = counter.vault.standings.current.keyring.active_epoch()
    row = counter.row(tables.data_key, subject_id=subject_id)
    wrapped = epoch.rewrap(
        Binding(subject_id, row["generation"], SubjectState.OPEN),
        bytes(row["wrapped"]),
        to=epoch,
        nonce=bytes(12),
        state=state,
    )
    counter.tamper(
        update(tables.subject).filter_by(id=subject_id).values(state=state),
        update(tables.data_key).filter_by(subject_id=subject_id).values(wrapped=wrapped),
    )


@pytest.mark.parametrize("state", [SubjectState.RESTRICTED, SubjectState.ARCHIVED])
def test_a_restricted_subject_is_opened_searched_and_added_to_by_nobody(
    counter: Counter, state: SubjectState
) -> None:
    answer = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    counter.detokenize(answer["token"])
    restrict(counter, counter.row_of(answer["token"])["subject_id"], state)
    assert counter.refused(answer["token"]) == "subject_restricted"
    assert counter.last().outcomes == ["subject_restricted"]
    assert counter.search("member.phone", "010-1234-5678") == []
    more: list[dict[str, Any]] = counter.tokenize(
        item(GENDER, "F", subject=answer["subject"]), item(GENDER, "F", external_ref="user-1")
    )["items"]
    assert [refused["error"]["code"] for refused in more] == ["subject_restricted"] * 2
    assert counter.show(answer["token"])["state"] == "live"
    assert counter.alarms() == []
    assert counter.count(tables.token) == 1


def test_a_subject_with_two_data_keys_is_read_under_both_and_sealed_under_the_newer(counter: Counter) -> None:
    made = counter.tokenize(phone("010-1234-5678"))["items"][0]
    subject_id = counter.row_of(made["token"])["subject_id"]
    epoch = counter.vault.standings.current.keyring.active_epoch()
    wrapped = epoch.wrap(Binding(subject_id, 2, SubjectState.OPEN), bytes(12), generate_data_key())
    row = {"subject_id": subject_id, "generation": 2, "epoch": epoch.epoch, "wrapped": wrapped}
    counter.tamper(insert(tables.data_key).values(row))
    newer = counter.tokenize(item(GENDER, "F", subject=made["subject"]))["items"][0]["token"]
    assert [generation_of(counter.row_of(token)["envelope"]) for token in (made["token"], newer)] == [1, 2]
    assert [answer["value"] for answer in counter.detokenize(made["token"], newer)["items"]] == [
        "010-1234-5678",
        "F",
    ]


def test_an_unknown_purpose_opens_nothing(counter: Counter) -> None:
    token = counter.token()
    with pytest.raises(AccessDeniedError):
        counter.detokenize(token, purpose="curiosity")
    assert counter.last().entry.items is None


def test_staff_open_what_they_were_granted(counter: Counter) -> None:
    token = counter.token()
    counter.detokenize(token, by="minji", reason="call back, ticket 4711")
    entry = counter.last().entry
    assert entry.actor.name == "minji Kim"
    assert entry.actor.roles == ("handler",)
    assert entry.actor.team == "support"
    assert entry.note


@pytest.mark.parametrize("who", ["admin", "officer", "chief"])
def test_nobody_reads_by_being_powerful(counter: Counter, who: str) -> None:
    token = counter.token()
    for reveal in Reveal:
        with pytest.raises(AccessDeniedError):
            counter.detokenize(token, by=who, reveal=reveal)
        assert counter.last().entry.actor.id == counter.furnished.people[who]
        assert counter.last().entry.outcome is Outcome.REFUSED
