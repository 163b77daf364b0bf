"""Whoever holds the database and no key: what they move or change opens nothing, and alarms.

Each test ends with what the attacker gained: never another person's data. The
attacker raises the revision too, so that nothing held in memory stands in for
what is stored. Verifiers and TOTP secrets: ``tests/vault/access/test_logins.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Executable, insert, text, update

from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.support.furnished import MEMBER, PARTNER
from vault.domain.errors import AccessDeniedError, SealedError, UnavailableError, VaultError
from vault.domain.model import Reveal
from vault.storage import tables

MINE, THEIRS = "010-1111-1111", "010-2222-2222"
AWAY = 1 << 40
"""An id nobody has, to swap two rows by way of it."""


@pytest.fixture
def pair(counter: Counter) -> tuple[str, str]:
    """Tokens of two people."""
    return counter.token(MINE), counter.token(THEIRS)


def _opened(counter: Counter, *tokens: str) -> list[str]:
    """Return what each token gives: its value, or the code of the refusal."""
    answers = counter.detokenize(*tokens)["items"]
    return [answer["value"] if "value" in answer else answer["error"]["code"] for answer in answers]


def test_swapped_envelopes_open_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = map(counter.row_of, pair)
    change = update(tables.token)
    counter.tamper(
        change.filter_by(id=mine["id"]).values(envelope=theirs["envelope"]),
        change.filter_by(id=theirs["id"]).values(envelope=mine["envelope"]),
    )
    assert _opened(counter, *pair) == ["tamper_detected"] * 2
    assert counter.alarms() == [("token", str(mine["id"])), ("token", str(theirs["id"]))]
    assert counter.log()[-3].outcomes == ["tamper_detected"] * 2


def test_envelopes_swapped_within_one_person_open_nothing(counter: Counter) -> None:
    answers = counter.tokenize(phone(MINE, label="a"), phone(THEIRS, label="a"))["items"]
    mine, theirs = (counter.row_of(answer["token"]) for answer in answers)
    counter.change(tables.token, {"id": mine["id"]}, envelope=theirs["envelope"])
    assert _opened(counter, answers[0]["token"]) == ["tamper_detected"]
    assert counter.alarms() == [("token", str(mine["id"]))]


def test_swapped_wrapped_keys_open_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = (
        counter.row(tables.data_key, subject_id=counter.row_of(token)["subject_id"]) for token in pair
    )
    change = update(tables.data_key)
    counter.tamper(
        change.filter_by(subject_id=mine["subject_id"]).values(wrapped=theirs["wrapped"]),
        change.filter_by(subject_id=theirs["subject_id"]).values(wrapped=mine["wrapped"]),
    )
    assert _opened(counter, *pair) == ["tamper_detected"] * 2
    assert {table for table, _ in counter.alarms()} == {"data_key"}
    assert {row for _, row in counter.alarms()} == {str(mine["subject_id"]), str(theirs["subject_id"])}


def test_moved_reference_leads_to_nobody_else(counter: Counter) -> None:
    """Without the sealed reference beside it, an import would write one person's data into another."""
    mine = counter.tokenize(phone(MINE, external_ref="user-1"))["items"][0]
    theirs = counter.tokenize(phone(THEIRS, external_ref="user-2"))["items"][0]
    ids = [counter.row_of(answer["token"])["subject_id"] for answer in (mine, theirs)]
    digests = [counter.row(tables.subject, id=subject_id)["ref_digest"] for subject_id in ids]
    change = update(tables.subject)
    counter.tamper(
        change.filter_by(id=ids[0]).values(ref_digest=None),
        change.filter_by(id=ids[1]).values(ref_digest=digests[0]),
        change.filter_by(id=ids[0]).values(ref_digest=digests[1]),
    )
    answer = counter.tokenize(phone("010-3333-3333", external_ref="user-1"))["items"][0]
    assert answer["error"]["code"] == "tamper_detected"
    assert counter.alarms() == [("subject", str(ids[1]))]


def test_swapped_row_ids_open_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = map(counter.row_id, pair)
    change = update(tables.token)
    counter.tamper(
        change.filter_by(id=mine).values(id=AWAY),
        change.filter_by(id=theirs).values(id=mine),
        change.filter_by(id=AWAY).values(id=theirs),
    )
    assert _opened(counter, *pair) == ["unknown_token"] * 2
    assert counter.alarms() == [("token", str(mine)), ("token", str(theirs))]


def test_swapped_row_ids_and_nonces_open_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = map(counter.row_of, pair)
    change = update(tables.token)
    counter.tamper(
        change.filter_by(id=mine["id"]).values(id=AWAY, nonce=theirs["nonce"]),
        change.filter_by(id=theirs["id"]).values(id=mine["id"], nonce=mine["nonce"]),
        change.filter_by(id=AWAY).values(id=theirs["id"]),
    )
    assert _opened(counter, *pair) == ["tamper_detected"] * 2
    assert counter.alarms() == [("token", str(mine["id"])), ("token", str(theirs["id"]))]


def test_swapped_nonces_open_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = map(counter.row_of, pair)
    counter.change(tables.token, {"id": mine["id"]}, nonce=theirs["nonce"])
    assert _opened(counter, pair[0]) == ["unknown_token"]
    assert counter.alarms() == [("token", str(mine["id"]))]


def test_a_token_moved_to_another_person_opens_nothing(counter: Counter, pair: tuple[str, str]) -> None:
    mine, theirs = map(counter.row_of, pair)
    counter.change(tables.token, {"id": mine["id"]}, subject_id=theirs["subject_id"])
    assert _opened(counter, pair[0]) == ["tamper_detected"]
    assert counter.alarms() == [("token", str(mine["id"]))]


def test_a_person_taken_away_alarms(counter: Counter, pair: tuple[str, str]) -> None:
    mine = counter.row_of(pair[0])
    counter.tamper(tables.subject.delete().where(tables.subject.c.id == mine["subject_id"]))
    assert _opened(counter, pair[0]) == ["tamper_detected"]
    assert counter.alarms() == [("data_key", str(mine["subject_id"]))]


@pytest.mark.parametrize("state", [1, 2, 7])
def test_a_flipped_state_opens_nothing(counter: Counter, state: int) -> None:
    answer = counter.tokenize(phone(MINE, external_ref="user-1"))["items"][0]
    subject_id = counter.row_of(answer["token"])["subject_id"]
    counter.change(tables.subject, {"id": subject_id}, state=state)
    assert _opened(counter, answer["token"]) == ["tamper_detected"]
    assert counter.alarms() == [("data_key", str(subject_id))]
    joined = counter.tokenize(
        item(LOGIN, "minji77", subject=answer["subject"]), phone(MINE, external_ref="user-1")
    )
    assert [refused["error"]["code"] for refused in joined["items"]] == ["tamper_detected"] * 2


def test_a_token_given_another_field_of_its_type_opens_nothing(counter: Counter) -> None:
    """``shop`` may read both fields, each for its own purpose: the move is refused all the same."""
    token = counter.token(MINE)
    by_name = counter.vault.standings.current.by_name
    counter.change(tables.token, {"id": counter.row_id(token)}, field_id=by_name["partner.phone"].id)
    assert counter.refused(token, purpose=PARTNER) == "tamper_detected"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]
    assert counter.refused(token) == "unknown_token"


def test_a_token_given_a_field_of_another_type_opens_nothing_and_alarms(counter: Counter) -> None:
    token = counter.token("minji77", field=LOGIN)
    by_name = counter.vault.standings.current.by_name
    counter.change(tables.token, {"id": counter.row_id(token)}, field_id=by_name[PHONE].id)
    assert counter.refused(token, by="desk", reveal=Reveal.MASKED) == "unknown_token"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


def test_a_token_given_a_field_nobody_declared_is_unknown(counter: Counter) -> None:
    token = counter.token()
    counter.change(tables.token, {"id": counter.row_id(token)}, field_id=999)
    assert counter.refused(token) == "unknown_token"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


@pytest.mark.parametrize("envelope", [b"", b"\x01", b"\x02" + bytes(60), bytes(60)])
def test_an_envelope_that_is_none_opens_nothing(counter: Counter, envelope: bytes) -> None:
    token = counter.token()
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=envelope)
    assert counter.refused(token) == "tamper_detected"
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


@pytest.mark.parametrize("envelope", [None, b"", b"theirs"])
def test_a_reference_moved_to_another_person_adds_nothing_to_them(
    counter: Counter, envelope: bytes | None
) -> None:
    """``theirs``: with its envelope, which opens for them alone."""
    mine = counter.tokenize(phone(MINE, external_ref="mine"))["items"][0]
    theirs = counter.tokenize(phone(THEIRS, external_ref="theirs"))["items"][0]
    kept = counter.row(tables.subject, id=counter.row_of(mine["token"])["subject_id"])
    victim = counter.row_of(theirs["token"])["subject_id"]
    sealed = kept["ref_envelope"] if envelope == b"theirs" else envelope
    change = update(tables.subject)
    counter.tamper(
        change.filter_by(id=kept["id"]).values(ref_digest=None, ref_envelope=None),
        change.filter_by(id=victim).values(ref_digest=kept["ref_digest"], ref_envelope=sealed),
    )
    (answer,) = counter.tokenize(phone(MINE, external_ref="mine"))["items"]
    assert answer["error"]["code"] == "tamper_detected"
    assert counter.alarms() == [("subject", str(victim))]
    assert counter.count(tables.token) == 2


def _authority_alarms(counter: Counter) -> list[tuple[str, str]]:
    counter.vault.upkeep.round()
    return counter.alarms()


def test_an_inserted_grant_lets_nothing_out(counter: Counter) -> None:
    token = counter.token()
    wide, narrow = (counter.furnished.grants[name][-1] for name in ("minji", "desk"))
    model = dict(counter.rows(tables.grant)[0])
    planted = {"id": "grt_planted", "version": 1, "state": "active", "mac": bytes(32)}
    holder = {"actor_kind": "service", "actor_id": counter.actor("desk").id}
    reach = {"actions": "token:detokenize", "fields": PHONE, "purposes": MEMBER, "reveal": "plain"}
    counter.tamper(insert(tables.grant).values(model | planted | holder | reach))
    with pytest.raises(AccessDeniedError):
        counter.detokenize(token, by="desk")
    assert _authority_alarms(counter) == [("access_grant", "grt_planted")]
    assert wide != narrow


EDITS: dict[str, Callable[[Counter], dict[str, object]]] = {
    "holder": lambda counter: {"actor_id": counter.actor("desk").id},
    "reveal": lambda _: {"reveal": "plain"},
    "purposes": lambda _: {"purposes": f"{MEMBER} {PARTNER}"},
    "fields": lambda _: {"fields": f"{PHONE} {LOGIN}"},
    "validity": lambda _: {"valid_until": (1 << 62)},
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edited_grant_lets_nothing_out(counter: Counter, column: str) -> None:
    token = counter.token()
    narrow = counter.furnished.grants["desk"][1]
    edited = counter.furnished.grants["shop"][0] if column == "holder" else narrow
    counter.change(tables.grant, {"id": edited}, **EDITS[column](counter))
    for reveal in Reveal:
        if column == "holder" and reveal is Reveal.MASKED:
            continue
        with pytest.raises(AccessDeniedError):
            counter.detokenize(token, by="desk", reveal=reveal)
    assert ("access_grant", edited) in _authority_alarms(counter)


def test_a_grant_approved_by_its_own_word_lets_nothing_out(counter: Counter) -> None:
    """Without the officer's own sealed row the grant's state counts for nothing."""
    counter.tamper(tables.approval.delete())
    with pytest.raises(AccessDeniedError) as refused:
        counter.detokenize(counter.token())
    assert refused.value.rule == "grant_approval"


def test_an_inserted_person_may_do_nothing(counter: Counter) -> None:
    token = counter.token()
    model = dict(counter.row(tables.staff, id=counter.furnished.people["minji"]))
    planted = {"id": "stf_planted", "login": "mallory", "name": "Mallory"}
    counter.tamper(insert(tables.staff).values(model | planted))
    actor = counter.actor("minji")
    counter.furnished.actors["mallory"] = type(actor)(
        kind=actor.kind, id="stf_planted", name="Mallory", roles=actor.roles, session=actor.session
    )
    with pytest.raises(AccessDeniedError) as refused:
        counter.detokenize(token, by="mallory")
    assert refused.value.rule == "actor"
    assert _authority_alarms(counter) == [("staff", "stf_planted")]


def test_a_person_given_another_role_may_do_nothing(counter: Counter) -> None:
    token = counter.token()
    chief = counter.furnished.people["chief"]
    counter.change(tables.staff, {"id": chief}, roles="handler", team="support")
    with pytest.raises(AccessDeniedError):
        counter.detokenize(token, by="chief")
    assert ("staff", chief) in _authority_alarms(counter)


def test_an_alarm_of_a_unit_that_was_given_up_comes_up_again(counter: Counter) -> None:
    """The first attempt reads the changed row, is stale and leaves nothing: the second has to alarm."""
    token = counter.token()
    node = counter.node()
    subject_id = counter.row_of(token)["subject_id"]
    counter.change(tables.subject, {"id": subject_id}, state=1)
    (answer,) = counter.detokenize(token, at=node)["items"]
    assert answer["error"]["code"] == "tamper_detected"
    assert counter.alarms() == [("data_key", str(subject_id))]


def test_one_row_alarms_once(counter: Counter) -> None:
    token = counter.token()
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=b"")
    for _ in range(3):
        assert counter.refused(token) == "tamper_detected"
    assert len(counter.alarms()) == 1


def test_a_key_that_does_not_unlock_stops_the_requests_and_not_the_vault(counter: Counter) -> None:
    token = counter.token()
    named = {"kind": "token", "scope": "", "version": 1}
    wrapped = counter.row(tables.key, **named)["wrapped"]
    counter.change(tables.key, named, wrapped=bytes(len(wrapped)))
    work = counter.detokenizing([token])
    with pytest.raises(UnavailableError):
        counter.vault.tokens.complete(work)
    counter.change(tables.key, named, wrapped=wrapped)
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"


def test_a_sealed_vault_answers_nothing_and_goes_on_when_unsealed(counter: Counter) -> None:
    token = counter.token()
    counter.tamper(update(tables.counter).values(sealed=True))
    for _ in range(2):
        with pytest.raises(SealedError):
            counter.detokenize(token)
    counter.tamper(update(tables.counter).values(sealed=False))
    with pytest.raises(SealedError):
        counter.detokenize(token)
    counter.vault.upkeep.round()
    assert counter.detokenize(token)["items"][0]["value"] == "010-1234-5678"


def _behind_the_back(counter: Counter, *statements: Executable) -> None:
    """Change rows and leave the revision as it is, so that what is held in memory stays."""
    with counter.vault.changes.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_state_flipped_behind_what_is_held_shows_within_ten_minutes(counter: Counter) -> None:
    token = counter.token(MINE)
    subject_id = counter.row_of(token)["subject_id"]
    _behind_the_back(counter, update(tables.subject).filter_by(id=subject_id).values(state=1))
    assert _opened(counter, token) == [MINE]
    counter.furnished.clock.pass_time(minutes=10)
    assert _opened(counter, token) == ["tamper_detected"]
    assert counter.alarms() == [("data_key", str(subject_id))]


def test_a_mangled_name_for_the_log_refuses_its_person_and_nobody_else(
    counter: Counter, pair: tuple[str, str]
) -> None:
    subject_id = counter.row_of(pair[0])["subject_id"]
    counter.change(tables.subject, {"id": subject_id}, log_subject=b"\1\2")
    assert _opened(counter, *pair) == ["tamper_detected", THEIRS]
    assert counter.alarms() == [("data_key", str(subject_id))]


@pytest.mark.parametrize(
    "column", ["envelope = 5", "nonce = 'abcdefgh'", "subject_id = 'x'", "field_id = 'x'"]
)
def test_a_cell_of_another_type_refuses_its_token_and_nobody_else(
    counter: Counter, pair: tuple[str, str], column: str
) -> None:
    change = text(f"UPDATE token SET {column} WHERE id = {counter.row_id(pair[0])}")
    if counter.vault.changes.database.dialect == "postgresql" and not column.startswith("nonce"):
        with pytest.raises(VaultError):
            counter.tamper(change)
        return
    counter.tamper(change)
    works = [counter.detokenizing([token]) for token in pair]
    counter.together(*works)
    assert works[0].error is None
    assert "error" in works[0].result["items"][0]
    assert works[1].result["items"][0]["value"] == THEIRS
    assert counter.alarms() != []
