"""What the encoder writes the reader gives back, and what the reader refuses the encoder never writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.audit.builders import HANDLER, START, entry_in_parts, entry_of, items_of, whole
from tests.vault.audit.make_vectors import largest
from vault.audit.entry import MAX_PARTS, PART_LIMIT, Decision, Entry, decode, encode, entry_id
from vault.audit.packing import MAX_ITEMS, MalformedEntryError
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Outcome, Reveal

CODES = st.from_regex(r"[A-Za-z0-9._:/,*-]{1,20}", fullmatch=True)
OPTIONAL_CODES = st.one_of(st.just(""), CODES)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.integers(0, 2**63 - 1)

ACTORS = st.builds(
    Actor,
    kind=st.sampled_from(ActorKind),
    id=OPTIONAL_CODES,
    name=TEXTS,
    team=TEXTS,
    employer=TEXTS,
    roles=st.lists(CODES, max_size=3).map(tuple),
    session=OPTIONAL_CODES,
)
ENTRIES = st.builds(
    Entry,
    id=st.from_regex("[0-9a-f]{32}", fullmatch=True),
    time=st.datetimes(timezones=st.just(UTC)),
    actor=ACTORS,
    origin=st.builds(
        Origin,
        request=st.from_regex("req_[0-9a-f]{32}", fullmatch=True).map(RequestId),
        address=st.ip_addresses().map(str),
    ),
    action=st.from_regex("[a-z_]{1,32}:[a-z_]{1,32}", fullmatch=True),
    outcome=st.sampled_from([Outcome.DONE, Outcome.RELEASED]),
    purpose=OPTIONAL_CODES,
    reveal=st.sampled_from([None, *Reveal]),
    decision=st.builds(Decision, OPTIONAL_CODES, st.lists(CODES, max_size=3).map(tuple), NUMBERS),
    note=st.from_regex("([0-9a-f]{64})?", fullmatch=True),
    target=st.dictionaries(CODES, CODES, max_size=4).map(lambda pairs: tuple(sorted(pairs.items()))),
    count=st.integers(1, 2**63 - 1),
    items=st.one_of(st.none(), st.integers(0, 20).map(items_of)),
)


@given(ENTRIES)
def test_an_entry_is_read_back_as_it_was(entry: Entry) -> None:
    assert decode(whole(entry)) == entry


@given(st.binary(max_size=40), st.integers(0, 700))
def test_no_bytes_raise_anything_but_the_error_of_the_format(noise: bytes, at: int) -> None:
    data = whole(entry_of())
    for changed in (noise, data[:at] + noise + data[at:], data[:at] + noise + data[at + len(noise) :]):
        try:
            entry = decode(changed)
        except MalformedEntryError:
            continue
        assert encode(entry) == [changed]


def test_every_single_bit_is_either_refused_or_means_something_else() -> None:
    data = whole(entry_of())
    original = decode(data)
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            try:
                entry = decode(changed)
            except MalformedEntryError:
                continue
            assert entry != original


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("id", {"id": "0" * 31}),
        ("id", {"id": "0" * 32 + "\n"}),
        ("time", {"time": datetime(2026, 11, 24)}),  # noqa: DTZ001 - the point of the case
        ("time", {"time": START.astimezone(timezone(timedelta(hours=9)))}),
        ("request", {"origin": Origin(RequestId("req_"), "local")}),
        ("address", {"origin": Origin(entry_of().origin.request, "")}),
        ("action", {"action": "Token:Detokenize"}),
        ("note", {"note": "00"}),
        ("code", {"purpose": "call back, please"}),
        ("code", {"purpose": "a\nb"}),
        ("code", {"actor": replace(HANDLER, roles=("",))}),
        ("code", {"decision": Decision("grant", ("a b",), 0)}),
        ("error", {"outcome": Outcome.REFUSED}),
        ("error", {"outcome": Outcome.FAILED}),
        ("error", {"error": "access_denied"}),
        ("number", {"decision": Decision("grant", (), -1)}),
        ("number", {"decision": Decision("grant", (), 2**63)}),
        ("number", {"count": 0}),
        ("number", {"count": 2**63}),
        ("part", {"part": (1, 2)}),
        ("target", {"target": (("b", "x"), ("a", "x"))}),
        ("target", {"target": (("a", "x"), ("a", "y"))}),
        ("target", {"target": (("a", "two words"),)}),
        ("text", {"actor": replace(HANDLER, name="\ud800")}),
        ("header", {"actor": replace(HANDLER, name="x" * 17_000)}),
    ],
)
def test_refuses_to_write_what_a_reader_would_refuse(rule: str, changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        encode(replace(entry_of(), **changes))
    assert caught.value.rule == rule


def test_a_refusal_names_its_error() -> None:
    entry = replace(entry_of(), outcome=Outcome.REFUSED, error="purpose_not_allowed", reveal=None, items=None)
    assert decode(whole(entry)) == entry


def test_a_thousand_items_take_at_most_forty_kilobytes() -> None:
    interleaved = items_of(1000, fields=("member.phone", "member.gender", "member.age_band"))
    assert len(whole(replace(entry_of(), items=interleaved))) <= 40_000


def test_a_header_over_the_limit_is_refused_also_beside_items() -> None:
    entry = largest()
    with pytest.raises(MalformedEntryError, match="header"):
        encode(replace(entry, actor=replace(entry.actor, name=entry.actor.name + "x")))


def test_an_entry_over_the_limit_becomes_parts_that_are_together_the_entry() -> None:
    entry = entry_in_parts()
    parts = [decode(data) for data in encode(entry)]
    assert [part.part for part in parts] == [(1, 2), (2, 2)]
    assert {replace(part, items=None, part=(1, 1)) for part in parts} == {replace(entry, items=None)}
    rows = [row for part in parts if part.items for row in part.items.rows()]
    assert entry.items is not None
    assert rows == list(entry.items.rows())


def test_parts_are_even_when_the_bytes_are_not() -> None:
    names = [f"f{number}".ljust(200 if number < 400 else 6, "x") for number in range(1000)]
    parts = encode(replace(entry_of(), items=items_of(1000, fields=names)))
    assert len(parts) > 2
    assert max(map(len, parts)) <= PART_LIMIT
    assert [decode(part).part for part in parts] == [(k + 1, len(parts)) for k in range(len(parts))]


def test_the_largest_entry_there_can_be_fits_into_the_parts_there_can_be() -> None:
    fields = [f"{number:06d}".ljust(200, "x") for number in range(MAX_ITEMS)]
    outcomes = [f"{number:06d}".ljust(200, "y") for number in range(MAX_ITEMS)]
    parts = encode(replace(largest(), items=items_of(MAX_ITEMS, fields=fields, outcomes=outcomes)))
    assert 500 < len(parts) <= MAX_PARTS
    assert max(map(len, parts)) <= PART_LIMIT


def test_a_part_is_not_encoded_as_an_entry() -> None:
    part = decode(encode(entry_in_parts())[0])
    with pytest.raises(MalformedEntryError, match="part"):
        encode(part)
    assert part.part[1] <= MAX_PARTS


def test_an_entry_id_is_a_uuid_of_version_7_and_its_time() -> None:
    at = datetime(2026, 11, 24, 6, 0, 0, 123_999, tzinfo=UTC)
    value = UUID(entry_id(at, b"\xff" * 10))
    assert (value.version, value.variant) == (7, "specified in RFC 4122")
    assert value.int >> 80 == int(at.timestamp() * 1000)
    assert entry_id(at, bytes(10))[12:] == "70008000000000000000"


def test_entry_ids_ascend_with_time() -> None:
    ids = [entry_id(START + timedelta(milliseconds=number), bytes(10)) for number in range(5)]
    assert ids == sorted(set(ids))


def test_an_entry_id_takes_exactly_ten_random_bytes() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        entry_id(START, bytes(9))
