from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.fields.samples import outcome
from vault.fields.resident import refuse_resident_number


def refused(text: str) -> bool:
    return outcome(_screened, text) == ("refused", "resident_number")


def _screened(text: str) -> str:
    refuse_resident_number(text)
    return text


@pytest.mark.parametrize(
    "text",
    [
        "900101-1234567",
        "9001011234567",
        "900101 1234567",
        "900101 - 1234567",
        "000229-3234567",
        "19900101-1234567",
        "199001011234567",
        "991231-0234567",
        "850505-9234567",
        "900101-5234567",
        "900101-1******",
        "900101\u2212\u0031234567",
        "٩٠٠١٠١-١٢٣٤٥٦٧",
        "900101-12\u200d34567",
        "주문 12345-1 그리고 900101-1234567번",
        "991301-1234567 900101-1234567",
        "a900101-1234567b",
    ],
)
def test_refuses_the_shape(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "90-01-01-1234567",
        "1990-01-01-1234567",
        "1990.01.01. 1234567",
        "900101-1234-567",
        "900101----1234567",
        "900101|1234567",
        "900101(1234567)",
        "900101・1234567",
        "900101\ufe631234567",
        "900101\u31611234567",
        "900101\u31641234567",
        "900101\n1234567",
        "9 0 0 1 0 1 1 2 3 4 5 6 7",
        "1 9 9 0 0 1 0 1 1 2 3 4 5 6 7",
        "900101-1●●●●●●",
        "900101-1○○○○○○",
        "900101-1xxxxxx",
        "900101-12*****",
        "900101-1-******",
        "90-01-01-1******",
        "19900101-1●●●●●●",
    ],
)
def test_refuses_other_spellings(text: str) -> None:
    assert refused(text)
    assert refused(f"번호: {text}입니다")


@pytest.mark.parametrize(
    "text",
    [
        "1234567 900101-1234567",
        "12 900101-1234567",
        "010-1234-5678 900101-1234567",
        "010-1234-5678-90",
        "010123-4567890",
        "01-01-23-4567890",
        "101-01-12345-402",
    ],
)
def test_neighbours_hide_nothing(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "010-1234-5678",
        "123-45-67891",
        "901301-1234567",
        "900001-1234567",
        "900230-1234567",
        "900431-1234567",
        "900100-1234567",
        "900132-1234567",
        "900101-123456",
        "900101-12345678",
        "1900101-1234567",
        "90010112345678",
        "4111111111111111",
        "4111 1111 1111 1111",
        "18990101-1234567",
        "1990-13-01-1234567",
        "900101-----1234567",
        "900101a1234567",
        "2024-01-01 1234567890",
        "4915112345678",
        "8613800138000",
        "123e4567-e89b-12d3-a456-426614174000",
        "kakao:1029384756",
        "google:108374650192837465019",
        "order 20261301-1234567",
        "2026-11-24 09:30:15",
    ],
)
def test_lets_other_numbers_pass(text: str) -> None:
    assert not refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "010-1234-5678 / 010-2222-3333",
        "010-1234-5678 / 02-123-4567",
        "010-1234-5678/02-123-4567",
        "01012345678, 01098765432, 02-123-4567",
        "(010) 1234-5678 / (02) 123-4567",
        "010-1234-5678 09:00~18:00",
        "010-1234-5678~80",
        "2026-11-24 010-1234-5678",
        "2026-11-24 02-123-4567",
        "+82 10-1234-5678",
        "+82-010-1234-5678",
        "+82 (0)10-1234-5678, 3",
        "82-010-1234-5678",
        "101-01-12345 / 402-86-31417",
    ],
)
def test_lets_lists_of_phones_and_business_numbers_pass(text: str) -> None:
    assert not refused(text)


SEPARATORS = "-‐–—−・·./|_~:;,()[] \t\n#*'\ufe63\u3161\u30fc"


# No year that begins as a telephone number does: grouped as one, digits are one.
@given(
    years=st.sampled_from(["50", "81", "99", "1950", "1999", "2026"]),
    day=st.dates().map(lambda date: f"{date:%m%d}"),
    serial=st.text("0123456789", min_size=7, max_size=7),
    gaps=st.lists(st.text(SEPARATORS, max_size=4), min_size=15, max_size=15),
    before=st.sampled_from(["", "번호 ", "a", "(", "12. "]),
    after=st.sampled_from(["", "번", "z", ")", "."]),
)
def test_refuses_every_date_and_seven_digits_with_up_to_four_separators(
    years: str, day: str, serial: str, gaps: list[str], before: str, after: str
) -> None:
    digits = years + day + serial
    text = digits[0] + "".join(gap + digit for gap, digit in zip(gaps, digits[1:], strict=False))
    assert refused(before + text + after)


@given(st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["010", "011", "02", "031", "070"]))
def test_no_list_of_phones_is_taken_for_one(middle: int, last: int, area: str) -> None:
    phone = f"{area}-{middle:04}-{last:04}"
    for text in (f"{phone} / 02-123-4567", f"{phone}, {phone}", f"2001-02-03 {phone}", f"{phone} 11"):
        assert not refused(text)


@pytest.mark.parametrize(
    "unit", ["1", "1 ", "1    ", " ", "*", "1*", "1****", "900101-1", "12-", "010-1234-5678 ", "900101*****1"]
)
def test_reads_a_long_text_in_time_that_grows_with_its_length(unit: str) -> None:
    text = (unit * 8192)[:8192]
    start = time.perf_counter()
    refused(text + "9")
    # A tenth of this is typical; a pattern that backtracks would take minutes.
    assert time.perf_counter() - start < 2


def test_the_same_holds_where_every_start_is_a_candidate() -> None:
    start = time.perf_counter()
    assert not refused("010-1234-5678 / 02-123-4567 " * 300)
    assert time.perf_counter() - start < 2
