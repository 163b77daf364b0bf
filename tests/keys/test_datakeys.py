from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.datakeys import Binding, WrappingKey, epoch_of, generate_data_key
from keys.errors import DecryptionError, MalformedError, UnknownKeyVersionError
from keys.secret import SecretBytes

VAULT = bytes(16)
NONCE = bytes(12)
BINDING = Binding(7, 1, 0)


def new_epoch(number: int, *, active: bool = True) -> WrappingKey:
    return WrappingKey(VAULT, number, SecretBytes(os.urandom(32)), active=active)


@given(st.integers(1, 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_data_key_unwraps_for_its_own_binding(subject: int, generation: int, state: int) -> None:
    epoch, key = new_epoch(1), generate_data_key()
    binding = Binding(subject, generation, state)
    wrapped = epoch.wrap(binding, NONCE, key)
    assert len(wrapped) == 65
    assert epoch.unwrap(binding, wrapped).generation == generation


def test_a_bit_flipped_anywhere_does_not_unwrap() -> None:
    epoch = new_epoch(1)
    wrapped = epoch.wrap(BINDING, NONCE, generate_data_key())
    for bit in range(8 * len(wrapped)):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError):
            epoch.unwrap(BINDING, bytes(changed))


def test_flipping_the_state_of_a_subject_makes_its_key_useless() -> None:
    epoch = new_epoch(1)
    restricted = epoch.wrap(BINDING._replace(state=1), NONCE, generate_data_key())
    with pytest.raises(DecryptionError):
        epoch.unwrap(BINDING, restricted)


def test_rewrapped_key_opens_what_the_old_one_sealed() -> None:
    old, new = new_epoch(1), new_epoch(2)
    wrapped = old.wrap(BINDING, NONCE, generate_data_key())
    sealed = old.unwrap(BINDING, wrapped).seal(b"place", NONCE, b"value")
    again = old.rewrap(BINDING, wrapped, to=new, nonce=os.urandom(12))
    assert epoch_of(again) == 2
    assert new.unwrap(BINDING, again).open(b"place", sealed) == b"value"
    with pytest.raises(DecryptionError):
        old.unwrap(BINDING, again)


def test_rewrap_for_another_state_leaves_the_old_state_useless() -> None:
    epoch = new_epoch(1)
    wrapped = epoch.wrap(BINDING, NONCE, generate_data_key())
    restricted = epoch.rewrap(BINDING, wrapped, to=epoch, nonce=os.urandom(12), state=1)
    assert epoch.unwrap(BINDING._replace(state=1), restricted).generation == 1
    with pytest.raises(DecryptionError):
        epoch.unwrap(BINDING, restricted)


def test_epoch_that_is_not_active_unwraps_only() -> None:
    key = SecretBytes(bytes(32))
    wrapped = WrappingKey(VAULT, 1, key, active=True).wrap(BINDING, NONCE, generate_data_key())
    deactivated = WrappingKey(VAULT, 1, key, active=False)
    assert deactivated.unwrap(BINDING, wrapped).generation == 1
    with pytest.raises(UnknownKeyVersionError, match="wrapping//1"):
        deactivated.wrap(BINDING, NONCE, generate_data_key())


def test_refuses_to_wrap_outside_the_format() -> None:
    epoch = new_epoch(1)
    with pytest.raises(MalformedError, match="nonce_length"):
        epoch.wrap(BINDING, bytes(11), generate_data_key())
    with pytest.raises(MalformedError, match="key_length"):
        epoch.wrap(BINDING, NONCE, SecretBytes(bytes(16)))
    for binding in (Binding(-1, 1, 0), Binding(1, 2**32, 0), Binding(1, 1, 256)):
        with pytest.raises(MalformedError, match="id_range"):
            epoch.wrap(binding, NONCE, generate_data_key())


def test_two_generated_data_keys_differ() -> None:
    assert generate_data_key().expose() != generate_data_key().expose()
