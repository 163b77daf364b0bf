from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import MalformedError, UnknownKeyVersionError, VerificationError
from keys.lookup import LookupKey
from keys.macs import AuthorityKeys, LogMacKeys, MacKeys
from keys.secret import SecretBytes
from keys.signing import SigningKey, VerifyKey, key_id

VAULT = bytes(16)
ONE, TWO = SecretBytes(b"\1" * 32), SecretBytes(b"\2" * 32)


def authority(active: int | None, *versions: tuple[int, SecretBytes]) -> AuthorityKeys:
    return AuthorityKeys(VAULT, MacKeys("authority", active, versions))


def test_row_sealed_before_a_rotation_verifies_after_it_and_names_its_key() -> None:
    code = authority(1, (1, ONE)).mac("staff", "stf_1", version=1, row=b"r")
    rotated = authority(2, (1, ONE), (2, TWO))
    assert rotated.active_version == 2
    assert rotated.verify("staff", "stf_1", version=1, row=b"r", code=code) == 1
    again = rotated.mac("staff", "stf_1", version=2, row=b"r")
    assert rotated.verify("staff", "stf_1", version=2, row=b"r", code=again) == 2


def test_row_sealed_under_a_key_that_is_gone_does_not_verify() -> None:
    code = authority(1, (1, ONE)).mac("staff", "stf_1", version=1, row=b"r")
    with pytest.raises(VerificationError):
        authority(2, (2, TWO)).verify("staff", "stf_1", version=1, row=b"r", code=code)


def test_an_old_row_with_a_new_version_number_does_not_verify() -> None:
    keys = authority(1, (1, ONE))
    code = keys.mac("grant", "grt_1", version=4, row=b"r")
    with pytest.raises(VerificationError):
        keys.verify("grant", "grt_1", version=5, row=b"r", code=code)


def test_without_an_active_key_nothing_is_written() -> None:
    keys = authority(None, (1, ONE))
    with pytest.raises(UnknownKeyVersionError, match="authority//active"):
        keys.mac("staff", "stf_1", version=1, row=b"r")


def test_without_any_key_nothing_verifies() -> None:
    with pytest.raises(UnknownKeyVersionError, match="authority//any"):
        authority(None).verify("staff", "stf_1", version=1, row=b"r", code=bytes(32))


def test_versions_stand_active_first_then_from_new_to_old() -> None:
    keys = MacKeys("session", 2, [(1, ONE), (3, TWO), (2, TWO)])
    assert keys.versions == (2, 3, 1)


def test_code_under_a_missing_version_is_refused() -> None:
    with pytest.raises(UnknownKeyVersionError, match="session//9"):
        MacKeys("session", 1, [(1, ONE)]).mac_under(9, b"")


def test_mac_key_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedError, match="key_length"):
        MacKeys("session", 1, [(1, SecretBytes(bytes(16)))])


def test_row_over_65535_bytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="part_length"):
        authority(1, (1, ONE)).mac("staff", "stf_1", version=1, row=bytes(65_536))


def test_log_unit_of_more_leaves_than_a_part_holds_verifies() -> None:
    keys = LogMacKeys(VAULT, MacKeys("log_mac", 1, [(1, ONE)]))
    leaves = [os.urandom(32) for _ in range(2_100)]
    code = keys.mac(VAULT, 1, leaves)
    assert keys.verify(VAULT, 1, leaves, code=code) == 1
    assert keys.active_version == 1
    with pytest.raises(VerificationError):
        keys.verify(VAULT, 1, leaves[:-1], code=code)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_digest_is_sixteen_bytes_and_repeatable(value: str) -> None:
    key = LookupKey("member.phone", 1, ONE)
    assert len(key.digest(value)) == 16
    assert key.digest(value) == key.digest(value)


def test_digests_of_one_value_under_two_keys_are_unrelated() -> None:
    one, two = LookupKey("member.phone", 1, ONE), LookupKey("partner.phone", 1, TWO)
    assert one.digest("+821012345678") != two.digest("+821012345678")


@given(st.binary(max_size=200))
def test_signature_verifies_under_the_public_key_alone(message: bytes) -> None:
    key = SigningKey("vault.example/log", ONE)
    VerifyKey(key.public).verify(key.sign(message), message)


def test_key_id_depends_on_the_name() -> None:
    assert SigningKey("one", ONE).key_id != SigningKey("two", ONE).key_id
    assert len(SigningKey("one", ONE).key_id) == 4


def test_signing_refuses_keys_of_another_length() -> None:
    with pytest.raises(MalformedError, match="key_length"):
        SigningKey("one", SecretBytes(bytes(31)))
    with pytest.raises(MalformedError, match="key_length"):
        key_id("one", bytes(33))
