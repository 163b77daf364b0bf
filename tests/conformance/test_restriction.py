"""The restriction of a data subject and its end, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.conformance.counter import PHONE, Counter, item, phone
from tests.conformance.keeper import GROUND, Keeper
from tests.conformance.suspicion import census, compromise, finish, generations, values_of
from vault.access import grants
from vault.domain.errors import (
    AccessDeniedError,
    ConflictError,
    SubjectErasedError,
    SubjectRestrictedError,
    TamperDetectedError,
)
from vault.domain.model import Outcome
from vault.rotation.jobs import JobView
from vault.storage import tables


def _finish(counter: Counter) -> None:
    while counter.vault.worker.portion() is not None:
        pass


def _job(counter: Counter, kind: str) -> JobView:
    jobs = counter.vault.keys.jobs(counter.furnished.request(counter.actor("admin"))).value
    return next(job for job in jobs if job.kind == kind)


def test_restricts_at_once_on_every_node(keeper: Keeper, counter: Counter) -> None:
    node = counter.node()
    subject, tokens = keeper.somebody(external_ref="user-1")
    counter.detokenize(*tokens, at=node)
    revision = counter.vault.status().revision
    index = keeper.restrict(subject)
    assert counter.vault.status().revision == revision + 1
    for vault in (counter.vault, node):
        assert [counter.refused(token, at=vault) for token in tokens] == ["subject_restricted"] * 2
        assert counter.search(PHONE, "010-1234-5678", at=vault) == []
    more = (item("member.gender", "F", subject=subject), phone("010-1234-5678", external_ref="user-1"))
    assert keeper.refusal(*more) == ["subject_restricted"] * 2
    assert keeper.show(subject).state == "restricted"
    (stone,) = counter.rows(tables.tombstone, order_by="seq")
    assert (stone["act"], stone["log_index"], stone["subject_id"]) == (
        "restrict",
        index,
        counter.row_id(subject),
    )
    assert keeper.show(subject).since == stone["at_us"]
    assert counter.count(tables.certificate) == 0
    assert counter.alarms() == []


def test_the_log_says_who_and_why(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject, ground="court_order", reason="file 12")
    entry = counter.last().entry
    assert (entry.action, entry.outcome, entry.actor.id) == (
        "subject:restrict",
        Outcome.DONE,
        counter.shop.id,
    )
    assert dict(entry.target) == {"subject": str(counter.row_id(subject)), "ground": "court_order"}
    assert entry.decision.grants == (keeper.grant,)
    assert entry.note
    assert entry.items is not None
    assert {row.subject for row in entry.items.rows()} == {bytes(16)}
    counter.verify_log()


def test_the_officer_lifts_it_and_everything_is_as_it_was(keeper: Keeper, counter: Counter) -> None:
    node = counter.node()
    subject, tokens = keeper.somebody()
    keeper.restrict(subject)
    proposed = keeper.propose("lift", subject)
    assert counter.refused(tokens[0]) == "subject_restricted"
    keeper.decide(proposed.approval_id)
    for vault in (counter.vault, node):
        assert counter.detokenize(*tokens, at=vault)["items"][0]["value"] == "010-1234-5678"
    assert counter.search(PHONE, "010-1234-5678") != []
    assert keeper.show(subject).state == "open"
    acts = [(row["act"], row["seq"]) for row in counter.rows(tables.tombstone, order_by="seq")]
    assert acts == [("restrict", 0), ("lift", 1)]
    index = counter.rows(tables.tombstone, order_by="seq")[1]["log_index"]
    decided, lifted = counter.entry(index - 1), counter.entry(index)
    assert (decided.action, lifted.action) == ("approval:decide", "subject:lift")
    assert dict(lifted.target) == {
        "subject": str(counter.row_id(subject)),
        "ground": GROUND,
        "proposed_by": counter.shop.id,
        "approved_by": counter.actor("officer").id,
        "approval": proposed.approval_id,
    }
    counter.verify_log()


def test_a_person_is_restricted_and_lifted_again_and_again(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    for _ in range(3):
        keeper.restrict(subject)
        keeper.lift(subject)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-1234-5678"


def test_a_refused_lifting_leaves_the_restriction(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    keeper.restrict(subject)
    keeper.decide(keeper.propose("lift", subject).approval_id, approve=False)
    assert counter.refused(tokens[0]) == "subject_restricted"
    keeper.lift(subject)


@pytest.mark.parametrize("who", ["admin", "chief", "minji", "shop"])
def test_nobody_but_an_officer_lifts(keeper: Keeper, who: str) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject)
    waiting = keeper.propose("lift", subject).approval_id
    with pytest.raises(AccessDeniedError):
        keeper.decide(waiting, by=who)
    assert keeper.show(subject).state == "restricted"


def test_a_proposer_who_lost_the_grant_has_nothing_lifted(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject)
    waiting = keeper.propose("lift", subject).approval_id
    grants.revoke(counter.vault.changes, counter.furnished.request(counter.actor("admin")), keeper.grant)
    with pytest.raises(ConflictError, match="proposed again"):
        keeper.decide(waiting)
    assert keeper.row(subject)["state"] == 1


def test_refuses_what_is_so_already(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    with pytest.raises(ConflictError, match="not restricted"):
        keeper.propose("lift", subject)
    keeper.restrict(subject)
    with pytest.raises(ConflictError, match="restricted already"):
        keeper.restrict(subject)
    keeper.propose("lift", subject)
    with pytest.raises(ConflictError, match="waits"):
        keeper.propose("lift", subject, by="desk")


def test_a_restricted_token_is_shown_and_not_revoked(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    keeper.restrict(subject)
    assert counter.show(tokens[0])["state"] == "live"
    with pytest.raises(SubjectRestrictedError):
        counter.revoke(tokens[0])
    assert counter.last().outcomes == ["subject_restricted"]
    assert counter.row_of(tokens[0])["envelope"] is not None


def test_a_state_put_back_in_the_database_opens_nothing(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    keeper.restrict(subject)
    counter.tamper(update(tables.subject).filter_by(id=counter.row_id(subject)).values(state=0))
    assert counter.refused(tokens[0]) == "tamper_detected"
    with pytest.raises(TamperDetectedError):
        keeper.show(subject)
    with pytest.raises(TamperDetectedError):
        keeper.restrict(subject)
    assert ("data_key", str(counter.row_id(subject))) in counter.alarms()


def test_an_old_row_put_back_with_its_key_contradicts_the_tombstone(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    number = counter.row_id(subject)
    before = counter.row(tables.data_key, subject_id=number)
    keeper.restrict(subject)
    counter.tamper(
        update(tables.subject).filter_by(id=number).values(state=0),
        update(tables.data_key).filter_by(subject_id=number).values(wrapped=before["wrapped"]),
    )
    # The hot path cannot tell: what an old copy of the database could say is in the threat model.
    assert counter.detokenize(tokens[0])["items"][0]["value"] == "010-1234-5678"
    with pytest.raises(TamperDetectedError):
        keeper.show(subject)
    assert ("subject", str(number)) in counter.alarms()


def test_a_forged_tombstone_is_an_alarm(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    keeper.restrict(subject)
    counter.tamper(update(tables.tombstone).values(act="lift"))
    with pytest.raises(TamperDetectedError):
        keeper.show(subject)
    assert ("tombstone", "0") in counter.alarms()


# Rotation goes on


def test_keys_of_the_restricted_are_rewrapped_and_stay_restricted(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    keeper.restrict(subject)
    admin = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.rotate(admin)
    counter.vault.keys.rewrap(admin)
    _finish(counter)
    assert (_job(counter, "rewrap").done, _job(counter, "rewrap").failed) == (1, 0)
    assert counter.refused(tokens[0]) == "subject_restricted"
    keeper.lift(subject)
    assert counter.detokenize(tokens[0])["items"][0]["value"] == "010-1234-5678"
    assert counter.row(tables.data_key, subject_id=counter.row_id(subject))["epoch"] == 2


def test_a_restriction_wraps_under_the_epoch_in_force(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody()
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
    keeper.restrict(subject)
    assert counter.row(tables.data_key, subject_id=counter.row_id(subject))["epoch"] == 2
    assert keeper.show(subject).state == "restricted"


def test_digests_of_the_restricted_are_made_anew(keeper: Keeper, counter: Counter) -> None:
    subject, _ = keeper.somebody(external_ref="user-1")
    keeper.restrict(subject)
    admin = counter.furnished.request(counter.actor("admin"))
    for scope in (PHONE, "ref/member"):
        counter.vault.keys.rotate(admin, kind="lookup", scope=scope)
        counter.vault.keys.redigest(admin, scope)
        _finish(counter)
        assert (_job(counter, "redigest").done, _job(counter, "redigest").failed) == (1, 0)
    keeper.lift(subject)
    assert len(counter.search(PHONE, "010-1234-5678")) == 1
    assert counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]["subject"] == subject


def test_a_subject_that_is_gone_is_neither_restricted_nor_lifted(keeper: Keeper) -> None:
    subject, _ = keeper.somebody()
    keeper.erase(subject)
    with pytest.raises(SubjectErasedError):
        keeper.restrict(subject)
    with pytest.raises(SubjectErasedError):
        keeper.propose("lift", subject)


def test_a_restriction_does_not_hide_that_a_data_key_is_suspect(keeper: Keeper, counter: Counter) -> None:
    subject, tokens = keeper.somebody()
    compromise(counter)
    keeper.restrict(subject)
    assert census(counter)["wrapping//2"].suspect_data_keys == 1
    finish(counter)
    assert [generation for generation, _ in generations(counter)] == [2]
    keeper.lift(subject)
    assert values_of(counter, *tokens) == ["010-1234-5678", "F"]
