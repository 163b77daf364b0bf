from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import MalformedError, UnknownKeyVersionError
from keys.secret import SecretBytes
from keys.tokens import DecodedToken, TokenKey, TokenKeys, TokenKind

KEY = TokenKey(1, SecretBytes(bytes(range(32))))
SECOND = TokenKey(2, SecretBytes(bytes(32)))
KEYS = TokenKeys(SECOND, [KEY, SECOND])
ROW_ID = st.integers(1, 2**63 - 1)
NONCE = st.binary(min_size=8, max_size=8)
PREFIX = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=3).filter(lambda text: text != "sub")
ROWS = st.lists(st.tuples(PREFIX, ROW_ID, NONCE), max_size=20)


@given(PREFIX, ROW_ID, NONCE)
def test_token_decodes_to_what_was_encoded(prefix: str, row_id: int, nonce: bytes) -> None:
    text = KEY.encode(prefix, row_id, nonce)
    assert len(text) == 44
    assert KEYS.decode(text) == DecodedToken(prefix, TokenKind.RANDOM, 1, row_id, nonce)


@given(ROW_ID, NONCE)
def test_subject_id_decodes_to_what_was_encoded(row_id: int, nonce: bytes) -> None:
    text = SECOND.encode("sub", row_id, nonce, TokenKind.SUBJECT)
    assert KEYS.decode(text) == DecodedToken("sub", TokenKind.SUBJECT, 2, row_id, nonce)


def _many(key: TokenKey, rows: list[tuple[str, int, bytes]]) -> list[str]:
    return key.encode_many([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


@given(ROWS, ROWS)
def test_batch_equals_singles_in_order(
    first: list[tuple[str, int, bytes]], second: list[tuple[str, int, bytes]]
) -> None:
    texts = _many(KEY, first) + _many(SECOND, second)
    assert texts == [KEY.encode(*row) for row in first] + [SECOND.encode(*row) for row in second]
    mixed = [text for pair in zip(texts, texts[::-1], strict=True) for text in pair]
    assert KEYS.decode_many(mixed) == [KEYS.decode(text) for text in mixed]


def test_one_changed_character_is_refused_by_the_check() -> None:
    text = KEY.encode("phn", 9, bytes(8))
    for at in range(4, 44):
        for digit in "0123456789abcdef".replace(text[at], ""):
            with pytest.raises(MalformedError, match="check"):
                KEYS.decode(text[:at] + digit + text[at + 1 :])


def test_one_changed_letter_of_the_prefix_is_refused_by_the_check() -> None:
    text = KEY.encode("phn", 9, bytes(8))
    for at in range(3):
        for letter in "abcdefghijklmnopqrstuvwxyz".replace(text[at], ""):
            with pytest.raises(MalformedError, match="check"):
                KEYS.decode(text[:at] + letter + text[at + 1 :])


@given(st.text(max_size=50))
def test_any_text_is_read_or_refused_as_malformed(text: str) -> None:
    (found,) = KEYS.decode_many([text])
    assert isinstance(found, MalformedError)


def test_same_row_and_other_nonce_give_unrelated_tokens() -> None:
    one, other = (KEY.encode("phn", 9, nonce) for nonce in (bytes(8), bytes(7) + b"\1"))
    assert one[8:40] != other[8:40]


def test_token_of_a_missing_key_is_refused() -> None:
    text = SECOND.encode("phn", 9, bytes(8))
    with pytest.raises(MalformedError, match="key_version"):
        TokenKeys(KEY, [KEY]).decode(text)


def test_batch_with_one_refused_row_encodes_nothing() -> None:
    with pytest.raises(MalformedError, match="row_id"):
        KEY.encode_many(("phn", "phn"), (1, 0), (bytes(8), bytes(8)))
    # The refused batch left nothing behind in the cipher.
    assert KEYS.decode(KEY.encode("phn", 1, bytes(8))).row_id == 1


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        KEY.encode_many(("phn", "phn"), (1,), (bytes(8),))


@pytest.mark.parametrize("version", [-1, 0, 4096])
def test_refuses_key_version_outside_twelve_bits(version: int) -> None:
    with pytest.raises(MalformedError, match="key_version"):
        TokenKey(version, SecretBytes(bytes(32)))


def test_refuses_token_key_of_another_length() -> None:
    with pytest.raises(MalformedError, match="key_length"):
        TokenKey(1, SecretBytes(bytes(16)))


def test_active_key_writes_and_its_absence_is_refused() -> None:
    assert KEYS.active is SECOND
    with pytest.raises(UnknownKeyVersionError, match="token//active"):
        _ = TokenKeys(None, [KEY]).active


def test_threads_share_a_key() -> None:
    def round_trip(thread: int) -> bool:
        rows = [("phn", 1 + thread * 1000 + at, os.urandom(8)) for at in range(500)]
        found = KEYS.decode_many(_many(KEY, rows))
        return found == [DecodedToken(prefix, TokenKind.RANDOM, 1, at, nonce) for prefix, at, nonce in rows]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(round_trip, range(40)))
