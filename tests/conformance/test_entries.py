"""What the log says about requests at the counter, and that it proves itself."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.support.furnished import ADDRESS, MEMBER, phones
from vault.audit.merkle import leaf_hash
from vault.audit.reasons import open_reason
from vault.domain.errors import AccessDeniedError
from vault.domain.model import Outcome, Reveal
from vault.storage import tables


def test_an_entry_names_who_where_what_for_and_whose(counter: Counter) -> None:
    counter.tokenize(phone("010-1234-5678", label="a"), item(LOGIN, "minji77", label="a"), phone("12"))
    sealed = counter.last()
    token = counter.token()
    work = counter.detokenizing([token], reason="call back, ticket 4711")
    counter.vault.tokens.complete(work)
    opened = counter.last()

    for logged in (sealed, opened):
        assert logged.entry.actor == counter.shop
        assert logged.entry.origin.address == ADDRESS
        assert logged.entry.purpose == MEMBER
        assert logged.entry.decision.rule == "grant"
        assert logged.entry.decision.grants == counter.furnished.grants["shop"][:1]
        assert logged.entry.decision.revision == counter.vault.status().revision
        assert logged.entry.time.utcoffset() is not None
    assert opened.entry.origin.request == work.origin.request
    assert (sealed.entry.action, sealed.entry.outcome) == ("token:tokenize", Outcome.DONE)
    assert (opened.entry.action, opened.entry.outcome) == ("token:detokenize", Outcome.RELEASED)
    assert (sealed.entry.reveal, opened.entry.reveal) == (None, Reveal.PLAIN)

    subject, other = (bytes(row["log_subject"]) for row in counter.rows(tables.subject))
    ids = [row["id"] for row in counter.rows(tables.token)]
    assert sealed.entry.items is not None
    assert opened.entry.items is not None
    if counter.row_of(token)["subject_id"] != counter.rows(tables.subject)[1]["id"]:
        subject, other = other, subject
    first, second = sorted(set(ids) - {counter.row_id(token)})
    assert list(sealed.entry.items.rows()) == [
        (subject, first, PHONE, "sealed"),
        (subject, second, LOGIN, "sealed"),
        (bytes(16), 0, PHONE, "invalid_value"),
    ]
    assert list(opened.entry.items.rows()) == [(other, counter.row_id(token), PHONE, "opened")]


def test_grants_are_named_in_order_of_first_use(counter: Counter) -> None:
    office = counter.furnished
    admin = office.login("admin")
    holder = ("service", counter.actor("desk").id)
    extra = office.grant(
        admin,
        holder,
        ("token:detokenize",),
        purposes=(MEMBER,),
        reveal=Reveal.MASKED,
        fields=(LOGIN,),
    )
    office.approve_all(counter.actor("officer"))
    tokens = [counter.token("minji77", field=LOGIN), counter.token()]
    for order in (tokens, tokens[::-1]):
        counter.detokenize(*order, by="desk", reveal=Reveal.MASKED)
        grants = counter.last().entry.decision.grants
        expected = (extra, counter.furnished.grants["desk"][1])
        assert grants == (expected if order is tokens else expected[::-1])


def test_a_request_refused_in_part_says_so(counter: Counter) -> None:
    login, number = counter.token("minji77", field=LOGIN), counter.token()
    counter.detokenize(login, number, by="desk", reveal=Reveal.MASKED)
    assert counter.last().entry.decision.rule == "grant_in_part"
    assert counter.last().entry.decision.grants == counter.furnished.grants["desk"][1:]


def test_a_refusal_is_logged_with_its_rule_before_it_is_told(counter: Counter) -> None:
    token = counter.token()
    with pytest.raises(AccessDeniedError) as refused:
        counter.detokenize(token, by="chief", reason="curious")
    entry = counter.last().entry
    assert refused.value.rule
    assert entry.decision.rule == refused.value.rule
    assert (entry.outcome, entry.error, entry.actor) == (
        Outcome.REFUSED,
        refused.value.code,
        counter.actor("chief"),
    )
    assert entry.note


def test_a_request_is_one_entry_and_every_answer_knows_its_own(counter: Counter) -> None:
    start = counter.next_index()
    works = [counter.tokenizing([phone(value) for value in phones(3, start=10 * at)]) for at in range(10)] + [
        counter.searching(PHONE, f"010-2222-{at:04d}") for at in range(5)
    ]
    counter.together(*works)
    entries = {logged.index: logged for logged in counter.log(start)}
    assert len(entries) == len(works) + 1
    for work in works:
        logged = entries[work.result["log_index"]]
        assert logged.entry.origin.request == work.origin.request
        assert logged.leaf == bytes.fromhex(work.result["leaf_hash"]) == leaf_hash(logged.body)


def test_writers_count_without_a_gap_and_their_units_verify(counter: Counter) -> None:
    node = counter.node()
    for at in range(5):
        counter.token(f"010-1234-000{at}")
        counter.tokenize(phone(f"010-1234-001{at}"), at=node)
    counter.furnished.login("admin")
    by_writer: dict[bytes, list[int]] = {}
    leaves = {logged.index: logged.leaf for logged in counter.log()}
    log_mac = counter.vault.standings.current.keyring.log_mac
    nxt = 0
    for unit in counter.rows(tables.log_unit, order_by="first"):
        assert unit["first"] == nxt
        nxt += unit["size"]
        by_writer.setdefault(bytes(unit["writer"]), []).append(unit["writer_seq"])
        hashes = [leaves[at] for at in range(unit["first"], nxt)]
        log_mac.verify(bytes(unit["writer"]), unit["writer_seq"], hashes, code=bytes(unit["mac"]))
    assert nxt == len(leaves)
    assert all(numbers == list(range(len(numbers))) for numbers in by_writer.values())
    assert len(by_writer) >= 3
    counter.verify_log()


def test_a_reason_is_sealed_and_its_hash_is_in_the_entry(counter: Counter) -> None:
    reason = "call back about order 4711"
    counter.detokenize(counter.token(), reason=reason)
    last = counter.last()
    (row,) = counter.rows(tables.log_note)
    sealed = bytes(row["sealed"])
    assert sha256(sealed).hexdigest() == last.entry.note == bytes(row["id"]).hex()
    keyring = counter.vault.standings.current.keyring
    assert open_reason(keyring, last.entry.id, sealed) == reason
    assert open_reason(keyring, counter.log()[-2].entry.id, sealed) == ""
    assert b"order" not in last.body + sealed
    request = counter.furnished.request(counter.actor("chief"))
    assert counter.vault.audit.show(request, last.index)["reason"] == reason


def test_no_entry_holds_a_value_a_reference_or_a_search_term(counter: Counter) -> None:
    """Letters that no hexadecimal id can spell, and numbers too long to be one by chance."""
    name, number, digits = "mushroom7", "010-7777-3141", "77773141"
    token = counter.token(number, external_ref=name)
    login = counter.token(name, field=LOGIN)
    counter.tokenize(phone(name), item("field.mushroom", "x"), item(name, name))
    counter.detokenize(token, login, "phn_mushroom")
    for field, value in ((PHONE, number), (PHONE, "010-3141-7777"), (LOGIN, name), (LOGIN, "mushroom8")):
        counter.search(field, value)
    refused = (
        counter.searching(PHONE, name),
        counter.searching(name, number),
        counter.showing("phn_mushroom"),
        counter.detokenizing([token], purpose=name),
        counter.detokenizing([token], reason=f"for {number}"),
        counter.detokenizing([token], reason=f"{name} 900101-1234567"),
    )
    counter.together(*refused)
    assert all(work.error for work in refused)
    for logged in counter.log():
        for text in (b"mushroom", digits.encode(), b"31417777", b"9001011234567", number.encode()):
            assert text not in logged.body
