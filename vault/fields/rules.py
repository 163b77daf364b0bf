"""The rules a value can break, each with a stable name and one sentence.

An error names the field and the rule and says the sentence; it never repeats
the value. Type modules raise :class:`RuleBrokenError`, and the one place that
knows the field's name, ``FieldType.normalise``, turns it into the vault's
``InvalidValueError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EXPLANATIONS: Mapping[str, str] = MappingProxyType(
    {
        "characters": "contains a character this type does not allow",
        "check_digit": "the check digit does not match the other digits",
        "control": "contains a control or invisible formatting character",
        "country_code": "the country code does not exist",
        "domain": "the part after @ is not a domain name",
        "empty": "is empty",
        "length": "has the wrong number of digits",
        "local_part": "the part before @ is not a plain mailbox name",
        "masked": "is masked: send the whole value",
        "phone_number": "contains something shaped like a phone number",
        "prefix": "starts with digits that are not assigned",
        "resident_number": "contains something shaped like a resident registration number",
        "shape": "does not have the shape of this type",
        "short_number": "is a short service number, not a contact",
        "structure": "contains a part that is never issued",
        "surrogate": "is not well-formed Unicode",
        "too_long": "is longer than this type allows",
        "unknown_value": "is not one of the values of this type",
    }
)
"""Rule name to what is said of a value that breaks it."""


class RuleBrokenError(ValueError):
    """A value breaks ``rule``, one of :data:`EXPLANATIONS`. Carries no part of the value."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class SettingError(ValueError):
    """A setting of a field type is wrong: ``key`` and ``rule`` say which and how."""

    def __init__(self, key: str, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.key = key
        self.rule = rule
        self.detail = detail
