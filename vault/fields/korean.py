"""Korean telephone numbers, by the national numbering plan.

Written by hand because the numbering library accepts 010 with seven digits,
prints 0507 numbers in a form nobody writes, and refuses representative numbers
newer than itself. Everything here works on the significant number: national
digits without the leading zero.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.rules import RuleBrokenError

# Area, exchange, line. A mobile number takes eight digits; an exchange never starts with zero.
_ZONED: Final = re.compile(
    r"(10|70)([0-9]{4})([0-9]{4})"
    r"|(1[16-9]|2|3[1-3]|4[1-4]|5[1-5]|6[1-4])([1-9][0-9]{2,3})([0-9]{4})"
    r"|(50[0-9])([0-9]{3,4})([0-9]{4})"
    r"|(80)([0-9]{3})([0-9]{4})"
)
_ZONE: Final = re.compile(r"10|70|80|50[0-9]|(?:1[16-9]|2|3[1-3]|4[1-4]|5[1-5]|6[1-4])(?!0)")
_OLD_MOBILE: Final = re.compile(r"1[16-9]")
_MOBILE: Final = re.compile(r"10[0-9]{8}")
_REPRESENTATIVE: Final = re.compile(r"(1[568][0-9]{2})([0-9]{4})")
_SHORT: Final = 4

LISTED: Final = frozenset(
    str(prefix)
    for prefix in (
        *(1522, 1533, 1544, 1566, 1577, 1588, 1599),
        *(1600, 1644, 1660, 1661, 1666, 1668, 1670, 1688),
        *(1800, 1833, 1855, 1877, 1899),
    )
)
"""Prefixes of representative numbers (대표번호) known to be in use. Others of their kind are accepted."""


def significant(digits: str, *, international: bool) -> str:
    """Return the significant number of national ``digits``, with or without their zero.

    ``international`` says that a country code stood before them, where the zero
    is dropped. Without one, only a representative number has no zero, and a
    mobile number whose zero a spreadsheet swallowed is still recognised.

    Raises: RuleBrokenError short_number, prefix or length.
    """
    if len(digits) <= _SHORT:
        raise RuleBrokenError("short_number")
    if digits[0] == "0":
        number = digits[1:]
    elif _REPRESENTATIVE.fullmatch(digits) or (not international and _MOBILE.fullmatch(digits)):
        return digits
    elif international:
        number = digits
    else:
        raise RuleBrokenError("prefix")
    if not _ZONED.fullmatch(number):
        raise RuleBrokenError("length" if _ZONE.match(number) else "prefix")
    return number


def printed(number: str) -> str:
    """Return a significant number as Koreans write it: 010-1234-5678, 0507-1234-5678, 1588-1234."""
    if number.startswith("10"):  # nearly all of them: a mobile number, always of ten digits
        return f"010-{number[2:6]}-{number[6:]}"
    zoned = _ZONED.fullmatch(number)
    if zoned is None:
        return f"{number[:4]}-{number[4:]}"
    area, exchange, line = (part for part in zoned.groups() if part is not None)
    return f"0{area}-{exchange}-{line}"


def masked(number: str) -> str:
    """Return a significant number without its exchange, whatever its length; 15xx stays whole.

    A representative number is published by its company and names no person.
    """
    if number.startswith("10"):
        return f"010-****-{number[-4:]}"
    zoned = _ZONED.fullmatch(number)
    if zoned is None:
        return f"{number[:4]}-{number[4:]}"
    area = next(part for part in zoned.groups() if part is not None)
    return f"0{area}-****-{number[-4:]}"


def number_warnings(number: str) -> tuple[str, ...]:
    """Return ``unlisted_prefix`` or ``historic_prefix`` where a number deserves a second look."""
    if number.startswith("10"):
        return ()
    if _ZONED.fullmatch(number) is None:
        return () if number[:4] in LISTED else ("unlisted_prefix",)
    return ("historic_prefix",) if _OLD_MOBILE.match(number) else ()
