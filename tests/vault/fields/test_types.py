from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.fields.samples import TYPES, refused_rule
from vault.fields.business import check_digit
from vault.fields.catalogue import CATALOGUE
from vault.fields.demographics import AGE_BANDS, age_band_order
from vault.fields.rules import SettingError

BRN = TYPES["business_number"]


@given(st.from_regex(r"[0-9]{9}", fullmatch=True), st.integers(0, 9), st.integers(1, 9))
def test_the_check_digit_catches_every_single_wrong_digit(nine: str, place: int, change: int) -> None:
    whole = nine + check_digit(nine)
    wrong = whole[:place] + str((int(whole[place]) + change) % 10) + whole[place + 1 :]
    assert check_digit(wrong[:9]) != wrong[9]


def test_the_worked_example_of_the_check_digit() -> None:
    assert check_digit("123456789") == "1"


def test_age_bands_are_ordered_by_first_then_last_year() -> None:
    def years(band: str) -> tuple[int, int]:
        first, _, last = band.partition("-")
        return int(first), int(last or 200)

    assert sorted(AGE_BANDS, key=years) == list(AGE_BANDS)
    assert age_band_order("10-14") < age_band_order("10-19") < age_band_order("90-")
    with pytest.raises(KeyError):
        age_band_order("25-34")


def test_bands_that_reach_below_fourteen_warn() -> None:
    warned = {band: TYPES["age_band"].warnings(band) for band in AGE_BANDS}
    assert warned.pop("0-9") == ("under_14",)
    assert warned.pop("10-14") == ("may_be_under_14",)
    assert warned.pop("10-19") == ("may_be_under_14",)
    assert set(warned.values()) == {()}


@pytest.mark.parametrize(
    ("name", "longest", "letter"),
    [
        ("oauth_subject", 255, "a"),
        ("login_id", 64, "a"),
        ("person_name", 100, "a"),
        ("company_name", 200, "a"),
        ("text", 1000, "가"),
        ("person_name", 84, "가"),
        ("company_name", 170, "가"),
        ("login_id", 64, "가"),
    ],
)
def test_accepts_the_longest_and_refuses_one_more(name: str, longest: int, letter: str) -> None:
    kind = TYPES[name]
    stored = kind.normalise(letter * longest, "f")
    assert kind.padded_size(len(stored.encode())) in kind.buckets
    assert refused_rule(kind, letter * (longest + 1)) == "too_long"


def test_an_address_may_have_254_characters() -> None:
    kind = TYPES["email"]
    domain = ".".join(["d" * 60] * 4) + ".example"
    longest = "m" * (253 - len(domain)) + "@" + domain
    assert kind.padded_size(len(kind.normalise(longest, "f"))) == 256
    assert refused_rule(kind, "m" + longest) == "too_long"


def test_an_address_is_measured_after_its_domain_is_encoded() -> None:
    domain = ".".join(["한글도메인이름이아주길어요"] * 8) + ".kr"
    assert refused_rule(TYPES["email"], f"someone@{domain}") == "too_long"


def test_text_obeys_its_settings() -> None:
    kind = CATALOGUE["text"]({"max_length": 5, "multiline": True, "searchable": True})
    assert kind.searchable
    assert kind.buckets == (32,)
    assert kind.normalise("가\r\n나", "f") == "가\n나"
    assert refused_rule(kind, "가나다라마바") == "too_long"
    assert refused_rule(TYPES["text"], "가\n나") == "control"


def test_text_of_four_thousand_letters_fits_the_largest_bucket() -> None:
    kind = CATALOGUE["text"]({"max_length": 4094})
    assert kind.padded_size(len(kind.normalise("a" * 4094, "f"))) == 4096
    assert refused_rule(kind, "가" * 1365) == "too_long"


def test_an_enumeration_takes_its_values_and_nothing_else() -> None:
    kind = CATALOGUE["enum"]({"values": ("작가", "출판사")})
    assert kind.normalise(" 작가 ", "f") == "작가"
    assert refused_rule(kind, "독자") == "unknown_value"
    assert refused_rule(kind, "**") == "masked"


@pytest.mark.parametrize(
    ("name", "settings", "key", "rule"),
    [
        ("text", {"max_length": 0}, "max_length", "range"),
        ("text", {"max_length": 4095}, "max_length", "range"),
        ("text", {"max_length": "9"}, "max_length", "type"),
        ("text", {"max_length": True}, "max_length", "type"),
        ("text", {"multiline": "yes"}, "multiline", "type"),
        ("text", {"searchable": 1}, "searchable", "type"),
        ("enum", {}, "values", "missing"),
        ("enum", {"values": []}, "values", "type"),
        ("enum", {"values": "a"}, "values", "type"),
        ("enum", {"values": ["a", 1]}, "values", "type"),
        ("enum", {"values": ["a", "a"]}, "values", "duplicate"),
        ("enum", {"values": ["가" * 11]}, "values", "too_long"),
        ("enum", {"values": ["900101-1234567"]}, "values", "resident_number"),
        ("enum", {"values": [" a"]}, "values", "shape"),
        ("enum", {"values": ["***"]}, "values", "shape"),
        ("enum", {"values": [f"v{n}" for n in range(201)]}, "values", "range"),
        ("enum", {"values": ["a"], "searchable": True}, "searchable", "unknown_key"),
    ],
)
def test_refuses_a_wrong_setting(name: str, settings: dict[str, object], key: str, rule: str) -> None:
    with pytest.raises(SettingError) as caught:
        CATALOGUE[name](settings)
    assert (caught.value.key, caught.value.rule) == (key, rule)
