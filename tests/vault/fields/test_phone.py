from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.fields.samples import TYPES, outcome, refused_rule
from vault.fields import korean
from vault.fields.catalogue import CATALOGUE
from vault.fields.phone import _whole_rule
from vault.fields.rules import SettingError

PHONE = TYPES["phone"]
_MOBILE_LIKE = st.from_regex(r"(\+82|0|)1[01]-?[0-9]{3,4}-?[0-9]{3,5}", fullmatch=True)
_FOUR = st.from_regex(r"[0-9]{4}", fullmatch=True)
_EXCHANGE = st.from_regex(r"[1-9][0-9]{2,3}", fullmatch=True)
_AREAS = ("2", "31", "32", "33", "41", "42", "43", "44", "51", "52", "53", "54", "55", "61", "62", "63", "64")


@settings(max_examples=500, deadline=None)
@given(text=_MOBILE_LIKE)
def test_the_short_way_answers_like_the_whole_rule(text: str) -> None:
    assert outcome(PHONE.canonical, text) == outcome(_whole_rule("KR"), text)


@settings(max_examples=100, deadline=None)
@given(exchange=_FOUR, line=_FOUR, shape=st.sampled_from(["010-{}-{}", "010{}{}", "+8210{}{}"]))
def test_plain_mobiles_are_stored_as_e164(exchange: str, line: str, shape: str) -> None:
    assert PHONE.normalise(shape.format(exchange, line), "f") == f"+8210{exchange}{line}"


@settings(max_examples=300, deadline=None)
@given(
    national=st.one_of(
        st.builds("010{}{}".format, st.from_regex(r"[0-46-9][0-9]{3}", fullmatch=True), _FOUR),
        st.builds("0{}{}{}".format, st.sampled_from(["11", "16", "17", "18", "19"]), _EXCHANGE, _FOUR),
        st.builds("0{}{}{}".format, st.sampled_from(_AREAS), _EXCHANGE, _FOUR),
        st.builds("070{}{}".format, _FOUR, _FOUR),
        st.from_regex(r"050[0-9]{8,9}", fullmatch=True),
        st.from_regex(r"080[0-9]{7}", fullmatch=True),
        st.builds("{}{}".format, st.sampled_from(sorted(korean.LISTED)), _FOUR),
    )
)
def test_the_numbering_library_agrees_on_korean_numbers(national: str) -> None:
    number = phonenumbers.parse(national, "KR")
    assert phonenumbers.is_valid_number(number)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert PHONE.normalise(national, "f") == e164


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_accepts_the_example_number_of_every_region(region: str) -> None:
    example = phonenumbers.example_number(region)
    assert example is not None
    written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    stored = PHONE.normalise(written, "f")
    assert PHONE.normalise(PHONE.display(stored), "f") == stored
    assert PHONE.mask(stored).startswith(f"+{example.country_code}-****-" if region != "KR" else "02-****-")


def test_a_mask_does_not_tell_how_many_digits_it_hides() -> None:
    assert PHONE.mask("+8221234567") == PHONE.mask("+82299994567")
    assert PHONE.mask("+16502534567") == PHONE.mask("+12124564567")


def test_a_foreign_default_region_reads_national_numbers_there() -> None:
    american = CATALOGUE["phone"]({"region": "US"})
    assert american.normalise("(650) 253-0000", "f") == "+16502530000"
    assert american.normalise("+82 2-1234-5678", "f") == "+82212345678"
    assert american.normalise("011 82 10-1234-5678", "f") == "+821012345678"
    assert refused_rule(american, "011 82 10-123-4567") == "length"
    assert refused_rule(american, "911") == "short_number"
    assert refused_rule(american, "010-1234-5678") in {"length", "country_code"}


@pytest.mark.parametrize(
    ("region", "rule"), [("kr", "unknown_region"), ("ZZ", "unknown_region"), (82, "type")]
)
def test_refuses_a_region_that_does_not_exist(region: object, rule: str) -> None:
    with pytest.raises(SettingError) as caught:
        CATALOGUE["phone"]({"region": region})
    assert (caught.value.key, caught.value.rule) == ("region", rule)


def test_thirteen_digits_with_a_plus_are_a_phone_number() -> None:
    # The same digits without the sign read as a birth date and are refused.
    assert PHONE.normalise("+8201012345678", "f") == "+821012345678"
    assert refused_rule(PHONE, "8201012345678") == "resident_number"
    assert refused_rule(PHONE, "+900101-1234567") in {"length", "prefix"}
