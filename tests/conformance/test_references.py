"""External references make tokenize repeatable: one subject, one token for a value, however often."""

from __future__ import annotations

import unicodedata
from threading import Barrier, Thread

from tests.conformance.counter import GENDER, PHONE, Counter, item, phone
from tests.support.furnished import PARTNER
from vault.domain.errors import ConflictError, VaultError
from vault.domain.model import Role
from vault.storage import tables
from vault.tokens.requests import TokenizeItem


def test_asking_again_by_reference_gives_the_token_there_is(counter: Counter) -> None:
    first = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    again = counter.tokenize(phone("+82 10 1234 5678", external_ref="user-1"))["items"][0]
    assert again == {**first, "existing": True}
    assert counter.last().outcomes == ["existing"]
    assert counter.count(tables.token) == 1


def test_a_token_somebody_else_made_is_never_told(counter: Counter) -> None:
    """Whoever may tokenize could otherwise test guesses, and confirm every value of an enumeration."""
    theirs = counter.tokenize(
        item(GENDER, "F", label="m"), phone("010-1234-5678", label="m", external_ref="u")
    )
    guesses = counter.tokenize(
        *(item(GENDER, guess, external_ref="u") for guess in ("F", "M", "U")),
        phone("010-1234-5678", external_ref="u"),
        by="desk",
    )["items"]
    assert not any("existing" in answer for answer in guesses)
    assert {answer["subject"] for answer in guesses} == {theirs["items"][0]["subject"]}
    again = counter.tokenize(item(GENDER, "F", external_ref="u"), by="desk")["items"][0]
    assert again == {**guesses[0], "existing": True}


def test_a_changed_value_gives_a_new_token_of_the_same_subject(counter: Counter) -> None:
    first = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    changed = counter.tokenize(phone("010-9999-5678", external_ref="user-1"))["items"][0]
    assert changed["subject"] == first["subject"]
    assert changed["token"] != first["token"]
    assert "existing" not in changed
    assert counter.detokenize(first["token"])["items"][0]["value"] == "010-1234-5678"


def test_a_revoked_token_does_not_stand_for_the_value_any_more(counter: Counter) -> None:
    first = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    counter.revoke(first["token"])
    again = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert again["subject"] == first["subject"]
    assert again["token"] != first["token"]


def test_a_row_with_a_bad_value_still_belongs_to_its_reference(counter: Counter) -> None:
    bad, good = counter.tokenize(phone("12", label="m", external_ref="user-1"), item(GENDER, "F", label="m"))[
        "items"
    ]
    assert bad["error"]["code"] == "invalid_value"
    corrected = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert corrected["subject"] == good["subject"]


def test_references_of_two_kinds_of_subject_do_not_meet(counter: Counter) -> None:
    member = counter.tokenize(phone("010-1234-5678", external_ref="7"))["items"][0]
    partner = counter.tokenize(item("partner.phone", "02-123-4567", external_ref="7"), purpose=PARTNER)
    assert partner["items"][0]["subject"] != member["subject"]


def test_one_reference_under_two_labels_is_one_subject(counter: Counter) -> None:
    answers = counter.tokenize(
        phone("010-1234-5678", label="a", external_ref="user-1"),
        item(GENDER, "F", label="b", external_ref="user-1"),
        item(GENDER, "M", external_ref="user-1"),
    )["items"]
    assert len({answer["subject"] for answer in answers}) == 1
    assert counter.count(tables.subject) == 1


def test_a_reference_written_in_another_normal_form_is_the_same(counter: Counter) -> None:
    composed = unicodedata.normalize("NFC", "회원-é")
    apart = unicodedata.normalize("NFD", composed)
    assert composed != apart
    one, two = counter.tokenize(
        phone("010-1234-5678", external_ref=apart), item(GENDER, "F", external_ref=composed)
    )["items"]
    assert one["subject"] == two["subject"]
    for written in (composed, apart):
        again = counter.tokenize(phone("010-1234-5678", external_ref=written))["items"][0]
        assert again == {**one, "existing": True}


def _rule(counter: Counter, *items: TokenizeItem) -> str:
    error = counter.tokenize(*items)["items"][-1]["error"]
    assert error["field"] == "external_ref"
    return str(error["rule"])


def test_refuses_two_references_for_one_subject(counter: Counter) -> None:
    one = phone("010-1234-5678", label="a", external_ref="user-1")
    other = item(GENDER, "F", label="a", external_ref="user-2")
    assert _rule(counter, one, other) == "reference_conflict"


def test_refuses_one_reference_for_two_subjects(counter: Counter) -> None:
    first = phone("010-1234-5678", external_ref="user-1")
    bare = phone("010-1234-5679", label="a")
    claimed = item(GENDER, "F", label="a", external_ref="user-1")
    assert _rule(counter, first, bare, claimed) == "reference_conflict"


def test_refuses_a_reference_beside_a_known_subject(counter: Counter) -> None:
    subject = counter.tokenize(phone("010-1234-5678"))["items"][0]["subject"]
    assert (
        _rule(counter, item(GENDER, "F", subject=subject, external_ref="user-1")) == "reference_with_subject"
    )


def test_refuses_a_label_over_two_kinds(counter: Counter) -> None:
    office, both = counter.furnished, ("member.phone", "partner.phone")
    administrator = office.login("admin")
    office.hire(administrator, "sora", Role.HANDLER, team="ethics")
    holder = ("staff", office.people["sora"])
    office.grant(administrator, holder, ("token:tokenize",), purposes=("ethics",), fields=both)
    office.approve_all(office.login("officer"))
    office.actors["sora"] = office.login("sora")
    one, other, referred = counter.tokenize(
        phone("010-1234-5678", label="a"),
        item("partner.phone", "02-123-4567", label="a"),
        item("partner.phone", "02-123-4567", label="a", external_ref="7"),
        purpose="ethics",
        reason="case 12",
        by="sora",
    )["items"]
    assert one["token"]
    assert other["error"]["rule"] == referred["error"]["rule"] == "kind_conflict"


def test_two_requests_of_one_unit_with_one_reference_make_one_subject(counter: Counter) -> None:
    works = [counter.tokenizing([phone("010-1234-5678", external_ref="user-1")]) for _ in range(6)]
    counter.together(*works)
    assert len({work.result["items"][0]["token"] for work in works}) == 1
    assert counter.count(tables.subject) == 1
    assert counter.count(tables.token) == 1
    counter.verify_log()


def test_two_nodes_racing_for_references_make_one_subject_of_each(counter: Counter) -> None:
    other = counter.node()
    references = [f"user-{at}" for at in range(20)]
    start = Barrier(2)
    subjects: list[dict[str, str]] = [{}, {}]

    def run(at: int) -> None:
        vault = (counter.vault, other)[at]
        start.wait()
        for reference in references:
            while reference not in subjects[at]:
                try:
                    answer = counter.tokenize(phone("010-1234-5678", external_ref=reference), at=vault)
                except ConflictError:
                    continue
                subjects[at][reference] = answer["items"][0]["token"]

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subjects[0] == subjects[1]
    assert len(subjects[0]) == counter.count(tables.subject) == counter.count(tables.token) == 20
    counter.verify_log()


def test_units_of_two_nodes_that_want_the_same_references_crosswise_both_end_well(counter: Counter) -> None:
    other = counter.node()
    references = [f"user-{at}" for at in range(30)]
    found: list[dict[str, str]] = [{}, {}]
    faults: list[VaultError] = []

    def run(at: int) -> None:
        vault = (counter.vault, other)[at]
        left = references if at == 0 else references[::-1]
        while left:
            works = {ref: counter.tokenizing([phone("010-1234-5678", external_ref=ref)]) for ref in left}
            counter.together(*works.values(), at=vault)
            for ref, work in works.items():
                if work.error is None:
                    found[at][ref] = work.result["items"][0]["token"]
                elif not isinstance(work.error, ConflictError):
                    faults.append(work.error)
            left = [ref for ref in left if ref not in found[at]]

    threads = [Thread(target=run, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert counter.count(tables.subject) == len(references)
    assert [error.code for error in faults] == []
    assert {row["field_id"] for row in counter.rows(tables.token)} == {
        counter.vault.standings.current.by_name[PHONE].id
    }
