"""Gender and age band: enumerated, never searchable, sealed at one size, masked entirely.

Gender is ``F``, ``M`` or ``U`` (unknown or undisclosed). It is never derived
from digit 7 of a resident number, so ``1`` and ``2`` are refused.

An age band is ``lo-hi``, or ``lo-`` where it is open. The bands are those the
large Korean identity providers send: Kakao 0-9, 10-14, 15-19, 20-29 to 80-89
and 90-; Naver also 10-19 and 60-. Ages are full years (만 나이) and people
outgrow a band, so whoever keeps one keeps the day it was collected. A band that
reaches below 14 proves nothing about the age of consent (Personal Information
Protection Act, Article 22-2): :func:`_age_warnings` says so.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from vault.fields.base import ENUM_BUCKETS, FieldType, Settings, hidden
from vault.fields.cleaning import refuse_masked, screened
from vault.fields.rules import RuleBrokenError
from vault.fields.settings import refuse_unknown

_GENDER_WORDS: Final = MappingProxyType(
    {
        "F": ("f", "female", "woman", "여", "여성", "여자", "女"),
        "M": ("m", "male", "man", "남", "남성", "남자", "男"),
        "U": ("u", "unknown", "undisclosed", "미상", "모름", "비공개", "선택안함"),
    }
)
_GENDERS: Final = MappingProxyType({word: code for code, words in _GENDER_WORDS.items() for word in words})

AGE_BANDS: Final = (
    *("0-9", "10-14", "10-19", "15-19", "20-29", "30-39", "40-49"),
    *("50-59", "60-69", "60-", "70-79", "80-89", "90-"),
)
"""Every band, in order of age: by first year, then by last."""

_BAND_ORDER: Final = MappingProxyType({band: place for place, band in enumerate(AGE_BANDS)})
_BAND: Final = re.compile(r"([0-9]{1,2})세?[-~\u2010-\u2015\u2212\u301c]([0-9]{1,2})?세?")
_DECADE: Final = re.compile(r"([1-9]0)(?:대|s)")
_OPEN: Final = re.compile(r"([69]0)(?:\+|(?:대|세)이상)")
_OPEN_FROM: Final = "90"
_AGE_OF_CONSENT: Final = 14


def gender(settings: Settings) -> FieldType:
    """Return the type of a gender: F, M or U."""
    refuse_unknown(settings)
    return FieldType(
        name="gender",
        prefix="gen",
        searchable=False,
        buckets=ENUM_BUCKETS,
        canonical=_gender,
        mask=hidden,
    )


def age_band(settings: Settings) -> FieldType:
    """Return the type of an age band, one of :data:`AGE_BANDS`."""
    refuse_unknown(settings)
    return FieldType(
        name="age_band",
        prefix="age",
        searchable=False,
        buckets=ENUM_BUCKETS,
        canonical=_age_band,
        mask=hidden,
        warnings=_age_warnings,
    )


def age_band_order(band: str) -> int:
    """Return the place of a normalised band in :data:`AGE_BANDS`, for sorting. Raises: KeyError."""
    return _BAND_ORDER[band]


def _gender(text: str) -> str:
    if text in _GENDER_WORDS:
        return text
    return _screened_gender(text)


def _gender_word(cleaned: str) -> str:
    refuse_masked(cleaned)
    code = _GENDERS.get(cleaned.casefold())
    if code is None:
        raise RuleBrokenError("unknown_value")
    return code


def _age_band(text: str) -> str:
    if text in _BAND_ORDER:
        return text
    return _screened_age_band(text)


def _age_band_words(cleaned: str) -> str:
    refuse_masked(cleaned)
    band = _band_of(cleaned.replace(" ", ""))
    if band not in _BAND_ORDER:
        raise RuleBrokenError("unknown_value")
    return band


def _band_of(compact: str) -> str:
    if match := _OPEN.fullmatch(compact):
        return f"{match[1]}-"
    if match := _DECADE.fullmatch(compact):
        first, last = match[1], match[1][0] + "9"
    elif match := _BAND.fullmatch(compact):
        first, last = match[1], match[2] or ""
    else:
        return ""
    if first == _OPEN_FROM:
        # Whoever writes 90-99 or 90대 means the band that ends the list.
        return f"{first}-" if last in {"", "99"} else ""
    return "0-9" if (first, last) == ("1", "9") else f"{first}-{last}"


def _age_warnings(normalised: str) -> tuple[str, ...]:
    first, _, last = normalised.partition("-")
    if int(first) >= _AGE_OF_CONSENT:
        return ()
    return ("may_be_under_14",) if int(last) >= _AGE_OF_CONSENT else ("under_14",)


_screened_gender: Final = screened(_gender_word)
_screened_age_band: Final = screened(_age_band_words)
