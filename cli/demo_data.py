"""Invented members and partners for the demo and the examples, the same on every machine.

Each row follows from its number alone, so a shorter list is a prefix of a
longer one. Nobody is meant: e-mail domains are reserved for documentation (RFC
2606), mobile numbers begin 010-0 or 010-1, and what is shaped like a resident
registration number has the century digit of the nineteenth. One member in sixty
and one partner in twenty-five has a dirty value, as in real files: most of those
are refused, some only look odd.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

SEED: Final = "dalmuri-1"

MEMBER_COLUMNS: Final = ("external_ref", "member.phone", "member.gender", "member.age_band")
PARTNER_COLUMNS: Final = (
    "external_ref",
    "partner.business_number",
    "partner.company_name",
    "partner.phone",
    "partner.email",
    "partner.contact_name",
)

_MEMBER_DIRT_EVERY: Final = 60
_PARTNER_DIRT_EVERY: Final = 25

_GENDERS: Final = ("F", "M", "female", "male", "여", "남", "U", "F", "M", "")
_AGE_BANDS: Final = (
    *("15~19", "20~29", "20~29", "20-29", "30~39", "30~39", "30-39", "30대"),
    *("40~49", "40-49", "40대", "50~59", "50대", "60~69", "10-14", ""),
)
_FAMILY_NAMES: Final = ("김", "이", "박", "최", "정", "강", "조", "윤", "장", "남궁")
_GIVEN_NAMES: Final = (
    *("하늘", "바다", "가람", "나래", "다솜", "마루", "보람", "새벽"),
    *("아라", "여울", "온", "이든", "찬솔", "한별", "해솔", "슬"),
)
_COMPANY_WORDS: Final = (
    "가온",
    "노을",
    "도담",
    "라온",
    "미리내",
    "별빛",
    "산들",
    "아람",
    "온새미로",
    "푸른솔",
)
_COMPANY_TRADES: Final = ("출판사", "북스", "미디어", "책방", "문고", "이야기")
_COMPANY_FORMS: Final = ("{}", "(주){}", "㈜{}", "주식회사 {}")
_MAIL_DOMAINS: Final = ("example.com", "example.net", "example.org")
_AREAS: Final = ("02", "02", "031", "032", "051", "053", "070")
_REPRESENTATIVE: Final = ("1522", "1544", "1577", "1588", "1661", "1899")
_FULL_WIDTH: Final = str.maketrans("0123456789-", "０１２３４５６７８９－")


class _Draw:
    """Numbers that follow from the seed, a label and a row number, by SHA-512."""

    def __init__(self, label: str, row: int) -> None:
        self._pool = int.from_bytes(hashlib.sha512(f"{SEED}/{label}/{row}".encode()).digest(), "big")

    def below(self, bound: int) -> int:
        self._pool, number = divmod(self._pool, bound)
        return number

    def of(self, choices: tuple[str, ...]) -> str:
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        return f"{self.below(10**count):0{count}d}"


Dirt = tuple[str, Callable[[str, _Draw], str]]


def members(n: int = 10_000) -> Iterator[dict[str, str]]:
    """Yield ``n`` members, keyed by :data:`MEMBER_COLUMNS`; an empty cell is a value not given."""
    for row in range(n):
        draw = _Draw("member", row)
        member = {
            "external_ref": f"kakao:{3_000_000_000 + row * 97 + draw.below(97)}",
            "member.phone": _mobile(draw),
            "member.gender": draw.of(_GENDERS),
            "member.age_band": draw.of(_AGE_BANDS),
        }
        yield _dirtied(member, row, draw, every=_MEMBER_DIRT_EVERY, dirt=_MEMBER_DIRT)


def partners(n: int = 500) -> Iterator[dict[str, str]]:
    """Yield ``n`` partners, keyed by :data:`PARTNER_COLUMNS`."""
    for row in range(n):
        draw = _Draw("partner", row)
        partner = {
            "external_ref": f"partner-{row + 1:05d}",
            "partner.business_number": _business_number(draw),
            "partner.company_name": draw.of(_COMPANY_FORMS).format(
                draw.of(_COMPANY_WORDS) + draw.of(_COMPANY_TRADES)
            ),
            "partner.phone": _office_number(draw),
            "partner.email": f"contact{row + 1:03d}@{draw.of(_MAIL_DOMAINS)}",
            "partner.contact_name": draw.of(_FAMILY_NAMES) + draw.of(_GIVEN_NAMES),
        }
        yield _dirtied(partner, row, draw, every=_PARTNER_DIRT_EVERY, dirt=_PARTNER_DIRT)


def csv_text(columns: tuple[str, ...], rows: Iterable[Mapping[str, str]]) -> str:
    """Return the rows as CSV (RFC 4180, but with line feeds), the column names first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def policy_text() -> str:
    """Return the demo's policy, the one also found in ``examples/policy.toml``."""
    return resources.files("cli").joinpath("demo_policy.toml").read_text("utf-8")


def _dirtied(
    row: dict[str, str], number: int, draw: _Draw, *, every: int, dirt: tuple[Dirt, ...]
) -> dict[str, str]:
    turn, place = divmod(number, every)
    if place == every // 2:
        column, spoil = dirt[turn % len(dirt)]
        row[column] = spoil(row[column], draw)
    return row


def _mobile(draw: _Draw) -> str:
    exchange, line = f"{draw.below(2)}{draw.digits(3)}", draw.digits(4)
    shapes = ("010-{}-{}", "010-{}-{}", "010-{}-{}", "010{}{}", "+82 10-{}-{}", "010 {} {}")
    return draw.of(shapes).format(exchange, line)


def _office_number(draw: _Draw) -> str:
    if draw.below(5) == 0:
        return f"{draw.of(_REPRESENTATIVE)}-{draw.digits(4)}"
    return f"{draw.of(_AREAS)}-{1 + draw.below(9)}{draw.digits(3)}-{draw.digits(4)}"


def _business_number(draw: _Draw) -> str:
    nine = f"{101 + draw.below(800)}{1 + draw.below(99):02d}{1 + draw.below(9999):04d}"
    total = sum(int(digit) * weight for digit, weight in zip(nine, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True))
    check = -(total + int(nine[8]) * 5 // 10) % 10
    return f"{nine[:3]}-{nine[3:5]}-{nine[5:]}{check}"


def _resident_number(_value: str, draw: _Draw) -> str:
    return f"{draw.digits(2)}{1 + draw.below(12):02d}{1 + draw.below(28):02d}-9{draw.digits(6)}"


def _last_digit_lost(value: str, _draw: _Draw) -> str:
    return value[:-1]


def _last_digit_off_by_one(value: str, _draw: _Draw) -> str:
    return f"{value[:-1]}{(int(value[-1]) + 1) % 10}"


def _masked_phone(value: str, _draw: _Draw) -> str:
    return f"010-****-{value[-4:]}"


def _full_width(value: str, _draw: _Draw) -> str:
    return value.translate(_FULL_WIDTH)


def _with_resident_number(value: str, draw: _Draw) -> str:
    return f"{value} {_resident_number(value, draw)}"


def _always(value: str) -> Callable[[str, _Draw], str]:
    return lambda _value, _draw: value


_MEMBER_DIRT: Final[tuple[Dirt, ...]] = (
    ("member.phone", _last_digit_lost),
    ("member.phone", _masked_phone),
    ("member.gender", _always("기타")),
    ("member.phone", _resident_number),
    ("member.phone", _full_width),
    ("member.age_band", _always("성인")),
    ("member.phone", _always("114")),
    ("member.phone", _always("")),
    ("member.phone", _always("010-1234-5678 / 010-1234-5679")),
)
_PARTNER_DIRT: Final[tuple[Dirt, ...]] = (
    ("partner.business_number", _last_digit_off_by_one),
    ("partner.email", _always("contact at example.com")),
    ("partner.business_number", _full_width),
    ("partner.business_number", _always("000-00-00000")),
    ("partner.contact_name", _with_resident_number),
    ("partner.business_number", _last_digit_lost),
    ("partner.contact_name", _always("김*늘")),
    ("partner.phone", _always("1551-1234")),
    ("partner.phone", _always("02-012-3456")),
    ("partner.business_number", _always("123-45-*****")),
)

FILES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "members.csv": lambda: csv_text(MEMBER_COLUMNS, members()),
        "partners.csv": lambda: csv_text(PARTNER_COLUMNS, partners()),
        "policy.toml": policy_text,
    }
)
"""Name of each example file to the function that makes its content."""
