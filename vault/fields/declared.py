"""Types a company declares for itself: free text and a list of values.

Neither shows anything when masked. Text has settings ``max_length`` (letters,
default 1,000), ``multiline`` and ``searchable`` (both default false: text is
rarely looked up whole, and a digest of few possible values can be guessed by
whoever may search). An enumeration has ``values``, compared exactly after
cleaning, and can never be made searchable.
"""

from __future__ import annotations

from typing import Final

from vault.fields.base import (
    ENUM_BUCKETS,
    LENGTH_PREFIX,
    TEXT_BUCKETS,
    FieldType,
    Settings,
    buckets_up_to,
    hidden,
)
from vault.fields.cleaning import clean, refuse_longer, screened
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError, SettingError
from vault.fields.settings import flag, refuse_unknown, strings, whole_number

_TEXT_BYTES: Final = TEXT_BUCKETS[-1] - LENGTH_PREFIX
_TEXT_LETTERS: Final = 1000
_ENUM_BYTES: Final = ENUM_BUCKETS[-1] - LENGTH_PREFIX
_ENUM_VALUES: Final = 200


def text(settings: Settings) -> FieldType:
    """Return a type of free text as ``settings`` limit it."""
    refuse_unknown(settings, "max_length", "multiline", "searchable")
    letters = whole_number(settings, "max_length", default=_TEXT_LETTERS, most=_TEXT_BYTES)
    multiline = flag(settings, "multiline", default=False)
    nbytes = min(letters * 4, _TEXT_BYTES)

    def canonical(raw: str) -> str:
        cleaned = clean(raw, multiline=multiline)
        refuse_resident_number(cleaned)
        if not cleaned.strip("*"):
            raise RuleBrokenError("masked")
        refuse_longer(cleaned, letters=letters, nbytes=nbytes)
        return cleaned

    return FieldType(
        name="text",
        prefix="txt",
        searchable=flag(settings, "searchable", default=False),
        buckets=buckets_up_to(nbytes),
        canonical=canonical,
        mask=hidden,
    )


def enum(settings: Settings) -> FieldType:
    """Return the type of one of the values that ``settings`` list."""
    refuse_unknown(settings, "values")
    values = frozenset(_declared(value) for value in strings(settings, "values"))
    if len(values) > _ENUM_VALUES:
        raise SettingError("values", "range", f"lists more than {_ENUM_VALUES} values")

    def listed(cleaned: str) -> str:
        if cleaned not in values:
            raise RuleBrokenError("masked" if not cleaned.strip("*") else "unknown_value")
        return cleaned

    return FieldType(
        name="enum",
        prefix="enm",
        searchable=False,
        buckets=ENUM_BUCKETS,
        canonical=screened(listed),
        mask=hidden,
    )


def _declared(value: str) -> str:
    try:
        cleaned = clean(value)
        refuse_resident_number(cleaned)
        refuse_longer(cleaned, letters=_ENUM_BYTES, nbytes=_ENUM_BYTES)
    except RuleBrokenError as broken:
        raise SettingError("values", broken.rule, "lists a value that no field could hold") from None
    if cleaned != value or not cleaned.strip("*"):
        raise SettingError("values", "shape", "must list values in their cleaned form, not masks")
    return cleaned
