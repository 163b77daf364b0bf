"""Names of people and of companies.

A person's name is masked by one rule: of two letters the first is shown, of
three the middle one is hidden, of four or more the first and last are shown
around two asterisks whatever the number hidden (``남**수``). Scripts that
write a name with many letters show at most the first four and never more than
half. Letters are counted after composition, so decomposed Hangul has no false
middle. Spaces inside a name are kept, single, and not counted.

A company's name shows its legal form and two letters. It may contain an
asterisk, but not end in three of them, which is what the mask prints.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vault.fields.base import HIDDEN, FieldType, Settings, buckets_up_to
from vault.fields.cleaning import (
    letters_of,
    refuse_longer,
    refuse_masked,
    screened,
    shown_part,
    single_spaced,
)
from vault.fields.rules import RuleBrokenError
from vault.fields.settings import refuse_unknown

_PERSON_LETTERS: Final = 100
_PERSON_BYTES: Final = 254
_COMPANY_LETTERS: Final = 200
_COMPANY_BYTES: Final = 510
_HANGUL: Final = re.compile("[\uac00-\ud7a3]+")
_LEGAL_FORM: Final = re.compile(r"(?:\((?:주|유|합|재|사)\)|주식회사|유한회사) ?")
_BRACKETED: Final = re.compile(r"\( ?(주|유|합|재|사) ?\)")
# Compatibility signs for the bracketed forms: one company, one stored name.
_SIGNS: Final = str.maketrans({"\u321c": "(주)", "\u3292": "(유)"})


def person_name(settings: Settings) -> FieldType:
    """Return the type of a person's name."""
    refuse_unknown(settings)
    return FieldType(
        name="person_name",
        prefix="nam",
        searchable=True,
        buckets=buckets_up_to(_PERSON_BYTES),
        canonical=screened(_person),
        mask=_person_mask,
    )


def company_name(settings: Settings) -> FieldType:
    """Return the type of a company's name."""
    refuse_unknown(settings)
    return FieldType(
        name="company_name",
        prefix="cmp",
        searchable=True,
        buckets=buckets_up_to(_COMPANY_BYTES),
        canonical=screened(_company),
        mask=_company_mask,
    )


def _person(cleaned: str) -> str:
    refuse_masked(cleaned)
    name = single_spaced(cleaned)
    refuse_longer(name, letters=_PERSON_LETTERS, nbytes=_PERSON_BYTES)
    if not _HANGUL.fullmatch(name) and not any(char.isalpha() for char in name):
        raise RuleBrokenError("shape")
    return name


def _person_mask(normalised: str) -> str:
    letters = list(normalised) if _HANGUL.fullmatch(normalised) else letters_of(normalised)
    if not _is_wide(letters[0]):
        return "".join(letters[: shown_part(len(letters), 4)]) + HIDDEN
    match len(letters):
        case 1:
            return "*"
        case 2:
            return f"{letters[0]}*"
        case 3:
            return f"{letters[0]}*{letters[2]}"
        case _:
            return f"{letters[0]}**{letters[-1]}"


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter[0]) in {"W", "F"}


def _company(cleaned: str) -> str:
    if cleaned.endswith(HIDDEN):
        raise RuleBrokenError("masked")
    name = single_spaced(_BRACKETED.sub(r"(\1)", cleaned.translate(_SIGNS)))
    refuse_longer(name, letters=_COMPANY_LETTERS, nbytes=_COMPANY_BYTES)
    if not any(char.isalnum() for char in name):
        raise RuleBrokenError("shape")
    return name


def _company_mask(normalised: str) -> str:
    form = _LEGAL_FORM.match(normalised)
    start = form.end() if form else 0
    letters = letters_of(normalised[start:])
    return normalised[:start] + "".join(letters[: shown_part(len(letters), 2)]) + HIDDEN
