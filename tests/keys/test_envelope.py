from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.context import ValueContext
from keys.envelope import DataKey, StaffDataKey, StaffDataKeys
from keys.errors import DecryptionError, MalformedError, UnknownKeyVersionError
from keys.padding import MAX_TEXT_BYTES, TEXT_BUCKETS, pad, unpad
from keys.secret import SecretBytes

VAULT = bytes(16)
CONTEXT = ValueContext(VAULT)
FIELD = CONTEXT.field_part("member.phone")
NONCE = bytes(12)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def new_key() -> SecretBytes:
    return SecretBytes(os.urandom(32))


@given(TEXT, st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1), st.integers(0, 2**32 - 1))
def test_value_opens_where_it_was_sealed(text: str, subject: int, record: int, generation: int) -> None:
    key = DataKey(generation, SecretBytes(bytes(32)))
    context = CONTEXT.value(subject, FIELD, record)
    envelope = key.seal(context, os.urandom(12), pad(text, TEXT_BUCKETS))
    assert unpad(key.open(context, envelope)) == text


def test_a_bit_flipped_anywhere_does_not_open() -> None:
    key, context = DataKey(1, new_key()), CONTEXT.value(1, FIELD, 1)
    envelope = key.seal(context, NONCE, pad("+821012345678", (32,)))
    for bit in range(8 * len(envelope)):
        changed = bytearray(envelope)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError) as caught:
            key.open(context, bytes(changed))
        assert str(caught.value) == "does not open"


def test_no_shorter_envelope_opens() -> None:
    key, context = DataKey(1, new_key()), CONTEXT.value(1, FIELD, 1)
    envelope = key.seal(context, NONCE, pad("x", (32,)))
    for length in range(len(envelope)):
        with pytest.raises(DecryptionError):
            key.open(context, envelope[:length])


def test_swapped_envelopes_of_one_subject_do_not_open() -> None:
    key = DataKey(1, new_key())
    one, other = CONTEXT.value(1, FIELD, 1), CONTEXT.value(1, FIELD, 2)
    with pytest.raises(DecryptionError):
        key.open(other, key.seal(one, NONCE, pad("x", (32,))))


@pytest.mark.parametrize("length", [0, 8, 11, 13, 16])
def test_refuses_nonce_of_another_length(length: int) -> None:
    with pytest.raises(MalformedError, match="nonce_length"):
        DataKey(1, new_key()).seal(b"", bytes(length), b"\0\0")
    with pytest.raises(MalformedError, match="nonce_length"):
        StaffDataKey(VAULT, 1, new_key()).seal("totp", "x", nonce=bytes(length), data=new_key())


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_refuses_key_of_another_length(length: int) -> None:
    with pytest.raises(MalformedError, match="key_length"):
        DataKey(1, SecretBytes(bytes(length)))


@pytest.mark.parametrize("generation", [-1, 2**32])
def test_refuses_generation_out_of_range(generation: int) -> None:
    with pytest.raises(MalformedError, match="id_range"):
        DataKey(generation, new_key())


@given(TEXT)
def test_padded_text_fills_the_smallest_bucket(text: str) -> None:
    padded = pad(text, TEXT_BUCKETS)
    needed = len(text.encode()) + 2
    assert len(padded) == next(size for size in TEXT_BUCKETS if size >= needed)
    assert unpad(padded) == text


def test_longest_text_fits_the_last_bucket() -> None:
    assert unpad(pad("x" * MAX_TEXT_BYTES, TEXT_BUCKETS)) == "x" * MAX_TEXT_BYTES
    with pytest.raises(MalformedError, match="pad_size"):
        pad("x" * (MAX_TEXT_BYTES + 1), TEXT_BUCKETS)


def test_values_of_an_enumeration_seal_to_one_length() -> None:
    key = DataKey(1, new_key())
    lengths = {len(key.seal(b"", NONCE, pad(value, (32,)))) for value in ("F", "M", "U", "70 and over")}
    assert lengths == {65}


def test_staff_data_opens_by_the_version_in_its_header() -> None:
    old, new = StaffDataKey(VAULT, 1, new_key()), StaffDataKey(VAULT, 2, new_key())
    sealed = old.seal("totp", "stf_1", nonce=NONCE, data=SecretBytes(b"seed"))
    keys = StaffDataKeys(new, {1: old, 2: new})
    assert keys.open("totp", "stf_1", sealed).expose() == b"seed"
    again = keys.seal("totp", "stf_1", nonce=NONCE, data=SecretBytes(b"seed"))
    assert new.open("totp", "stf_1", again).expose() == b"seed"
    assert keys.active_version == 2


def test_staff_key_refuses_the_envelope_of_another_version() -> None:
    old, new = StaffDataKey(VAULT, 1, new_key()), StaffDataKey(VAULT, 2, new_key())
    sealed = old.seal("totp", "stf_1", nonce=NONCE, data=SecretBytes(b"seed"))
    with pytest.raises(DecryptionError):
        new.open("totp", "stf_1", sealed)


def test_refuses_to_seal_staff_data_without_an_active_key() -> None:
    with pytest.raises(UnknownKeyVersionError, match="staff_data//active"):
        StaffDataKeys(None, {}).seal("totp", "x", nonce=NONCE, data=new_key())
