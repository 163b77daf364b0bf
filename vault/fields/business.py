"""The Korean business registration number (사업자등록번호), XXX-XX-XXXXX.

Three digits of the tax office, two of the kind of business, four of the serial
and one check digit. Stored as ten digits. A passing number may be closed or
never have been issued: only the tax service knows. A sole trader's number
points at one person, so every number is treated as personal data.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.base import FieldType, Settings, buckets_up_to
from vault.fields.cleaning import clean, refuse_masked
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError
from vault.fields.settings import refuse_unknown

_DIGITS: Final = 10
_WEIGHTS: Final = (1, 3, 7, 1, 3, 7, 1, 3, 5)
_LOWEST_OFFICE: Final = "101"
_SEPARATORS: Final = str.maketrans("", "", " -.\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_ASCII_DIGITS: Final = re.compile(r"[0-9]+")


def business_number(settings: Settings) -> FieldType:
    """Return the type of a business registration number."""
    refuse_unknown(settings)
    return FieldType(
        name="business_number",
        prefix="brn",
        searchable=True,
        buckets=buckets_up_to(_DIGITS),
        canonical=_canonical,
        mask=_mask,
        display=_display,
    )


def check_digit(first_nine: str) -> str:
    """Return the tenth digit for nine ASCII digits.

    Weights 1 3 7 1 3 7 1 3 5; the tens of the ninth product count once more.
    """
    figures = [int(figure) for figure in first_nine]
    total = sum(figure * weight for figure, weight in zip(figures, _WEIGHTS, strict=True))
    total += figures[8] * 5 // 10
    return str(-total % 10)


def _canonical(text: str) -> str:
    cleaned = clean(text)
    refuse_resident_number(cleaned)
    refuse_masked(cleaned)
    digits = cleaned.translate(_SEPARATORS)
    if not _ASCII_DIGITS.fullmatch(digits):
        raise RuleBrokenError("characters")
    if len(digits) != _DIGITS:
        raise RuleBrokenError("length")
    # Structure before arithmetic: ten zeros satisfy the check digit.
    if digits[:3] < _LOWEST_OFFICE or digits[3:5] == "00" or digits[5:9] == "0000":
        raise RuleBrokenError("structure")
    if digits[9] != check_digit(digits[:9]):
        raise RuleBrokenError("check_digit")
    return digits


def _mask(normalised: str) -> str:
    return f"{normalised[:3]}-{normalised[3:5]}-*****"


def _display(normalised: str) -> str:
    return f"{normalised[:3]}-{normalised[3:5]}-{normalised[5:]}"
