from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keys.errors import MalformedError
from keys.tokens import DecodedToken, TokenKey, TokenKeys, TokenKind
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("token")


def token_keys() -> TokenKeys:
    readable = [TokenKey(version, secret(VECTORS["key"])) for version in VECTORS["key_versions_known"]]
    return TokenKeys(readable[0], readable)


def crc16(data: bytes) -> int:
    """CRC of token.md 2.1, bit by bit."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ (0x1021 if register & 0x8000 else 0)) & 0xFFFF
    return register


def test_kinds_have_the_codes_of_the_document() -> None:
    assert {kind.name.lower(): kind.value for kind in TokenKind} == VECTORS["kinds"]


@cases(VECTORS["valid"])
def test_token_encodes_to_the_vector(case: dict[str, Any]) -> None:
    key = TokenKey(case["key_version"], secret(case["key"]))
    text = key.encode(case["prefix"], case["row_id"], unhex(case["nonce"]), TokenKind(case["kind"]))
    assert text == case["token"]


@cases(VECTORS["valid"])
def test_token_decodes_to_the_vector(case: dict[str, Any]) -> None:
    assert token_keys().decode(case["token"]) == DecodedToken(
        prefix=case["prefix"],
        kind=TokenKind(case["kind"]),
        key_version=case["key_version"],
        row_id=case["row_id"],
        nonce=unhex(case["nonce"]),
    )


@cases(VECTORS["valid"])
def test_token_vector_follows_from_primitives(case: dict[str, Any]) -> None:
    encryptor = Cipher(algorithms.AES(unhex(case["key"])), modes.ECB()).encryptor()  # noqa: S305 (one block)
    block = encryptor.update(case["row_id"].to_bytes(8, "big") + unhex(case["nonce"])) + encryptor.finalize()
    body = (case["kind"] * 4096 + case["key_version"]).to_bytes(2, "big") + block
    check = crc16(case["prefix"].encode() + b"_" + body)
    assert case["token"] == f"{case['prefix']}_{body.hex()}{check:04x}"


@cases(VECTORS["malformed"])
def test_refuses_malformed_token(case: dict[str, Any]) -> None:
    with refusal(case):
        token_keys().decode(case["token"])


def test_batch_refuses_what_single_refuses_and_reads_what_single_reads() -> None:
    malformed, valid = VECTORS["malformed"], VECTORS["valid"]
    mixed = [case for pair in zip(malformed, valid * 20, strict=False) for case in pair]
    found = token_keys().decode_many([case["token"] for case in mixed])
    for case, result in zip(mixed, found, strict=True):
        if isinstance(result, MalformedError):
            assert result.rule == case["rule"]
            assert result.__traceback__ is None
        else:
            assert result == token_keys().decode(case["token"])
            assert result.row_id == case["row_id"]


@cases(VECTORS["unwritable"])
def test_refuses_to_write_what_no_reader_takes(case: dict[str, Any]) -> None:
    key = TokenKey(1, secret(VECTORS["key"]))
    with refusal(case):
        key.encode(case["prefix"], case["row_id"], unhex(case["nonce"]), TokenKind(case["kind"]))
