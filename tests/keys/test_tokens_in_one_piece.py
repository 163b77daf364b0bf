"""Batches of good texts are read in one piece; nothing else about them may differ from reading each."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Callable

import pytest

from keys.errors import MalformedError
from keys.secret import SecretBytes
from keys.tokens import DecodedToken, TokenKey, TokenKeys, TokenKind

FIRST = TokenKey(1, SecretBytes(bytes(range(32))))
SECOND = TokenKey(2, SecretBytes(bytes(range(1, 33))))
KEYS = TokenKeys(SECOND, [FIRST, SECOND])
ROWS = [("phn" if at % 3 else "gen", at + 1, bytes([at]) * 8) for at in range(50)]
TEXTS = FIRST.encode_many([row[0] for row in ROWS], [row[1] for row in ROWS], [row[2] for row in ROWS])


def _each(texts: list[str]) -> list[DecodedToken | str]:
    said: list[DecodedToken | str] = []
    for text in texts:
        try:
            said.append(KEYS.decode(text))
        except MalformedError as error:
            said.append(error.rule)
    return said


def _many(texts: list[str]) -> list[DecodedToken | str]:
    return [found if isinstance(found, DecodedToken) else found.rule for found in KEYS.decode_many(texts)]


def _text(prefix: str, kind: int, version: int, *, block: bytes) -> str:
    raw = struct.pack(">H", kind << 12 | version) + block
    check = crc_hqx(f"{prefix}_".encode() + raw, 0xFFFF)
    return f"{prefix}_{raw.hex()}{check:04x}"


def _of_row(row_id: int) -> str:
    return _text("phn", 0, 1, block=FIRST.blocks.encrypt(struct.pack(">Q8s", row_id, bytes(8))))


def test_reads_a_good_batch_as_each_of_its_texts() -> None:
    assert _many(TEXTS) == _each(TEXTS)
    assert [(found.prefix, found.row_id, found.nonce) for found in KEYS.decode_many(TEXTS)] == ROWS  # type: ignore[union-attr]  # all are good


def test_reads_subject_ids_in_one_piece() -> None:
    texts = SECOND.encode_many(["sub"] * 8, range(1, 9), [bytes(8)] * 8, TokenKind.SUBJECT)
    found = KEYS.decode_many(texts)
    assert found == _each(texts)
    assert all(isinstance(token, DecodedToken) and token.kind is TokenKind.SUBJECT for token in found)


def test_an_empty_batch_says_nothing() -> None:
    assert KEYS.decode_many([]) == []


ODD: dict[str, Callable[[], str]] = {
    "shorter": lambda: TEXTS[0][:-1],
    "longer": lambda: TEXTS[0] + "0",
    "upper case": lambda: TEXTS[0][:4] + TEXTS[0][4:].upper(),
    "white space": lambda: TEXTS[0][:42] + "  ",
    "not hexadecimal": lambda: TEXTS[0][:-1] + "g",
    "flipped": lambda: TEXTS[0][:-1] + ("1" if TEXTS[0][-1] != "1" else "2"),
    "prefix in upper case": lambda: "P" + TEXTS[0][1:],
    "prefix of a lone surrogate": lambda: "\ud800" + TEXTS[0][1:],
    "no underscore": lambda: TEXTS[0][:3] + "-" + TEXTS[0][4:],
    "another key version": lambda: SECOND.encode("phn", 7, bytes(8)),
    "unknown key version": lambda: _text("phn", 0, 3, block=bytes(16)),
    "reserved kind": lambda: _text("phn", 4, 1, block=bytes(16)),
    "subject prefix on a token": lambda: _text("sub", 0, 1, block=bytes(16)),
    "row id zero": lambda: _of_row(0),
    "row id of 64 bits": lambda: _of_row(1 << 63),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("at", [0, 25, 50])
def test_one_odd_text_is_told_apart_from_the_good_ones(odd: Callable[[], str], at: int) -> None:
    texts = [*TEXTS[:at], odd(), *TEXTS[at:]]
    assert _many(texts) == _each(texts)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_batch_of_the_same_odd_text_is_read_as_each(odd: Callable[[], str]) -> None:
    assert _many([odd()] * 8) == _each([odd()] * 8)
