"""The erasure of a data subject, on both databases: proposed by one, approved by the officer."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from keys.tokens import TokenKind
from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.conformance.keeper import GROUND, Keeper
from tests.support.furnished import MEMBER
from vault.access import grants, services
from vault.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PurposeNotAllowedError,
    SubjectErasedError,
    TamperDetectedError,
    UnknownTokenError,
)
from vault.domain.model import Outcome, Reveal
from vault.lifecycle.asking import GROUNDS
from vault.storage import tables


def test_nothing_is_left_but_ids(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody(external_ref="user-1")
    other, kept = keeper.somebody("010-9999-0001", external_ref="user-2")
    before = keeper.row(subject)
    keeper.erase(subject)
    after = keeper.row(subject)
    assert (after["id"], after["nonce"], after["kind"]) == (before["id"], before["nonce"], before["kind"])
    assert after["state"] == 3
    assert (after["ref_digest"], after["ref_envelope"], after["ref_version"]) == (None, None, None)
    assert after["log_subject"] != before["log_subject"]
    assert all(bytes(after["log_subject"]) not in logged.body for logged in counter.log())
    for token in tokens:
        row = counter.row_of(token)
        assert row["subject_id"] == 0
        gone = ("envelope", "digest", "digest_version", "audience_id")
        assert [row[name] for name in gone] == [None] * 4
        assert row["field_id"]
        assert row["created_at"]
    ids = [row["subject_id"] for row in counter.rows(tables.data_key, order_by="subject_id")]
    assert ids == [counter.row_id(other)]
    assert counter.detokenize(*kept)["items"][0]["value"] == "010-9999-0001"
    assert counter.alarms() == []
    counter.verify_log()


def test_every_way_to_an_erased_token_says_so_where_a_grant_covers_it(
    keeper: Keeper, counter: Counter
) -> None:
    subject, tokens = keeper.somebody()
    node = counter.node()
    counter.detokenize(*tokens, at=node)
    keeper.erase(subject)
    for vault in (counter.vault, node):
        answers = counter.detokenize(*tokens, at=vault)["items"]
        assert [answer["error"] for answer in answers] == [
            {"code": "subject_erased", "field": "token", "rule": "subject_erased"}
        ] * 2
    assert counter.last().outcomes == ["subject_erased"] * 2
    assert counter.refused(tokens[0], by="desk", reveal=Reveal.MASKED) == "subject_erased"
    for act in (counter.show, counter.revoke):
        with pytest.raises(SubjectErasedError):
            act(tokens[0])
        assert counter.last().entry.error == "subject_erased"
    assert counter.alarms() == []


def test_an_erased_token_of_a_field_without_a_grant_is_unknown(keeper: Keeper, counter: Counter) -> None:
    made = counter.tokenize(item(LOGIN, "minji77"))["items"][0]
    keeper.erase(made["subject"])
    assert counter.refused(made["token"], by="desk", reveal=Reveal.MASKED) == "unknown_token"
    for act in (counter.show, counter.revoke):
        with pytest.raises(UnknownTokenError):
            act(made["token"], by="desk")


def test_a_token_that_was_revoked_before_says_erased_too(keeper: Keeper, counter: Counter) -> None:
    subject, (number, gender) = keeper.somebody()
    counter.revoke(number)
    keeper.erase(subject)
    assert [counter.refused(token) for token in (number, gender)] == ["subject_erased"] * 2


def test_an_erased_subject_is_added_to_by_nobody(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.erase(subject)
    assert keeper.refusal(phone("010-9999-0002", subject=subject)) == ["subject_erased"]
    with pytest.raises(AccessDeniedError):
        keeper.refusal(phone("010-9999-0002", subject=subject), by="minji")
    assert counter.alarms() == []


def test_search_finds_nothing_of_the_erased(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    assert len(counter.search(PHONE, "010-1234-5678")) == 1
    keeper.erase(subject)
    assert counter.search(PHONE, "010-1234-5678") == []


def test_an_external_reference_used_again_makes_somebody_new(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody(external_ref="user-1")
    keeper.erase(subject)
    again = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert "existing" not in again
    assert again["subject"] != subject
    assert again["token"] not in tokens
    assert counter.detokenize(again["token"])["items"][0]["value"] == "010-1234-5678"


def test_the_log_says_what_was_destroyed_and_who_agreed(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody(external_ref="user-1")
    proposed = keeper.propose("erase", subject, reason="asked by letter", purpose=MEMBER)
    entry = counter.last().entry
    assert dict(entry.target) == {
        "approval": proposed.approval_id,
        "ground": GROUND,
        "subject": str(counter.row_id(subject)),
    }
    assert (entry.action, entry.outcome, entry.purpose) == ("subject:erase", Outcome.DONE, MEMBER)
    assert entry.decision.grants == (keeper.grant,)
    assert len(entry.note) == 64
    assert entry.items is not None
    assert [(row.field, row.outcome) for row in entry.items.rows()] == [
        ("member.gender", "proposed"),
        ("member.phone", "proposed"),
    ]
    revision = counter.vault.status().revision
    keeper.decide(proposed.approval_id)
    decided, erased = (logged.entry for logged in counter.log()[-2:])
    assert (decided.action, erased.action) == ("approval:decide", "subject:erase")
    assert dict(erased.target) == {
        "subject": str(counter.row_id(subject)),
        "ground": GROUND,
        "data_keys": "1",
        "values": "2",
        "digests": "1",
        "references": "1",
        "proposed_by": counter.shop.id,
        "approved_by": counter.actor("officer").id,
        "approval": proposed.approval_id,
    }
    assert counter.vault.status().revision == revision + 1
    counter.verify_log()


def test_no_entry_that_names_the_subject_by_its_id_has_its_name_in_the_log(
    keeper: Keeper, counter: Counter
) -> None:
    subject, tokens = keeper.somebody()
    counter.detokenize(*tokens)
    named = bytes(keeper.row(subject)["log_subject"])
    keeper.show(subject)
    keeper.restrict(subject)
    keeper.lift(subject)
    keeper.erase(subject)
    for logged in counter.log():
        entry = logged.entry
        joined = entry.items is not None and any(row.subject == named for row in entry.items.rows())
        assert not (joined and "subject" in dict(entry.target))


def test_the_tombstone_and_the_certificate_have_the_index_of_the_erasure(
    keeper: Keeper, counter: Counter
) -> None:
    subject, _ = keeper.somebody(external_ref="user-1")
    index = keeper.erase(subject, ground="consent_withdrawn")
    (stone,) = counter.rows(tables.tombstone, order_by="seq")
    assert (stone["seq"], stone["act"], stone["log_index"]) == (0, "erase", index)
    assert stone["subject_id"] == counter.row_id(subject)
    (certificate,) = counter.rows(tables.certificate)
    facts = json.loads(certificate["facts"])
    (approval,) = [row for row in counter.rows(tables.approval) if row["kind"] == "erasure"]
    assert facts == {
        "subject": subject,
        "data_keys": 1,
        "values": 2,
        "digests": 1,
        "references": 1,
        "ground": "consent_withdrawn",
        "proposed_by": counter.shop.id,
        "approved_by": counter.actor("officer").id,
        "approval": approval["id"],
        "at_us": stone["at_us"],
        "log_index": index,
    }
    assert (certificate["seq"], certificate["note"]) == (0, None)
    assert keeper.show(subject).certificate == certificate["id"]


# Who may


def test_nothing_happens_before_the_officer_agrees(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    keeper.propose("erase", subject)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-1234-5678"
    assert keeper.show(subject).state == "open"


def test_a_refused_erasure_leaves_everything_and_may_be_proposed_again(
    keeper: Keeper, counter: Counter
) -> None:
    subject, tokens = keeper.somebody()
    keeper.decide(keeper.propose("erase", subject).approval_id, approve=False)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-1234-5678"
    assert counter.count(tables.tombstone) == 0
    keeper.erase(subject)
    assert keeper.show(subject).state == "erased"


@pytest.mark.parametrize("who", ["admin", "chief", "minji", "shop"])
def test_nobody_but_an_officer_approves(keeper: Keeper, counter: Counter, who: str) -> None:
    subject, tokens = keeper.somebody()
    waiting = keeper.propose("erase", subject).approval_id
    with pytest.raises(AccessDeniedError):
        keeper.decide(waiting, by=who)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-1234-5678"


@pytest.mark.parametrize("who", ["admin", "chief", "minji", "officer"])
@pytest.mark.parametrize("act", ["erase", "lift", "restrict", "show"])
def test_refuses_whoever_has_no_grant(keeper: Keeper, counter: Counter, who: str, act: str) -> None:
    subject, _ = keeper.somebody()
    with pytest.raises(AccessDeniedError):
        keeper.ask(act, subject, by=who)
    last = counter.last().entry
    assert (last.action, last.error, last.target) == (f"subject:{act}", "access_denied", ())
    assert counter.count(tables.tombstone) == 0


@pytest.mark.parametrize("act", ["erase", "lift", "restrict", "show"])
def test_unknown_and_forbidden_subjects_look_alike(keeper: Keeper, counter: Counter, act: str) -> None:
    made = counter.tokenize(phone("010-1234-5678", label="a"), item(LOGIN, "minji77", label="a"))["items"]
    subject, token = made[0]["subject"], made[0]["token"]
    keys = counter.vault.standings.current.keyring.tokens.active
    never = keys.encode("sub", 1 << 40, bytes(8), TokenKind.SUBJECT)
    told = []
    for text in (subject, never, token, "nothing", ""):
        with pytest.raises(NotFoundError) as refused:
            keeper.ask(act, text, by="desk")
        told.append(str(refused.value))
    assert len(set(told)) == 1
    first = counter.log()[-5].entry
    assert (first.error, first.decision.rule) == ("access_denied", "grant_field")
    assert dict(first.target) == {"subject": str(counter.row_id(subject))}
    assert counter.last().entry.error == "not_found"


def test_a_narrow_grant_is_enough_for_somebody_with_these_fields_alone(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    assert keeper.show(subject, by="desk").live == {"member.gender": 1, "member.phone": 1}


def test_a_purpose_that_is_closed_is_refused_whoever_is_meant(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    for text in (subject, "nothing"):
        with pytest.raises(PurposeNotAllowedError):
            keeper.propose("erase", text, purpose="curiosity")
        assert counter.last().entry.purpose == ""


@pytest.mark.parametrize("act", ["erase", "lift", "restrict"])
@pytest.mark.parametrize("ground", ["", "because", "subject_request "])
def test_refuses_an_unknown_ground(keeper: Keeper, act: str, ground: str) -> None:
    subject, _ = keeper.somebody()
    with pytest.raises(InvalidInputError) as refused:
        keeper.ask(act, subject, ground=ground)
    assert (refused.value.field, refused.value.rule) == ("ground", "unknown_ground")


def test_every_ground_is_accepted(keeper: Keeper) -> None:
    for at, ground in enumerate(GROUNDS):
        subject, _ = keeper.somebody(f"010-1234-000{at}")
        keeper.erase(subject, ground=ground)


def test_refuses_a_reason_with_a_number_in_it(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    with pytest.raises(InvalidInputError) as refused:
        keeper.propose("erase", subject, reason="called from 010-1234-5678")
    assert refused.value.rule == "phone_number"


def test_refuses_a_second_proposal_while_one_waits(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    keeper.propose("erase", subject)
    with pytest.raises(ConflictError, match="waits"):
        keeper.propose("erase", subject, by="desk")


def test_refuses_to_erase_twice(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    keeper.erase(subject)
    for act in ("erase", "lift"):
        with pytest.raises(SubjectErasedError):
            keeper.propose(act, subject)
    with pytest.raises(SubjectErasedError):
        keeper.restrict(subject)


def _lose_grant(keeper: Keeper) -> None:
    counter = keeper.counter
    request = counter.furnished.request(counter.actor("admin"))
    grants.revoke(counter.vault.changes, request, keeper.grant)


def _stop_service(keeper: Keeper) -> None:
    counter = keeper.counter
    request = counter.furnished.request(counter.actor("admin"))
    services.revoke(counter.vault.changes, request, counter.shop.id)


@pytest.mark.parametrize("lose", [_lose_grant, _stop_service])
def test_the_proposer_has_to_hold_the_right_still(keeper: Keeper, counter: Counter, lose: object) -> None:
    subject, tokens = keeper.somebody()
    waiting = keeper.propose("erase", subject).approval_id
    assert callable(lose)
    lose(keeper)
    with pytest.raises(ConflictError, match="proposed again"):
        keeper.decide(waiting)
    assert counter.row_of(tokens[0])["envelope"] is not None
    assert counter.row(tables.approval, id=waiting)["state"] == "open"
    # Somebody else who may takes it up; the old proposal is out of the way then.
    again = keeper.propose("erase", subject, by="desk").approval_id
    assert counter.row(tables.approval, id=waiting)["state"] == "refused"
    keeper.decide(again)
    assert keeper.row(subject)["state"] == 3


def test_a_field_added_meanwhile_needs_a_grant_as_well(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    waiting = keeper.propose("erase", subject, by="desk").approval_id
    counter.tokenize(item(LOGIN, "minji77", subject=subject))
    with pytest.raises(ConflictError, match="proposed again"):
        keeper.decide(waiting)
    assert keeper.row(subject)["state"] == 0


def test_the_officer_does_not_approve_what_a_service_of_theirs_proposed(
    keeper: Keeper, counter: Counter
) -> None:
    office, admin = counter.furnished, counter.actor("admin")
    officer = office.people["officer"]
    made = services.create(
        counter.vault.changes, office.request(admin), name="officer's own", owner=officer
    ).value
    office.actors["own"] = office.authenticate(made)
    office.grant(admin, ("service", made.service_id), ("subject:erase",), purposes=(MEMBER,))
    office.approve_all(counter.actor("officer"))
    subject, _ = keeper.somebody()
    waiting = keeper.propose("erase", subject, by="own").approval_id
    with pytest.raises(AccessDeniedError) as refused:
        keeper.decide(waiting)
    assert refused.value.rule == "own_request"
    assert keeper.row(subject)["state"] == 0


def test_a_service_gets_such_a_grant_from_the_officer_alone(counter: Counter) -> None:
    office, admin = counter.furnished, counter.actor("admin")
    for action in ("subject:erase", "subject:lift", "subject:restrict"):
        grant = office.grant(admin, ("service", counter.shop.id), (action,), purposes=(MEMBER,))
        state = [row["state"] for row in counter.rows(tables.grant) if row["id"] == grant]
        assert state == ["proposed"]


def test_somebody_without_a_live_token_takes_a_grant_for_one_field_of_their_kind(
    keeper: Keeper, counter: Counter
) -> None:
    subject, tokens = keeper.somebody(external_ref="user-1")
    for token in tokens:
        counter.revoke(token)
    assert keeper.show(subject, by="desk").live == {}
    keeper.erase(subject, by="desk")
    facts = json.loads(counter.rows(tables.certificate)[0]["facts"])
    assert (facts["values"], facts["digests"], facts["references"], facts["data_keys"]) == (0, 0, 1, 1)


# Around it


def test_what_else_waits_about_the_person_is_withdrawn(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject)
    lifting = keeper.propose("lift", subject).approval_id
    keeper.erase(subject)
    assert counter.row(tables.approval, id=lifting)["state"] == "refused"
    with pytest.raises(ConflictError, match="decided already"):
        keeper.decide(lifting)


def test_a_restricted_person_can_be_erased(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject)
    keeper.erase(subject)
    assert keeper.show(subject).state == "erased"


def test_what_requests_did_for_the_person_is_forgotten_and_nobody_elses(
    keeper: Keeper, counter: Counter
) -> None:
    subject, _ = keeper.somebody()
    counter.tokenize(phone("010-9999-0001", subject=subject), key="one")
    counter.tokenize(phone("010-9999-0002", external_ref="user-2"), key="two")
    kept = counter.row_id(counter.tokenize(phone("010-9999-0003"), key="three")["items"][0]["subject"])
    assert counter.count(tables.idempotency) == 3
    keeper.erase(subject)
    assert counter.count(tables.idempotency) == 2
    again = counter.tokenize(phone("010-9999-0003"), key="three")
    assert again["replayed"]
    assert counter.row_id(again["items"][0]["subject"]) == kept
    # Nothing is remembered, so it is asked anew, and refused.
    assert keeper.refusal(phone("010-9999-0001", subject=subject), key="one") == ["subject_erased"]


def test_a_key_planted_beside_an_erased_subject_opens_nothing_and_alarms(
    keeper: Keeper, counter: Counter
) -> None:
    subject, _ = keeper.somebody()
    number = counter.row_id(subject)
    before = counter.row(tables.data_key, subject_id=number)
    keeper.erase(subject)
    counter.tamper(tables.data_key.insert().values(**before))
    assert keeper.refusal(phone("010-9999-0001", subject=subject)) == ["tamper_detected"]
    with pytest.raises(TamperDetectedError):
        keeper.show(subject)
    assert ("data_key", str(number)) in counter.alarms()


def test_a_subject_marked_as_erased_in_the_database_is_an_alarm(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    number = counter.row_id(subject)
    counter.tamper(update(tables.subject).filter_by(id=number).values(state=3))
    assert counter.refused(tokens[0]) == "tamper_detected"
    counter.tamper(tables.data_key.delete().filter_by(subject_id=number))
    assert counter.refused(tokens[0]) == "tamper_detected"
    with pytest.raises(TamperDetectedError):
        keeper.show(subject)
    assert ("subject", str(number)) in counter.alarms()


def test_a_planted_approval_erases_nobody(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    other, tokens = keeper.somebody("010-9999-0001")
    waiting = keeper.propose("erase", subject).approval_id
    counter.change(tables.approval, {"id": waiting}, target=f"{counter.row_id(other)}/{GROUND}")
    with pytest.raises(NotFoundError):
        keeper.decide(waiting)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-9999-0001"
    assert ("approval", waiting) in counter.alarms()


def test_decided_erasures_are_listed_and_weigh_on_no_decision(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.erase(subject)
    request = counter.furnished.request(counter.actor("officer"))
    listed = [row for row in counter.vault.approvals.list(request).value if row.kind == "erasure"]
    assert [row.state for row in listed] == ["approved"]
    assert listed[0].id not in counter.vault.standings.refresh().authority.approvals
    counter.tamper(update(tables.approval).filter_by(id=listed[0].id).values(decided_by="stf_x"))
    request = counter.furnished.request(counter.actor("officer"))
    assert [row for row in counter.vault.approvals.list(request).value if row.kind == "erasure"] == []
    assert ("approval", listed[0].id) in counter.alarms()


def test_shows_what_is_there_and_no_value(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    counter.revoke(tokens[1])
    shown = keeper.show(subject)
    assert shown.subject == subject
    assert (shown.kind, shown.state, shown.live) == ("member", "open", {"member.phone": 1})
    assert (shown.since, shown.certificate) == (shown.created_at, "")
    last = counter.last().entry
    assert (last.action, last.outcome, last.target) == ("subject:show", Outcome.DONE, ())
    assert last.items is not None
    (row,) = last.items.rows()
    assert row.subject == bytes(keeper.row(subject)["log_subject"])
    assert (row.field, row.outcome) == ("member.phone", "shown")
