"""What every type does to a text before its own rules: one Unicode form, no invisible characters.

Guarantees of :func:`clean`: Normalization Form C (UAX #15), full-width ASCII
(U+FF01 to U+FF5E) folded to ASCII, every space character folded to U+0020,
surrounding white space removed, not empty, no surrogates, no control
characters, no invisible formatting other than the joiners U+200C and U+200D,
which names in several scripts need.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError

RAW_LIMIT: Final = 16_384
"""Longest text looked at, in code points: bounds the work an oversized value can cause."""

_SPACES: Final = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)
_FOLD: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(space): 0x20 for space in _SPACES
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_JOINERS: Final = frozenset("\u200c\u200d")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
_MASKED: Final = re.compile("[*\u204e\u2217\u2731\u25cb\u25cf\u25ef\u2022]")
_BLANKS: Final = re.compile(r" {2,}")


def clean(text: str, *, multiline: bool = False) -> str:
    """Return ``text`` in the form described above; line feeds and tabs stay only if ``multiline``.

    Raises: RuleBrokenError too_long, surrogate, empty or control.
    """
    if len(text) > RAW_LIMIT:
        raise RuleBrokenError("too_long")
    if not text.isascii():
        text = _folded(text)
    text = text.strip(" \t\r\n")
    if not text:
        raise RuleBrokenError("empty")
    if text.isprintable():
        return text
    if multiline:
        text = text.replace("\r\n", "\n")
    _refuse_invisible(text, _JOINERS | {"\n", "\t"} if multiline else _JOINERS)
    return text


def _folded(text: str) -> str:
    if _SURROGATE.search(text):
        raise RuleBrokenError("surrogate")
    # Folding comes first: a folded letter may compose with the mark that follows it.
    return unicodedata.normalize("NFC", text.translate(_FOLD))


def _refuse_invisible(text: str, allowed: frozenset[str]) -> None:
    for char in text:
        if char not in allowed and unicodedata.category(char) in _INVISIBLE:
            raise RuleBrokenError("control")


def refuse_masked(cleaned: str) -> None:
    """Refuse a text with an asterisk, or another sign used like one, anywhere in it."""
    if _MASKED.search(cleaned):
        raise RuleBrokenError("masked")


def refuse_longer(text: str, *, letters: int, nbytes: int) -> None:
    """Refuse a text of more than ``letters`` code points or ``nbytes`` UTF-8 bytes."""
    if len(text) > letters or (len(text) * 4 > nbytes and len(text.encode()) > nbytes):
        raise RuleBrokenError("too_long")


def single_spaced(cleaned: str) -> str:
    """Return the text with each run of spaces made one, so that equal names compare equal."""
    return _BLANKS.sub(" ", cleaned) if "  " in cleaned else cleaned


def letters_of(text: str) -> list[str]:
    """Return what a reader counts as letters: no spaces, marks and joiners kept with their base."""
    if text.isascii():
        return [char for char in text if char != " "]
    letters: list[str] = []
    for char in text:
        if letters and _attaches(char):
            letters[-1] += char
        elif char != " ":
            letters.append(char)
    return letters


def _attaches(char: str) -> bool:
    # U+1160 to U+11FF are the vowels and finals of old Hangul, which have no composed form.
    return "\u1160" <= char <= "\u11ff" or char in _JOINERS or unicodedata.category(char).startswith("M")


def shown_part(length: int, most: int) -> int:
    """Return how many of ``length`` letters a mask may show: never more than half, at most ``most``."""
    return min(most, length // 2)


def screened(canonical: Callable[[str], str]) -> Callable[[str], str]:
    """Return ``canonical`` behind :func:`clean` and the resident number screen."""

    def canonical_of(text: str) -> str:
        cleaned = clean(text)
        refuse_resident_number(cleaned)
        return canonical(cleaned)

    return canonical_of
