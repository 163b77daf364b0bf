"""Keys that were replaced and still count: what they verify and sign, and what names them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from keys.envelope import staff_version_of
from keys.errors import MalformedError, UnknownKeyVersionError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key, open_signing_key
from keys.secret import SecretBytes, SecretText
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper

VAULT = bytes(range(16))
NAME = "vault.example/log"


@pytest.fixture
def wrapper(tmp_path: Path) -> KeyFileWrapper:
    return KeyFileWrapper.create(tmp_path / "root.key")


def _made(
    wrapper: KeyFileWrapper, kind: KeyKind, version: int, state: KeyState, scope: str = ""
) -> KeyRecord:
    made = generate_key(kind, scope, version, vault_id=VAULT, root=wrapper)
    return dataclasses.replace(made, state=state)


def _signers(wrapper: KeyFileWrapper, *states: KeyState) -> list[int]:
    records = [
        _made(wrapper, KeyKind.LOG_SIGNING, version, state, NAME) for version, state in enumerate(states, 1)
    ]
    keyring = Keyring.unlock(VAULT, records, wrapper)
    return [signer.version for signer in keyring.signers]


def test_keys_that_were_replaced_sign_after_the_one_in_force(wrapper: KeyFileWrapper) -> None:
    old, now = KeyState.DEACTIVATED, KeyState.ACTIVE
    assert _signers(wrapper, old, old, now) == [3, 2, 1]
    assert _signers(wrapper, old, now, old) == [2, 3, 1]


@pytest.mark.parametrize(
    "state", [KeyState.SUSPENDED, KeyState.COMPROMISED, KeyState.DESTROYED, KeyState.PRE_ACTIVATION]
)
def test_keys_of_other_states_do_not_sign(wrapper: KeyFileWrapper, state: KeyState) -> None:
    assert _signers(wrapper, state, KeyState.ACTIVE) == [2]


def test_nothing_signs_without_a_key_in_force(wrapper: KeyFileWrapper) -> None:
    assert _signers(wrapper, KeyState.DEACTIVATED) == []


def test_a_new_signing_key_is_named_before_it_is_in_force(wrapper: KeyFileWrapper) -> None:
    record = _made(wrapper, KeyKind.LOG_SIGNING, 2, KeyState.PRE_ACTIVATION, NAME)
    key = open_signing_key(record, vault_id=VAULT, root=wrapper)
    active = dataclasses.replace(record, state=KeyState.ACTIVE)
    assert key.public == Keyring.unlock(VAULT, [active], wrapper).signer.public
    assert key.version == 2


def test_codes_are_those_of_each_key_that_may_verify(wrapper: KeyFileWrapper) -> None:
    first = _made(wrapper, KeyKind.AUTHORITY, 1, KeyState.ACTIVE)
    before = Keyring.unlock(VAULT, [first], wrapper).authority.mac("t", "1", version=0, row=b"x")
    records = [
        dataclasses.replace(first, state=KeyState.DEACTIVATED),
        _made(wrapper, KeyKind.AUTHORITY, 2, KeyState.ACTIVE),
    ]
    keys = Keyring.unlock(VAULT, records, wrapper).authority
    assert keys.codes("t", "1", version=0, row=b"x") == (keys.mac("t", "1", version=0, row=b"x"), before)


def test_a_session_digest_is_made_under_the_version_asked_for(wrapper: KeyFileWrapper) -> None:
    records = [
        _made(wrapper, KeyKind.SESSION, 1, KeyState.DEACTIVATED),
        _made(wrapper, KeyKind.SESSION, 2, KeyState.ACTIVE),
    ]
    keys = Keyring.unlock(VAULT, records, wrapper).sessions
    secret = SecretText("login minji")
    assert keys.session_digests(secret) == tuple(keys.session_digest_under(at, secret) for at in (2, 1))
    with pytest.raises(UnknownKeyVersionError):
        keys.session_digest_under(3, secret)


def test_the_version_of_a_staff_envelope_is_in_its_header(wrapper: KeyFileWrapper) -> None:
    record = _made(wrapper, KeyKind.STAFF_DATA, 7, KeyState.ACTIVE)
    sealed = Keyring.unlock(VAULT, [record], wrapper).staff_data.seal(
        "totp", "1", nonce=bytes(12), data=SecretBytes(b"")
    )
    assert staff_version_of(sealed) == 7
    for broken, rule in ((sealed[:-1], "length"), (b"\x01" + sealed[1:], "version")):
        with pytest.raises(MalformedError, match=rule):
            staff_version_of(broken)
