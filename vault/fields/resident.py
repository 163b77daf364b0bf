"""The screen against resident registration numbers (주민등록번호, 외국인등록번호).

A private company may not process them without a statute that says so (Personal
Information Protection Act, Article 24-2), so no type stores one, free text
included. The shape is YYMMDD, up to three separators, seven digits; the last
six may be masked. The date must exist (a year of two digits may be any); the
check digit is not asked for, because numbers issued since October 2020 have
none.

Not a match: longer runs of digits (card and account numbers), and thirteen
digits whose first six are no date.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.rules import RuleBrokenError

_SHORTEST: Final = 13
_SEPARATOR: Final = r"[\s\-\u2010-\u2015\u2212\u3161\u30fc\u00b7._/~:,]"
# \d is any script's decimal digit on purpose: other digits must not slip past.
_SHAPE: Final = re.compile(
    rf"(?<!\d)(?:(?:19|20)?\d\d(\d\d)(\d\d){_SEPARATOR}{{1,3}}|\d\d(\d\d)(\d\d))(?:\d{{7}}|\d[*xX]{{6}})(?!\d)"
)
_DAYS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_JOINERS: Final = re.compile("[\u200c\u200d]")


def refuse_resident_number(cleaned: str) -> None:
    """Refuse a cleaned text that contains the shape. Raises: RuleBrokenError resident_number."""
    if len(cleaned) < _SHORTEST:
        return
    if not cleaned.isascii():
        cleaned = _JOINERS.sub("", cleaned)
    for match in _SHAPE.finditer(cleaned):
        month = int(match[1] or match[3])
        day = int(match[2] or match[4])
        if month < len(_DAYS) and 1 <= day <= _DAYS[month]:
            raise RuleBrokenError("resident_number")
