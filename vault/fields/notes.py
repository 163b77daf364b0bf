"""The free text staff write beside an act, such as the reason for a reveal.

It is not a field of a subject and must not become a place to keep one's data,
so it is screened for telephone and resident numbers.
"""

from __future__ import annotations

import re
from typing import Final

from vault.domain.errors import InvalidValueError
from vault.fields.cleaning import clean, refuse_longer
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import EXPLANATIONS, RuleBrokenError

NOTE_LETTERS: Final = 500
"""Longest note, in code points."""

_GAP: Final = r"[-. )\u2010-\u2015]{0,2}"
# Korean numbers with their zero or country code, and any number written with a plus sign.
_PHONE: Final = re.compile(
    rf"(?<!\d)(?:\+?82{_GAP}0?|0)(?:10|1[16-9]|2|[3-6][0-9]|50[0-9]|70|80){_GAP}\d{{3,4}}{_GAP}\d{{4}}(?!\d)"
    rf"|\+\d{{1,3}}{_GAP}(?:\d{_GAP}){{7,12}}"
)


def normalise_note(text: str, *, field: str) -> str:
    """Return the note cleaned, or refuse it in the name of ``field``.

    Raises: InvalidValueError with rule resident_number, phone_number, too_long,
    empty, control or surrogate.
    """
    try:
        cleaned = clean(text, multiline=True)
        refuse_longer(cleaned, letters=NOTE_LETTERS, nbytes=NOTE_LETTERS * 4)
        refuse_resident_number(cleaned)
        if _PHONE.search(cleaned):
            raise RuleBrokenError("phone_number")
    except RuleBrokenError as broken:
        rule = broken.rule
    else:
        return cleaned
    raise InvalidValueError(f"{field}: {EXPLANATIONS[rule]}", field=field, rule=rule)
