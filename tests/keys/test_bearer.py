from __future__ import annotations

import pytest

from keys.bearer import (
    SessionKeys,
    generate_client_id,
    generate_client_secret,
    generate_session_secret,
    parse_client_secret,
    parse_session_secret,
    require_client_id,
)
from keys.errors import CredentialMismatchError, MalformedError, UnknownKeyVersionError
from keys.macs import MacKeys
from keys.secret import SecretBytes

VAULT = bytes(16)
ONE, TWO = SecretBytes(b"\1" * 32), SecretBytes(b"\2" * 32)


def session_keys(active: int | None, *versions: tuple[int, SecretBytes]) -> SessionKeys:
    return SessionKeys(VAULT, MacKeys("session", active, versions))


def test_generated_texts_are_in_their_form_and_never_twice_the_same() -> None:
    ids = {require_client_id(generate_client_id()) for _ in range(50)}
    secrets = {parse_client_secret(generate_client_secret().expose()).expose() for _ in range(50)}
    sessions = {parse_session_secret(generate_session_secret().expose()).expose() for _ in range(50)}
    assert [len(ids), len(secrets), len(sessions)] == [50, 50, 50]


def test_one_changed_digit_of_a_secret_is_refused_by_the_check() -> None:
    text = generate_client_secret().expose()
    for at in range(4, len(text)):
        other = "0" if text[at] != "0" else "1"
        with pytest.raises(MalformedError, match="check"):
            parse_client_secret(text[:at] + other + text[at + 1 :])


def test_credential_matches_its_own_digest_across_a_rotation() -> None:
    secret = generate_client_secret()
    stored = session_keys(1, (1, ONE)).credential_digest(secret)
    rotated = session_keys(2, (1, ONE), (2, TWO))
    assert rotated.check_credential(secret, stored) == 1
    assert rotated.check_credential(secret, rotated.credential_digest(secret)) == 2
    assert rotated.active_version == 2


def test_credential_refuses_another_secret_another_digest_and_a_key_that_is_gone() -> None:
    keys, secret = session_keys(1, (1, ONE)), generate_client_secret()
    stored = keys.credential_digest(secret)
    refused = [
        (keys, generate_client_secret(), stored),
        (keys, secret, keys.session_digest(secret)),
        (keys, secret, stored[:16]),
        (keys, secret, b""),
        (session_keys(2, (2, TWO)), secret, stored),
        (session_keys(None), secret, stored),
    ]
    for holder, presented, digest in refused:
        with pytest.raises(CredentialMismatchError):
            holder.check_credential(presented, digest)


def test_session_is_found_by_the_digest_of_either_key_the_active_first() -> None:
    secret = generate_session_secret()
    old, new = session_keys(1, (1, ONE)), session_keys(2, (2, TWO))
    both = session_keys(2, (1, ONE), (2, TWO))
    assert both.session_digests(secret) == (new.session_digest(secret), old.session_digest(secret))


def test_access_token_of_the_old_key_opens_until_that_key_is_gone() -> None:
    text = session_keys(1, (1, ONE)).issue_access_token(VAULT, issued=0, expires=10).expose()
    assert session_keys(2, (1, ONE), (2, TWO)).open_access_token(text, at=5).credential_id == VAULT
    with pytest.raises(UnknownKeyVersionError, match="session//1"):
        session_keys(2, (2, TWO)).open_access_token(text, at=5)


def test_every_flipped_bit_of_an_access_token_is_refused() -> None:
    keys = session_keys(1, (1, ONE))
    raw = bytes.fromhex(keys.issue_access_token(VAULT, issued=0, expires=10).expose()[4:])
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedError, UnknownKeyVersionError, CredentialMismatchError)):
            keys.open_access_token(f"pva_{changed.hex()}", at=5)


def test_access_token_is_not_issued_without_an_active_key() -> None:
    with pytest.raises(UnknownKeyVersionError, match="session//active"):
        session_keys(None, (1, ONE)).issue_access_token(VAULT, issued=0, expires=10)
