"""Telephone numbers: Korean ones by the national rules, all others by the numbering library.

Stored as E.164 (ITU-T). For a representative number (15xx) that form serves
storage only: it usually cannot be dialled from abroad. Accepted between the
digits: spaces, hyphens and dashes, dots and brackets; nothing else, so an
extension or a second number is refused rather than lost.

The setting ``region`` (two letters, default ``KR``) says where a number without
``+`` is meant. A number with ``+`` is not screened as a resident number, since
none is written so and the library must know it; every other text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import phonenumbers

from vault.fields import korean
from vault.fields.base import FieldType, Settings, buckets_up_to
from vault.fields.cleaning import clean, refuse_masked
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError, SettingError
from vault.fields.settings import refuse_unknown, string

_KOREA: Final = "KR"
_KOREAN_CODE: Final = 82
_E164_LONGEST: Final = 16
_LONGEST_INPUT: Final = 40
_SHORT: Final = 4
_WITH_COUNTRY_CODE: Final = 10
_LONG_ENOUGH_FOR_FOUR: Final = 8

# The way nearly all numbers come: answered here at a fortieth of the cost, with the same result.
_PLAIN_MOBILE: Final = re.compile(r"(?:0|\+82)10-?([0-9]{4})-?([0-9]{4})")
_DIALLED: Final = re.compile(r"[(\[]? ?\+?[0-9 .()\[\]\-\u00b7\u2010-\u2015\u2212\u3161\u30fc]+")
_NOT_A_DIGIT: Final = re.compile(r"[^0-9]")
_REASONS: Final = MappingProxyType(
    {
        phonenumbers.ValidationResult.TOO_SHORT: "length",
        phonenumbers.ValidationResult.TOO_LONG: "length",
        phonenumbers.ValidationResult.INVALID_LENGTH: "length",
        phonenumbers.ValidationResult.INVALID_COUNTRY_CODE: "country_code",
    }
)


def phone(settings: Settings) -> FieldType:
    """Return the type of a telephone number, with ``region`` from ``settings``."""
    refuse_unknown(settings, "region")
    region = string(settings, "region", default=_KOREA)
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingError("region", "unknown_region", "must be an ISO 3166 code of two capital letters")
    return FieldType(
        name="phone",
        prefix="phn",
        searchable=True,
        buckets=buckets_up_to(_E164_LONGEST),
        canonical=_korean_first(region) if region == _KOREA else _whole_rule(region),
        mask=_mask,
        display=_display,
        warnings=_warnings,
    )


def _korean_first(region: str) -> Callable[[str], str]:
    slow = _whole_rule(region)

    def canonical(text: str) -> str:
        plain = _PLAIN_MOBILE.fullmatch(text)
        return f"+8210{plain[1]}{plain[2]}" if plain else slow(text)

    return canonical


def _whole_rule(region: str) -> Callable[[str], str]:
    def canonical(text: str) -> str:
        cleaned = clean(text)
        refuse_masked(cleaned)
        if len(cleaned) > _LONGEST_INPUT:
            raise RuleBrokenError("too_long")
        international = "+" in cleaned
        if not international:
            refuse_resident_number(cleaned)
        if not _DIALLED.fullmatch(cleaned):
            raise RuleBrokenError("characters")
        digits = _NOT_A_DIGIT.sub("", cleaned)
        if international:
            return _from_abroad(digits)
        return _from_korea(digits) if region == _KOREA else _within(region, digits)

    return canonical


def _from_abroad(digits: str) -> str:
    if digits.startswith("82"):
        return "+82" + korean.significant(digits[2:], international=True)
    return _by_library("+" + digits, None)


def _from_korea(digits: str) -> str:
    # No Korean number begins with 82, so these digits are the country code without its sign.
    if digits.startswith("82") and len(digits) >= _WITH_COUNTRY_CODE:
        return "+82" + korean.significant(digits[2:], international=True)
    return "+82" + korean.significant(digits, international=False)


def _within(region: str, digits: str) -> str:
    if len(digits) <= _SHORT:
        raise RuleBrokenError("short_number")
    return _by_library(digits, region)


def _by_library(dialled: str, region: str | None) -> str:
    number = _parsed(dialled, region)
    if number.country_code == _KOREAN_CODE:
        significant = phonenumbers.national_significant_number(number)
        return "+82" + korean.significant(significant, international=True)
    if not phonenumbers.is_valid_number(number):
        reason = phonenumbers.is_possible_number_with_reason(number)
        raise RuleBrokenError(_REASONS.get(reason, "prefix"))
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _parsed(dialled: str, region: str | None) -> phonenumbers.PhoneNumber:
    try:
        return phonenumbers.parse(dialled, region)
    except phonenumbers.NumberParseException as refused:
        code = refused.error_type
    wrong_country = code == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE
    raise RuleBrokenError("country_code" if wrong_country else "length")


def _mask(normalised: str) -> str:
    if normalised.startswith("+82"):
        return korean.masked(normalised[3:])
    code, national = _split(normalised)
    shown = 4 if len(national) >= _LONG_ENOUGH_FOR_FOUR else 2
    return f"+{code}-****-{national[-shown:]}"


def _split(normalised: str) -> tuple[str, str]:
    """Return country code and national number; codes are prefix-free and one to three digits long."""
    digits = normalised[1:]
    size = next((n for n in (1, 2) if int(digits[:n]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 3)
    return digits[:size], digits[size:]


def _display(normalised: str) -> str:
    if normalised.startswith("+8210"):  # nearly all of them: without a call it takes half the time
        return f"010-{normalised[5:9]}-{normalised[9:]}"
    if normalised.startswith("+82"):
        return korean.printed(normalised[3:])
    number = phonenumbers.parse(normalised, None)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def _warnings(normalised: str) -> tuple[str, ...]:
    return korean.number_warnings(normalised[3:]) if normalised.startswith("+82") else ()
