from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pyotp

from keys.otp import accept_code
from keys.passwords import Argon2Parameters, Passwords
from keys.secret import SecretText
from tests.keys.vectors import cases, load, refusal

VECTORS = load("factors")
TOTP = VECTORS["totp"]
PASSWORDS = VECTORS["passwords"]
SECRET = SecretText(TOTP["secret"])
CHEAP = Passwords(Argon2Parameters(memory_kib=8, passes=1))


@cases(TOTP["accepted"])
def test_code_is_accepted_for_the_step_of_the_vector(case: dict[str, Any]) -> None:
    assert accept_code(SECRET, case["code"], case["at"], case["highest"]) == case["step"]


@cases(TOTP["accepted"])
def test_code_of_the_vector_follows_from_primitives(case: dict[str, Any]) -> None:
    digest = hmac.new(pyotp.HOTP(TOTP["secret"]).byte_secret(), digestmod=hashlib.sha1)
    digest.update(case["step"].to_bytes(8, "big"))
    at = digest.digest()[-1] & 15
    number = int.from_bytes(digest.digest()[at : at + 4], "big") & 0x7FFF_FFFF
    assert f"{number % 1_000_000:06d}" == case["code"]


@cases(TOTP["refused"])
def test_refuses_code(case: dict[str, Any]) -> None:
    with refusal(case):
        accept_code(SECRET, case["code"], case["at"], case["highest"])


@cases(TOTP["secrets"])
def test_refuses_secret_of_another_form(case: dict[str, Any]) -> None:
    with refusal(case):
        accept_code(SecretText(case["secret"]), "287082", 59, -1)


@cases(PASSWORDS["valid"])
def test_password_matches_the_verifier(case: dict[str, Any]) -> None:
    CHEAP.verify(case["verifier"], SecretText(case["password"]))


@cases([*PASSWORDS["refused"], *PASSWORDS["malformed"]])
def test_refuses_password_or_verifier(case: dict[str, Any]) -> None:
    with refusal(case):
        CHEAP.verify(case["verifier"], SecretText(case["password"]))
