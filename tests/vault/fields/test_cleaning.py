from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.fields.samples import outcome
from vault.fields.cleaning import clean, letters_of, refuse_longer, shown_part
from vault.fields.rules import RuleBrokenError


def _rule(text: str, *, multiline: bool = False) -> str:
    with pytest.raises(RuleBrokenError) as caught:
        clean(text, multiline=multiline)
    return caught.value.rule


@given(st.text(max_size=60))
def test_clean_is_composed_trimmed_and_stable(text: str) -> None:
    ending, cleaned = outcome(clean, text)
    if ending == "refused":
        assert cleaned in {"empty", "control", "surrogate"}
        return
    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert not any(0xFF01 <= ord(char) <= 0xFF5E for char in cleaned)


def test_folds_full_width_forms_and_every_space() -> None:
    assert clean("\u3000Ａｂ\u00a0１２\u2003（주）") == "Ab 12 (주)"
    assert clean("Ａ\u0301") == "Á"


@pytest.mark.parametrize(
    "char", ["\x00", "\x1f", "\x7f", "\x85", "\u200b", "\ufeff", "\u202e", "\u2028", "\u00ad", "\n"]
)
def test_refuses_control_and_invisible_characters(char: str) -> None:
    assert _rule(f"가{char}나") == "control"


@pytest.mark.parametrize("char", ["\x00", "\r", "\x0b", "\u2029"])
def test_refuses_them_in_several_lines_too(char: str) -> None:
    assert _rule(f"가\n{char}나", multiline=True) == "control"


def test_keeps_line_feeds_and_tabs_where_several_lines_are_allowed() -> None:
    assert clean("가\r\n나\t다\n", multiline=True) == "가\n나\t다"


def test_keeps_joiners_and_unassigned_characters() -> None:
    assert clean("علی\u200cرضا") == "علی\u200cرضا"
    assert clean("a\ue000\u0378") == "a\ue000\u0378"


def test_refuses_a_lone_surrogate() -> None:
    assert _rule("가\udc80") == "surrogate"


def test_counts_bytes_as_well_as_letters() -> None:
    refuse_longer("가" * 10, letters=10, nbytes=30)
    for text, letters, nbytes in (("가" * 11, 10, 99), ("가" * 10, 10, 29)):
        with pytest.raises(RuleBrokenError, match="too_long"):
            refuse_longer(text, letters=letters, nbytes=nbytes)


def test_counts_letters_as_a_reader_does() -> None:
    assert letters_of("a b") == ["a", "b"]
    assert letters_of("홍 길동") == ["홍", "길", "동"]
    assert letters_of("e\u0323\u0301x가") == ["e\u0323\u0301", "x", "가"]
    assert letters_of("\u1112\u119e\u11ab나") == ["\u1112\u119e\u11ab", "나"]
    assert letters_of("\u0301가") == ["\u0301", "가"]


def test_a_mask_shows_at_most_half() -> None:
    assert [shown_part(length, 4) for length in (0, 1, 2, 3, 8, 100)] == [0, 0, 1, 1, 4, 4]
