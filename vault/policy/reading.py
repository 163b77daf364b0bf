"""Reading a parsed TOML table strictly: keys known, values of their kind, errors with their path."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from vault.domain.errors import InvalidInputError
from vault.fields.cleaning import clean
from vault.fields.rules import EXPLANATIONS, RuleBrokenError

CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,31}")
"""Codes of purposes, recipients and teams, and both halves of a field name."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_TEXT: Final = 500


def refusal(path: str, rule: str, detail: str) -> InvalidInputError:
    """Return the error that names a path in the policy, to be raised by the caller."""
    return InvalidInputError(f"{path}: {detail}", field=path, rule=rule)


def joined(path: str, key: str) -> str:
    """Return the path of ``key`` under ``path``, quoted as TOML would and cut where it is long."""
    shown = key if _BARE_KEY.fullmatch(key) else f'"{ascii(key[:64])[1:-1]}"'
    return f"{path}.{shown}" if path else shown


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table and where it stands in the text."""

    path: str
    values: Mapping[str, object]

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse a key outside ``known``: a misspelt rule must not pass for a rule."""
        for key in self.values:
            if key not in known:
                raise refusal(joined(self.path, key), "unknown_key", "no such key")

    def fault(self, key: str, rule: str, detail: str) -> InvalidInputError:
        """Return the error that names one key of this table."""
        return refusal(joined(self.path, key), rule, detail)

    def table(self, key: str) -> Table:
        """Return the table under ``key``, empty if there is none."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.fault(key, "type", "must be a table")
        return Table(joined(self.path, key), value)

    def tables(self) -> list[tuple[str, Table]]:
        """Return each key of this table with the table under it, in the order of the text."""
        return [(key, self.table(key)) for key in self.values]

    def text(self, key: str) -> str:
        """Return a required line of text: one Unicode form, trimmed, not empty, at most 500 letters."""
        value = self._required(key)
        if not isinstance(value, str):
            raise self.fault(key, "type", "must be a text")
        try:
            cleaned = clean(value)
        except RuleBrokenError as broken:
            raise self.fault(key, broken.rule, EXPLANATIONS[broken.rule]) from None
        if len(cleaned) > _LONGEST_TEXT:
            raise self.fault(key, "too_long", f"must be at most {_LONGEST_TEXT} letters")
        return cleaned

    def choice(self, key: str, choices: Mapping[str, bool], default: str) -> bool:
        """Return what one of a few words stands for."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.fault(key, "unknown_value", f"must be one of: {', '.join(choices)}")
        return choices[value]

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, "type", "must be true or false")
        return value

    def day(self, key: str) -> date:
        """Return a required local date."""
        value = self._required(key)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.fault(key, "type", "must be a date, such as 2026-12-01")
        return value

    def count(self, key: str, *, default: int, most: int) -> int:
        """Return a whole number from 1 to ``most``."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(key, "type", "must be a whole number")
        if not 1 <= value <= most:
            raise self.fault(key, "range", f"must be from 1 to {most}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a required list of at least one text, none twice."""
        value = self._required(key)
        if not isinstance(value, list):
            raise self.fault(key, "type", "must be a list of texts")
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise self.fault(key, "type", "must be a list of texts")
        if not texts:
            raise self.fault(key, "empty", "must list at least one")
        if len(set(texts)) != len(texts):
            raise self.fault(key, "duplicate", "lists one twice")
        return texts

    def _required(self, key: str) -> object:
        if key not in self.values:
            raise self.fault(key, "missing", "is required")
        return self.values[key]


def require_code(path: str, code: str) -> None:
    """Refuse a code that is not 2 to 32 lower-case letters, digits and underscores, a letter first."""
    if not CODE.fullmatch(code):
        raise refusal(path, "code", "must be 2 to 32 of a-z, 0-9 and _, beginning with a letter")
