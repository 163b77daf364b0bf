from __future__ import annotations

import pytest

from keys.errors import CredentialMismatchError, MalformedError
from keys.passwords import Argon2Parameters, Passwords
from keys.secret import SecretText

CHEAP = Passwords(Argon2Parameters(memory_kib=8, passes=1))
PASSWORD = SecretText("correct horse battery staple")


def test_password_matches_its_verifier() -> None:
    CHEAP.verify(CHEAP.hash(PASSWORD), PASSWORD)


def test_refuses_another_password() -> None:
    with pytest.raises(CredentialMismatchError):
        CHEAP.verify(CHEAP.hash(PASSWORD), SecretText("correct horse battery stapl"))


def test_refuses_every_password_for_nobody() -> None:
    with pytest.raises(CredentialMismatchError):
        CHEAP.verify_nobody(PASSWORD)


def test_the_same_password_typed_two_ways_is_one_password() -> None:
    CHEAP.verify(CHEAP.hash(SecretText("비밀번호 ａ１")), SecretText("비밀번호 a1"))


def test_two_verifiers_of_one_password_differ() -> None:
    assert CHEAP.hash(PASSWORD) != CHEAP.hash(PASSWORD)


@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "secret",
        "$argon2id$",
        "$argon2id$v=19$m=8,t=1,p=1$AAAA",
        "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$QR==",
        "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$2b$12$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_refuses_what_is_no_argon2id_verifier(verifier: str) -> None:
    with pytest.raises(MalformedError, match="password_verifier"):
        CHEAP.verify(verifier, PASSWORD)


def test_verifier_of_another_cost_needs_an_upgrade() -> None:
    assert not CHEAP.needs_upgrade(CHEAP.hash(PASSWORD))
    dearer = Passwords(Argon2Parameters(memory_kib=16, passes=2))
    assert dearer.needs_upgrade(CHEAP.hash(PASSWORD))
    with pytest.raises(MalformedError, match="password_verifier"):
        CHEAP.needs_upgrade("secret")


def test_default_cost_is_that_of_the_document() -> None:
    assert Passwords().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=1$")


def test_refuses_password_without_utf8_form() -> None:
    with pytest.raises(MalformedError, match="text"):
        CHEAP.hash(SecretText("\ud800"))
