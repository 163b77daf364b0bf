"""Rows as PostgreSQL's binary COPY wants them (PostgreSQL documentation, COPY, Binary Format).

The driver writes a row at a time, each value by an object of its type. Rows of
one batch are nearly all of one shape, and one packing describes them all: a
third of the time, and the server gets them in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from struct import Struct
from typing import Any, Final

Row = tuple[Any, ...]

_START: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_INTEGERS: Final = {"int2": (2, "h"), "int4": (4, "i"), "int8": (8, "q")}
_NULL: Final = -1


def copied(types: Sequence[str], rows: Sequence[Row]) -> bytes:
    """Return what a COPY in binary format is sent for ``rows``, in any order. HOT.

    ``types`` are of int2, int4, int8, bytea and text. Raises struct.error for a number out of its range.
    """
    turned = _turned(rows)
    columns = [
        _bytes(values) if kind == "text" else values for kind, values in zip(types, turned, strict=True)
    ]
    packed = _in_one_piece(types, columns)
    if packed is None:
        packed = b"".join(_by_shape(types, columns))
    return _START + packed + _END


def _turned(rows: Sequence[Row]) -> list[Row]:
    return list(zip(*rows, strict=True))


def _bytes(texts: Sequence[str | None]) -> Row:
    return tuple(None if text is None else text.encode() for text in texts)


def _by_shape(types: Sequence[str], columns: Sequence[Row]) -> Iterator[bytes]:
    """Yield the rows packed, those of one shape together."""
    groups: dict[tuple[int, ...], list[Row]] = {}
    for row in _turned(columns):
        shape = tuple(_NULL if value is None else len(value) if type(value) is bytes else 0 for value in row)
        groups.setdefault(shape, []).append(row)
    for rows in groups.values():
        packed = _in_one_piece(types, _turned(rows))
        assert packed is not None  # that is what a shape is
        yield packed


def _in_one_piece(types: Sequence[str], columns: Sequence[Row]) -> bytes | None:
    """Return the rows packed, or None unless in each column all are NULL or all are of one size."""
    form = ">h"
    parts: list[Iterable[Any]] = [repeat(len(types))]
    for kind, values in zip(types, columns, strict=True):
        size, code = _INTEGERS.get(kind, (0, ""))
        if None in values:
            if values.count(None) != len(values):
                return None
            form += "i"
            parts.append(repeat(_NULL))
            continue
        if not code:
            sizes = set(map(len, values))
            if len(sizes) != 1:
                return None
            size = sizes.pop()
            code = f"{size}s"
        form += f"i{code}"
        parts += [repeat(size), values]
    return b"".join(map(Struct(form).pack, *parts))
