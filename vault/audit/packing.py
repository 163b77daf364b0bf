"""Items of a log entry as packed columns. Format: docs/formats/log-entry.md sections 5 and 6.

A row per item would cost ten times the bytes; instead an entry carries four
columns in item order. Identifiers are fixed-width and joined, names are
run-length coded. There is one encoding of every column, and ``Items`` and
``Column`` cannot be constructed in another: a value that exists is well formed.
"""

from __future__ import annotations

import re
import struct
from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, pairwise, repeat
from operator import ne, sub
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")

SUBJECT_SIZE: Final = 16
TOKEN_SIZE: Final = 8

NO_SUBJECT: Final = bytes(SUBJECT_SIZE)
"""Stands in the subject column for an item that led to nobody, such as an unknown token."""

NO_TOKEN: Final = 0
"""Stands in the token column for an item without a token row."""

MAX_ITEMS: Final = 65_535

CODE_PATTERN: Final = r"[A-Za-z0-9._:/,*-]{1,200}"
CODE: Final = re.compile(CODE_PATTERN).fullmatch
"""Matches a code (section 3): a word of the vault's own vocabulary or one of its own ids."""


class MalformedEntryError(ValueError):
    """Bytes are not a log entry, or a value cannot become one.

    ``rule`` is the rule of docs/formats/log-entry.md section 8 that is broken.
    Content is never part of the error.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(f"log entry breaks rule {rule}")
        self.rule = rule


class ItemRow(NamedTuple):
    """One item of an entry, unpacked."""

    subject: bytes
    """``log_subject`` of 16 bytes, or ``NO_SUBJECT``."""
    token: int
    """Row id of the token, or ``NO_TOKEN``."""
    field: str
    """Field name, or empty when the item led to none."""
    outcome: str
    """Code such as ``opened``, ``masked``, ``sealed``, ``existing`` or the code of a refusal."""


@dataclass(frozen=True, slots=True)
class Column:
    """A run-length coded column of names.

    ``names`` are distinct, in order of first appearance. ``runs`` is flat:
    index into ``names``, length, index, length, and so on; lengths are at
    least 1 and neighbouring runs differ.

    Raises ``MalformedEntryError`` (``column``) if constructed otherwise.
    """

    names: tuple[str, ...]
    runs: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self._is_canonical():
            raise MalformedEntryError("column")
        _check_names(self.names)

    def _is_canonical(self) -> bool:
        runs = self.runs
        if len(runs) % 2 or (runs and min(runs[1::2]) < 1) or len(set(self.names)) != len(self.names):
            return False
        seen = 0
        previous = -1
        for index in runs[::2]:
            if index == previous or not 0 <= index <= seen:
                return False
            seen += index == seen
            previous = index
        return seen == len(self.names)

    @classmethod
    def of(cls, values: Sequence[str]) -> Column:
        """Code ``values``. HOT: a column of one repeated value costs a few microseconds per thousand."""
        n = len(values)
        if n and values.count(values[0]) == n:
            return cls._canonical((values[0],), (0, n))
        starts = [0, *compress(range(1, n), map(ne, values[1:], values))] if n else []
        names = {name: index for index, name in enumerate(dict.fromkeys(values))}
        runs = [0] * (2 * len(starts))
        runs[::2] = map(names.__getitem__, map(values.__getitem__, starts))
        runs[1::2] = map(sub, [*starts[1:], n], starts)
        return cls._canonical(tuple(names), tuple(runs))

    @classmethod
    def _canonical(cls, names: tuple[str, ...], runs: tuple[int, ...]) -> Column:
        # Built above in canonical form: only the names are anybody else's.
        _check_names(names)
        column = object.__new__(cls)
        object.__setattr__(column, "names", names)
        object.__setattr__(column, "runs", runs)
        return column

    @property
    def length(self) -> int:
        """Number of values in the column."""
        return sum(self.runs[1::2])

    def expand(self) -> list[str]:
        """Return the values, one per item in order."""
        names = (self.names[index] for index in self.runs[::2])
        return list(chain.from_iterable(map(repeat, names, self.runs[1::2])))


@dataclass(frozen=True, slots=True)
class Items:
    """The items of an entry, packed: every column has ``n`` values in request order.

    ``subjects`` holds 16 bytes per item, ``tokens`` 8 (unsigned, big-endian,
    below 2^63). Raises ``MalformedEntryError`` (``items`` or ``column``) if
    the columns do not agree with each other.
    """

    n: int
    subjects: bytes
    tokens: bytes
    fields: Column
    outcomes: Column

    def __post_init__(self) -> None:
        n = self.n
        if (
            not 0 <= n <= MAX_ITEMS
            or len(self.subjects) != SUBJECT_SIZE * n
            or len(self.tokens) != TOKEN_SIZE * n
        ):
            raise MalformedEntryError("items")
        if self.fields.length != n or self.outcomes.length != n or "" in self.outcomes.names:
            raise MalformedEntryError("column")
        if n and max(self.tokens[::TOKEN_SIZE]) > 0x7F:  # noqa: PLR2004 - row ids have 63 bits
            raise MalformedEntryError("items")

    @classmethod
    def pack(
        cls, subjects: Sequence[bytes], tokens: Sequence[int], fields: Sequence[str], outcomes: Sequence[str]
    ) -> Items:
        """Pack four sequences of one length, one value per item in request order. HOT.

        Raises:
            MalformedEntryError: lengths differ, a subject is not 16 bytes, a
                token id is not in 0 .. 2^63-1, or a name is not a code.

        """
        n = len(subjects)
        if n and set(map(len, subjects)) != {SUBJECT_SIZE}:
            raise MalformedEntryError("items")
        try:
            packed = struct.pack(f">{n}Q", *tokens)
        except struct.error:
            raise MalformedEntryError("items") from None
        return cls(n, b"".join(subjects), packed, Column.of(fields), Column.of(outcomes))

    def rows(self) -> Iterator[ItemRow]:
        """Yield the items unpacked, in request order."""
        subjects = (
            self.subjects[at : at + SUBJECT_SIZE] for at in range(0, len(self.subjects), SUBJECT_SIZE)
        )
        tokens = struct.unpack(f">{self.n}Q", self.tokens)
        return map(ItemRow, subjects, tokens, self.fields.expand(), self.outcomes.expand())

    def split(self, count: int) -> list[Items]:
        """Return the items in ``count`` runs of even length, in order."""
        fields, outcomes = self.fields.expand(), self.outcomes.expand()
        bounds = [self.n * k // count for k in range(count + 1)]
        return [
            Items(
                stop - start,
                self.subjects[SUBJECT_SIZE * start : SUBJECT_SIZE * stop],
                self.tokens[TOKEN_SIZE * start : TOKEN_SIZE * stop],
                Column.of(fields[start:stop]),
                Column.of(outcomes[start:stop]),
            )
            for start, stop in pairwise(bounds)
        ]

    def members(self) -> dict[str, Any]:
        """Return the JSON members of section 5, in their order."""
        return {
            "n": self.n,
            "subjects": b2a_base64(self.subjects, newline=False).decode("ascii"),
            "tokens": b2a_base64(self.tokens, newline=False).decode("ascii"),
            "fields": {"names": self.fields.names, "runs": self.fields.runs},
            "outcomes": {"names": self.outcomes.names, "runs": self.outcomes.runs},
        }


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if name and CODE(name) is None:
            raise MalformedEntryError("column")


def read_items(value: object) -> Items | None:
    """Return the items of the JSON value of member ``items``; ``None`` for null.

    Raises:
        MalformedEntryError: ``type``, ``members``, ``base64``, ``items`` or ``column``.

    """
    if value is None:
        return None
    members = read_members(value, ("n", "subjects", "tokens", "fields", "outcomes"))
    if type(members["n"]) is not int:
        raise MalformedEntryError("type")
    return Items(
        members["n"],
        _base64(members["subjects"]),
        _base64(members["tokens"]),
        _column(members["fields"]),
        _column(members["outcomes"]),
    )


def read_members(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a JSON object that has exactly the members ``names`` in that order.

    Raises:
        MalformedEntryError: ``type`` if it is no object, else ``members``.

    """
    if type(value) is not dict:
        raise MalformedEntryError("type")
    if tuple(value) != names:
        raise MalformedEntryError("members")
    return value


def read_list(value: object, of: type[T]) -> tuple[T, ...]:
    """Return a JSON array whose values are all exactly of type ``of``.

    Raises:
        MalformedEntryError: ``type``.

    """
    if type(value) is not list or not set(map(type, value)) <= {of}:
        raise MalformedEntryError("type")
    return tuple(value)


def _column(value: object) -> Column:
    members = read_members(value, ("names", "runs"))
    return Column(read_list(members["names"], str), read_list(members["runs"], int))


def _base64(value: object) -> bytes:
    if type(value) is not str:
        raise MalformedEntryError("type")
    try:
        data = a2b_base64(value, strict_mode=True)
    except (BinasciiError, ValueError):
        raise MalformedEntryError("base64") from None
    # strict_mode lets non-zero padding bits through (QR== reads like QQ==): only the round trip shows them.
    if b2a_base64(data, newline=False).decode("ascii") != value:
        raise MalformedEntryError("base64")
    return data
