"""The screen against resident registration numbers (주민등록번호, 외국인등록번호).

A private company may not process them without a statute that says so (Personal
Information Protection Act, Article 24-2), so no type stores one, free text
included. The shape is a birth date (YYMMDD or YYYYMMDD) and seven digits, with up
to four characters that are neither letter nor digit between any two of them; the
last six may be masked. The date must exist (a year of two digits may be any); the
check digit is not asked for, because numbers issued since October 2020 have none.

Not a match: digits that belong to a longer run (card and account numbers), a date
that does not exist, and what is grouped as a Korean telephone or business number.
An account number of thirteen digits that reads as a birth date is refused too: the
screen errs on the side of the statute.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.rules import RuleBrokenError

_SHORTEST: Final = 13
# Two letters that look like dashes, and three that look like nothing, count as separators.
_BETWEEN: Final = r"[\W_\u3161\u30fc\u3164\u115f\u1160]{0,4}"
_MASK: Final = r"*xX\u2022\u204e\u2217\u2731\u25a0\u25a1\u25cb\u25cf\u25ef#"
# \d is any script's decimal digit on purpose: other digits must not slip past. No separator is a
# digit, so possessive repeats lose nothing, and a text is read in time linear in its length.
_NEXT: Final = rf"{_BETWEEN}+(\d)"
_SEVEN: Final = rf"{_BETWEEN}+\d(?:(?:{_BETWEEN}+\d){{6}}(?!\d)|{_BETWEEN}[\d{_MASK}]{{6}}(?!\d))"
_CENTURY: Final = rf"(?:1(?<!\d1)(?={_BETWEEN}+9)|2(?<!\d2)(?={_BETWEEN}+0))"
# Looked ahead for, so that a match that fails by its date hides none that begins within it.
_SHAPES: Final = (
    re.compile(rf"\d(?<!\d\d)(?={_BETWEEN}+\d{_NEXT * 4}{_SEVEN})"),
    re.compile(rf"{_CENTURY}(?=(?:{_BETWEEN}+\d){{3}}{_NEXT * 4}{_SEVEN})"),
)
_DAYS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_JOINERS: Final = re.compile("[\u200c\u200d]")

_GAP: Final = r"[-. ()\u2010-\u2015\u2212]"
# Grouped as nobody groups a resident number; a digit that a hyphen or dot ties on spoils it.
_OTHERS: Final = re.compile(
    rf"(?<!\d)(?<!\d[-.])(?:"
    rf"(?:\+82{_GAP}{{0,3}}0?{_GAP}?|82{_GAP}{{1,3}}0?{_GAP}?|0)"
    rf"(?:(?:10|1[16-9]|2|[3-6][0-9]|50[0-9]|70|80){_GAP}{{1,2}}[0-9]{{3,4}}{_GAP}{{1,2}}[0-9]{{4}}"
    rf"|10[0-9]{{8}}|1[16-9][0-9]{{7,8}})"
    rf"|[0-9]{{3}}-[0-9]{{2}}-[0-9]{{5}}"
    rf")(?![-.]?\d)"
)


def refuse_resident_number(cleaned: str) -> None:
    """Refuse a cleaned text that contains the shape. Raises: RuleBrokenError resident_number."""
    if len(cleaned) < _SHORTEST:
        return
    if not cleaned.isascii():
        cleaned = _JOINERS.sub("", cleaned)
    # Nearly all texts end at the first look; the second leaves phones and business numbers out.
    if _holds_shape(cleaned) and _holds_shape(_OTHERS.sub("|a|", cleaned)):
        raise RuleBrokenError("resident_number")


def _holds_shape(text: str) -> bool:
    for shape in _SHAPES:
        for match in shape.finditer(text):
            month, day = int(match[1] + match[2]), int(match[3] + match[4])
            if month < len(_DAYS) and 1 <= day <= _DAYS[month]:
                return True
    return False
