"""Tokenize, on both databases: every outcome, subjects, external references, what the log says."""

from __future__ import annotations

import pytest

from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, item, phone
from tests.support.furnished import PARTNER, phones
from vault.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    InvalidValueError,
    PurposeNotAllowedError,
)
from vault.domain.model import Outcome
from vault.storage import tables


def test_results_come_in_request_order_with_their_references(counter: Counter) -> None:
    values = phones(40)
    items = [phone(value, reference=f"r{at}") for at, value in enumerate(values)]
    answers = counter.tokenize(*items)["items"]
    assert [answer["reference"] for answer in answers] == [f"r{at}" for at in range(40)]
    opened = counter.detokenize(*(answer["token"] for answer in answers))["items"]
    assert [answer["value"] for answer in opened] == values


def test_one_value_twice_gives_two_tokens_of_two_subjects(counter: Counter) -> None:
    first, second = counter.tokenize(phone("010-1234-5678"), phone("010-1234-5678"))["items"]
    assert first["token"] != second["token"]
    assert first["subject"] != second["subject"]


def test_items_of_one_label_share_a_new_subject(counter: Counter) -> None:
    one, two, other = counter.tokenize(
        phone("010-1234-5678", label="a"), item(GENDER, "F", label="a"), phone("010-1234-5678", label="b")
    )["items"]
    assert one["subject"] == two["subject"] != other["subject"]
    assert counter.count(tables.subject) == 2


def test_the_same_label_in_another_request_is_another_subject(counter: Counter) -> None:
    first = counter.tokenize(phone("010-1234-5678", label="a"))["items"][0]
    second = counter.tokenize(phone("010-1234-5678", label="a"))["items"][0]
    assert first["subject"] != second["subject"]


def test_an_item_joins_the_subject_it_names(counter: Counter) -> None:
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    added = counter.tokenize(item(GENDER, "F", subject=subject), item(LOGIN, "minji7", subject=subject))
    assert {answer["subject"] for answer in added["items"]} == {subject}
    assert counter.count(tables.subject) == 1
    assert counter.count(tables.data_key) == 1


def _wrong_subjects(counter: Counter) -> dict[str, str]:
    tokens = counter.vault.standings.current.keyring.tokens.active
    answer = counter.tokenize(phone("010-1234-5678"))["items"][0]
    known = counter.rows(tables.subject)[0]
    return {
        "mistyped": answer["subject"][:-1] + ("0" if answer["subject"][-1] != "0" else "1"),
        "shapeless": "member 4711",
        "a token": answer["token"],
        "unknown": tokens.encode("sub", 12345, bytes(8), 15),  # type: ignore[arg-type]
        "another nonce": tokens.encode("sub", known["id"], bytes(8), 15),  # type: ignore[arg-type]
    }


def test_subjects_unknown_foreign_and_mistyped_look_alike(counter: Counter) -> None:
    wrong = _wrong_subjects(counter)
    answers = counter.tokenize(*(phone("010-1234-5678", subject=text) for text in wrong.values()))["items"]
    assert all(answer["error"] == answers[0]["error"] for answer in answers)
    assert answers[0]["error"]["rule"] == "unknown_subject"
    assert counter.count(tables.subject) == 1


def test_a_subject_has_fields_of_one_kind(counter: Counter) -> None:
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    refused = counter.tokenize(item("partner.phone", "02-123-4567", subject=subject), purpose=PARTNER)
    assert refused["items"][0]["error"] == {
        "code": "invalid_input",
        "field": "subject",
        "rule": "kind_conflict",
        "detail": "subject: one subject has fields of one kind",
    }


def test_fields_unknown_refused_and_bad_values_are_refused_alone(counter: Counter) -> None:
    work = counter.tokenizing(
        [
            item("member.nonsense", "x", reference="unknown"),
            item("partner.phone", "02-123-4567", reference="other purpose"),
            phone("12", reference="bad"),
            phone("010-1234-5678", reference="good"),
        ]
    )
    unknown, other, bad, good = counter.vault.tokens.complete(work)["items"]
    assert unknown["error"]["rule"] == "unknown_field"
    assert unknown["error"]["field"] == "field"
    assert other["error"]["code"] == "purpose_not_allowed"
    assert bad["error"]["code"] == "invalid_value"
    assert bad["error"]["field"] == PHONE
    assert good["token"].startswith("phn_")
    assert work.partial
    assert counter.last().outcomes == ["invalid_input", "purpose_not_allowed", "invalid_value", "sealed"]
    assert "nonsense" not in str(counter.last().body)


def test_a_field_without_a_grant_is_refused(counter: Counter) -> None:
    with pytest.raises(AccessDeniedError):
        counter.tokenize(phone("010-1234-5678"), by="minji")


def test_a_value_worth_a_warning_is_kept_and_says_so(counter: Counter) -> None:
    answer = counter.tokenize(phone("1561-1234"))["items"][0]
    assert answer["token"]
    assert answer["warnings"] == ("unlisted_prefix",)


def test_a_thousand_items_are_one_entry(counter: Counter) -> None:
    before = counter.next_index()
    answers = counter.tokenize(*map(phone, phones(1000)))["items"]
    assert len({answer["token"] for answer in answers}) == 1000
    logged = counter.log(before)
    assert sum(1 for entry in logged if entry.entry.part[0] == 1) == 1
    rows = [row for entry in logged if entry.entry.items for row in entry.entry.items.rows()]
    assert [row.token for row in rows] == [counter.row_id(answer["token"]) for answer in answers]
    assert counter.count(tables.token) == 1000
    counter.verify_log()


def test_an_unknown_purpose_is_refused_and_its_text_stays_out_of_the_log(counter: Counter) -> None:
    with pytest.raises(PurposeNotAllowedError):
        counter.tokenize(phone("010-1234-5678"), purpose="hush: 010-9999-8888")
    last = counter.last()
    assert last.entry.outcome is Outcome.REFUSED
    assert last.entry.error == "purpose_not_allowed"
    assert last.entry.decision.rule == "purpose"
    assert last.entry.purpose == ""
    assert b"hush" not in last.body


def test_a_purpose_that_wants_a_reason_is_refused_without(counter: Counter) -> None:
    with pytest.raises(InvalidInputError) as refused:
        counter.tokenize(phone("010-1234-5678"), purpose="inquiry")
    assert (refused.value.field, refused.value.rule) == ("reason", "required")
    assert counter.last().entry.decision.rule == "required"


@pytest.mark.parametrize("reference", ["900101-1234567", "９００１０１－１２３４５６７"])
def test_an_external_reference_is_no_resident_number(counter: Counter, reference: str) -> None:
    answer = counter.tokenize(phone("010-1234-5678", external_ref=reference))["items"][0]
    assert (answer["error"]["field"], answer["error"]["rule"]) == ("external_ref", "resident_number")
    assert counter.count(tables.subject) == 0


@pytest.mark.parametrize("reason", ["call 010-1234-5678 back", "resident 900101-1234567"])
def test_a_reason_with_personal_data_is_refused_and_not_kept(counter: Counter, reason: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        counter.tokenize(phone("010-1234-5678"), reason=reason)
    assert refused.value.field == "reason"
    last = counter.last().entry
    assert (last.error, last.note, last.decision.rule) == ("invalid_value", "", refused.value.rule)
    assert counter.count(tables.log_note) == 0
    assert counter.count(tables.token) == 0
