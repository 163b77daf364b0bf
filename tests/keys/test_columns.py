"""What the hot path does to a whole column is what it would do to each value: same results, same refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.context import ValueContext
from keys.envelope import DataKey, open_all, seal_all
from keys.errors import MalformedError
from keys.lookup import LookupKey
from keys.padding import TEXT_BUCKETS, pad, pad_all, unpad, unpad_all
from keys.secret import SecretBytes

T = TypeVar("T")

CONTEXT = ValueContext(bytes(16))
LOOKUP = LookupKey("member.phone", 1, SecretBytes(bytes(32)))
TEXTS = st.one_of(
    st.text(st.characters(codec="ascii"), max_size=40),
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.just("x" * 5000),
)


def _or_rule(step: Callable[[], T]) -> T | str:
    try:
        return step()
    except MalformedError as error:
        return error.rule


def _padded(data: bytes, size: int) -> bytes:
    return data.ljust(size, b"\0")[:size]


PADDINGS = st.one_of(
    st.builds(_padded, st.binary(max_size=34), st.just(32)),
    st.builds(pad, st.text(st.characters(codec="ascii"), max_size=28), st.just(TEXT_BUCKETS)),
    st.builds(_padded, st.binary(max_size=70), st.sampled_from([2, 64])),
)


@given(st.lists(TEXTS, max_size=6))
def test_pads_a_column_as_each(texts: list[str]) -> None:
    expected = _or_rule(lambda: [pad(text, TEXT_BUCKETS) for text in texts])
    assert _or_rule(lambda: pad_all(texts, TEXT_BUCKETS)) == expected


@given(st.lists(PADDINGS, max_size=6))
def test_unpads_a_column_as_each(padded: list[bytes]) -> None:
    expected = _or_rule(lambda: [unpad(one) for one in padded])
    assert _or_rule(lambda: unpad_all(padded)) == expected


def test_a_column_of_nothing_is_refused_as_each() -> None:
    for padded in (b"", b"\0"):
        with pytest.raises(MalformedError, match="pad_length"):
            unpad_all([padded, padded])


GOOD = [pad(f"+8210123456{at}", (32,)) for at in range(10, 14)]


@pytest.mark.parametrize(
    ("spoilt", "rule"),
    [
        (b"\0\x1f" + bytes(30), "pad_length"),
        (b"\x01\0" + bytes(30), "pad_length"),
        (b"\0\1ab" + bytes(28), "pad_zeros"),
        (b"\0\1a" + bytes(28) + b"b", "pad_zeros"),
        (b"\0\1\xff" + bytes(29), "pad_text"),
    ],
)
def test_one_spoilt_padding_in_a_good_column_is_refused_by_its_rule(spoilt: bytes, rule: str) -> None:
    with pytest.raises(MalformedError) as refused:
        unpad_all([*GOOD[:2], spoilt, *GOOD[2:]])
    assert refused.value.rule == rule


def test_a_zero_within_a_text_does_not_stand_for_one_that_is_missing_behind_it() -> None:
    within, behind = b"\0\3a\0b" + bytes(27), b"\0\1a" + bytes(28) + b"x"
    assert unpad_all([*GOOD, within])[-1] == "a\0b"
    with pytest.raises(MalformedError, match="pad_zeros"):
        unpad_all([within, behind])


@given(st.lists(TEXTS.filter(str.isprintable), max_size=6))
def test_digests_a_column_as_each(values: list[str]) -> None:
    expected = _or_rule(lambda: [LOOKUP.digest(value) for value in values])
    assert _or_rule(lambda: LOOKUP.digest_all(values)) == expected


def test_values_that_are_canonically_equal_have_one_digest() -> None:
    assert LOOKUP.digest("\uac00") == LOOKUP.digest("\u1100\u1161")


def _sealing(count: int) -> tuple[list[DataKey], list[bytes], list[bytes], list[bytes]]:
    keys = [DataKey(at + 1, SecretBytes(bytes([at]) * 32)) for at in range(count)]
    contexts = CONTEXT.values(range(count), [CONTEXT.field_part("member.phone")] * count, range(count))
    return (
        keys,
        contexts,
        [bytes([at]) * 12 for at in range(count)],
        [pad(str(at), (32,)) for at in range(count)],
    )


def test_seals_a_column_as_each() -> None:
    keys, contexts, nonces, padded = _sealing(5)
    envelopes = seal_all(keys, contexts, nonces, padded)
    rows: Sequence[tuple[DataKey, bytes, bytes, bytes]] = list(
        zip(keys, contexts, nonces, padded, strict=True)
    )
    assert envelopes == [key.seal(context, nonce, text) for key, context, nonce, text in rows]
    assert open_all(keys, contexts, envelopes) == padded


def test_seals_nothing_of_nothing() -> None:
    assert seal_all([], [], [], []) == []


def test_one_nonce_of_another_length_seals_nothing() -> None:
    keys, contexts, nonces, padded = _sealing(3)
    with pytest.raises(MalformedError, match="nonce_length"):
        seal_all(keys, contexts, [*nonces[:2], bytes(11)], padded)
