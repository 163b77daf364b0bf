from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.context import ValueContext, encode_context, u32, u64, utf8
from keys.errors import MalformedError

VAULT = bytes(range(16))
ID = st.integers(0, 2**64 - 1)


@given(st.lists(st.binary(max_size=40)), st.lists(st.binary(max_size=40)))
def test_different_parts_never_give_the_same_context(one: list[bytes], other: list[bytes]) -> None:
    assert (encode_context(*one) == encode_context(*other)) is (one == other)


@given(ID, st.text(st.characters(exclude_categories=["Cs"]), max_size=40), ID)
def test_prepared_context_equals_the_plain_one(subject: int, name: str, record: int) -> None:
    context = ValueContext(VAULT)
    plain = encode_context(b"piivault/envelope/v1", VAULT, u64(subject), name.encode(), u64(record))
    assert context.value(subject, context.field_part(name), record) == plain


def test_part_may_be_65535_bytes_and_no_longer() -> None:
    assert len(encode_context(bytes(65_535))) == 65_537
    with pytest.raises(MalformedError, match="part_length"):
        encode_context(bytes(65_536))


@pytest.mark.parametrize("length", [0, 15, 17])
def test_refuses_vault_id_of_another_length(length: int) -> None:
    with pytest.raises(MalformedError, match="vault_id"):
        ValueContext(bytes(length))


@pytest.mark.parametrize(("subject", "record"), [(-1, 1), (1, -1), (2**64, 1), (1, 2**64)])
def test_refuses_id_out_of_range(subject: int, record: int) -> None:
    context = ValueContext(VAULT)
    with pytest.raises(MalformedError, match="id_range"):
        context.value(subject, context.field_part("f"), record)


def test_refuses_number_out_of_range() -> None:
    for encode, number in ((u32, 2**32), (u64, 2**64), (u32, -1)):
        with pytest.raises(MalformedError, match="id_range"):
            encode(number)


def test_refuses_lone_surrogate_without_showing_the_text() -> None:
    with pytest.raises(MalformedError, match="text") as caught:
        utf8("canary\ud800")
    # Not even behind a curtain: the codec's error carries the text.
    assert caught.value.__context__ is None
