"""Envelopes opened all at once are what each of them is alone; one that does not open leaves none open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keys.context import ValueContext
from keys.envelope import DataKey, open_all
from keys.errors import MalformedError
from keys.padding import pad
from keys.secret import SecretBytes

CONTEXT = ValueContext(bytes(16))
PART = CONTEXT.field_part("member.phone")
KEYS = [DataKey(at % 2 + 1, SecretBytes(bytes([at]) * 32)) for at in range(3)] * 2
IDS = list(range(1, 7))
CONTEXTS = CONTEXT.values([7] * 6, [PART] * 6, IDS)
PADDED = [pad(f"value {at}", (32, 64)) for at in IDS]
ENVELOPES = [
    key.seal(context, bytes([at]) * 12, padded)
    for key, context, at, padded in zip(KEYS, CONTEXTS, IDS, PADDED, strict=True)
]


def test_contexts_of_many_are_those_of_each() -> None:
    assert [CONTEXT.value(7, PART, record_id) for record_id in IDS] == CONTEXTS


def test_contexts_of_fields_with_names_of_different_lengths_are_those_of_each() -> None:
    parts = [PART, CONTEXT.field_part("partner.business_number")]
    expected = [CONTEXT.value(at, part, at) for at, part in zip((1, 2), parts, strict=True)]
    assert CONTEXT.values((1, 2), parts, (1, 2)) == expected


def test_refuses_columns_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="one length"):
        CONTEXT.values([1, 2], [PART], [1, 2])


@pytest.mark.parametrize("ids", [(-1, 1), (1, 1 << 64)])
def test_refuses_ids_that_do_not_fit_a_context(ids: tuple[int, int]) -> None:
    with pytest.raises(MalformedError) as refused:
        CONTEXT.values([1, ids[0]], [PART] * 2, [1, ids[1]])
    assert refused.value.rule == "id_range"


def test_opens_all() -> None:
    assert open_all(KEYS, CONTEXTS, ENVELOPES) == PADDED


def test_opens_none_of_none() -> None:
    assert open_all([], [], []) == []


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "a header alone": lambda envelope: envelope[:5],
    "too short": lambda envelope: envelope[:34],
    "another version": lambda envelope: b"\2" + envelope[1:],
    "another generation": lambda envelope: envelope[:4] + b"\7" + envelope[5:],
    "another nonce": lambda envelope: envelope[:5] + bytes(12) + envelope[17:],
    "another tag": lambda envelope: envelope[:-1] + bytes([envelope[-1] ^ 1]),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_one_that_does_not_open_leaves_none_open(spoil: Callable[[bytes], bytes]) -> None:
    envelopes = [*ENVELOPES[:2], spoil(ENVELOPES[2]), *ENVELOPES[3:]]
    assert open_all(KEYS, CONTEXTS, envelopes) is None


def test_two_that_changed_places_leave_none_open() -> None:
    contexts = [CONTEXTS[3], *CONTEXTS[1:3], CONTEXTS[0], *CONTEXTS[4:]]
    assert open_all(KEYS, contexts, ENVELOPES) is None
