"""The root key opens for its own vault, version and slot, and shows itself to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from keys.errors import DecryptionError, MalformedError, VerificationError
from keys.rootkey import RootKey, RootSlot, root_key_context
from keys.secret import SecretBytes
from keys.wrappers.keyfile import KeyFileWrapper

VAULT = bytes(range(16))
OTHER = bytes(16)


@pytest.fixture
def wrapper(tmp_path: Path) -> KeyFileWrapper:
    return KeyFileWrapper.create(tmp_path / "root.key")


def _open(wrapper: KeyFileWrapper, wrapped: bytes, **changed: object) -> RootKey:
    named = {"vault_id": VAULT, "version": 3, "slot": RootSlot.LIVE} | changed
    return RootKey.open(wrapper, wrapped, **named)  # type: ignore[arg-type]


def test_opens_what_was_sealed_for_it(wrapper: KeyFileWrapper) -> None:
    root = RootKey.generate(3)
    found = _open(wrapper, root.sealed_by(wrapper, vault_id=VAULT, slot=RootSlot.LIVE))
    found.require_same(root)
    assert found.fingerprint == root.fingerprint
    wrapped = root.wrap(SecretBytes(bytes(32)), b"context")
    assert found.unwrap(wrapped, b"context").expose() == bytes(32)


@pytest.mark.parametrize("changed", [{"vault_id": OTHER}, {"version": 4}, {"slot": RootSlot.RECOVERY}])
def test_refuses_another_vault_version_or_slot(wrapper: KeyFileWrapper, changed: dict[str, object]) -> None:
    wrapped = RootKey.generate(3).sealed_by(wrapper, vault_id=VAULT, slot=RootSlot.LIVE)
    with pytest.raises(DecryptionError):
        _open(wrapper, wrapped, **changed)


def test_refuses_what_is_no_root_key(wrapper: KeyFileWrapper) -> None:
    wrapped = wrapper.wrap(SecretBytes(b"short"), root_key_context(VAULT, 3, RootSlot.LIVE))
    with pytest.raises(DecryptionError):
        _open(wrapper, wrapped)


def test_two_root_keys_are_told_apart() -> None:
    root, secret = RootKey.generate(3), SecretBytes(bytes(32))
    for other in (RootKey.generate(3), RootKey(4, secret)):
        assert other.fingerprint != root.fingerprint
        with pytest.raises(VerificationError):
            root.require_same(other)
    with pytest.raises(VerificationError):
        RootKey(3, secret).require_same(RootKey(4, secret))


@pytest.mark.parametrize(("version", "length", "rule"), [(0, 32, "key_version"), (1, 31, "key_length")])
def test_refuses_a_version_or_length_that_is_none(version: int, length: int, rule: str) -> None:
    with pytest.raises(MalformedError) as refused:
        RootKey(version, SecretBytes(bytes(length)))
    assert refused.value.rule == rule


def test_shows_itself_to_nobody() -> None:
    secret = SecretBytes(b"canary-root-key-canary-root-key!")
    root = RootKey(1, secret)
    assert "canary" not in f"{root!r} {root} {root.fingerprint}"
