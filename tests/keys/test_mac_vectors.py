from __future__ import annotations

import hashlib
import hmac
from typing import Any

from keys.macs import AuthorityKeys, LogMacKeys, MacKeys
from keys.signing import SigningKey, VerifyKey, key_id
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("macs")
AUTHORITY = VECTORS["authority"]
LOG_UNITS = VECTORS["log_units"]
SIGNATURES = VECTORS["signatures"]


def mac_keys(case: dict[str, Any]) -> MacKeys:
    return MacKeys("authority", 1, [(1, secret(case["key"]))])


def row_of(case: dict[str, Any]) -> bytes:
    text: str = case["row"]
    return bytes(int(text[3:])) if text.startswith("00*") else unhex(text)


def authority(case: dict[str, Any]) -> AuthorityKeys:
    return AuthorityKeys(unhex(case["vault"]), mac_keys(case))


def log_units(case: dict[str, Any]) -> LogMacKeys:
    return LogMacKeys(unhex(case["vault"]), mac_keys(case))


def leaves(case: dict[str, Any]) -> list[bytes]:
    return [unhex(text) for text in case["leaf_hashes"]]


@cases(AUTHORITY["valid"])
def test_authority_code_is_that_of_the_vector(case: dict[str, Any]) -> None:
    keys, row = authority(case), row_of(case)
    code = keys.mac(case["table"], case["row_id"], version=case["version"], row=row)
    assert code.hex() == case["mac"]
    assert keys.verify(case["table"], case["row_id"], version=case["version"], row=row, code=code) == 1


def test_authority_vector_follows_from_primitives() -> None:
    case = AUTHORITY["valid"][0]
    parts = [b"piivault/authority/v1", unhex(case["vault"]), b"staff", b"stf_1", bytes(7) + b"\x01", b"row"]
    message = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    assert hmac.new(unhex(case["key"]), message, hashlib.sha256).hexdigest() == case["mac"]


@cases(AUTHORITY["malformed"])
def test_refuses_changed_authority_row(case: dict[str, Any]) -> None:
    keys = authority(case)
    with refusal(case):
        keys.verify(
            case["table"],
            case["row_id"],
            version=case["version"],
            row=row_of(case),
            code=unhex(case["mac"]),
        )


@cases(LOG_UNITS["valid"])
def test_log_unit_code_is_that_of_the_vector(case: dict[str, Any]) -> None:
    keys, writer = log_units(case), unhex(case["writer"])
    code = keys.mac(writer, case["counter"], leaves(case))
    assert code.hex() == case["mac"]
    assert keys.verify(writer, case["counter"], leaves(case), code=code) == 1


@cases(LOG_UNITS["malformed"])
def test_refuses_changed_log_unit(case: dict[str, Any]) -> None:
    keys = log_units(case)
    with refusal(case):
        keys.verify(unhex(case["writer"]), case["counter"], leaves(case), code=unhex(case["mac"]))


@cases(SIGNATURES["valid"])
def test_signature_is_that_of_the_rfc(case: dict[str, Any]) -> None:
    key = SigningKey(case["name"], secret(case["seed"]))
    signature = key.sign(unhex(case["message"]))
    assert signature.hex() == case["signature"]
    assert key.public.hex() == case["public"]
    assert key.key_id.hex() == case["key_id"]
    VerifyKey(key.public).verify(signature, unhex(case["message"]))


@cases(SIGNATURES["malformed"])
def test_refuses_signature_that_does_not_match(case: dict[str, Any]) -> None:
    with refusal(case):
        VerifyKey(unhex(case["public"])).verify(unhex(case["signature"]), unhex(case["message"]))


@cases(VECTORS["key_names"])
def test_refuses_key_name_that_a_signed_note_cannot_hold(case: dict[str, Any]) -> None:
    with refusal(case):
        key_id(case["name"], bytes(32))
